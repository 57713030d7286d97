"""The reporter of stuck sagas: its entries and messages about executions as Step Functions describes them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from lambdas.saga_runtime import report_stuck_saga
from local.order_demo import ORDER_DEMO
from tests.fixtures import STUCK_TABLE, create_stuck_table
from tests.histories import ABORTED_GROUP, ABORTED_LOCALLY, FAILED_GROUP, IN_LINE, history
from tests.saga.faults import Fault, Faults, Injector
from tests.saga.interpreter import Deliver, Execution, Interpreter, TaskFailed
from tests.saga.trial import fresh
from tests.sagas import SagaUnderTest, on_example

ARN = "arn:aws:states:us-east-1:123456789012:execution:saga:1"


class Messages:
    """The queue and the table of stuck sagas, in memory."""

    def __init__(self) -> None:
        self.dynamodb = create_stuck_table()
        self._sqs = boto3.client("sqs")
        self._url = self._sqs.create_queue(QueueName="stuck")["QueueUrl"]

    def received(self) -> list[dict[str, Any]]:
        found = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in found]

    def entries(self) -> list[dict[str, str]]:
        found = self.dynamodb.scan(TableName=STUCK_TABLE)["Items"]
        return [{name: value["S"] for name, value in item.items() if "S" in value} for item in found]


@pytest.fixture
def messages(machine: Interpreter) -> Messages:
    return Messages()


@pytest.fixture
def stepfunctions() -> Iterator[Stubber]:
    """Responses of Step Functions that moto does not give."""
    with Stubber(report_stuck_saga._stepfunctions) as stubber:
        yield stubber


def event(arn: str, status: str = "FAILED", *, stopped: int = 2_000) -> dict[str, Any]:
    """Return what the rules pass on of an event."""
    return {"detail": {"executionArn": arn, "name": "1", "status": status, "startDate": 1_000, "stopDate": stopped}}


def run(machine: Interpreter, name: str, faults: Faults) -> Execution:
    machine.intercept = Injector(machine, faults)
    return machine.run(fresh(ORDER_DEMO.input(name)))


def test_a_stuck_saga_is_reported_with_its_state_error_and_cause(machine: Interpreter, messages: Messages) -> None:
    stuck = run(machine, "5-failed-shipment", {"RefundPayment": (Fault.BROKEN,)})
    assert report_stuck_saga.handler(event(stuck.arn), None) == {"stuck": True}
    assert messages.received() == [
        {
            "executionArn": stuck.arn,
            "name": "1",
            "status": "FAILED",
            "startDate": 1_000,
            "stopDate": 2_000,
            "state": "RefundPayment",
            "error": "RuntimeError",
            "cause": "injected",
        }
    ]
    assert messages.entries() == [
        {
            "execution_arn": stuck.arn,
            "saga_key": stuck.input["order_id"],
            "name": "1",
            "status": "FAILED",
            "started_at": "1970-01-01T00:00:01.000Z",
            "stopped_at": "1970-01-01T00:00:02.000Z",
            "state": "RefundPayment",
            "error": "RuntimeError",
            "cause": "injected",
        }
    ]
    (item,) = messages.dynamodb.scan(TableName=STUCK_TABLE)["Items"]
    assert "expires_at" not in item


def test_a_repeated_event_sends_again_and_a_late_one_does_not_replace_the_entry(
    messages: Messages, stepfunctions: Stubber
) -> None:
    """EventBridge and Lambda repeat events, and a report may have failed between its entry and its message."""
    stops = (2_000, 2_000, 1_500, 2_500)
    for stop in stops:
        report_stuck_saga.handler(described(stepfunctions, "ABORTED", history(IN_LINE), stopped=stop), None)
    assert [message["stopDate"] for message in messages.received()] == list(stops)
    assert [entry["stopped_at"] for entry in messages.entries()] == ["1970-01-01T00:00:02.500Z"]


def test_an_entry_that_was_closed_is_reopened_by_a_later_stop_only(messages: Messages, stepfunctions: Stubber) -> None:
    key = {"execution_arn": {"S": ARN}}
    stopped = {"stopped_at": {"S": "1970-01-01T00:00:02.000Z"}, "error": {"S": "RuntimeError"}}
    closed = {"closed_at": {"S": "later"}, "closed_because": {"S": "refunded"}, "expires_at": {"N": "9"}, **stopped}
    messages.dynamodb.put_item(TableName=STUCK_TABLE, Item={**key, **closed})
    event = described(stepfunctions, "ABORTED", history(IN_LINE))
    assert report_stuck_saga.handler(event, None) == {"stuck": False}
    assert ("closed_at" in messages.entries()[0], messages.received()) == (True, [])
    event = described(stepfunctions, "ABORTED", history(IN_LINE), stopped=2_500)
    assert report_stuck_saga.handler(event, None) == {"stuck": True}
    assert len(messages.received()) == 1
    (item,) = messages.dynamodb.scan(TableName=STUCK_TABLE)["Items"]
    assert not {"closed_at", "expires_at", "error"} & item.keys()
    # So that it is not redriven automatically.
    assert item["closed_because"] == {"S": "refunded"}


def test_without_its_entry_no_message_is_sent(messages: Messages, stepfunctions: Stubber) -> None:
    """Lambda calls the function again."""
    messages.dynamodb.delete_table(TableName=STUCK_TABLE)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        report_stuck_saga.handler(described(stepfunctions, "ABORTED", history(IN_LINE)), None)
    assert messages.received() == []


@pytest.mark.parametrize("name", ["1-success", "3-failed-payment"])
def test_an_execution_that_ended_cleanly_is_not_reported(machine: Interpreter, messages: Messages, name: str) -> None:
    """The event of an encrypted execution does not say whether it failed cleanly."""
    ended = run(machine, name, {})
    assert report_stuck_saga.handler(event(ended.arn), None) == {"stuck": False}
    assert messages.received() == []


def test_an_execution_that_somebody_stopped_is_reported_even_with_the_error_of_a_clean_failure(
    messages: Messages, stepfunctions: Stubber
) -> None:
    """Who stops an execution chooses its error."""
    stepfunctions.add_response("describe_execution", {**RUNNING, "status": "ABORTED", "error": "OrderFailed"})
    stepfunctions.add_response("get_execution_history", {"events": history(IN_LINE)})
    assert report_stuck_saga.handler(event(ARN, "ABORTED"), None) == {"stuck": True}


def test_a_sensitive_value_of_the_input_is_never_reported(machine: Interpreter, messages: Messages) -> None:
    def repeat_the_card(state: str, _payload: Any, deliver: Deliver) -> Any:
        if state == "RefundPayment":
            raise TaskFailed("RuntimeError", json.dumps({"errorMessage": "no refund to 123-1234"}))
        return deliver()

    machine.intercept = repeat_the_card
    stuck = machine.run(fresh(ORDER_DEMO.input("5-failed-shipment")))
    assert "123-1234" in (stuck.cause or "")
    report_stuck_saga.handler(event(stuck.arn), None)
    (message,) = messages.received()
    assert message["cause"] == "no refund to (hidden)"
    (entry,) = messages.entries()
    assert entry["cause"] == "no refund to (hidden)"
    assert "123-1234" not in str(entry)


RUNNING = {"executionArn": ARN, "stateMachineArn": ARN, "status": "RUNNING", "startDate": 1}


def test_a_saga_that_was_redriven_after_its_event_is_not_reported(messages: Messages, stepfunctions: Stubber) -> None:
    stepfunctions.add_response("describe_execution", {**RUNNING, "redriveDate": datetime.fromtimestamp(3, UTC)})
    assert report_stuck_saga.handler(event(ARN), None) == {"stuck": False}
    assert messages.received() == []


@pytest.mark.parametrize(
    "redriven", [{}, {"redriveDate": datetime.fromtimestamp(1, UTC)}], ids=["never redriven", "redriven before"]
)
def test_an_answer_that_is_older_than_the_event_is_asked_for_again(
    messages: Messages, stepfunctions: Stubber, redriven: dict[str, datetime]
) -> None:
    """DescribeExecution is eventually consistent. The error makes Lambda call the function again."""
    stepfunctions.add_response("describe_execution", {**RUNNING, **redriven})
    with pytest.raises(report_stuck_saga.StaleAnswerError):
        report_stuck_saga.handler(event(ARN), None)


@pytest.mark.parametrize(("stopped", "is_stale"), [(2_999, True), (3_000, False), (5_000, False)])
@pytest.mark.parametrize("error", ["Broken", "OrderFailed"])
def test_the_end_before_a_redrive_is_not_taken_for_the_end_after_it(
    messages: Messages, stepfunctions: Stubber, error: str, stopped: int, *, is_stale: bool
) -> None:
    ended = {"status": "FAILED", "error": error, "stopDate": datetime.fromtimestamp(stopped / 1000, UTC)}
    stepfunctions.add_response("describe_execution", {**RUNNING, **ended})
    stepfunctions.add_response("get_execution_history", {"events": history(IN_LINE)})
    if is_stale:
        with pytest.raises(report_stuck_saga.StaleAnswerError):
            report_stuck_saga.handler(event(ARN, stopped=4_000), None)
    else:
        assert report_stuck_saga.handler(event(ARN, stopped=4_000), None) == {"stuck": error == "Broken"}


@pytest.mark.parametrize("operation", ["describe_execution", "get_execution_history"])
@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_an_error_of_step_functions_suppresses_no_report(
    messages: Messages, stepfunctions: Stubber, operation: str, code: str
) -> None:
    """Lambda calls the function again, and then puts the event into the dead-letter queue, which has an alarm."""
    if operation == "get_execution_history":
        stepfunctions.add_response("describe_execution", {**RUNNING, "status": "FAILED", "error": "Broken"})
    stepfunctions.add_client_error(operation, code)
    with pytest.raises(ClientError, match=code):
        report_stuck_saga.handler(event(ARN), None)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, "1e400", '{"errorMessage": ' + "[" * 50_000], ids=len)
def test_no_content_of_an_execution_prevents_its_report(messages: Messages, stepfunctions: Stubber, text: str) -> None:
    failed = {**RUNNING, "status": "FAILED", "error": "Broken", "cause": text[:32_000], "input": text}
    stepfunctions.add_response("describe_execution", failed)
    stepfunctions.add_response("get_execution_history", {"events": history(IN_LINE)})
    assert report_stuck_saga.handler(event(ARN), None) == {"stuck": True}
    assert messages.received()[0]["cause"] == text[:32_000]


def described(stepfunctions: Stubber, status: str, *pages: Any, stopped: int = 2_000) -> dict[str, Any]:
    """Have Step Functions describe an execution with these pages of history; return its event."""
    execution = {"executionArn": ARN, "stateMachineArn": ARN, "status": status, "startDate": 1}
    stepfunctions.add_response("describe_execution", execution)
    for number, page in enumerate(pages, start=1):
        token = {"nextToken": str(number)} if number < len(pages) else {}
        stepfunctions.add_response("get_execution_history", {"events": page, **token})
    return event(ARN, status, stopped=stopped)


@pytest.mark.parametrize(
    ("status", "lines", "linked", "state"),
    [
        pytest.param("FAILED", FAILED_GROUP, True, "CancelFlight", id="a group failed"),
        pytest.param("ABORTED", ABORTED_GROUP, True, "ReserveHotel", id="a group was stopped"),
        pytest.param(
            "TIMED_OUT",
            ABORTED_GROUP.replace("ExecutionAborted", "ExecutionTimedOut"),
            True,
            "ReserveHotel",
            id="a group timed out",
        ),
        pytest.param("FAILED", IN_LINE, True, "Undo", id="no group"),
        pytest.param("FAILED", IN_LINE, False, "Undo", id="no links"),
        pytest.param("ABORTED", ABORTED_LOCALLY, False, "One", id="events after the end"),
    ],
)
def test_the_reported_state_is_the_one_that_failed_or_ran(
    messages: Messages, stepfunctions: Stubber, status: str, lines: str, *, linked: bool, state: str
) -> None:
    """In a parallel group, another state may have been entered after it."""
    report_stuck_saga.handler(described(stepfunctions, status, history(lines, linked=linked)), None)
    (message,) = messages.received()
    assert message["state"] == state


def test_the_state_is_found_on_any_page_of_the_history(messages: Messages, stepfunctions: Stubber) -> None:
    events = history(FAILED_GROUP)
    report_stuck_saga.handler(described(stepfunctions, "FAILED", events[:10], events[10:-1], [events[-1]]), None)
    (message,) = messages.received()
    assert message["state"] == "CancelFlight"


def test_a_page_of_the_history_has_as_many_events_as_aws_allows(messages: Messages, stepfunctions: Stubber) -> None:
    """The requests of the function end before its timeout if a history is one page."""
    stepfunctions.add_response("describe_execution", {**RUNNING, "status": "TIMED_OUT"})
    request = {"executionArn": ARN, "includeExecutionData": False, "maxResults": 1000}
    stepfunctions.add_response("get_execution_history", {"events": history(IN_LINE)}, request)
    assert report_stuck_saga.handler(event(ARN, "TIMED_OUT"), None) == {"stuck": True}


@on_example("trip_booking")
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("failed", ["CancelFlight", "CancelHotel"])
def test_of_a_stuck_group_the_branch_that_failed_is_reported(
    saga: SagaUnderTest, machine: Interpreter, messages: Messages, failed: str, *, backwards: bool
) -> None:
    machine.intercept = Injector(machine, {"TakePayment": (Fault.BROKEN,), failed: (Fault.BROKEN,)})
    machine.backwards = backwards
    stuck = machine.run(saga.demo.input("1-success"))
    report_stuck_saga.handler(event(stuck.arn), None)
    (message,) = messages.received()
    assert message["state"] == failed
