"""The order saga with its HTTP API and its events.

Few machines can start the functions of many orders at once within the usual timeout.
"""

from dataclasses import replace

from aws_cdk import App

from saga_stack.construct.stages import STAGES
from saga_stack.order_saga import OrderSagaStack

if __name__ == "__main__":
    app = App(context={"api": "true"})
    OrderSagaStack(app, "OrderSaga-api", stage=replace(STAGES["dev"], function_timeout=60, task_timeout=90))
    app.synth()
