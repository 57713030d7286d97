"""The steps of an order as its functions see them: what each step requires of the input and stores in its row."""

from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import amount, card_last4, text

# Where the HTTP API has the orders, if the stack has one.
API_PATH = "/orders"
SCHEMA = Schema(
    noun="order",
    key="order_id",
    fields=("order_id", "total", "card_no", "address"),
    sensitive=("card_no",),
)

STEPS = by_entity(
    StepSpec(
        action="create_order",
        schema=SCHEMA,
        entity="ORDER",
        live="PENDING",
        compensated="DELETED",
        confirmed="CONFIRMED",  # by the state ConfirmOrder (saga_stack/order_saga.py)
        stores={"total": amount("total")},
    ),
    StepSpec(
        action="process_payment",
        schema=SCHEMA,
        entity="PAYMENT",
        live="CHARGED",
        compensated="REFUNDED",
        stores={"amount": amount("total"), "card_last4": card_last4("card_no")},
    ),
    StepSpec(
        action="process_shipment",
        schema=SCHEMA,
        entity="SHIPMENT",
        live="BOOKED",
        compensated="CANCELLED",
        stores={"address": text("address", longest=500)},
    ),
)
