"""RedriveExecution on the local cloud, with tasks that fail, succeed or wait as a test says."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ministack.services import stepfunctions

from local import redrive_execution

Document = dict[str, Any]

STATE_MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:Tested"
REPLACED = (
    *("handle_request", "_add_event", "_describe_execution", "_list_executions", "_run_execution", "_run_sub_machine"),
    *("_invoke_resource", "_SFN_WAIT_SCALE", "_emit_execution_status_event"),
)
RETRY = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]
CATCH = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "C"}]


def task(name: str, **fields: object) -> Document:
    """Return a task that is called by this name; without ``Next``, it is the last one."""
    return {"Type": "Task", "Resource": name, **({} if "Next" in fields else {"End": True}), **fields}


def line(*states: Document) -> Document:
    """Return a state machine or a branch of these states in a line, named by their tasks."""
    names = [state.get("Resource", "Group") for state in states]
    linked = [{**state, "Next": following} for state, following in zip(states, names[1:], strict=False)]
    for state in linked:
        state.pop("End", None)
    return {"StartAt": names[0], "States": dict(zip(names, [*linked, states[-1]], strict=True))}


def group(*branches: Document, **fields: object) -> Document:
    return {"Type": "Parallel", "Branches": list(branches), "End": True, **fields}


class Error(Exception):
    """The response to a request that was rejected; its argument is the code."""


class Cloud:
    """Step Functions, with tasks that the test controls. ``broken``, ``broken_once`` and ``held`` name tasks."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.broken_once: set[str] = set()
        self.held: dict[str, threading.Event] = {}
        self.calls: list[tuple[str, Any]] = []
        self.published: list[str] = []

    def invoke(self, name: str, input_: Any) -> Any:
        self.calls.append((name, input_))
        if name in self.held:
            assert self.held[name].wait(10)
        if name in self.broken | self.broken_once:
            self.broken_once.discard(name)
            raise stepfunctions._ExecutionError("Broken", f"{name} is broken")
        return {"done": name}

    def called(self) -> list[str]:
        """Return the tasks that were called since the last look."""
        names = sorted(name for name, _ in self.calls)
        self.calls.clear()
        return names

    def request(self, action: str, **data: object) -> Document:
        headers = {"x-amz-target": f"AWSStepFunctions.{action}"}
        handled = stepfunctions.handle_request("POST", "/", headers, json.dumps(data).encode(), {})
        status, _, body = asyncio.run(handled)
        document: Document = json.loads(body)
        if status != 200:
            raise Error(document["__type"], document["message"])
        return document

    def define(self, definition: Document) -> None:
        stepfunctions._state_machines[STATE_MACHINE] = {
            "stateMachineArn": STATE_MACHINE,
            "name": "Tested",
            "roleArn": "role",
            "definition": json.dumps(definition),
        }

    def start(self, definition: Document, input_: object = None) -> str:
        self.define(definition)
        started = self.request("StartExecution", stateMachineArn=STATE_MACHINE, input=json.dumps(input_ or {}))
        arn: str = started["executionArn"]
        return arn

    def run(self, definition: Document, input_: object = None) -> str:
        arn = self.start(definition, input_)
        self.end(arn)
        return arn

    def describe(self, arn: str) -> Document:
        return self.request("DescribeExecution", executionArn=arn)

    def end(self, arn: str) -> Document:
        wait_until(lambda: self.describe(arn)["status"] != "RUNNING")
        return self.describe(arn)

    def redrive(self, arn: str, **options: str) -> Document:
        return self.request("RedriveExecution", executionArn=arn, **options)

    def redriven(self, arn: str) -> Document:
        self.redrive(arn)
        return self.end(arn)

    def events(self, arn: str) -> list[str]:
        return [event["type"] for event in self.request("GetExecutionHistory", executionArn=arn)["events"]]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud()
    for name in REPLACED:
        # Restored after the test, whatever replaces it.
        monkeypatch.setattr(stepfunctions, name, getattr(stepfunctions, name))
    monkeypatch.setattr(stepfunctions, "_invoke_resource", cloud.invoke)
    monkeypatch.setattr(stepfunctions, "_SFN_WAIT_SCALE", 0)
    monkeypatch.setattr(
        stepfunctions, "_emit_execution_status_event", lambda execution: cloud.published.append(execution["status"])
    )
    monkeypatch.setattr(redrive_execution, "START_SECONDS", 0)
    redrive_execution.install()
    yield cloud
    for held in cloud.held.values():
        held.set()
    stepfunctions._executions.clear()
    stepfunctions._state_machines.clear()


