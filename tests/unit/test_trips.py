"""What the functions of a trip do beyond those of an order: resolve a pivot, confirm, fail as one of a group."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from examples.trip_booking.lambdas import handlers
from examples.trip_booking.lambdas.trips import FLIGHT, HOTEL, PAYMENT
from lambdas.shared.errors import InvalidOrder, OrderConflict, StepCompensated
from lambdas.shared.handler import confirmation
from lambdas.shared.steps import Step
from tests.fixtures import TABLE, create_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TRIP: dict[str, object] = {
    "trip_id": "1",
    "flight": "LX 38",
    "hotel": "Alpenblick",
    "price": 250,
    "card_no": "123-1234",
}


@pytest.fixture
def trips() -> Iterator["DynamoDBClient"]:
    with mock_aws():
        yield create_table("trip_id")


def call(name: str, event: object) -> Any:
    return getattr(handlers, name)(event, None)


def by_saga(saga_id: str, trip: object = TRIP, *, at: str = "2026-01-01T00:00:00.000Z", **more: object) -> object:
    return {"saga": {"id": saga_id, "started_at": at}, "order": trip, **more}


def row(trips: "DynamoDBClient", entity: str) -> dict[str, Any]:
    found = trips.get_item(TableName=TABLE, Key={"trip_id": {"S": "1"}, "entity": {"S": entity}})
    return dict(found.get("Item", {}))


def test_a_pivot_that_was_done_is_resolved_as_committed_and_left_as_it_is(trips: "DynamoDBClient") -> None:
    call("take_payment", by_saga("s"))
    before = row(trips, "PAYMENT")
    for _ in range(2):
        assert call("resolve_payment", by_saga("s")) == {"trip_id": "1", "status": "CHARGED", "committed": True}
    assert row(trips, "PAYMENT") == before


def test_a_pivot_that_was_not_done_is_barred_for_ever(trips: "DynamoDBClient") -> None:
    for _ in range(2):
        assert call("resolve_payment", by_saga("s")) == {"trip_id": "1", "status": "VOIDED", "committed": False}
        with pytest.raises(StepCompensated):
            call("take_payment", by_saga("s"))
    assert [event["M"]["status"]["S"] for event in row(trips, "PAYMENT")["history"]["L"]] == ["VOIDED"]


def test_a_pivot_of_another_saga_is_not_taken_for_ones_own(trips: "DynamoDBClient") -> None:
    call("take_payment", by_saga("first"))
    later = "2026-01-02T00:00:00.000Z"
    assert call("resolve_payment", by_saga("second", at=later))["committed"] is False
    assert row(trips, "PAYMENT")["status"] == {"S": "CHARGED"}


@pytest.mark.parametrize("trip", [None, [], {}, {"trip_id": 1}])
def test_a_trip_without_a_valid_id_was_never_paid(trips: "DynamoDBClient", trip: object) -> None:
    answer = call("resolve_payment", by_saga("s", trip))
    assert answer == {"trip_id": None, "status": "VOIDED", "committed": False}
    assert trips.scan(TableName=TABLE)["Items"] == []


def test_a_confirmation_made_twice_changes_nothing(trips: "DynamoDBClient") -> None:
    call("reserve_flight", by_saga("s"))
    answers = [call("confirm_flight", by_saga("s")) for _ in range(2)]
    assert answers == [{"trip_id": "1", "status": "CONFIRMED"}] * 2
    assert [event["M"]["status"]["S"] for event in row(trips, "FLIGHT")["history"]["L"]] == ["RESERVED", "CONFIRMED"]


@pytest.mark.parametrize("before", [[], ["reserve_flight", "cancel_flight"]])
def test_what_a_saga_does_not_hold_cannot_be_confirmed(trips: "DynamoDBClient", before: list[str]) -> None:
    for name in before:
        call(name, by_saga("s"))
    kept = row(trips, "FLIGHT")
    with pytest.raises(OrderConflict, match="this saga does not hold FLIGHT"):
        call("confirm_flight", by_saga("s"))
    assert row(trips, "FLIGHT") == kept


def test_what_another_saga_holds_cannot_be_confirmed(trips: "DynamoDBClient") -> None:
    call("reserve_flight", by_saga("first"))
    with pytest.raises(OrderConflict):
        call("confirm_flight", by_saga("second"))


def test_a_row_without_a_status_for_it_has_no_confirmation() -> None:
    with pytest.raises(ValueError, match="PAYMENT has no status `confirmed`"):
        confirmation(PAYMENT)


CAUGHT = {"Error": "InvalidOrder", "Cause": '{"errorMessage": "no hotel for 123-1234"}'}
FAILED = {"failed": True, "caught": CAUGHT}
DONE = {"failed": False, "answer": {"trip_id": "1", "status": "RESERVED"}}


@pytest.mark.parametrize("name", ["cancel_flight", "cancel_hotel"])
def test_every_compensation_of_a_group_names_the_step_that_failed(trips: "DynamoDBClient", name: str) -> None:
    members = {"members": {"ReserveFlight": DONE, "ReserveHotel": FAILED}}
    told = call(name, by_saga("s", failure=members))["failure"]
    assert told == {"step": "ReserveHotel", "error": "InvalidOrder", "reason": "no hotel for (card number)"}


def test_a_failure_in_a_group_is_counted_once_for_its_own_step(
    trips: "DynamoDBClient", capsys: pytest.CaptureFixture[str]
) -> None:
    members = {"members": {"ReserveFlight": DONE, "ReserveHotel": FAILED}}
    for name in ("cancel_flight", "cancel_hotel"):
        call(name, by_saga("s", failure=members))
    assert counted(capsys) == ["ReserveHotel"]


def test_a_pivot_that_was_done_after_all_does_not_count_as_failed(
    trips: "DynamoDBClient", capsys: pytest.CaptureFixture[str]
) -> None:
    call("take_payment", by_saga("s"))
    call("resolve_payment", by_saga("s", failure={"Error": "States.Timeout", "Cause": ""}))
    assert counted(capsys) == []
    call("resolve_payment", by_saga("t", failure={"Error": "States.Timeout", "Cause": ""}))
    assert counted(capsys) == ["TakePayment"]


def counted(capsys: pytest.CaptureFixture[str]) -> list[str]:
    metrics = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in line]
    return [metric["step"] for metric in metrics if "StepFailed" in metric]


@pytest.mark.parametrize(
    "failure",
    [
        {"members": {}},
        {"members": {"ReserveFlight": DONE}},
        {"members": {"ReserveFlight": {"failed": True}}},
        {"members": {"ReserveFlight": None}},
        {"members": None},
        [],
    ],
)
def test_a_compensation_that_is_not_told_why_it_runs_undoes_all_the_same(
    trips: "DynamoDBClient", failure: object
) -> None:
    told = call("cancel_flight", by_saga("s", failure=failure))["failure"]
    assert told == {"step": "ReserveFlight", "error": "Unknown", "reason": "the state machine did not say why"}


@pytest.mark.parametrize(
    ("step", "trip", "says"),
    [
        (FLIGHT, {**TRIP, "flight": None}, "flight is null: expected a string of 1 to 100"),
        (HOTEL, {**TRIP, "hotel": "a\nb"}, "hotel holds a control character"),
        (PAYMENT, {**TRIP, "price": 0}, "price is out of range"),
        (PAYMENT, {**TRIP, "card_no": "x"}, "card_no is not a card number"),
        (FLIGHT, {**TRIP, "colour": "red"}, "unknown field 'colour': expected trip_id, flight, hotel, price, card_no"),
        (HOTEL, {**TRIP, "colour": "red"}, "unknown field 'colour'"),
        (FLIGHT, {**TRIP, "hotel": "x" * 100_000}, "the trip takes 100,0.. bytes: expected at most 100,000"),
        (HOTEL, {**TRIP, "flight": "x" * 100_000}, "the trip takes 100,0.. bytes: expected at most 100,000"),
    ],
)
def test_a_step_refuses_what_it_cannot_work_with(step: Step, trip: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidOrder, match=says):
        step.stored(trip)
