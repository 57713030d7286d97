"""The CDK app of the order saga. Its context is ``stage``, ``alert_email``, ``api``, and two for JWT (docs/api.md)."""

from saga_stack.construct.app import synthesize

if __name__ == "__main__":
    synthesize("saga_stack.order_saga.OrderSagaStack", "OrderSaga")