def test_it_continues_in_the_state_that_failed_with_its_input(cloud: Cloud) -> None:
    cloud.broken = {"B"}
    arn = cloud.run(line(task("A"), task("B"), task("C")), {"x": 1})
    before = cloud.describe(arn)
    assert (before["status"], before["redriveCount"], before["redriveStatus"]) == ("FAILED", 0, "REDRIVABLE")
    assert "redriveStatusReason" not in before
    assert [*cloud.calls] == [("A", {"x": 1}), ("B", {"done": "A"})]
    cloud.calls.clear()
    cloud.broken = set()
    after = cloud.redriven(arn)
    assert [*cloud.calls] == [("B", {"done": "A"}), ("C", {"done": "B"})]
    assert (after["status"], after["output"]) == ("SUCCEEDED", '{"done": "C"}')
    assert all(after[name] == before[name] for name in ("executionArn", "name", "startDate", "input"))
    assert not {"error", "cause"} & set(after)
    assert (after["redriveCount"], after["redriveStatus"]) == (1, "NOT_REDRIVABLE")
    assert after["redriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    assert before["stopDate"] <= after["redriveDate"] <= after["stopDate"]


def test_the_history_goes_on_with_execution_redriven(cloud: Cloud) -> None:
    cloud.broken = {"A"}
    arn = cloud.run(line(task("A")))
    before = cloud.events(arn)
    cloud.broken = set()
    cloud.redriven(arn)
    history = cloud.request("GetExecutionHistory", executionArn=arn)["events"]
    assert [event["type"] for event in history] == [
        *before,
        *("ExecutionRedriven", "TaskScheduled", "TaskSucceeded", "TaskStateExited", "ExecutionSucceeded"),
    ]
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))
    assert history[len(before)]["executionRedrivenEventDetails"] == {"redriveCount": 1}


def test_the_retries_start_again_and_each_end_is_published(cloud: Cloud) -> None:
    cloud.broken = {"A"}
    arn = cloud.run(line(task("A", Retry=RETRY)))
    assert cloud.called() == ["A"] * 3
    for count in (1, 2):
        assert cloud.redriven(arn)["redriveCount"] == count
        assert cloud.called() == ["A"] * 3
    assert cloud.published == ["RUNNING", "FAILED"] * 3


def test_a_redrive_keeps_the_definition(cloud: Cloud) -> None:
    cloud.broken = {"A"}
    arn = cloud.run(line(task("A"), task("B")))
    cloud.define(line(task("X"), task("Y")))
    cloud.broken = set()
    cloud.called()
    assert cloud.redriven(arn)["status"] == "SUCCEEDED"
    assert cloud.called() == ["A", "B"]


def test_a_caught_error_is_not_a_state_that_failed(cloud: Cloud) -> None:
    definition = line(task("A"), task("C"))
    definition["States"]["A"]["Catch"] = CATCH
    cloud.broken = {"A", "C"}
    arn = cloud.run(definition)
    cloud.broken = set()
    cloud.called()
    assert cloud.redriven(arn)["status"] == "SUCCEEDED"
    assert cloud.called() == ["C"]


def test_a_redrive_of_a_fail_state_fails_again(cloud: Cloud) -> None:
    definition = line(task("A"))
    definition["States"]["A"] = task("A", Next="Failed")
    definition["States"]["Failed"] = {"Type": "Fail", "Error": "Clean", "Cause": "why"}
    arn = cloud.run(definition)
    cloud.called()
    assert cloud.redriven(arn)["error"] == "Clean"
    assert cloud.called() == []


def test_a_stopped_execution_continues_and_what_is_left_of_its_first_run_changes_nothing(cloud: Cloud) -> None:
    cloud.held = {"A": threading.Event()}
    first = cloud.held["A"]
    arn = cloud.start(line(task("A", Retry=RETRY), task("B")))
    wait_until(lambda: cloud.calls != [])
    cloud.request("StopExecution", executionArn=arn)
    assert cloud.describe(arn)["redriveStatus"] == "REDRIVABLE"
    # Its second run starts while its first one still waits for the task.
    cloud.held = {}
    assert cloud.redriven(arn)["status"] == "SUCCEEDED"
    assert cloud.called() == ["A", "A", "B"]
    before = cloud.events(arn)
    threads = threading.active_count()
    cloud.broken = {"A"}
    first.set()
    wait_until(lambda: threading.active_count() < threads)
    assert cloud.called() == [], "a stopped execution does not retry"
    assert cloud.events(arn) == before
    assert cloud.describe(arn)["status"] == "SUCCEEDED"


