"""The steps of a parcel as its functions see them: what each step requires of the input and stores in its row."""

from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import line

SCHEMA = Schema(noun="parcel", key="parcel_id", fields=("parcel_id", "goods", "address"), max_size=100_000)

STEPS = by_entity(
    StepSpec(
        action="reserve_goods",
        schema=SCHEMA,
        entity="GOODS",
        live="RESERVED",
        compensated="RELEASED",
        stores={"goods": line("goods", longest=100)},
    ),
    # The carrier reads the request, and answers hours or days later whether it comes.
    StepSpec(
        action="request_pickup",
        schema=SCHEMA,
        entity="PICKUP",
        in_progress="REQUESTED",
        live="ACCEPTED",
        rejected="DECLINED",
        compensated="CANCELLED",
        stores={"address": line("address", longest=200)},
        answer_stores={"driver": line("driver", longest=100)},
    ),
    # The last step must succeed, so the status VOIDED never comes.
    StepSpec(action="print_label", schema=SCHEMA, entity="LABEL", live="PRINTED", compensated="VOIDED"),
)
