"""The steps of a trip as its functions see them: what each step requires of the input and stores in its row."""

from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import amount, card_last4, line

SCHEMA = Schema(
    noun="trip",
    key="trip_id",
    fields=("trip_id", "flight", "hotel", "price", "card_no"),
    sensitive=("card_no",),
    max_size=100_000,
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
    # The pivot is never refunded. VOIDED means that the charge was not made and never will be.
    StepSpec(
        action="take_payment",
        schema=SCHEMA,
        entity="PAYMENT",
        live="CHARGED",
        compensated="VOIDED",
        stores={"amount": amount("price"), "card_last4": card_last4("card_no")},
    ),
)
