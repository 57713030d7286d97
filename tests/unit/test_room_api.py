"""The functions of an API of another saga than the order saga: its key, fields and statuses come from its steps."""

import importlib
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from lambdas.saga_runtime import api
from tests.fixtures import create_table, local_aws, stored_rows
from tests.room_booking.lambdas import handlers
from tests.unit.test_api import EXECUTION, StepFunctions, body, request

BOOKING = {"booking_id": "1", "guest": "Ada Lovelace", "price": 90}
AT = "2026-01-01T00:00:00.000Z"
FAILURE = {"step": "TakeDeposit", "error": "Odd", "reason": "Ada Lovelace has no money"}


@pytest.fixture
def room_api(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the functions with the steps of their saga in the environment."""
    monkeypatch.setattr(api, "_FALLIBLE_ACTIONS", [["reserve_room"], ["take_deposit"]])
    return importlib.import_module("tests.room_booking.lambdas.room_api")


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Iterator[StepFunctions]:
    """Return Step Functions, and an empty table."""
    fake = StepFunctions()
    monkeypatch.setattr(api, "_stepfunctions", fake)
    with local_aws():
        create_table("booking_id")
        yield fake


def post(room_api: ModuleType, booking: object) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    event = request("POST /bookings", body=json.dumps(booking), headers=headers)
    response: dict[str, Any] = room_api.start_booking(event, None)
    return response


def get(room_api: ModuleType) -> dict[str, Any]:
    return body(room_api.get_booking(request("GET /bookings/{id+}", pathParameters={"id": "1"}), None))


def run(function: str, **members: object) -> None:
    event = {"saga": {"id": f"{EXECUTION}:id-1-1", "started_at": AT}, "input": BOOKING, **members}
    getattr(handlers, function)(event, None)


def test_a_booking_is_started_by_its_key_and_its_outcome_follows_the_row_of_its_first_step(
    room_api: ModuleType,
    states: StepFunctions,
) -> None:
    response = post(room_api, BOOKING)
    assert (response["statusCode"], response["headers"]["Location"]) == (202, "/bookings/1")
    assert states.names == ["id-1-1"]
    for function in ("reserve_room", "take_deposit"):
        run(function)
        assert get(room_api) == {"booking_id": "1", "status": "pending"}
    run("sell_room")
    states.executions.clear()  # the row alone says it
    assert get(room_api) == {"booking_id": "1", "status": "confirmed"}
    assert post(room_api, BOOKING)["statusCode"] == 409


def test_an_invalid_booking_names_its_fields(room_api: ModuleType, states: StepFunctions) -> None:
    errors = body(post(room_api, {"booking_id": "1"}))["errors"]
    assert [error["field"] for error in errors] == ["guest", "price"]
    assert states.names == []


def test_a_rolled_back_booking_has_its_reason_and_can_be_tried_again(
    room_api: ModuleType, states: StepFunctions
) -> None:
    post(room_api, BOOKING)
    for function in ("reserve_room", "return_deposit", "free_room"):
        run(function, failure=FAILURE)
    states.end("id-1-1", "FAILED", error="OrderFailed")
    assert get(room_api) == {
        "booking_id": "1",
        "status": "failed",
        "reason": "TakeDeposit failed: Odd: (hidden) has no money",
    }
    assert post(room_api, BOOKING)["statusCode"] == 202
    assert states.names == ["id-1-1", "id-1-2"]


def test_a_booking_is_cancelled_by_its_own_steps(room_api: ModuleType, states: StepFunctions) -> None:
    post(room_api, BOOKING)
    event = request("POST /bookings/{id+}", pathParameters={"id": "1/cancel"}, rawPath="/bookings/1/cancel")
    assert room_api.cancel_booking(event, None)["statusCode"] == 202
    assert {entity: row["status"] for entity, row in stored_rows().items()} == {"ROOM": "FREED", "DEPOSIT": "RETURNED"}
