"""The CDK app of the order saga. Its context is ``-c stage=NAME`` and ``-c alert_email=ADDRESS``."""

from saga_stack.construct.app import synthesize
from saga_stack.order_saga import OrderSagaStack

if __name__ == "__main__":
    synthesize(OrderSagaStack, "OrderSaga")
