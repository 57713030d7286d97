"""The functions of a saga for tests, and the steps as these see them."""

from lambdas.saga_runtime.callbacks import receiver
from lambdas.saga_runtime.handlers import action, compensation
from lambdas.saga_runtime.provider_calls import ProviderRequest
from lambdas.saga_runtime.steps import Attributes, Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import line

SCHEMA = Schema(noun="move", key="move_id", fields=("move_id", "goods"), max_size=100_000)
STEPS = by_entity(
    StepSpec(
        action="book_van",
        schema=SCHEMA,
        entity="VAN",
        in_progress="REQUESTED",
        live="BOOKED",
        rejected="DECLINED",
        compensating="CANCELLING",
        compensated="CANCELLED",
        answer_stores={"driver": line("driver", longest=100)},
    ),
    StepSpec(action="pack_goods", schema=SCHEMA, entity="GOODS", live="PACKED", compensated="UNPACKED"),
    StepSpec(
        action="sign_receipt",
        schema=SCHEMA,
        entity="RECEIPT",
        in_progress="SENT",
        live="SIGNED",
        compensated="VOIDED",
    ),
)


def _call(request: ProviderRequest) -> Attributes:
    return {"reference": request.key}


book_van = action(STEPS["VAN"], call=_call, has_callback=True)
cancel_van = compensation(STEPS["VAN"], call=_call)
pack_goods, unpack_goods = action(STEPS["GOODS"]), compensation(STEPS["GOODS"])
sign_receipt = action(STEPS["RECEIPT"], has_callback=True)
_receive = receiver(STEPS["VAN"], STEPS["RECEIPT"])


def receive_answer(event: object, _context: object) -> dict[str, str]:
    """Receive an answer."""
    return _receive(event)
