"""The order saga with its HTTP API and its events."""

from aws_cdk import App

from saga_stack.construct.stages import STAGES
from saga_stack.order_saga import OrderSagaStack

if __name__ == "__main__":
    app = App(context={"api": "true"})
    OrderSagaStack(app, "OrderSaga-api", stage=STAGES["dev"])
    app.synth()
