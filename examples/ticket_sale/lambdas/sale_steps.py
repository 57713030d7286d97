"""The steps of a sale as its functions see them: what each step requires of the input and stores in its row."""

from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import amount, card_last4, line

SCHEMA = Schema(
    noun="sale",
    key="sale_id",
    fields=("sale_id", "seat", "price", "card_no", "buyer"),
    sensitive=("card_no",),
)

STEPS = by_entity(
    StepSpec(
        action="reserve_seat",
        schema=SCHEMA,
        entity="SEAT",
        live="RESERVED",
        compensated="RELEASED",
        stores={"seat": line("seat", longest=100)},
    ),
    StepSpec(
        action="charge_card",
        schema=SCHEMA,
        entity="PAYMENT",
        in_progress="CHARGING",
        live="CHARGED",
        compensating="REFUNDING",
        compensated="REFUNDED",
        stores={"amount": amount("price"), "card_last4": card_last4("card_no")},
    ),
    StepSpec(
        action="issue_ticket",
        schema=SCHEMA,
        entity="TICKET",
        live="ISSUED",
        compensated="VOIDED",
        stores={"buyer": line("buyer", longest=100)},
    ),
)
