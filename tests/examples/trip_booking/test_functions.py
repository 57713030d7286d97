"""What the functions of the trip saga accept."""

import pytest

from examples.trip_booking.demo import DEMO
from examples.trip_booking.lambdas import handlers
from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.steps import StepSpec

SAGA = {"id": "s", "started_at": "2026-01-01T00:00:00.000Z"}
TRIP = DEMO.input("1-success")
FLIGHT, HOTEL, PAYMENT = handlers.FLIGHT, handlers.HOTEL, handlers.PAYMENT


@pytest.mark.parametrize(
    ("step", "trip", "message"),
    [
        (FLIGHT, {**TRIP, "flight": None}, "flight is null: expected a string of 1 to 100"),
        (HOTEL, {**TRIP, "hotel": "a\nb"}, "hotel has a control character"),
        (PAYMENT, {**TRIP, "price": 0}, "price is out of range"),
        (PAYMENT, {**TRIP, "card_no": "x"}, "card_no is not a card number"),
    ],
)
def test_a_step_rejects_an_invalid_field(step: StepSpec, trip: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        step.attributes(trip)


@pytest.mark.parametrize("name", ["reserve_flight", "reserve_hotel", "take_payment"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colour": "red"}, "unknown field 'colour': expected trip_id, flight, hotel, price, card_no"),
        ({"hotel": "x" * 100_000}, "the trip has 100,0.. bytes: expected at most 100,000"),
    ],
)
def test_every_action_rejects_unknown_fields_and_too_many_bytes(
    name: str, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        getattr(handlers, name)({"saga": SAGA, "input": {**TRIP, **fields}}, None)
