"""The progress of trips in their drawing: a group, and what comes after it."""

import json
from typing import Any

import boto3
import pytest

from lambdas.saga_runtime.execution_history import path_of, stopped_in
from ops.definition import Definition, read_definition
from ops.graph import mermaid
from ops.model import Execution, SagaRun
from ops.progress import progress_of
from tests.histories import ABORTED_GROUP, FAILED_GROUP, START, history
from tests.ops.test_graph import arrows
from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import interpreter
from tests.sagas import SAGAS

SAGA = SAGAS["trip_booking"]


@pytest.fixture(scope="module")
def trip() -> Definition:
    return read_definition(json.dumps(SAGA.shape().definition), where="the template")


def progress_in(trip: Definition, execution: Any, events: Any) -> dict[str, str]:
    """Return the statuses of the states that were entered."""
    saga = SagaRun(saga_id="x", execution=execution, path=path_of(events))
    return {name: str(visit.status) for name, visit in progress_of(trip, saga).visits.items() if visit.number}


def an_execution(status: str) -> Execution:
    unknown: Any = dict.fromkeys(
        ("stopped_at", "error", "cause", "order_id", "redrive_status", "redrive_status_reason")
    )
    return Execution(
        arn="x", name="x", status=status, started_at=START, failed_cleanly=False, redrive_count=0, **unknown
    )


def events_of(arn: str) -> Any:
    return boto3.client("stepfunctions").get_execution_history(executionArn=arn)["events"]


def test_branches_run_at_the_same_time_with_their_own_retries(trip: Definition) -> None:
    running = FAILED_GROUP.splitlines()[:-5]
    assert progress_in(trip, an_execution("RUNNING"), history(*running)) == {
        "UndoReservations": "running",
        "CancelFlight": "retrying",
        "CancelHotel": "retrying",
    }
    assert progress_in(trip, an_execution("RUNNING"), history(*running[:9])) == {
        "UndoReservations": "running",
        "CancelFlight": "running",
        "CancelHotel": "running",
    }


def test_the_branch_that_failed_is_stuck_and_the_others_are_stopped(trip: Definition) -> None:
    assert progress_in(trip, an_execution("FAILED"), history(FAILED_GROUP)) == {
        "UndoReservations": "stuck",
        "CancelFlight": "stuck",
        "CancelHotel": "stopped",
    }
    assert progress_in(trip, an_execution("ABORTED"), history(ABORTED_GROUP)) == {
        "Reservations": "stuck",
        "ReserveFlight": "stuck",
        "ReserveHotel": "stuck",
        "ReserveCar": "done",
    }


@pytest.mark.parametrize("broken", ["CancelFlight", "CancelHotel"])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_progress_of_a_trip_that_is_stuck_in_a_branch(trip: Definition, broken: str, *, backwards: bool) -> None:
    with interpreter(SAGA.shape()) as machine:
        machine.intercept = Injector(machine, {"TakePayment": (Fault.BROKEN,), broken: (Fault.BROKEN,)})
        machine.backwards = backwards
        events = events_of(machine.run(SAGA.demo.input("1-success")).arn)
    statuses = progress_in(trip, an_execution("FAILED"), events)
    assert {name for name, status in statuses.items() if status == "stuck"} == {"UndoReservations", broken}
    assert statuses["TakePayment"] == "failed"
    assert {statuses["ReserveFlight"], statuses["ReserveHotel"], statuses["Reservations"]} == {"done"}
    assert stopped_in(path_of(events)) == (broken,)


def test_the_transitions_that_were_taken_are_thick_in_groups_and_after_them(trip: Definition) -> None:
    with interpreter(SAGA.shape()) as machine:
        events = events_of(machine.run({**SAGA.demo.input("1-success"), "hotel": None}).arn)
    saga = SagaRun(saga_id="x", execution=an_execution("FAILED"), path=path_of(events))
    taken = {line for line in arrows(mermaid(trip, progress=progress_of(trip, saga))) if "==>" in line}
    assert taken == {
        'ReserveHotel ==>|"any error"| ReserveHotelFailed',
        "Reservations ==> ReservationsComplete",
        'ReservationsComplete ==>|"if"| UndoReservations',
        "UndoReservations ==> TripFailed",
    }
