"""The orders of the demo."""

from pathlib import Path

from lambdas import order_steps
from local.demo import Demo, Scenario, StuckScenario

ORDER_DEMO = Demo(
    stack="OrderSaga",
    app="app",
    module="saga_stack.order_saga",
    specs_module=order_steps,
    completion="ConfirmOrder",
    failed="OrderFailed",
    folder=Path(__file__).parent / "scenarios",
    scenarios={
        "1-success": Scenario(title="a complete order"),
        "2-failed-order": Scenario(title="no total", fails="create_order"),
        "3-failed-payment": Scenario(title="no card_no", fails="process_payment"),
        "5-failed-shipment": Scenario(title="no address", fails="process_shipment"),
    },
    stuck=StuckScenario(
        name="6-stuck-refund",
        title="no address, and RefundPayment may not write",
        like="5-failed-shipment",
        key="6",
        compensation="refund_payment",
    ),
)
