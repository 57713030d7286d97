"""A step that waits for an answer under faults, in the parcel saga."""

import pytest

from tests.saga.faults import AnswerFault, Fault
from tests.saga.interpreter import Interpreter
from tests.saga.test_callbacks import run, run_counted, statuses
from tests.saga.trial import check
from tests.sagas import SAGAS

pytestmark = pytest.mark.parametrize("saga", ["parcel_pickup"], indirect=True)

PARCEL = SAGAS["parcel_pickup"].demo.input("1-success")
# The sender answers in time, and nothing else goes wrong with the answer for good.
HARMLESS = (AnswerFault.EARLY, AnswerFault.DURING, AnswerFault.REPEATED, AnswerFault.CONTRADICTED, AnswerFault.CRASHED)


@pytest.mark.parametrize("fault", HARMLESS)
def test_no_answer_in_time_is_lost(machine: Interpreter, fault: AnswerFault) -> None:
    execution = run(machine, PARCEL, {"RequestPickup": (fault,)})
    assert execution.status == "SUCCEEDED"
    assert not check(machine, [execution])


def test_a_rejected_saga_is_rolled_back_and_its_cause_gives_the_reason(machine: Interpreter) -> None:
    execution = run(machine, PARCEL, {"RequestPickup": (AnswerFault.REJECTED,)})
    assert (execution.status, execution.error) == ("FAILED", "ParcelFailed")
    assert execution.cause == "RequestPickup failed: StepRejected: PICKUP was rejected: no van"
    assert statuses(machine) == {"GOODS": "RELEASED", "PICKUP": "CANCELLED"}


@pytest.mark.parametrize("fault", [AnswerFault.NEVER, AnswerFault.TOO_LATE, AnswerFault.LOST])
def test_a_saga_without_an_answer_in_time_is_rolled_back_after_one_timeout(
    machine: Interpreter, fault: AnswerFault
) -> None:
    execution, attempts = run_counted(machine, PARCEL, {"RequestPickup": (fault,)})
    assert attempts["RequestPickup"] == 1
    assert (execution.cause or "").startswith("RequestPickup failed: States.Timeout: ")
    assert execution.states == ("ReserveGoods", "RequestPickup", "CancelPickup", "ReleaseGoods", "ParcelFailed")
    assert statuses(machine) == {"GOODS": "RELEASED", "PICKUP": "CANCELLED"}


def test_an_action_that_fails_before_its_write_is_retried_and_waits_then(machine: Interpreter) -> None:
    assert run(machine, PARCEL, {"RequestPickup": (Fault.ERROR_BEFORE,)}).status == "SUCCEEDED"
