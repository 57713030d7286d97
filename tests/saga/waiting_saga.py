"""A saga for tests: a group with a step that waits, and at the end a retriable step that waits."""

from datetime import timedelta
from pathlib import Path

from constructs import Construct

from local.demo import Demo
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import Callback, Parallel, Retriable, Step
from tests.saga import waiting_functions
from tests.saga.faults import ACCEPTANCE

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
            partition_key=waiting_functions.SCHEMA.key,
            failed="MoveFailed",
            handler="tests.saga.waiting_functions.{}",
            receiver="receive_answer",
        )


DEMO = Demo(
    stack="MoveSaga",
    module=__name__,
    specs_module=waiting_functions,
    failed="MoveFailed",
    folder=Path(),
    scenarios={},
    answer=lambda _input: ACCEPTANCE,
)
