"""Each of the six functions on its own, against a table in memory."""

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.shared.errors import InvalidOrder, OrderConflict, StepCompensated
from lambdas.shared.handler import Handler
from lambdas.shared.observability import logger
from tests.fixtures import TABLE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORDER = {"order_id": "1", "total": 100, "card_no": "123-1234", "address": "123 st"}
STEPS = [
    ("create_order", "delete_order", "ORDER", "PENDING", "DELETED"),
    ("process_payment", "refund_payment", "PAYMENT", "CHARGED", "REFUNDED"),
    ("process_shipment", "cancel_shipment", "SHIPMENT", "BOOKED", "CANCELLED"),
]
each_step = pytest.mark.parametrize(("action", "compensation", "entity", "live", "undone"), STEPS)


def handler(name: str) -> Handler:
    found: Handler = importlib.import_module(f"lambdas.{name}").handler
    return found


def call(name: str, event: object) -> Any:
    return handler(name)(event, None)


def by_saga(saga_id: str, order: object = ORDER, *, at: str = "2026-01-01T00:00:00.000Z", **more: object) -> object:
    return {"saga": {"id": saga_id, "started_at": at}, "order": order, **more}


def row(table: "DynamoDBClient", entity: str, order_id: str = "1") -> dict[str, Any]:
    found = table.get_item(TableName=TABLE, Key={"order_id": {"S": order_id}, "entity": {"S": entity}})
    return dict(found.get("Item", {}))


