"""Steps that wait for an answer under faults: in line, in a group, and retriable."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures import synthesized
from tests.invariants import is_stuck
from tests.saga import waiting_saga
from tests.saga.faults import ACCEPTANCE, AnswerFault, Fault, Faults, Injector, pairs, singles
from tests.saga.interpreter import Execution, Interpreter, interpreter, never_answer
from tests.saga.trial import check, fresh, trial
from tests.sagas import SAGAS
from tests.shape import shape_of

PARCEL = SAGAS["parcel_pickup"].demo.input("1-success")
SAMPLE = 120
# The sender answers in time, and nothing else goes wrong with the answer for good.
HARMLESS = (AnswerFault.EARLY, AnswerFault.DURING, AnswerFault.REPEATED, AnswerFault.CONTRADICTED, AnswerFault.CRASHED)

parcel = pytest.mark.parametrize("saga", ["parcel_pickup"], indirect=True)


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


@parcel
@pytest.mark.parametrize("fault", HARMLESS)
def test_no_answer_in_time_is_lost(machine: Interpreter, fault: AnswerFault) -> None:
    execution = run(machine, PARCEL, {"RequestPickup": (fault,)})
    assert execution.status == "SUCCEEDED"
    assert not check(machine, [execution])


@parcel
def test_a_rejected_saga_is_rolled_back_and_its_cause_gives_the_reason(machine: Interpreter) -> None:
    execution = run(machine, PARCEL, {"RequestPickup": (AnswerFault.REJECTED,)})
    assert (execution.status, execution.error) == ("FAILED", "ParcelFailed")
    assert execution.cause == "RequestPickup failed: StepRejected: PICKUP was rejected: no van"
    assert statuses(machine) == {"GOODS": "RELEASED", "PICKUP": "CANCELLED"}


@parcel
@pytest.mark.parametrize("fault", [AnswerFault.NEVER, AnswerFault.TOO_LATE, AnswerFault.LOST])
def test_a_saga_without_an_answer_in_time_is_rolled_back_after_one_timeout(
    machine: Interpreter, fault: AnswerFault
) -> None:
    execution, attempts = run_counted(machine, PARCEL, {"RequestPickup": (fault,)})
    assert attempts["RequestPickup"] == 1
    assert (execution.cause or "").startswith("RequestPickup failed: States.Timeout: ")
    assert execution.states == ("ReserveGoods", "RequestPickup", "CancelPickup", "ReleaseGoods", "ParcelFailed")
    assert statuses(machine) == {"GOODS": "RELEASED", "PICKUP": "CANCELLED"}


@parcel
def test_an_action_that_fails_before_its_write_is_retried_and_waits_then(machine: Interpreter) -> None:
    assert run(machine, PARCEL, {"RequestPickup": (Fault.ERROR_BEFORE,)}).status == "SUCCEEDED"


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
