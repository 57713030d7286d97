"""A saga for tests: a group with a step that waits, and at the end a retriable step that waits."""

from datetime import timedelta
from pathlib import Path

from constructs import Construct

from lambdas.saga_runtime.callbacks import receiver
from lambdas.saga_runtime.handlers import action, compensation
from lambdas.saga_runtime.provider_calls import ProviderRequest
from lambdas.saga_runtime.steps import Attributes, Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import line
from local.demo import Demo
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import Callback, Parallel, Retriable, Step
from tests.saga.faults import ACCEPTANCE

SCHEMA = Schema(noun="move", key="move_id", fields=("move_id", "goods"), max_size=100_000)
SPECS = by_entity(
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
WEEK = Callback(timeout=timedelta(days=7), heartbeat=timedelta(days=1))
STEPS = (
    Parallel(
        name="preparations",
        steps=(
            Step(action="book_van", compensation="cancel_van", callback=WEEK),
            Step(action="pack_goods", compensation="unpack_goods"),
        ),
    ),
    Retriable(action="sign_receipt", callback=Callback(timeout=timedelta(days=2))),
)
MOVE: dict[str, object] = {"move_id": "1", "goods": "a piano"}


def _call(request: ProviderRequest) -> Attributes:
    return {"reference": request.key}


book_van = action(SPECS["VAN"], call=_call, has_callback=True)
cancel_van = compensation(SPECS["VAN"], call=_call)
pack_goods, unpack_goods = action(SPECS["GOODS"]), compensation(SPECS["GOODS"])
sign_receipt = action(SPECS["RECEIPT"], has_callback=True)
_receive = receiver(SPECS["VAN"], SPECS["RECEIPT"])


def receive_answer(event: object, _context: object) -> dict[str, str]:
    """Receive an answer."""
    return _receive(event)


class MoveSagaStack(SagaStack):
    """The saga of one stage."""

    def __init__(self, scope: Construct, id_: str, *, stage: Stage) -> None:
        super().__init__(
            scope,
            id_,
            stage=stage,
            description="Moves goods",
            steps=STEPS,
            state_machine="Move",
            partition_key=SCHEMA.key,
            failed="MoveFailed",
            handler="tests.saga.waiting_saga.{}",
            receiver="receive_answer",
        )


DEMO = Demo(
    stack="MoveSaga",
    module=__name__,
    specs=SPECS,
    failed="MoveFailed",
    folder=Path(),
    scenarios={},
    answer=lambda _input: ACCEPTANCE,
)
