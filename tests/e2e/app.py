"""The project's stack with short timeouts and few retries, so that a test of a fault need not wait for minutes."""

from dataclasses import replace

from aws_cdk import App

from saga_stack.settings import STAGES, RetryPolicy
from saga_stack.stack import OrderSagaStack

SHORT = replace(
    STAGES["dev"],
    function_timeout=6,
    task_timeout=8,
    action_retry=RetryPolicy(interval=1, backoff_rate=2, max_delay=1, max_attempts=1),
    compensation_retry=RetryPolicy(interval=1, backoff_rate=2, max_delay=1, max_attempts=5),
)

if __name__ == "__main__":
    app = App()
    OrderSagaStack(app, "OrderSaga-faults", settings=SHORT)
    app.synth()
