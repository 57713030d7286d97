"""What is told of a saga that is stuck, from what Step Functions itself says of the execution."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas import report_stuck_saga
from local.demo import scenario
from tests.histories import ABORTED_GROUP, ABORTED_LOCALLY, FAILED_GROUP, IN_LINE, history
from tests.saga.faults import Fault, Faults, Injector
from tests.saga.interpreter import Deliver, Execution, Interpreter, TaskFailed
from tests.saga.trial import fresh
from tests.sagas import SAGAS

ARN = "arn:aws:states:us-east-1:123456789012:execution:saga:1"


@pytest.fixture(autouse=True)
def history_backwards() -> Iterator[None]:
    """Moto takes no notice of ``reverseOrder``; Step Functions does (API Reference, GetExecutionHistory)."""

    def turn(parsed: dict[str, Any], **_: Any) -> None:
        parsed.get("events", []).reverse()

    client = report_stuck_saga._stepfunctions.meta.events
    client.register("after-call.stepfunctions.GetExecutionHistory", turn)
    yield
    client.unregister("after-call.stepfunctions.GetExecutionHistory", turn)


@pytest.fixture
def messages(machine: Interpreter) -> "Messages":
    return Messages()


class Messages:
    """The queue of stuck sagas, in memory."""

    def __init__(self) -> None:
        self._sqs = boto3.client("sqs")
        self._url = self._sqs.create_queue(QueueName="stuck")["QueueUrl"]

    def received(self) -> list[dict[str, Any]]:
        found = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in found]


def event(arn: str, status: str = "FAILED") -> dict[str, Any]:
    """What the rules hand on of an event."""
    return {"detail": {"executionArn": arn, "name": "1", "status": status, "startDate": 1_000, "stopDate": 2_000}}


def run(machine: Interpreter, scenario_name: str, faults: Faults) -> Execution:
    machine.through = Injector(machine, faults)
    return machine.run(fresh(scenario(scenario_name)))


def test_a_parked_saga_is_told_with_the_state_it_stopped_in_and_why(machine: Interpreter, messages: Messages) -> None:
    parked = run(machine, "5-failed-shipment", {"RefundPayment": (Fault.BROKEN,)})
    assert report_stuck_saga.handler(event(parked.arn), None) == {"stuck": True}
    assert messages.received() == [
        {
            "executionArn": parked.arn,
            "name": "1",
            "status": "FAILED",
            "startDate": 1_000,
            "stopDate": 2_000,
            "state": "RefundPayment",
            "error": "RuntimeError",
            "cause": "injected",
        }
    ]


@pytest.mark.parametrize("name", ["1-success", "3-failed-payment"])
def test_an_execution_that_ended_cleanly_is_not_told(machine: Interpreter, messages: Messages, name: str) -> None:
    """The event of an encrypted execution does not tell a clean failure from any other."""
    ended = run(machine, name, {})
    assert report_stuck_saga.handler(event(ended.arn), None) == {"stuck": False}
    assert messages.received() == []


def test_a_card_number_of_the_input_is_never_told(machine: Interpreter, messages: Messages) -> None:
    def repeats_the_card(state: str, _payload: Any, deliver: Deliver) -> Any:
        if state == "RefundPayment":
            raise TaskFailed("RuntimeError", json.dumps({"errorMessage": "no refund to 123-1234"}))
        return deliver()

    machine.through = repeats_the_card
    parked = machine.run(fresh(scenario("5-failed-shipment")))
    assert "123-1234" in (parked.cause or "")
    report_stuck_saga.handler(event(parked.arn), None)
    (message,) = messages.received()
    assert message["cause"] == "no refund to (card number)"


@pytest.fixture
def stepfunctions() -> Iterator[Stubber]:
    """Answers of Step Functions that no emulator gives."""
    with Stubber(report_stuck_saga._stepfunctions) as stubber:
        yield stubber


def test_a_saga_that_runs_again_is_not_told(messages: Messages, stepfunctions: Stubber) -> None:
    """It was resumed before its event came."""
    running = {"executionArn": ARN, "stateMachineArn": ARN, "status": "RUNNING", "startDate": 1}
    stepfunctions.add_response("describe_execution", running)
    assert report_stuck_saga.handler(event(ARN), None) == {"stuck": False}
    assert messages.received() == []


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_if_step_functions_does_not_answer_the_saga_is_told_all_the_same(
    messages: Messages, stepfunctions: Stubber, status: str
) -> None:
    """Better an alert too many than one too few."""
    stepfunctions.add_client_error("describe_execution", "AccessDeniedException")
    stepfunctions.add_client_error("get_execution_history", "AccessDeniedException")
    assert report_stuck_saga.handler(event(ARN, status), None) == {"stuck": True}
    (message,) = messages.received()
    assert (message["executionArn"], message["status"], message["state"]) == (ARN, status, None)
    assert (message["error"], message["cause"]) == (None, "no cause was given")


def told_of(stepfunctions: Stubber, status: str, *pages: Any, more: bool = False) -> dict[str, Any]:
    """Have Step Functions tell of an execution with this history; to ask for the page after the last is an error."""
    described = {"executionArn": ARN, "stateMachineArn": ARN, "status": status, "startDate": 1}
    stepfunctions.add_response("describe_execution", described)
    for number, page in enumerate(pages, start=1):
        token = {"nextToken": str(number)} if more or number < len(pages) else {}
        stepfunctions.add_response("get_execution_history", {"events": page, **token})
    return event(ARN, status)


@pytest.mark.parametrize(
    ("status", "lines", "linked", "state"),
    [
        ("FAILED", FAILED_GROUP, True, "CancelFlight"),
        ("ABORTED", ABORTED_GROUP, True, "ReserveHotel"),
        ("TIMED_OUT", ABORTED_GROUP.replace("ExecutionAborted", "ExecutionTimedOut"), True, "ReserveHotel"),
        ("FAILED", IN_LINE, True, "Undo"),
        ("FAILED", IN_LINE, False, "Undo"),
        ("ABORTED", ABORTED_LOCALLY, False, "One"),
    ],
    ids=[
        "a group failed",
        "a group was stopped",
        "a group was out of time",
        "no group",
        "no links",
        "more after the end",
    ],
)
def test_the_state_that_is_told_is_the_one_that_failed_or_was_under_way(
    messages: Messages, stepfunctions: Stubber, status: str, lines: str, *, linked: bool, state: str
) -> None:
    """In a parallel group another state may have been entered after it."""
    newest_first = history(lines, linked=linked)  # the fixture turns it round
    report_stuck_saga.handler(told_of(stepfunctions, status, newest_first), None)
    (message,) = messages.received()
    assert message["state"] == state


def test_a_state_is_found_however_many_pages_its_attempts_take(messages: Messages, stepfunctions: Stubber) -> None:
    events = history(FAILED_GROUP)
    pages = [[events[-1]], events[10:-1], events[:10]]
    report_stuck_saga.handler(told_of(stepfunctions, "FAILED", *pages), None)
    (message,) = messages.received()
    assert message["state"] == "CancelFlight"


def test_no_more_of_the_history_is_read_than_is_needed(messages: Messages, stepfunctions: Stubber) -> None:
    report_stuck_saga.handler(told_of(stepfunctions, "FAILED", history(IN_LINE)[-4:], more=True), None)
    (message,) = messages.received()
    assert message["state"] == "Undo"


@pytest.mark.parametrize("saga", ["trip"], indirect=True)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("broken", ["CancelFlight", "CancelHotel"])
def test_of_a_parked_group_the_branch_that_failed_is_told(
    machine: Interpreter, messages: Messages, broken: str, *, backwards: bool
) -> None:
    machine.through = Injector(machine, {"TakePayment": (Fault.BROKEN,), broken: (Fault.BROKEN,)})
    machine.backwards = backwards
    parked = machine.run(SAGAS["trip"].example.scenario("1-success"))
    report_stuck_saga.handler(event(parked.arn), None)
    (message,) = messages.received()
    assert message["state"] == broken
