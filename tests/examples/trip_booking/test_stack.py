"""The trip saga: a group whose steps are compensated together, a pivot, and retriable steps."""

from typing import Any

import pytest

from examples.trip_booking.saga import STEPS
from lambdas.saga_runtime.errors import BUSINESS_ERRORS
from lambdas.saga_runtime.names import state_name
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import functions_of, single_steps
from tests.fixtures import definition_in
from tests.infrastructure.templates import REPORTER_HANDLER, of_type, only, saga_table
from tests.sagas import SAGAS

ALL = ["States.ALL"]
FUNCTIONS = {name for step in single_steps(STEPS) for name in functions_of(step)}

Definition = dict[str, Any]


@pytest.fixture(scope="module")
def trip() -> dict[str, Any]:
    return dict(SAGAS["trip_booking"].template())


@pytest.fixture(scope="module")
def states(trip: dict[str, Any]) -> Definition:
    found: Definition = definition_in(trip)["States"]
    return found


def branches(state: Definition) -> Definition:
    return {name: body for branch in state["Branches"] for name, body in branch["States"].items()}


def test_flight_and_hotel_are_reserved_at_once_and_each_records_its_own_failure(states: Definition) -> None:
    within = branches(states["Reservations"])
    assert [branch["StartAt"] for branch in states["Reservations"]["Branches"]] == ["ReserveFlight", "ReserveHotel"]
    for action in ("ReserveFlight", "ReserveHotel"):
        assert within[action]["Catch"] == [{"ErrorEquals": ALL, "Next": f"{action}Failed"}]
        assert within[f"{action}Failed"] == {
            "Type": "Pass",
            "End": True,
            # A path that may be missing would fail the branch where nothing can catch it.
            "Parameters": {"failed": True, "caught.$": "$"},
        }


def test_if_either_has_failed_both_are_cancelled_without_a_catch(states: Definition) -> None:
    decision = states[states["Reservations"]["Next"]]
    (choice,) = decision["Choices"]
    assert choice == {
        "Or": [
            {"Variable": "$.members.ReserveFlight.failed", "BooleanEquals": True},
            {"Variable": "$.members.ReserveHotel.failed", "BooleanEquals": True},
        ],
        "Next": "UndoReservations",
    }
    assert decision["Default"] == "TakePayment"
    undo = states["UndoReservations"]
    assert set(branches(undo)) == {"CancelFlight", "CancelHotel"}
    # Every branch gives the same answer, and a group may have one branch only.
    assert undo["OutputPath"] == "$[0]"
    assert undo["Next"] == "TripFailed"
    assert "Catch" not in undo
    assert not any("Catch" in body for body in branches(undo).values())


def test_the_payment_is_a_pivot_whose_failure_is_resolved_before_anything_is_compensated(states: Definition) -> None:
    assert states["TakePayment"]["Catch"] == [{"ErrorEquals": ALL, "Next": "ResolvePayment"}]
    assert "Catch" not in states["ResolvePayment"]
    decision = states[states["ResolvePayment"]["Next"]]
    assert decision["Choices"] == [{"Variable": "$.answer.committed", "BooleanEquals": True, "Next": "Confirmations"}]
    assert decision["Default"] == "UndoReservations"


def test_the_steps_after_the_pivot_have_no_catch(states: Definition) -> None:
    assert states["TakePayment"]["Next"] == "Confirmations"
    confirmations = branches(states["Confirmations"])
    assert set(confirmations) == {"ConfirmFlight", "ConfirmHotel"}
    assert states["Confirmations"]["OutputPath"] == "$[0]"
    assert not any("Catch" in state for state in (states["Confirmations"], *confirmations.values()))


def test_a_state_that_must_succeed_is_retried_for_minutes_and_an_action_is_not(states: Definition) -> None:
    stage = STAGES["dev"]
    every = states | {
        name: body for state in states.values() if "Branches" in state for name, body in branches(state).items()
    }
    retries = {name: body["Retry"] for name, body in every.items() if body["Type"] == "Task"}
    soon = {"ReserveFlight", "ReserveHotel", "TakePayment"}
    assert set(retries) == {state_name(function) for function in FUNCTIONS}
    for name, (never, always) in retries.items():
        assert never == {"ErrorEquals": list(BUSINESS_ERRORS), "MaxAttempts": 0}
        policy = stage.action_retry if name in soon else stage.compensation_retry
        assert (always["ErrorEquals"], always["MaxAttempts"]) == (ALL, policy.max_attempts)
        assert always["JitterStrategy"] == "FULL"


def test_there_is_one_function_for_each_name_and_a_table_by_trip(trip: dict[str, Any]) -> None:
    handlers = [function["Handler"] for function in of_type(trip, "AWS::Lambda::Function").values()]
    own = {f"examples.trip_booking.lambdas.handlers.{name}" for name in FUNCTIONS}
    assert set(handlers) == own | {REPORTER_HANDLER}
    assert saga_table(trip)[1]["KeySchema"][0] == {"AttributeName": "trip_id", "KeyType": "HASH"}


def test_the_state_machine_may_not_write_to_the_table(trip: dict[str, Any]) -> None:
    role = only(trip, "AWS::StepFunctions::StateMachine")["RoleArn"]["Fn::GetAtt"][0]
    policies = [p for p in of_type(trip, "AWS::IAM::Policy").values() if p["Roles"] == [{"Ref": role}]]
    assert policies
    assert "dynamodb" not in str([policy["PolicyDocument"] for policy in policies])


def test_an_alarm_watches_every_function_that_is_retried_until_it_succeeds(trip: dict[str, Any]) -> None:
    alarms = {alarm["AlarmName"] for alarm in of_type(trip, "AWS::CloudWatch::Alarm").values()}
    patient = ("cancel_flight", "cancel_hotel", "resolve_payment", "confirm_flight", "confirm_hotel")
    assert {f"TripSaga-dev-Errors-{name}" for name in (*patient, "report_stuck_saga")} == {
        alarm for alarm in alarms if "Errors-" in alarm
    }
