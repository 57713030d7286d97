"""The CDK app of the order saga: ``-c stage=NAME`` and ``-c alert_email=ADDRESS`` are its context."""

from saga_stack.app import synthesize
from saga_stack.stack import OrderSagaStack

if __name__ == "__main__":
    synthesize(OrderSagaStack, "OrderSaga")
