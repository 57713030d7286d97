"""A step that charges a card at the provider that ``make new`` writes, and a step that calls none."""

from lambdas.saga_runtime.handlers import action, compensation
from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import amount, card_last4, line
from templates.saga_provider.lambdas import provider

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
)
PAYMENT = STEPS["PAYMENT"]

charge_card, refund_card = action(PAYMENT, call=provider.charge), compensation(PAYMENT, call=provider.cancel)
