"""What a group and a pivot do under faults, on the trip saga."""

import pytest

from tests.invariants import is_stuck
from tests.saga.faults import Fault, Faults, Injector
from tests.saga.interpreter import Deliver, Execution, Interpreter
from tests.sagas import SAGAS

pytestmark = pytest.mark.parametrize("saga", ["trip"], indirect=True)

TRIP = SAGAS["trip"].example.scenario("1-success")
BEFORE_THE_PIVOT = ("Reservations", "ReservationsComplete", "TakePayment")
RESOLVED = (*BEFORE_THE_PIVOT, "ResolvePayment", "TakePaymentCommitted")


def run(machine: Interpreter, faults: Faults) -> Execution:
    machine.through = injector = Injector(machine, faults)
    execution = machine.run(TRIP)
    injector.land()
    return execution


def statuses(machine: Interpreter) -> dict[str, str]:
    return {entity: row["status"] for entity, row in machine.rows("1").items()}


def test_a_pivot_that_is_done_but_never_answers_is_gone_on_from(machine: Interpreter) -> None:
    execution = run(machine, {"TakePayment": (Fault.SLOW,)})
    assert execution.status == "SUCCEEDED"
    assert machine.shape.path(execution.states) == (*RESOLVED, "Confirmations", "Completed")
    assert statuses(machine) == {"FLIGHT": "CONFIRMED", "HOTEL": "CONFIRMED", "PAYMENT": "CHARGED"}


def test_a_pivot_that_writes_after_it_was_resolved_is_refused_and_all_before_it_is_undone(machine: Interpreter) -> None:
    execution = run(machine, {"TakePayment": (Fault.LATE,)})
    assert (execution.status, execution.error) == ("FAILED", "TripFailed")
    assert (execution.cause or "").startswith("TakePayment failed: States.Timeout: ")
    assert machine.shape.path(execution.states) == (*RESOLVED, "UndoReservations", "TripFailed")
    assert statuses(machine) == {"FLIGHT": "CANCELLED", "HOTEL": "CANCELLED", "PAYMENT": "VOIDED"}


def test_as_long_as_a_pivot_cannot_be_resolved_nothing_is_undone(machine: Interpreter) -> None:
    execution = run(machine, {"TakePayment": (Fault.SLOW,), "ResolvePayment": (Fault.BROKEN,)})
    assert is_stuck(machine.shape, execution)
    assert execution.states[-1] == "ResolvePayment"
    assert statuses(machine) == {"FLIGHT": "RESERVED", "HOTEL": "RESERVED", "PAYMENT": "CHARGED"}


def test_behind_the_pivot_a_step_that_fails_leaves_the_saga_stuck_and_nothing_undone(machine: Interpreter) -> None:
    execution = run(machine, {"ConfirmHotel": (Fault.BROKEN,)})
    assert is_stuck(machine.shape, execution)
    assert machine.shape.path(execution.states)[-1] == "Confirmations"
    assert statuses(machine) == {"FLIGHT": "CONFIRMED", "HOTEL": "RESERVED", "PAYMENT": "CHARGED"}
    machine.through = lambda _state, _payload, deliver: deliver()
    assert machine.resume(execution).status == "SUCCEEDED"
    assert statuses(machine)["HOTEL"] == "CONFIRMED"


@pytest.mark.parametrize(("broken", "done"), [("CancelHotel", "CancelFlight"), ("CancelFlight", "CancelHotel")])
def test_a_group_whose_compensation_fails_is_resumed_in_what_was_not_done(
    machine: Interpreter, broken: str, done: str
) -> None:
    machine.backwards = done == "CancelHotel"
    execution = run(machine, {"TakePayment": (Fault.BROKEN,), broken: (Fault.BROKEN,)})
    assert machine.shape.path(execution.states)[-1] == "UndoReservations"
    called = []

    def through(state: str, _payload: object, deliver: Deliver) -> object:
        called.append(state)
        return deliver()

    machine.through = through
    resumed = machine.resume(execution)
    assert (resumed.status, resumed.error) == ("FAILED", "TripFailed")
    assert called == [broken]
    assert statuses(machine) == {"FLIGHT": "CANCELLED", "HOTEL": "CANCELLED", "PAYMENT": "VOIDED"}


def test_of_two_failures_in_a_group_one_is_told(machine: Interpreter) -> None:
    order = {name: value for name, value in TRIP.items() if name not in ("flight", "hotel")}
    execution = machine.run(order)
    assert (execution.cause or "").startswith("ReserveFlight failed: InvalidOrder: flight is missing")
    assert statuses(machine) == {"FLIGHT": "CANCELLED", "HOTEL": "CANCELLED"}
