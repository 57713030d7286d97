"""The steps of a sale as its functions see them: what each step requires of the input and stores in its row."""

from datetime import timedelta

from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import amount, line

SCHEMA = Schema(
    noun="sale",
    key="sale_id",
    fields=("sale_id", "seat", "price", "payment_method", "buyer"),
    sensitive=("payment_method",),
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
        action="authorize_card",
        schema=SCHEMA,
        entity="PAYMENT",
        in_progress="AUTHORIZING",
        live="AUTHORIZED",
        confirmed="CAPTURED",
        compensating="CANCELLING",
        compensated="CANCELLED",
        stores={"amount": amount("price")},
        references=("payment_intent",),
        # Stripe API, "Idempotent requests": keys are removed after they are at least 24 hours old.
        key_lifetime=timedelta(hours=24),
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
