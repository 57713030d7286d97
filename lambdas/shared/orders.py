"""The three steps of an order as data: their rows, and what each requires of its input and stores of it.

A step checks the fields that it works with, and no others; CreateOrder, the first, also refuses fields that
no step knows. Messages name the field and the type of its value, never the value: it may be a card number.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from lambdas.shared.errors import InvalidOrder
from lambdas.shared.rows import Entity, Row

Order = Mapping[str, object]

FIELDS = ("order_id", "total", "card_no", "address")
MAX_ORDER_ID = 128
MAX_TOTAL = 1_000_000_000
MAX_ADDRESS = 500
# Bytes of JSON. Step Functions hands on at most 256 KiB, and a compensation gets the reason beside the order: what
# a compensation could not be given, no action may accept.
MAX_ORDER = 200_000

_NUMBER_OF_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){4,18}")
# A lone surrogate is valid in JSON, but is no text and cannot be stored; control characters break what reads them.
_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the saga: its name in the state machine, its row, and what of a valid order the row stores.

    ``stored`` raises InvalidOrder if the order lacks what the step needs.
    """

    name: str
    entity: Entity
    stored: Callable[[Order], Row]


def as_order(value: object) -> Order:
    """The value if it is an object, or InvalidOrder."""
    if not isinstance(value, dict):
        raise InvalidOrder(f"the order is {_kind(value)}: expected an object with {', '.join(FIELDS)}")
    return value


def order_id_of(order: Order) -> str:
    """The order's id, or InvalidOrder. Without a valid one no step can have written anything."""
    return _text(order, "order_id", longest=MAX_ORDER_ID, unfit=_NO_LINE)


def _order_row(order: Order) -> Row:
    if (size := len(json.dumps(order))) > MAX_ORDER:
        raise InvalidOrder(f"the order takes {size:,} bytes: expected at most {MAX_ORDER:,}")
    for name in order:
        if name not in FIELDS:
            shown = f"'{name}'" if _PLAIN_NAME.fullmatch(name) else "of a name that is not shown"
            raise InvalidOrder(f"unknown field {shown}: expected {', '.join(FIELDS)} and nothing else")
    return {"total": _total(order)}


def _payment_row(order: Order) -> Row:
    return {"amount": _total(order), "card_last4": _card_last4(order)}


def _shipment_row(order: Order) -> Row:
    return {"address": _text(order, "address", longest=MAX_ADDRESS, unfit=_NO_TEXT)}


ORDER = Step(name="CreateOrder", entity=Entity(name="ORDER", live="PENDING", undone="DELETED"), stored=_order_row)
PAYMENT = Step(
    name="ProcessPayment", entity=Entity(name="PAYMENT", live="CHARGED", undone="REFUNDED"), stored=_payment_row
)
SHIPMENT = Step(
    name="ProcessShipment", entity=Entity(name="SHIPMENT", live="BOOKED", undone="CANCELLED"), stored=_shipment_row
)


def _total(order: Order) -> Decimal:
    """The total as an exact decimal: as the JSON said it, not as binary floating point holds it."""
    expected = f"expected a number above 0 and at most {MAX_TOTAL:,}, with at most 2 decimals"
    value = order.get("total")
    # bool is a subclass of int, but true is no amount of money.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(order, "total", expected)
    # NaN compares false with everything, so it is out of range too.
    if not 0 < value <= MAX_TOTAL or (amount := Decimal(str(value))) != round(amount, 2):
        raise InvalidOrder(f"total is out of range: {expected}")
    return amount


def _card_last4(order: Order) -> str:
    expected = "expected a string of 5 to 19 digits, single spaces or hyphens between them allowed"
    value = order.get("card_no")
    if not isinstance(value, str):
        raise _invalid(order, "card_no", expected)
    if not _NUMBER_OF_CARD.fullmatch(value):
        raise InvalidOrder(f"card_no is not a card number: {expected}")
    return re.sub("[ -]", "", value)[-4:]


def _text(order: Order, field: str, *, longest: int, unfit: re.Pattern[str]) -> str:
    expected = f"expected a string of 1 to {longest} characters"
    value = order.get(field)
    if not isinstance(value, str):
        raise _invalid(order, field, expected)
    if not value.strip():
        raise InvalidOrder(f"{field} is empty: {expected}")
    if len(value) > longest:
        raise InvalidOrder(f"{field} is {len(value):,} characters long: {expected}")
    if unfit.search(value):
        raise InvalidOrder(f"{field} holds a control character or half of a surrogate pair: {expected} without any")
    return value


def _invalid(order: Order, field: str, expected: str) -> InvalidOrder:
    if field not in order:
        return InvalidOrder(f"{field} is missing: {expected}")
    return InvalidOrder(f"{field} is {_kind(order[field])}: {expected}")


def _kind(value: object) -> str:
    """What JSON calls a value of this type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
