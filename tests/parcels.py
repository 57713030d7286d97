"""Steps for tests, with their functions: one that waits for an answer, and one that does not."""

from lambdas.saga_runtime.handlers import action, compensation
from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import line

SCHEMA = Schema(noun="parcel", key="parcel_id", fields=("parcel_id", "goods", "address"))
STEPS = by_entity(
    StepSpec(action="reserve_goods", schema=SCHEMA, entity="GOODS", live="RESERVED", compensated="RELEASED"),
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
)
PARCEL: dict[str, object] = {"parcel_id": "1", "goods": "tea", "address": "1 Quay St"}

request_pickup, cancel_pickup = action(STEPS["PICKUP"], has_callback=True), compensation(STEPS["PICKUP"])
