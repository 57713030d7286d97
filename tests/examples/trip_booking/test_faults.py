"""A group and a pivot under faults, in the trip saga."""

import pytest

from tests.invariants import is_stuck
from tests.saga.faults import Fault, Faults, Injector
from tests.saga.interpreter import Deliver, Execution, Interpreter, deliver_at_once
from tests.sagas import SAGAS

pytestmark = pytest.mark.parametrize("saga", ["trip_booking"], indirect=True)

TRIP = SAGAS["trip_booking"].demo.input("1-success")
BEFORE_THE_PIVOT = ("Reservations", "ReservationsComplete", "TakePayment")
RESOLVED = (*BEFORE_THE_PIVOT, "ResolvePayment", "TakePaymentCommitted")


def run(machine: Interpreter, faults: Faults) -> Execution:
    machine.intercept = injector = Injector(machine, faults)
    execution = machine.run(TRIP)
    injector.deliver_late()
    return execution


def statuses(machine: Interpreter) -> dict[str, str]:
    return {entity: row["status"] for entity, row in machine.rows("1").items()}


def test_a_saga_continues_after_a_pivot_that_happened_but_never_responded(machine: Interpreter) -> None:
    execution = run(machine, {"TakePayment": (Fault.SLOW,)})
    assert execution.status == "SUCCEEDED"
    assert machine.shape.path(execution.states) == (*RESOLVED, "Confirmations", "Completed")
    assert statuses(machine) == {"FLIGHT": "CONFIRMED", "HOTEL": "CONFIRMED", "PAYMENT": "CHARGED"}


def test_a_pivot_that_writes_after_its_resolution_is_rejected_and_the_saga_is_rolled_back(machine: Interpreter) -> None:
    execution = run(machine, {"TakePayment": (Fault.LATE,)})
    assert (execution.status, execution.error) == ("FAILED", "TripFailed")
    assert (execution.cause or "").startswith("TakePayment failed: States.Timeout: ")
    assert machine.shape.path(execution.states) == (*RESOLVED, "UndoReservations", "TripFailed")
    assert statuses(machine) == {"FLIGHT": "CANCELLED", "HOTEL": "CANCELLED", "PAYMENT": "VOIDED"}


def test_nothing_is_compensated_while_a_pivot_cannot_be_resolved(machine: Interpreter) -> None:
    execution = run(machine, {"TakePayment": (Fault.SLOW,), "ResolvePayment": (Fault.BROKEN,)})
    assert is_stuck(machine.shape, execution)
    assert execution.states[-1] == "ResolvePayment"
    assert statuses(machine) == {"FLIGHT": "RESERVED", "HOTEL": "RESERVED", "PAYMENT": "CHARGED"}


def test_a_step_that_fails_after_the_pivot_leaves_the_saga_stuck_and_nothing_compensated(machine: Interpreter) -> None:
    execution = run(machine, {"ConfirmHotel": (Fault.BROKEN,)})
    assert is_stuck(machine.shape, execution)
    assert machine.shape.path(execution.states)[-1] == "Confirmations"
    assert statuses(machine) == {"FLIGHT": "CONFIRMED", "HOTEL": "RESERVED", "PAYMENT": "CHARGED"}
    machine.intercept = deliver_at_once
    assert machine.resume(execution).status == "SUCCEEDED"
    assert statuses(machine)["HOTEL"] == "CONFIRMED"


@pytest.mark.parametrize(("failed", "compensated"), [("CancelHotel", "CancelFlight"), ("CancelFlight", "CancelHotel")])
def test_a_redrive_of_a_group_runs_only_the_compensation_that_failed(
    machine: Interpreter, failed: str, compensated: str
) -> None:
    machine.backwards = compensated == "CancelHotel"
    execution = run(machine, {"TakePayment": (Fault.BROKEN,), failed: (Fault.BROKEN,)})
    assert machine.shape.path(execution.states)[-1] == "UndoReservations"
    called = []

    def record(state: str, _payload: object, deliver: Deliver) -> object:
        called.append(state)
        return deliver()

    machine.intercept = record
    resumed = machine.resume(execution)
    assert (resumed.status, resumed.error) == ("FAILED", "TripFailed")
    assert called == [failed]
    assert statuses(machine) == {"FLIGHT": "CANCELLED", "HOTEL": "CANCELLED", "PAYMENT": "VOIDED"}


def test_the_cause_names_the_first_of_two_failures_in_a_group(machine: Interpreter) -> None:
    execution = machine.run({name: value for name, value in TRIP.items() if name not in ("flight", "hotel")})
    assert (execution.cause or "").startswith("ReserveFlight failed: InvalidInput: flight is missing")
    assert statuses(machine) == {"FLIGHT": "CANCELLED", "HOTEL": "CANCELLED"}
