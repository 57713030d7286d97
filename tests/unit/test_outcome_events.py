"""The events of outcomes: made from the rows that the functions write."""

import importlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3
import pytest
from botocore.stub import ANY, Stubber

from lambdas.saga_runtime import outcome_events, report_stuck_saga
from lambdas.saga_runtime.errors import SagaConflict
from tests.fixtures import create_stuck_table, order_function, stored_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORDER = {"order_id": "1", "total": 100, "card_no": "123-1234", "address": "123 st"}
ARN = "arn:aws:states:us-east-1:123456789012:execution:orders:id-1-1"
NEXT_ARN = ARN.replace("id-1-1", "id-1-2")
FAILURE = {"step": "ProcessPayment", "error": "InvalidInput", "reason": "card_no is missing"}
EVENTS = {"ORDER CONFIRMED": "OrderConfirmed", "ORDER DELETED": "OrderFailed"}


@pytest.fixture(scope="module")
def publisher() -> Iterator[ModuleType]:
    """Return the function with its environment, which the other functions do not have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENT_BUS", "outcomes")
        patch.setenv("KEY_FIELD", "order_id")
        patch.setenv("EVENTS", json.dumps(EVENTS))
        patch.setenv("UNDELIVERED_QUEUE_URL", "undelivered")
        yield importlib.import_module("lambdas.saga_runtime.publish_outcome")


@pytest.fixture
def bus(table: "DynamoDBClient") -> Iterator[Stubber]:
    """Return the event bus: it accepts what a test says it does."""
    with Stubber(outcome_events._events) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def run(function: str, **members: object) -> None:
    event = {"saga": {"id": ARN, "started_at": "2026-01-01T00:00:00.000Z"}, "input": ORDER, **members}
    order_function(function)(event, None)


def run_next(function: str, **members: object) -> None:
    """Run a function of the next attempt."""
    run(function, saga={"id": NEXT_ARN, "started_at": "2026-01-01T00:00:05.000Z"}, **members)


def record(before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the stream's record of the row of the order, which was missing before or as given."""
    images = {"NewImage": stored_item("1", "ORDER")} | ({"OldImage": before} if before else {})
    return {"eventName": "MODIFY", "dynamodb": images}


def accept(bus: Stubber, *events: tuple[str, dict[str, Any]], source: str = "OrderSaga") -> None:
    entries = [
        {"EventBusName": "outcomes", "Source": source, "DetailType": name, "Detail": json.dumps(detail)}
        for name, detail in events
    ]
    bus.add_response("put_events", {"FailedEntryCount": 0, "Entries": []}, {"Entries": entries})


def detail(time: str, reason: str | None) -> dict[str, Any]:
    return {"version": "1", "order_id": "1", "saga": ARN, "time": time, "reason": reason}


def test_a_compensated_order_is_published_with_its_reason(publisher: ModuleType, bus: Stubber) -> None:
    run("create_order")
    run("delete_order", failure=FAILURE)
    item = stored_item("1", "ORDER")
    assert item is not None
    time = item["history"]["L"][-1]["M"]["at"]["S"]
    accept(bus, ("OrderFailed", detail(time, "ProcessPayment failed: InvalidInput: card_no is missing")))
    publisher.handler({"Records": [record()]}, None)


def test_an_event_has_no_text_of_the_order(publisher: ModuleType, bus: Stubber) -> None:
    run("create_order")
    run("delete_order", failure={**FAILURE, "reason": "1231234 cannot be sent to 123 st"})
    item = stored_item("1", "ORDER")
    assert item is not None
    time = item["history"]["L"][-1]["M"]["at"]["S"]
    reason = "ProcessPayment failed: InvalidInput: (hidden) cannot be sent to (hidden)"
    accept(bus, ("OrderFailed", detail(time, reason)))
    publisher.handler({"Records": [record()]}, None)


def test_a_confirmed_order_is_published_with_the_time_of_its_confirmation(
    publisher: ModuleType, bus: Stubber, table: "DynamoDBClient"
) -> None:
    run("create_order")
    table.update_item(
        TableName="orders",
        Key={"order_id": {"S": "1"}, "entity": {"S": "ORDER"}},
        UpdateExpression="SET #status = :confirmed, confirmed_at = :now",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":confirmed": {"S": "CONFIRMED"}, ":now": {"S": "2026-01-01T00:00:01.000Z"}},
    )
    accept(bus, ("OrderConfirmed", detail("2026-01-01T00:00:01.000Z", None)))
    publisher.handler({"Records": [record()]}, None)


