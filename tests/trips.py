"""Steps for tests, with their functions: a group whose rows are confirmed, and a pivot."""

from lambdas.saga_runtime.handlers import action, compensation, confirmation, resolution
from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import amount, line

SCHEMA = Schema(
    noun="trip", key="trip_id", fields=("trip_id", "flight", "hotel", "price", "card_no"), sensitive=("card_no",)
)
STEPS = by_entity(
    StepSpec(
        action="reserve_flight",
        schema=SCHEMA,
        entity="FLIGHT",
        live="RESERVED",
        confirmed="CONFIRMED",
        compensated="CANCELLED",
        stores={"flight": line("flight", longest=100)},
    ),
    StepSpec(
        action="reserve_hotel",
        schema=SCHEMA,
        entity="HOTEL",
        live="RESERVED",
        confirmed="CONFIRMED",
        compensated="CANCELLED",
        stores={"hotel": line("hotel", longest=100)},
    ),
    StepSpec(
        action="take_payment",
        schema=SCHEMA,
        entity="PAYMENT",
        live="CHARGED",
        compensated="VOIDED",
        stores={"amount": amount("price")},
    ),
)
TRIP: dict[str, object] = {"trip_id": "1", "flight": "XY 100", "hotel": "Bay", "price": 900, "card_no": "123-1234"}

FLIGHT, HOTEL, PAYMENT = STEPS["FLIGHT"], STEPS["HOTEL"], STEPS["PAYMENT"]
reserve_flight, cancel_flight, confirm_flight = action(FLIGHT), compensation(FLIGHT), confirmation(FLIGHT)
reserve_hotel, cancel_hotel = action(HOTEL), compensation(HOTEL)
take_payment, resolve_payment = action(PAYMENT), resolution(PAYMENT)