@each_step
def test_an_action_leaves_its_row_live_and_answers_with_order_and_status(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    assert call(action, by_saga("s")) == {"order_id": "1", "status": live}
    kept = row(table, entity)
    assert (kept["status"], kept["saga_id"]) == ({"S": live}, {"S": "s"})
    assert kept["fence"] == {"S": "2026-01-01T00:00:00.000Z"}
    assert [event["M"]["status"]["S"] for event in kept["history"]["L"]] == [live]


@each_step
def test_a_compensation_undoes_its_action(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    call(action, by_saga("s"))
    assert call(compensation, by_saga("s")) == {"order_id": "1", "status": undone}
    kept = row(table, entity)
    assert kept["status"] == {"S": undone}
    assert [event["M"]["status"]["S"] for event in kept["history"]["L"]] == [live, undone]


@each_step
def test_a_compensation_with_nothing_to_undo_succeeds_and_bars_the_late_action(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    assert call(compensation, by_saga("s")) == {"order_id": "1", "status": undone}
    with pytest.raises(StepCompensated):
        call(action, by_saga("s"))
    assert row(table, entity)["status"] == {"S": undone}


@each_step
def test_a_repeated_delivery_changes_nothing_and_answers_the_same(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    for name in (action, compensation):
        answer, kept = call(name, by_saga("s")), row(table, entity)
        assert (call(name, by_saga("s")), row(table, entity)) == (answer, kept)


@each_step
def test_a_saga_never_touches_the_row_of_another(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    call(action, by_saga("first"))
    kept = row(table, entity)
    with pytest.raises(OrderConflict, match="another saga"):
        call(action, by_saga("second", at="2026-01-02T00:00:00.000Z"))
    call(compensation, by_saga("second", at="2026-01-02T00:00:00.000Z"))
    assert row(table, entity) == kept | {"fence": {"S": "2026-01-02T00:00:00.000Z"}}


@each_step
def test_a_compensated_order_can_be_tried_again_by_a_later_execution(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    call(action, by_saga("first"))
    call(compensation, by_saga("first"))
    assert call(action, by_saga("second", at="2026-01-02T00:00:00.000Z"))["status"] == live
    assert row(table, entity)["saga_id"] == {"S": "second"}


@each_step
def test_a_late_action_of_an_older_saga_does_not_revive_a_compensated_order(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    call(compensation, by_saga("older"))
    call(action, by_saga("newer", at="2026-01-02T00:00:00.000Z"))
    call(compensation, by_saga("newer", at="2026-01-02T00:00:00.000Z"))
    with pytest.raises(OrderConflict):
        call(action, by_saga("older"))
    assert row(table, entity)["status"] == {"S": undone}


@each_step
def test_a_function_called_directly_takes_the_bare_order(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str
) -> None:
    assert call(action, ORDER) == {"order_id": "1", "status": live}
    assert row(table, entity)["saga_id"] == {"S": "direct"}
    assert call(compensation, ORDER) == {"order_id": "1", "status": undone}


@each_step
@pytest.mark.parametrize("order", [None, [], "text", 5, {}, {"order_id": None}, {"order_id": ["1"]}])
def test_a_compensation_of_an_order_without_a_valid_id_succeeds_and_writes_nothing(
    table: "DynamoDBClient", action: str, compensation: str, entity: str, live: str, undone: str, order: object
) -> None:
    with pytest.raises(InvalidOrder):
        call(action, by_saga("s", order))
    assert call(compensation, by_saga("s", order)) == {"order_id": None, "status": undone}
    assert table.scan(TableName=TABLE)["Items"] == []


@pytest.mark.parametrize("start", ["2026-01-01T00:00:00.000+00:00", "2026-01-01T01:00:00.000000+01:00"])
def test_a_start_time_is_kept_in_one_form_however_it_is_written(table: "DynamoDBClient", start: str) -> None:
    call("create_order", by_saga("s", at=start))
    assert row(table, "ORDER")["fence"] == {"S": "2026-01-01T00:00:00.000Z"}


FAILURES: list[tuple[object, str, str]] = [
    ({"Error": "InvalidOrder", "Cause": '{"errorMessage": "no card", "stackTrace": []}'}, "InvalidOrder", "no card"),
    ({"Error": "States.Timeout", "Cause": ""}, "States.Timeout", "no cause was given"),
    ({"Error": "States.Timeout"}, "States.Timeout", "no cause was given"),
    ({"Error": "Lambda.Unknown", "Cause": "it went away"}, "Lambda.Unknown", "it went away"),
    ({"Error": "Odd", "Cause": "[1]"}, "Odd", "[1]"),
    ({"Error": "Odd", "Cause": '{"errorMessage": 1}'}, "Odd", '{"errorMessage": 1}'),
    ({"Error": "Odd", "Cause": "the card 123-1234 bounced"}, "Odd", "the card (card number) bounced"),
    ("nonsense", "Unknown", "the state machine did not say why"),
]


@pytest.mark.parametrize(("failure", "error", "reason"), FAILURES)
def test_the_first_compensation_says_in_plain_words_why_it_runs(
    table: "DynamoDBClient", failure: object, error: str, reason: str
) -> None:
    told = call("refund_payment", by_saga("s", failure=failure))["failure"]
    assert told == {"step": "ProcessPayment", "error": error, "reason": reason}
    passed_on = call("delete_order", by_saga("s", failure=told))["failure"]
    assert passed_on == told


def test_logs_carry_order_saga_and_step_and_never_the_card(
    table: "DynamoDBClient", capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger.registered_handler, "stream", sys.stdout)
    order = {**ORDER, "card_no": "5555-0000-1111"}
    for action, compensation, *_ in STEPS:
        call(action, by_saga("saga-7", order))
        call(compensation, by_saga("saga-7", order, failure={"Error": "Odd", "Cause": "5555-0000-1111"}))
    with pytest.raises(InvalidOrder):
        call("create_order", by_saga("saga-8", {**order, "5555-0000-1111": 1}))
    printed = capsys.readouterr().out
    assert "5555-0000" not in printed
    logs = [line for line in map(json.loads, printed.splitlines()) if "message" in line]
    assert {(line["step"], line["order_id"], line["saga_id"]) for line in logs[:2]} == {("CreateOrder", "1", "saga-7")}


def test_no_row_keeps_more_of_the_card_than_its_last_four_digits(table: "DynamoDBClient") -> None:
    for action, *_ in STEPS:
        call(action, by_saga("s", {**ORDER, "card_no": "5555-0000-1111"}))
    kept = str(table.scan(TableName=TABLE)["Items"])
    assert "'card_last4': {'S': '1111'}" in kept
    assert "0000" not in kept.replace("00:00:00.000Z", "")


def counted(printed: str, name: str) -> list[tuple[str | None, ...]]:
    """The dimensions under which something was counted, once each time."""
    metrics = [line for line in map(json.loads, printed.splitlines()) if name in line]
    assert all(metric[name] == [1.0] for metric in metrics)
    return [
        tuple(metric[name] for name in metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) for metric in metrics
    ]


def test_a_conflict_is_counted(table: "DynamoDBClient", capsys: pytest.CaptureFixture[str]) -> None:
    call("create_order", by_saga("first"))
    with pytest.raises(OrderConflict):
        call("create_order", by_saga("second"))
    assert counted(capsys.readouterr().out, "OrderConflict") == [("CreateOrder",)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("InvalidOrder", "refused"),
        ("OrderConflict", "refused"),
        ("StepCompensated", "refused"),
        ("States.Timeout", "fault"),
        ("Runtime.ExitError", "fault"),
    ],
)
def test_a_failed_step_is_counted_once_and_a_refusal_apart_from_a_fault(
    table: "DynamoDBClient", capsys: pytest.CaptureFixture[str], error: str, kind: str
) -> None:
    told = call("refund_payment", by_saga("s", failure={"Error": error, "Cause": ""}))["failure"]
    call("delete_order", by_saga("s", failure=told))
    assert counted(capsys.readouterr().out, "StepFailed") == [("ProcessPayment", kind)]


def test_every_undone_step_is_counted(table: "DynamoDBClient", capsys: pytest.CaptureFixture[str]) -> None:
    for _, compensation, *_ in STEPS:
        call(compensation, by_saga("s"))
    assert counted(capsys.readouterr().out, "StepCompensated") == [
        *(("CreateOrder",), ("ProcessPayment",), ("ProcessShipment",))
    ]