def test_a_task_that_ends_after_the_stop_is_not_in_the_history(cloud: Cloud) -> None:
    cloud.held = {"A": threading.Event()}
    arn = cloud.start(line(task("A"), task("B")))
    wait_until(lambda: cloud.calls != [])
    cloud.request("StopExecution", executionArn=arn)
    threads = threading.active_count()
    cloud.held["A"].set()
    wait_until(lambda: threading.active_count() < threads)
    assert cloud.events(arn)[-1] == "ExecutionAborted"
    cloud.called()
    assert cloud.redriven(arn)["status"] == "SUCCEEDED"
    assert cloud.called() == ["A", "B"], "the result of the first call was not recorded"


def test_of_a_group_only_the_branches_that_failed_run_each_from_its_own_state(cloud: Cloud) -> None:
    cloud.broken = {"D"}
    arn = cloud.run(line(task("S"), group(line(task("A"), task("B")), line(task("C"), task("D"))), task("E")))
    assert cloud.called() == ["A", "B", "C", "D", "S"]
    assert cloud.redriven(arn)["status"] == "FAILED"
    assert cloud.called() == ["D"]
    cloud.broken = set()
    assert cloud.redriven(arn)["status"] == "SUCCEEDED"
    assert cloud.calls == [("D", {"done": "C"}), ("E", [{"done": "B"}, {"done": "D"}])]


def test_of_a_stopped_group_the_branches_that_had_ended_do_not_run_again(cloud: Cloud) -> None:
    cloud.held = {"C": threading.Event()}
    arn = cloud.start(line(group(line(task("A")), line(task("C"), task("D")))))
    wait_until(lambda: cloud.events(arn).count("TaskSucceeded") == 1 and len(cloud.calls) == 2)
    cloud.request("StopExecution", executionArn=arn)
    threads = threading.active_count()
    cloud.held.pop("C").set()
    wait_until(lambda: threading.active_count() <= threads - 2)
    cloud.called()
    assert cloud.redriven(arn)["output"] == '[{"done": "A"}, {"done": "D"}]'
    assert cloud.called() == ["C", "D"]
    assert cloud.published == ["RUNNING", "ABORTED", "RUNNING", "SUCCEEDED"]


def test_a_group_that_is_retried_runs_all_of_its_branches(cloud: Cloud) -> None:
    cloud.broken = {"B"}
    arn = cloud.run(line(group(line(task("A")), line(task("B")), Retry=RETRY)))
    assert cloud.called() == ["A", "A", "A", "B", "B", "B"]
    assert cloud.redriven(arn)["status"] == "FAILED"
    assert cloud.called() == ["A", "A", "B", "B", "B"], "the redrive runs the failed branch, each retry runs all"


def test_a_group_that_is_entered_again_runs_all_of_its_branches(cloud: Cloud) -> None:
    definition = line(group(line(task("A")), line(task("B"))), task("C"))
    definition["States"]["C"]["Catch"] = [{**CATCH[0], "Next": "Group"}]
    cloud.broken_once = {"C"}
    cloud.run(definition)
    assert cloud.called() == ["A", "A", "B", "B", "C", "C"]


def test_each_branch_is_in_a_state_of_its_own(cloud: Cloud) -> None:
    cloud.held = {"A": threading.Event()}
    named = {"Parameters": {"state.$": "$$.State.Name"}}
    cloud.broken_once = {"A"}
    arn = cloud.start(line(group(line(task("A", Retry=RETRY, **named)), line(task("B", **named)))))
    wait_until(lambda: cloud.events(arn).count("TaskSucceeded") == 1)
    cloud.held["A"].set()
    cloud.end(arn)
    assert sorted((name, input_["state"]) for name, input_ in cloud.calls) == [("A", "A"), ("A", "A"), ("B", "B")]


