"""The three steps of an order as data: their rows, and what each requires of its input and stores of it.

A step checks the fields that it works with, and no others; CreateOrder, the first, also refuses fields that
no step knows.
"""

from lambdas.shared.fields import Fields, amount, card_last4, text
from lambdas.shared.rows import Entity, Row
from lambdas.shared.steps import Schema, Step

MAX_ADDRESS = 500

SCHEMA = Schema(name="order", key="order_id", fields=("order_id", "total", "card_no", "address"))


def _order_row(order: Fields) -> Row:
    SCHEMA.require_known_fields(order)
    return {"total": amount(order, "total")}


def _payment_row(order: Fields) -> Row:
    return {"amount": amount(order, "total"), "card_last4": card_last4(order, "card_no")}


def _shipment_row(order: Fields) -> Row:
    return {"address": text(order, "address", longest=MAX_ADDRESS)}


ORDER = Step(
    name="CreateOrder",
    schema=SCHEMA,
    # ConfirmOrder is a write of the state machine itself (saga_stack/fulfilment.py).
    entity=Entity(name="ORDER", live="PENDING", confirmed="CONFIRMED", undone="DELETED"),
    stored=_order_row,
)
PAYMENT = Step(
    name="ProcessPayment",
    schema=SCHEMA,
    entity=Entity(name="PAYMENT", live="CHARGED", undone="REFUNDED"),
    stored=_payment_row,
)
SHIPMENT = Step(
    name="ProcessShipment",
    schema=SCHEMA,
    entity=Entity(name="SHIPMENT", live="BOOKED", undone="CANCELLED"),
    stored=_shipment_row,
)
