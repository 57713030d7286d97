"""The order saga with short timeouts and few retries, so that a test of a fault takes seconds."""

from dataclasses import replace

from aws_cdk import App

from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import RetryPolicy
from saga_stack.order_saga import OrderSagaStack

# Three automatic redrives of each saga, without a pause.
SHORT = replace(
    STAGES["dev"],
    automatic_redrives=3,
    first_redrive_after=0,
    function_timeout=6,
    task_timeout=8,
    action_retry=RetryPolicy(interval=1, backoff_rate=2, max_delay=1, max_attempts=1),
    compensation_retry=RetryPolicy(interval=1, backoff_rate=2, max_delay=1, max_attempts=2),
)

if __name__ == "__main__":
    app = App()
    OrderSagaStack(app, "OrderSaga-faults", stage=SHORT)
    app.synth()
