"""The path of histories that no emulator writes: resumed ones, and ones that are cut off."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from ops.path import last_state, path_of

Event: TypeAlias = tuple[str, dict[str, Any]]

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def history(*events: Event) -> Any:
    """Events a second apart."""
    return [
        {"id": i + 1, "type": type_, "timestamp": START + timedelta(seconds=i), **details}
        for i, (type_, details) in enumerate(events)
    ]


def entered(name: str) -> Event:
    return "TaskStateEntered", {"stateEnteredEventDetails": {"name": name}}


SCHEDULED: Event = ("TaskScheduled", {})
FAILED: Event = (
    "TaskFailed",
    {"taskFailedEventDetails": {"error": "Sandbox.Timedout", "cause": "x"}},
)
TIMED_OUT: Event = ("TaskTimedOut", {"taskTimedOutEventDetails": {"error": "States.Timeout"}})
SUCCEEDED: Event = ("TaskSucceeded", {})
STOPPED: tuple[Event, ...] = (
    entered("RefundPayment"),
    SCHEDULED,
    FAILED,
    ("ExecutionFailed", {}),
    ("ExecutionRedriven", {}),
)
ENDED: tuple[Event, ...] = (
    SCHEDULED,
    SUCCEEDED,
    ("TaskStateExited", {"stateExitedEventDetails": {"name": "RefundPayment"}}),
)


def test_after_a_redrive_the_state_goes_on_with_a_further_attempt() -> None:
    (step,) = path_of(history(("ExecutionStarted", {}), *STOPPED, *ENDED))
    assert [attempt.error for attempt in step.attempts] == ["Sandbox.Timedout", None]
    assert step.took == timedelta(seconds=7), "to its end, not to the first stop"


def test_a_state_that_is_entered_again_by_a_redrive_is_a_step_again() -> None:
    path = path_of(history(("ExecutionStarted", {}), *STOPPED, entered("RefundPayment"), *ENDED))
    assert [(step.state, len(step.attempts)) for step in path] == [("RefundPayment", 1), ("RefundPayment", 1)]


def test_an_attempt_that_was_cut_off_has_no_end() -> None:
    (step,) = path_of(history(entered("CreateOrder"), SCHEDULED, ("ExecutionAborted", {})))
    assert [(attempt.ended_at, attempt.error) for attempt in step.attempts] == [(None, None)]
    assert step.took == timedelta(seconds=2)


def test_a_state_that_is_being_worked_on_is_not_left() -> None:
    (step,) = path_of(history(entered("CreateOrder"), SCHEDULED, TIMED_OUT, SCHEDULED))
    assert [attempt.error for attempt in step.attempts] == ["States.Timeout", None]
    assert step.left_at is None


def test_an_execution_that_ended_before_its_first_state_has_no_path() -> None:
    events = history(("ExecutionStarted", {}), ("ExecutionAborted", {}))
    assert (path_of(events), last_state(events)) == ((), None)
