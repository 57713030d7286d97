"""The input of the order saga: what each step requires and stores."""

import math
from decimal import Decimal

import pytest

from lambdas.order_steps import SCHEMA, STEPS
from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.steps import StepSpec

ORDER, PAYMENT, SHIPMENT = STEPS["ORDER"], STEPS["PAYMENT"], STEPS["SHIPMENT"]
VALID: dict[str, object] = {"order_id": "1", "total": 100, "card_no": "123-1234", "address": "123 st"}


def having(**fields: object) -> dict[str, object]:
    return {**VALID, **fields}


def without(field: str) -> dict[str, object]:
    return {name: value for name, value in VALID.items() if name != field}


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (None, "the order is null: expected an object"),
        ([VALID], "the order is a list: expected an object"),
        ("text", "the order is a string: expected an object"),
        (5, "the order is a number: expected an object"),
        (True, "the order is a boolean: expected an object"),
        (without("order_id"), "order_id is missing: expected a string of 1 to 128"),
        (having(order_id=1), "order_id is a number: expected a string"),
        (having(order_id=None), "order_id is null: expected a string"),
        (having(order_id=""), "order_id is empty: expected"),
        (having(order_id=" \t"), "order_id is empty: expected"),
        (having(order_id="x" * 129), "order_id is 129 characters long: expected"),
        *(
            (having(order_id=f"a{character}b"), "order_id has a control character or half of a surrogate pair")
            for character in "\0\n\x1f\x7f\x80\x9f\ud800\udfff"
        ),
    ],
)
def test_an_order_without_a_valid_key_is_rejected(order: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SCHEMA.key_of(order)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([VALID], "the order is a list: expected an object with order_id, total, card_no, address"),
        (having(colour="red"), "unknown field 'colour': expected order_id, total, card_no, address and nothing else"),
        (having(**{"4111 1111": 1}), r"unknown field \(name not shown\): expected order_id"),
        (having(address="x" * 200_000), "the order has 200,06. bytes: expected at most 190,000"),
        (having(order_id="é" * 40_000), "the order has 240,... bytes: expected at most 190,000"),
    ],
)
def test_an_order_of_unknown_fields_or_too_many_bytes_is_rejected(order: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SCHEMA.validated(order)


TOTAL = "expected a number above 0 and at most 1,000,000,000, with at most 2 decimals"
CARD = "expected a string of 5 to 19 digits"


@pytest.mark.parametrize(
    ("step", "order", "message"),
    [
        (ORDER, without("total"), f"total is missing: {TOTAL}"),
        (ORDER, having(total="100"), f"total is a string: {TOTAL}"),
        (ORDER, having(total=True), f"total is a boolean: {TOTAL}"),
        (ORDER, having(total=None), f"total is null: {TOTAL}"),
        (ORDER, having(total=[100]), f"total is a list: {TOTAL}"),
        (ORDER, having(total={"amount": 100}), f"total is an object: {TOTAL}"),
        *((ORDER, having(total=total), f"total is out of range: {TOTAL}") for total in (0, -1, -0.01, 1e10, 10**400)),
        *((ORDER, having(total=total), f"total is out of range: {TOTAL}") for total in (math.nan, math.inf, 0.001)),
        (PAYMENT, without("total"), f"total is missing: {TOTAL}"),
        (PAYMENT, without("card_no"), f"card_no is missing: {CARD}"),
        (PAYMENT, having(card_no=1231234), f"card_no is a number: {CARD}"),
        (PAYMENT, having(card_no=None), f"card_no is null: {CARD}"),
        *(
            (PAYMENT, having(card_no=card), f"card_no is not a card number: {CARD}")
            for card in ("", "1234", "123-abcd", "123--1234", "-1231234", "١٢٣١٢٣٤", "1" * 20, "1231234\n")
        ),
        (SHIPMENT, without("address"), "address is missing: expected a string of 1 to 500"),
        (SHIPMENT, having(address=5), "address is a number: expected a string"),
        (SHIPMENT, having(address="   "), "address is empty: expected"),
        (SHIPMENT, having(address="x" * 200_000), "address is 200,000 characters long: expected"),
        *(
            (SHIPMENT, having(address=f"123{character} st"), "address has a control character or half of a surrogate")
            for character in "\0\x08\x0b\x0c\x0e\x1f\x7f\x80\x9f\ud800\udfff"
        ),
    ],
)
def test_a_step_rejects_an_invalid_field(step: StepSpec, order: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        step.attributes(order)


@pytest.mark.parametrize("card", ["12345", "123-1234", "5555 0000 1111 2222"])
def test_no_message_shows_a_value(card: str) -> None:
    order = {**{field: [card] for field in SCHEMA.fields}, card: card}
    for reject in (SCHEMA.validated, SCHEMA.key_of, ORDER.attributes, PAYMENT.attributes, SHIPMENT.attributes):
        with pytest.raises(InvalidInput) as rejection:
            reject(order)
        assert card not in str(rejection.value)


@pytest.mark.parametrize(
    ("step", "order", "attributes"),
    [
        (ORDER, having(), {"total": Decimal(100)}),
        (ORDER, having(total=0.1), {"total": Decimal("0.1")}),
        (ORDER, having(total=1_000_000_000), {"total": Decimal(1_000_000_000)}),
        (PAYMENT, having(card_no="5555 0000-1111"), {"amount": Decimal(100), "card_last4": "1111"}),
        (PAYMENT, having(card_no="5555 0000 1-2 3-4"), {"amount": Decimal(100), "card_last4": "1234"}),
        (SHIPMENT, having(address="Straße 5\r\n\t東京\u3000港区 🚀"), {"address": "Straße 5\r\n\t東京\u3000港区 🚀"}),
    ],
)
def test_a_step_stores_what_it_needs_of_a_valid_order(
    step: StepSpec, order: dict[str, object], attributes: object
) -> None:
    assert step.attributes(order) == attributes


@pytest.mark.parametrize(
    ("step", "order"),
    [
        (ORDER, {"order_id": "1", "total": 1}),
        (PAYMENT, {"order_id": "1", "total": 1, "card_no": "12345"}),
        (SHIPMENT, {"order_id": "1", "address": "here"}),
    ],
)
def test_a_step_does_not_require_the_fields_of_the_others(step: StepSpec, order: dict[str, object]) -> None:
    assert step.attributes(SCHEMA.validated(order))
