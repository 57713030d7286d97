"""The steps of a booking as its functions see them."""

from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import amount, line

SCHEMA = Schema(noun="booking", key="booking_id", fields=("booking_id", "guest", "price"))

STEPS = by_entity(
    StepSpec(
        action="reserve_room",
        schema=SCHEMA,
        entity="ROOM",
        live="RESERVED",
        confirmed="SOLD",
        compensated="FREED",
        stores={"guest": line("guest", longest=100)},
    ),
    StepSpec(
        action="take_deposit",
        schema=SCHEMA,
        entity="DEPOSIT",
        live="TAKEN",
        compensated="RETURNED",
        stores={"price": amount("price")},
    ),
)