def test_a_rollback_that_finds_the_row_compensated_by_an_earlier_attempt_is_published(
    publisher: ModuleType, bus: Stubber
) -> None:
    """The next attempt fails before it claims the order."""
    run("create_order")
    run("delete_order")
    before = stored_item("1", "ORDER")
    run_next("delete_order", failure={"step": "CreateOrder", "error": "States.Timeout", "reason": "late, 123 st"})
    item = stored_item("1", "ORDER")
    assert item is not None
    time = item["fenced_by"]["L"][0]["M"]["at"]["S"]
    reason = "CreateOrder failed: States.Timeout: late, (hidden)"
    accept(bus, ("OrderFailed", detail(time, reason) | {"saga": NEXT_ARN}))
    publisher.handler({"Records": [record(before)]}, None)
    run_next("delete_order", failure=FAILURE)
    assert stored_item("1", "ORDER") == item, "a repetition writes nothing, so there is nothing to publish"
    with pytest.raises(SagaConflict):
        run_next("create_order")


def test_another_change_of_a_compensated_row_is_no_event(publisher: ModuleType, bus: Stubber) -> None:
    run("create_order")
    run("delete_order")
    run_next("delete_order")
    after = stored_item("1", "ORDER")
    publisher.handler(
        {"Records": [{"dynamodb": {"OldImage": after, "NewImage": {**(after or {}), "note": {"S": "x"}}}}]}, None
    )


def test_many_events_are_published_in_order_ten_at_a_time(publisher: ModuleType, bus: Stubber) -> None:
    run("create_order")
    run("delete_order")
    item = stored_item("1", "ORDER")
    assert item is not None
    records = [{"dynamodb": {"NewImage": item | {"order_id": {"S": str(number)}}}} for number in range(12)]
    time = item["history"]["L"][-1]["M"]["at"]["S"]
    expected = [("OrderFailed", detail(time, None) | {"order_id": str(number)}) for number in range(12)]
    accept(bus, *expected[:10])
    accept(bus, *expected[10:])
    publisher.handler({"Records": records}, None)


def test_a_rejected_event_fails_the_batch_so_that_it_is_repeated(publisher: ModuleType, bus: Stubber) -> None:
    run("create_order")
    run("delete_order")
    bus.add_response("put_events", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]})
    with pytest.raises(outcome_events.NotPublishedError, match="rejected 1 events: ThrottlingException"):
        publisher.handler({"Records": [record()]}, None)


@pytest.mark.parametrize(
    "change",
    [
        {"history": {"L": []}},
        {"history": {"S": "123 st"}},
        {"status": {"S": "SOLD"}},
        {"status": {"S": "CONFIRMED"}},
        {"status": {"X": "123 st"}},
    ],
    ids=["no history", "other history", "unknown status", "no time", "unknown type"],
)
def test_a_record_that_is_no_event_is_put_into_the_queue_and_holds_no_other_back(
    publisher: ModuleType, bus: Stubber, change: dict[str, Any]
) -> None:
    """The stream would repeat it for hours, and the later records of its shard would wait."""
    run("create_order")
    run("delete_order")
    item = stored_item("1", "ORDER")
    assert item is not None
    keys = {"order_id": {"S": "2"}, "entity": {"S": "ORDER"}}
    bad = {"dynamodb": {"Keys": keys, "NewImage": {**item, **keys, **change}}}
    time = item["history"]["L"][-1]["M"]["at"]["S"]
    accept(bus, ("OrderFailed", detail(time, None)), ("OrderFailed", detail(time, None)))
    with Stubber(publisher._sqs) as queue:
        queue.add_response("send_message", {}, {"QueueUrl": "undelivered", "MessageBody": ANY})
        with mock.patch.object(publisher._sqs, "send_message", wraps=publisher._sqs.send_message) as sent:
            publisher.handler({"Records": [record(), bad, record()]}, None)
    message = json.loads(sent.call_args.kwargs["MessageBody"])
    assert message["keys"] == keys
    assert "123 st" not in str(message)
    assert set(message) == {"keys", "error"}


@pytest.mark.parametrize("input_", [ORDER, {}, []])
def test_a_stuck_saga_is_published_if_its_input_has_a_key(
    bus: Stubber, monkeypatch: pytest.MonkeyPatch, input_: object
) -> None:
    monkeypatch.setattr(report_stuck_saga, "_EVENT_BUS", "outcomes")
    monkeypatch.setattr(report_stuck_saga, "_STUCK_EVENT", "OrderStuck")
    boto3.client("sqs").create_queue(QueueName="stuck")
    create_stuck_table()
    if input_ == ORDER:
        accept(bus, ("OrderStuck", detail("2026-01-01T00:00:09.000Z", "Lambda.Unknown")))
    execution = {
        "executionArn": ARN,
        "stateMachineArn": ARN.replace("execution", "stateMachine").removesuffix(":id-1-1"),
        "startDate": datetime(2026, 1, 1, tzinfo=UTC),
        "stopDate": datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC),
        "status": "FAILED",
        "error": "Lambda.Unknown",
        "input": json.dumps(input_),
    }
    event = {"executionArn": ARN, "name": "id-1-1", "status": "FAILED", "startDate": 1_000, "stopDate": 2_000}
    with Stubber(report_stuck_saga._stepfunctions) as stepfunctions:
        stepfunctions.add_response("describe_execution", execution)
        stepfunctions.add_response("get_execution_history", {"events": []})
        assert report_stuck_saga.handler({"detail": event}, None) == {"stuck": True}
