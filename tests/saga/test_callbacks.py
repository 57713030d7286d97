"""Steps that wait for an answer under faults: in line, in a group, and retriable."""

import functools
import random
from collections.abc import Iterator

import pytest

from examples.parcel_pickup.app import ParcelSagaStack
from examples.parcel_pickup.demo import DEMO as PARCEL_DEMO
from tests.fixtures import synthesized
from tests.invariants import is_stuck
from tests.saga import waiting_saga
from tests.saga.answers import answer
from tests.saga.faults import AnswerFault, Fault, Faults, Injector, answers
from tests.saga.interpreter import Execution, Interpreter, interpreter, never_answer
from tests.saga.trial import check, fresh, trial
from tests.shape import shape_of

PARCEL = PARCEL_DEMO.input("1-accepted")
SAMPLE = 120


@pytest.fixture(params=["parcel", "move"])
def machine(request: pytest.FixtureRequest) -> Iterator[Interpreter]:
    if request.param == "parcel":
        template, demo = synthesized("dev", ParcelSagaStack, "ParcelSaga"), PARCEL_DEMO
    else:
        template, demo = synthesized("dev", waiting_saga.MoveSagaStack, "MoveSaga"), waiting_saga.DEMO
    with interpreter(shape_of(template), demo) as machine:
        machine.sender = functools.partial(answer, machine)
        yield machine


parcel = pytest.mark.parametrize("machine", ["parcel"], indirect=True)
move = pytest.mark.parametrize("machine", ["move"], indirect=True)


def input_of(machine: Interpreter) -> dict[str, object]:
    return PARCEL if machine.demo is PARCEL_DEMO else waiting_saga.MOVE


def run(machine: Interpreter, faults: Faults) -> Execution:
    execution, _ = run_counted(machine, faults)
    return execution


def run_counted(machine: Interpreter, faults: Faults) -> tuple[Execution, dict[str, int]]:
    """Run an execution under faults; return it, and how often each task was attempted."""
    machine.intercept = injector = Injector(machine, faults)
    machine.sender = injector.send
    execution = machine.run(input_of(machine))
    injector.deliver_late()
    return execution, injector.attempts


def statuses(machine: Interpreter) -> dict[str, str]:
    return {entity: row["status"] for entity, row in machine.rows("1").items()}


@pytest.mark.parametrize("fault", AnswerFault)
def test_no_fault_of_an_answer_leaves_a_saga_half_done(machine: Interpreter, fault: AnswerFault) -> None:
    for state in machine.shape.waiting:
        for backwards in (False, True):
            input_ = fresh(input_of(machine), machine.shape.key)
            _, problems = trial(machine, input_, {state: (fault,)}, backwards=backwards)
            assert not problems, (state, problems)


@pytest.mark.parametrize("part", range(3))
def test_no_fault_of_an_answer_with_another_fault_leaves_a_saga_half_done(machine: Interpreter, part: int) -> None:
    sample = random.Random(20_260_101).sample(answers(machine.shape), SAMPLE)
    for number, faults in enumerate(sample[part::3]):
        input_ = fresh(input_of(machine), machine.shape.key)
        _, problems = trial(machine, input_, faults, backwards=bool(number % 2))
        assert not problems, (faults, problems)


def test_an_accepted_saga_succeeds(machine: Interpreter) -> None:
    execution = run(machine, {})
    assert execution.status == "SUCCEEDED"
    assert not check(machine, [execution])


@parcel
def test_a_rejected_saga_is_rolled_back_and_its_cause_gives_the_reason(machine: Interpreter) -> None:
    execution = run(machine, {"RequestPickup": (AnswerFault.REJECTED,)})
    assert (execution.status, execution.error) == ("FAILED", "ParcelFailed")
    assert execution.cause == "RequestPickup failed: StepRejected: PICKUP was rejected: no van"
    assert statuses(machine) == {"GOODS": "RELEASED", "PICKUP": "CANCELLED"}


@parcel
@pytest.mark.parametrize("fault", [AnswerFault.NEVER, AnswerFault.LATE, AnswerFault.LOST])
def test_a_saga_without_an_answer_in_time_is_rolled_back_after_one_timeout(
    machine: Interpreter, fault: AnswerFault
) -> None:
    execution, attempts = run_counted(machine, {"RequestPickup": (fault,)})
    assert attempts["RequestPickup"] == 1
    assert (execution.cause or "").startswith("RequestPickup failed: States.Timeout: ")
    assert execution.states == ("ReserveGoods", "RequestPickup", "CancelPickup", "ReleaseGoods", "ParcelFailed")
    assert statuses(machine) == {"GOODS": "RELEASED", "PICKUP": "CANCELLED"}


@parcel
def test_an_action_that_fails_before_its_write_is_retried_and_waits_then(machine: Interpreter) -> None:
    assert run(machine, {"RequestPickup": (Fault.ERROR_BEFORE,)}).status == "SUCCEEDED"


@move
def test_a_rejected_step_of_a_group_compensates_the_whole_group(machine: Interpreter) -> None:
    execution = run(machine, {"BookVan": (AnswerFault.REJECTED,)})
    assert execution.cause == "BookVan failed: StepRejected: VAN was rejected: no van"
    assert statuses(machine) == {"VAN": "CANCELLED", "GOODS": "UNPACKED"}


@move
def test_a_retriable_step_without_an_answer_is_stuck_and_its_redrive_waits_with_a_new_token(
    machine: Interpreter,
) -> None:
    execution = run(machine, {"SignReceipt": (AnswerFault.NEVER,)})
    assert is_stuck(machine.shape, execution)
    assert execution.states[-1] == "SignReceipt"
    token = machine.rows("1")["RECEIPT"]["task_token"]
    machine.sender = functools.partial(answer, machine)
    assert machine.resume(execution).status == "SUCCEEDED"
    assert machine.rows("1")["RECEIPT"]["task_token"] != token
    assert statuses(machine)["RECEIPT"] == "SIGNED"


@move
def test_an_answer_to_a_stuck_saga_counts_and_its_redrive_completes_by_itself(machine: Interpreter) -> None:
    execution = run(machine, {"SignReceipt": (AnswerFault.LATE,)})
    assert is_stuck(machine.shape, execution)
    assert statuses(machine)["RECEIPT"] == "SIGNED"
    machine.sender = never_answer
    resumed = machine.resume(execution)
    assert (resumed.status, resumed.output) == ("SUCCEEDED", {"move_id": "1", "status": "SIGNED"})
