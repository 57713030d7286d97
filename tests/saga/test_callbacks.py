"""Steps that wait for an answer under faults: in a group, and retriable."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures import synthesized
from tests.invariants import is_stuck
from tests.saga import waiting_saga
from tests.saga.faults import ACCEPTANCE, AnswerFault, Faults, Injector, pairs, singles
from tests.saga.interpreter import Execution, Interpreter, interpreter, never_answer
from tests.saga.trial import fresh, trial
from tests.shape import shape_of

SAMPLE = 120


@pytest.fixture
def moves() -> Iterator[Interpreter]:
    template = synthesized("dev", waiting_saga.MoveSagaStack, "MoveSaga")
    with interpreter(shape_of(template), waiting_saga.DEMO) as machine:
        yield machine


def run(machine: Interpreter, input_: dict[str, object], faults: Faults) -> Execution:
    execution, _ = run_counted(machine, input_, faults)
    return execution


def run_counted(machine: Interpreter, input_: dict[str, object], faults: Faults) -> tuple[Execution, dict[str, int]]:
    """Run an execution under faults; return it, and how often each task was attempted."""
    machine.intercept = injector = Injector(machine, faults)
    machine.sender = injector.send
    execution = machine.run(input_)
    injector.deliver_late()
    return execution, injector.attempts


def statuses(machine: Interpreter) -> dict[str, str]:
    return {entity: row["status"] for entity, row in machine.rows("1").items()}


def test_no_fault_of_a_step_of_a_group_or_a_retriable_step_that_waits_leaves_a_saga_half_done(
    moves: Interpreter,
) -> None:
    for faults in singles(moves.shape):
        for backwards in (False, True):
            _, problems = trial(moves, fresh(waiting_saga.MOVE, moves.shape.key), faults, backwards=backwards)
            assert not problems, (faults, problems)


@pytest.mark.parametrize("part", range(3))
def test_no_pair_of_such_faults_leaves_a_saga_half_done(moves: Interpreter, part: int) -> None:
    sample = random.Random(20_260_101).sample(pairs(moves.shape), SAMPLE)
    for number, faults in enumerate(sample[part::3]):
        _, problems = trial(moves, fresh(waiting_saga.MOVE, moves.shape.key), faults, backwards=bool(number % 2))
        assert not problems, (faults, problems)


def test_a_rejected_step_of_a_group_compensates_the_whole_group(moves: Interpreter) -> None:
    execution = run(moves, waiting_saga.MOVE, {"BookVan": (AnswerFault.REJECTED,)})
    assert execution.cause == "BookVan failed: StepRejected: VAN was rejected: no van"
    assert statuses(moves) == {"VAN": "CANCELLED", "GOODS": "UNPACKED"}


def test_a_redrive_waits_with_a_new_token_and_an_answer_to_the_request_before_it_counts(moves: Interpreter) -> None:
    requests: list[Any] = []
    moves.sender = lambda state, payload: (
        requests.append(payload) if state == "SignReceipt" else moves.answer_in_time(state, payload)
    )
    stuck = moves.run(waiting_saga.MOVE)
    assert is_stuck(moves.shape, stuck)
    assert stuck.states[-1] == "SignReceipt"
    assert moves.rows("1")["RECEIPT"]["task_token"] == requests[0]["task_token"]
    moves.sender = lambda state, _payload: moves.answer(state, requests[0], ACCEPTANCE)
    assert moves.resume(stuck).status == "SUCCEEDED"
    assert moves.rows("1")["RECEIPT"]["task_token"] != requests[0]["task_token"]
    assert statuses(moves)["RECEIPT"] == "SIGNED"


def test_an_answer_to_a_stuck_saga_counts_and_its_redrive_completes_by_itself(moves: Interpreter) -> None:
    execution = run(moves, waiting_saga.MOVE, {"SignReceipt": (AnswerFault.TOO_LATE,)})
    assert is_stuck(moves.shape, execution)
    assert statuses(moves)["RECEIPT"] == "SIGNED"
    moves.sender = never_answer
    resumed = moves.resume(execution)
    assert (resumed.status, resumed.output) == ("SUCCEEDED", {"move_id": "1", "status": "SIGNED"})
