"""The trip saga's template: a group whose steps are compensated together, a pivot, and what follows it."""

from typing import Any

import pytest

from lambdas.shared.errors import BUSINESS_ERRORS
from saga_stack.settings import STAGES
from tests.fixtures import definition_in
from tests.sagas import SAGAS

ALL = ["States.ALL"]
FUNCTIONS = {
    *("reserve_flight", "cancel_flight", "confirm_flight", "reserve_hotel", "cancel_hotel", "confirm_hotel"),
    *("take_payment", "resolve_payment"),
}

Definition = dict[str, Any]


@pytest.fixture(scope="module")
def trip() -> dict[str, Any]:
    return dict(SAGAS["trip"].template())


@pytest.fixture(scope="module")
def states(trip: dict[str, Any]) -> Definition:
    found: Definition = definition_in(trip)["States"]
    return found


def of_type(template: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == type_]


def branches(state: Definition) -> Definition:
    return {name: body for branch in state["Branches"] for name, body in branch["States"].items()}


def test_flight_and_hotel_are_reserved_at_once_and_each_notes_its_own_failure(states: Definition) -> None:
    within = branches(states["Reservations"])
    assert [branch["StartAt"] for branch in states["Reservations"]["Branches"]] == ["ReserveFlight", "ReserveHotel"]
    for action in ("ReserveFlight", "ReserveHotel"):
        assert within[action]["Catch"] == [{"ErrorEquals": ALL, "Next": f"{action}Failed"}]
        assert within[f"{action}Failed"] == {
            "Type": "Pass",
            "End": True,
            # No path that may be missing: such a branch would fail where nothing can catch it.
            "Parameters": {"failed": True, "caught.$": "$"},
        }


def test_if_either_has_failed_both_are_cancelled_and_nothing_stops_that(states: Definition) -> None:
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
    assert undo["Next"] == "TripFailed"
    assert "Catch" not in undo
    assert not any("Catch" in body for body in branches(undo).values())


def test_the_payment_is_the_pivot_whose_failure_is_resolved_before_anything_is_undone(states: Definition) -> None:
    assert states["TakePayment"]["Catch"] == [{"ErrorEquals": ALL, "Next": "ResolvePayment"}]
    assert "Catch" not in states["ResolvePayment"]
    decision = states[states["ResolvePayment"]["Next"]]
    assert decision["Choices"] == [{"Variable": "$.answer.committed", "BooleanEquals": True, "Next": "Confirmations"}]
    assert decision["Default"] == "UndoReservations"


def test_what_follows_the_pivot_is_never_caught(states: Definition) -> None:
    assert states["TakePayment"]["Next"] == "Confirmations"
    confirmations = branches(states["Confirmations"])
    assert set(confirmations) == {"ConfirmFlight", "ConfirmHotel"}
    assert not any("Catch" in state for state in (states["Confirmations"], *confirmations.values()))


def test_what_must_succeed_is_tried_for_minutes_and_an_action_is_not(states: Definition) -> None:
    settings = STAGES["dev"]
    every = states | {
        name: body for state in states.values() if "Branches" in state for name, body in branches(state).items()
    }
    tried = {name: body["Retry"] for name, body in every.items() if body["Type"] == "Task"}
    soon = {"ReserveFlight", "ReserveHotel", "TakePayment"}
    assert set(tried) == soon | {
        *("CancelFlight", "CancelHotel", "ResolvePayment", "ConfirmFlight", "ConfirmHotel"),
    }
    for name, (never, always) in tried.items():
        assert never == {"ErrorEquals": list(BUSINESS_ERRORS), "MaxAttempts": 0}
        policy = settings.action_retry if name in soon else settings.compensation_retry
        assert (always["ErrorEquals"], always["MaxAttempts"]) == (ALL, policy.max_attempts)
        assert always["JitterStrategy"] == "FULL"


def test_there_is_one_function_for_each_name_keyed_by_the_trip(trip: dict[str, Any]) -> None:
    handlers = [function["Handler"] for function in of_type(trip, "AWS::Lambda::Function")]
    own = {f"examples.trip_booking.lambdas.handlers.{name}" for name in FUNCTIONS}
    assert set(handlers) == own | {"lambdas.report_stuck_saga.handler"}
    (table,) = of_type(trip, "AWS::DynamoDB::Table")
    assert table["KeySchema"][0] == {"AttributeName": "trip_id", "KeyType": "HASH"}


def test_the_state_machine_writes_to_no_table(trip: dict[str, Any]) -> None:
    (machine,) = of_type(trip, "AWS::StepFunctions::StateMachine")
    role = machine["RoleArn"]["Fn::GetAtt"][0]
    policies = [p for p in of_type(trip, "AWS::IAM::Policy") if p["Roles"] == [{"Ref": role}]]
    assert policies
    assert "dynamodb" not in str([policy["PolicyDocument"] for policy in policies])


def test_an_alarm_watches_every_function_that_is_retried_until_it_works(trip: dict[str, Any]) -> None:
    alarms = {alarm["AlarmName"] for alarm in of_type(trip, "AWS::CloudWatch::Alarm")}
    patient = ("cancel_flight", "cancel_hotel", "resolve_payment", "confirm_flight", "confirm_hotel")
    assert {f"TripSaga-dev-Errors-{name}" for name in (*patient, "report_stuck_saga")} == {
        alarm for alarm in alarms if "Errors-" in alarm
    }
