"""The CDK app of the order saga. Its context is ``stage``, ``alert_email``, ``api``, and two for JWT (docs/api.md)."""

from saga_stack.construct.app import synthesize
from saga_stack.order_saga import OrderSagaStack

if __name__ == "__main__":
    synthesize(OrderSagaStack, "OrderSaga")
