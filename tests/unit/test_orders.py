"""What each step requires of its input, and what it says about an input that is not so."""

import math
from decimal import Decimal

import pytest

from lambdas.shared.errors import InvalidOrder
from lambdas.shared.orders import ORDER, PAYMENT, SCHEMA, SHIPMENT
from lambdas.shared.steps import Step

GOOD: dict[str, object] = {"order_id": "1", "total": 100, "card_no": "123-1234", "address": "123 st"}


def bad(**fields: object) -> dict[str, object]:
    return {**GOOD, **fields}


def without(field: str) -> dict[str, object]:
    return {name: value for name, value in GOOD.items() if name != field}


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (None, "the order is null: expected an object"),
        ([GOOD], "the order is a list: expected an object"),
        ("text", "the order is a string: expected an object"),
        (5, "the order is a number: expected an object"),
        (True, "the order is a boolean: expected an object"),
        (without("order_id"), "order_id is missing: expected a string of 1 to 128"),
        (bad(order_id=1), "order_id is a number: expected a string"),
        (bad(order_id=None), "order_id is null: expected a string"),
        (bad(order_id=""), "order_id is empty: expected"),
        (bad(order_id=" \t"), "order_id is empty: expected"),
        (bad(order_id="x" * 129), "order_id is 129 characters long: expected"),
        (bad(order_id="\ud800"), "order_id holds a control character or half of a surrogate pair"),
        (bad(order_id="a\nb"), "order_id holds a control character or half of a surrogate pair"),
        (bad(order_id="a\0b"), "order_id holds a control character or half of a surrogate pair"),
    ],
)
def test_an_order_without_a_valid_id_is_refused(order: object, says: str) -> None:
    with pytest.raises(InvalidOrder, match=says):
        SCHEMA.id_of(SCHEMA.read(order))


TOTAL = "expected a number above 0 and at most 1,000,000,000, with at most 2 decimals"
CARD = "expected a string of 5 to 19 digits"


@pytest.mark.parametrize(
    ("step", "order", "says"),
    [
        (ORDER, without("total"), f"total is missing: {TOTAL}"),
        (ORDER, bad(total="100"), f"total is a string: {TOTAL}"),
        (ORDER, bad(total=True), f"total is a boolean: {TOTAL}"),
        (ORDER, bad(total=None), f"total is null: {TOTAL}"),
        (ORDER, bad(total=[100]), f"total is a list: {TOTAL}"),
        (ORDER, bad(total={"amount": 100}), f"total is an object: {TOTAL}"),
        *((ORDER, bad(total=total), f"total is out of range: {TOTAL}") for total in (0, -1, -0.01, 1e10, 10**400)),
        *((ORDER, bad(total=total), f"total is out of range: {TOTAL}") for total in (math.nan, math.inf, 0.001)),
        (ORDER, bad(address="x" * 200_000), "the order takes 200,06. bytes: expected at most 200,000"),
        (ORDER, bad(colour="red"), "unknown field 'colour': expected order_id, total, card_no, address"),
        (ORDER, bad(**{"4111 1111": 1}), "unknown field of a name that is not shown"),
        (PAYMENT, without("total"), f"total is missing: {TOTAL}"),
        (PAYMENT, without("card_no"), f"card_no is missing: {CARD}"),
        (PAYMENT, bad(card_no=1231234), f"card_no is a number: {CARD}"),
        (PAYMENT, bad(card_no=None), f"card_no is null: {CARD}"),
        *(
            (PAYMENT, bad(card_no=card), f"card_no is not a card number: {CARD}")
            for card in ("", "1234", "123-abcd", "123--1234", "-1231234", "١٢٣١٢٣٤", "1" * 20, "1231234\n")
        ),
        (SHIPMENT, without("address"), "address is missing: expected a string of 1 to 500"),
        (SHIPMENT, bad(address=5), "address is a number: expected a string"),
        (SHIPMENT, bad(address="   "), "address is empty: expected"),
        (SHIPMENT, bad(address="x" * 200_000), "address is 200,000 characters long: expected"),
        (SHIPMENT, bad(address="\udfff st"), "address holds a control character or half of a surrogate pair"),
    ],
)
def test_a_step_refuses_what_it_cannot_work_with(step: Step, order: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidOrder, match=says):
        step.stored(order)


@pytest.mark.parametrize("card", ["12345", "123-1234", "5555 0000 1111 2222"])
@pytest.mark.parametrize("step", [ORDER, PAYMENT, SHIPMENT], ids=lambda step: step.name)
def test_a_message_never_shows_the_value(step: Step, card: str) -> None:
    order = {**{field: [card] for field in ("total", "card_no", "address")}, card: card}
    with pytest.raises(InvalidOrder) as refusal:
        step.stored(order)
    assert card not in str(refusal.value)


@pytest.mark.parametrize(
    ("step", "order", "stored"),
    [
        (ORDER, bad(), {"total": Decimal(100)}),
        (ORDER, bad(total=0.1), {"total": Decimal("0.1")}),
        (ORDER, bad(total=1_000_000_000), {"total": Decimal(1_000_000_000)}),
        (PAYMENT, bad(card_no="5555 0000-1111"), {"amount": Decimal(100), "card_last4": "1111"}),
        (SHIPMENT, bad(address="Straße 5\r\n\t東京\u3000港区 🚀"), {"address": "Straße 5\r\n\t東京\u3000港区 🚀"}),
    ],
)
def test_a_step_stores_what_it_needs_of_a_good_order(step: Step, order: dict[str, object], stored: object) -> None:
    assert step.stored(order) == stored


def test_each_step_ignores_the_fields_of_the_others() -> None:
    assert ORDER.stored({"order_id": "1", "total": 1})
    assert PAYMENT.stored({"order_id": "1", "total": 1, "card_no": "12345", "more": 1})
    assert SHIPMENT.stored({"order_id": "1", "address": "here"})
