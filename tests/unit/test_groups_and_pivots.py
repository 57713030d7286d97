"""A resolution, a confirmation, and a failure in a group."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.saga_runtime.errors import SagaConflict, StepCompensated
from lambdas.saga_runtime.handlers import confirmation
from tests import trips as functions
from tests.fixtures import TABLE, create_table, local_aws, stored_item
from tests.trips import PAYMENT, TRIP

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(autouse=True)
def trips() -> Iterator["DynamoDBClient"]:
    with local_aws():
        yield create_table("trip_id")


def call(name: str, event: object) -> Any:
    return getattr(functions, name)(event, None)


def by_saga(saga_id: str, trip: object = TRIP, *, at: str = "2026-01-01T00:00:00.000Z", **more: object) -> object:
    return {"saga": {"id": saga_id, "started_at": at}, "input": trip, **more}


def row(entity: str) -> dict[str, Any]:
    return stored_item("1", entity) or {}


def history(entity: str) -> list[str]:
    return [entry["M"]["status"]["S"] for entry in row(entity)["history"]["L"]]


def test_a_pivot_that_happened_is_committed_and_its_row_unchanged() -> None:
    call("take_payment", by_saga("s"))
    before = row("PAYMENT")
    for _ in range(2):
        assert call("resolve_payment", by_saga("s")) == {"trip_id": "1", "status": "CHARGED", "committed": True}
    assert row("PAYMENT") == before


def test_a_pivot_that_did_not_happen_is_rejected_from_then_on() -> None:
    for _ in range(2):
        assert call("resolve_payment", by_saga("s")) == {"trip_id": "1", "status": "VOIDED", "committed": False}
        with pytest.raises(StepCompensated):
            call("take_payment", by_saga("s"))
    assert history("PAYMENT") == ["VOIDED"]


def test_the_pivot_of_another_saga_does_not_count_as_happened() -> None:
    call("take_payment", by_saga("first"))
    later = "2026-01-02T00:00:00.000Z"
    assert call("resolve_payment", by_saga("second", at=later))["committed"] is False
    assert row("PAYMENT")["status"] == {"S": "CHARGED"}


@pytest.mark.parametrize("trip", [None, [], {}, {"trip_id": 1}])
def test_the_pivot_of_a_trip_without_a_valid_key_never_happened(trips: "DynamoDBClient", trip: object) -> None:
    answer = call("resolve_payment", by_saga("s", trip))
    assert answer == {"trip_id": None, "status": "VOIDED", "committed": False}
    assert trips.scan(TableName=TABLE)["Items"] == []


def test_a_repeated_confirmation_changes_nothing() -> None:
    call("reserve_flight", by_saga("s"))
    answers = [call("confirm_flight", by_saga("s")) for _ in range(2)]
    assert answers == [{"trip_id": "1", "status": "CONFIRMED"}] * 2
    assert history("FLIGHT") == ["RESERVED", "CONFIRMED"]


@pytest.mark.parametrize("before", [[], ["reserve_flight", "cancel_flight"]])
def test_a_row_that_the_saga_does_not_own_as_live_cannot_be_confirmed(before: list[str]) -> None:
    for name in before:
        call(name, by_saga("s"))
    stored = row("FLIGHT")
    with pytest.raises(SagaConflict, match="this saga does not own FLIGHT"):
        call("confirm_flight", by_saga("s"))
    assert row("FLIGHT") == stored


@pytest.mark.parametrize(("saga_id", "at"), [("second", "2026-01-01T00:00:00.000Z"), ("s", "2026-04-02T00:00:00.000Z")])
def test_a_row_that_another_saga_owns_cannot_be_confirmed(saga_id: str, at: str) -> None:
    call("reserve_flight", by_saga("s"))
    stored = row("FLIGHT")
    with pytest.raises(SagaConflict):
        call("confirm_flight", by_saga(saga_id, at=at))
    assert row("FLIGHT") == stored


def test_a_step_without_the_status_confirmed_cannot_have_a_confirmation() -> None:
    with pytest.raises(ValueError, match="PAYMENT needs the status `confirmed`"):
        confirmation(PAYMENT)


CAUGHT = {"Error": "InvalidInput", "Cause": '{"errorMessage": "no hotel for 123-1234"}'}
FAILED = {"failed": True, "caught": CAUGHT}
SUCCEEDED = {"failed": False, "answer": {"trip_id": "1", "status": "RESERVED"}}


@pytest.mark.parametrize("name", ["cancel_flight", "cancel_hotel"])
def test_every_compensation_of_a_group_names_the_step_that_failed(name: str) -> None:
    members = {"members": {"ReserveFlight": SUCCEEDED, "ReserveHotel": FAILED}}
    failure = call(name, by_saga("s", failure=members))["failure"]
    assert failure == {"step": "ReserveHotel", "error": "InvalidInput", "reason": "no hotel for (hidden)"}


def counted(capsys: pytest.CaptureFixture[str]) -> list[str]:
    metrics = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in line]
    return [f"{metric['step']} {metric['kind']}" for metric in metrics if "StepCompensated" in metric]


def test_only_the_step_that_failed_in_a_group_counts_as_failed(capsys: pytest.CaptureFixture[str]) -> None:
    members = {"members": {"ReserveFlight": SUCCEEDED, "ReserveHotel": FAILED}}
    for name in ("cancel_flight", "cancel_hotel"):
        call(name, by_saga("s", failure=members))
    assert counted(capsys) == ["ReserveFlight rollback", "ReserveHotel rejected"]


def test_a_pivot_that_happened_does_not_count_as_failed(capsys: pytest.CaptureFixture[str]) -> None:
    call("take_payment", by_saga("s"))
    call("resolve_payment", by_saga("s", failure={"Error": "States.Timeout", "Cause": ""}))
    assert counted(capsys) == []
    call("resolve_payment", by_saga("t", failure={"Error": "States.Timeout", "Cause": ""}))
    assert counted(capsys) == ["TakePayment fault"]


@pytest.mark.parametrize(
    "failure",
    [
        {"members": {}},
        {"members": {"ReserveFlight": SUCCEEDED}},
        {"members": {"ReserveFlight": {"failed": True}}},
        {"members": {"ReserveFlight": None}},
        {"members": None},
        [],
    ],
)
def test_a_compensation_that_does_not_learn_why_it_runs_compensates_nevertheless(failure: object) -> None:
    answer = call("cancel_flight", by_saga("s", failure=failure))
    unknown = {"step": "ReserveFlight", "error": "Unknown", "reason": "the state machine did not say why"}
    assert answer == {"trip_id": "1", "status": "CANCELLED", "failure": unknown}
