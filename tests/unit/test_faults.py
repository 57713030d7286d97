"""What a demo reports of an execution that cannot end as it should, from its history; tests/e2e/test_demo_faults.py."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from local.faults import FaultError, fault_of, require_progress
from tests.histories import CAUGHT, FAILED_GROUP, IN_LINE, history

STATES = ("One", "Undo", "CancelFlight", "CancelHotel", "Afterwards")
GROUPS = ("UndoReservations",)
# The state One fails and succeeds at last.
RECOVERED = """
    1  0  ExecutionStarted
    2  0  TaskStateEntered      One
    3  2  TaskScheduled
    4  3  TaskFailed            Broken
    5  4  TaskScheduled
    6  5  TaskSucceeded
    7  6  TaskStateExited       One
"""


def deployment_with(events: list[dict[str, Any]]) -> Any:
    """Return a deployment whose only execution has this history; the log of each function has 20 lines."""
    tasks = {name: {"Type": "Task", "End": True, "Parameters": {"FunctionName": f"arn:{name}"}} for name in STATES}
    groups = {name: {"Type": "Parallel", "End": True, "Branches": []} for name in GROUPS}
    lines = ["START RequestId: 1", *(f"line {n}" for n in range(20)), "", "END RequestId: 1"]
    logs = {"events": [{"message": line} for line in lines]}
    definition = json.dumps({"StartAt": "One", "States": tasks | groups})
    return SimpleNamespace(
        stepfunctions=paginating({"events": events}),
        client=SimpleNamespace(definition=lambda: definition),
        stack=SimpleNamespace(name="any"),
        cloud=SimpleNamespace(
            endpoint="", session=lambda: SimpleNamespace(client=lambda *_, **__: paginating(logs)), name="any"
        ),
    )


def paginating(page: object) -> Any:
    return SimpleNamespace(get_paginator=lambda _name: SimpleNamespace(paginate=lambda **_: [page]))


def attempts(count: int) -> str:
    """Return a history in which the state One fails so often, and is tried again."""
    events = [f"{2 * n + 1} 0 TaskFailed Broken\n{2 * n + 2} 0 TaskScheduled" for n in range(1, count + 1)]
    return "\n".join(["1 0 TaskStateEntered One", "2 0 TaskScheduled", *events])


@pytest.mark.parametrize(
    ("lines", "expected", "state"),
    [
        ((IN_LINE,), None, "One"),
        ((IN_LINE,), "One", "Undo"),
        ((RECOVERED,), None, None),
        ((FAILED_GROUP,), None, "CancelFlight"),
        ((FAILED_GROUP, CAUGHT), "CancelFlight", "CancelHotel"),
        ((attempts(1),), None, "One"),
        ((attempts(1),), "One", None),
    ],
)
def test_the_fault_is_the_first_state_that_failed_for_good_and_was_not_expected_to(
    lines: tuple[str, ...], expected: str | None, state: str | None
) -> None:
    fault = fault_of(deployment_with(history(*lines)), "arn", expected=expected)
    assert (fault and fault.partition(" failed: ")[0]) == state


def test_a_fault_names_error_and_function_and_ends_with_the_last_lines_of_its_log() -> None:
    first, *log = (fault_of(deployment_with(history(IN_LINE)), "arn") or "").splitlines()
    assert first == "One failed: Broken: fix it in One, whose log ends with the lines below, and run this again"
    assert log == [f"  line {n}" for n in range(5, 20)]


@pytest.mark.parametrize(
    ("count", "request_id", "expected", "stops"),
    [
        (4, "any", None, False),
        (5, "any", None, True),
        (5, "any", "One", False),
        (1, "", None, True),
    ],
    ids=["an action may be tried again", "no action may", "it is expected", "its function cannot be imported"],
)
def test_an_execution_that_retries_cannot_help_is_stopped(
    count: int, request_id: str, expected: str | None, stops: object
) -> None:
    events = history(attempts(count))
    for event in events:
        if event["type"] == "TaskFailed":
            event["taskFailedEventDetails"]["cause"] = json.dumps({"errorMessage": "why", "requestId": request_id})
    if not stops:
        require_progress(deployment_with(events), "arn", expected=expected)
        return
    with pytest.raises(FaultError, match=r"^One failed: Broken: why: fix it in One, "):
        require_progress(deployment_with(events), "arn", expected=expected)
