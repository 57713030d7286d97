"""The three rows of a sale as data: what each step requires of the input, and what its row stores of it."""

from lambdas.shared.fields import Fields, amount, card_last4, line
from lambdas.shared.rows import Entity, Row
from lambdas.shared.steps import Schema, Step

MAX_NAME = 100

SCHEMA = Schema(name="sale", key="sale_id", fields=("sale_id", "seat", "price", "card_no", "buyer"))


def _seat_row(sale: Fields) -> Row:
    SCHEMA.require_known_fields(sale)
    return {"seat": line(sale, "seat", longest=MAX_NAME)}


def _payment_row(sale: Fields) -> Row:
    return {"amount": amount(sale, "price"), "card_last4": card_last4(sale, "card_no")}


def _ticket_row(sale: Fields) -> Row:
    return {"buyer": line(sale, "buyer", longest=MAX_NAME)}


SEAT = Step(
    name="ReserveSeat",
    schema=SCHEMA,
    entity=Entity(name="SEAT", live="RESERVED", undone="RELEASED"),
    stored=_seat_row,
)
PAYMENT = Step(
    name="ChargeCard",
    schema=SCHEMA,
    entity=Entity(name="PAYMENT", doing="CHARGING", live="CHARGED", undoing="REFUNDING", undone="REFUNDED"),
    stored=_payment_row,
)
TICKET = Step(
    name="IssueTicket",
    schema=SCHEMA,
    entity=Entity(name="TICKET", live="ISSUED", undone="VOIDED"),
    stored=_ticket_row,
)