def test_a_group_in_a_group_and_the_items_of_a_map_continue_too(cloud: Cloud) -> None:
    inner = line(group(line(task("A")), line(task("B"))))
    cloud.broken = {"B"}
    arn = cloud.run({"StartAt": "Map", "States": {"Map": {"Type": "Map", "ItemProcessor": inner, "End": True}}}, [1, 2])
    assert cloud.called() == ["A", "A", "B", "B"]
    cloud.broken = set()
    cloud.redrive(arn)
    assert json.loads(cloud.end(arn)["output"]) == [[{"done": "A"}, {"done": "B"}]] * 2
    assert sorted(cloud.calls) == [("B", 1), ("B", 2)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "RUNNING"}, "Execution is RUNNING and cannot be redriven"),
        ({"status": "SUCCEEDED"}, "Execution is SUCCEEDED and cannot be redriven"),
        (
            {"stopDate": (datetime.now(UTC) - timedelta(days=14, seconds=1)).isoformat()},
            "Execution redrivable period exceeded",
        ),
        ({"events": [{}] * 24_999}, "Execution history event limit exceeded"),
        ({"stateMachineArn": "deleted"}, "State machine is in DELETING status"),
    ],
    ids=["running", "succeeded", "too old", "too long", "deleted"],
)
def test_an_execution_that_cannot_be_redriven_says_why(cloud: Cloud, change: Document, reason: str) -> None:
    cloud.broken = {"A"}
    arn = cloud.run(line(task("A")))
    stepfunctions._executions[arn].update(change)
    described = cloud.describe(arn)
    assert (described["redriveStatus"], described["redriveStatusReason"]) == ("NOT_REDRIVABLE", reason)
    with pytest.raises(Error) as rejected:
        cloud.redrive(arn)
    assert rejected.value.args == ("ExecutionNotRedrivable", reason)
    assert cloud.describe(arn)["redriveCount"] == 0


def test_an_execution_within_the_14_days_can_be_redriven(cloud: Cloud) -> None:
    cloud.broken = {"A"}
    arn = cloud.run(line(task("A")))
    stepfunctions._executions[arn]["stopDate"] = (datetime.now(UTC) - timedelta(days=13, hours=23)).isoformat()
    assert cloud.redriven(arn)["redriveCount"] == 1


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("arn:aws:states:us-east-1:000000000000:execution:Tested:none", "ExecutionDoesNotExist"),
        (STATE_MACHINE, "InvalidArn"),
        ("", "InvalidArn"),
    ],
)
def test_what_is_no_execution_is_rejected(cloud: Cloud, arn: str, code: str) -> None:
    with pytest.raises(Error, match=code):
        cloud.redrive(arn)


def test_a_repeated_request_with_its_token_gets_the_same_response_for_15_minutes(cloud: Cloud) -> None:
    cloud.broken = {"A"}
    arn = cloud.run(line(task("A")))
    first = cloud.redrive(arn, clientToken="one")
    assert cloud.redrive(arn, clientToken="one") == first
    assert cloud.end(arn)["redriveCount"] == 1
    assert cloud.redrive(arn, clientToken="one") == first
    cloud.redrive(arn, clientToken="two")
    assert cloud.end(arn)["redriveCount"] == 2
    tokens = stepfunctions._executions[arn]["redriveTokens"]
    tokens["one"] = (datetime.now(UTC) - timedelta(minutes=15, seconds=1)).isoformat()
    cloud.redrive(arn, clientToken="one")
    assert cloud.end(arn)["redriveCount"] == 3


def test_a_list_shows_and_filters_redrives(cloud: Cloud) -> None:
    cloud.broken = {"A"}
    definition = line(task("A"))
    never, once = cloud.run(definition), cloud.run(definition)
    redriven_at = cloud.redrive(once)["redriveDate"]
    cloud.end(once)

    def listed(**options: str) -> dict[str, tuple[int, object]]:
        found = cloud.request("ListExecutions", stateMachineArn=STATE_MACHINE, **options)["executions"]
        return {item["executionArn"]: (item["redriveCount"], item["redriveDate"]) for item in found}

    assert listed() == {never: (0, None), once: (1, redriven_at)}
    assert listed(redriveFilter="REDRIVEN") == {once: (1, redriven_at)}
    assert listed(redriveFilter="NOT_REDRIVEN") == {never: (0, None)}
    with pytest.raises(Error, match="ValidationException"):
        listed(redriveFilter="OTHER")


def test_the_context_says_how_often_it_was_redriven(cloud: Cloud) -> None:
    cloud.broken = {"A"}
    payload = {"count.$": "$$.Execution.RedriveCount", "input.$": "$$.Execution.Input"}
    arn = cloud.run(line(task("A"), task("B", Parameters=payload)), {"x": 1})
    cloud.broken = set()
    cloud.redriven(arn)
    assert cloud.calls[-1] == ("B", {"count": 1, "input": {"x": 1}})
