"""The path of histories that no emulator writes: resumed ones, ones that are cut off, and mixed branches."""

from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from ops.model import End, PathStep
from ops.path import path_of, stopped_in
from tests.histories import ABORTED_GROUP, ABORTED_LOCALLY, CAUGHT, FAILED_GROUP, IN_LINE, RESUMED, START, history

Event: TypeAlias = tuple[str, dict[str, Any]]


def in_line(*events: Event) -> Any:
    """Events a second apart, without links."""
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
    (step,) = path_of(in_line(("ExecutionStarted", {}), *STOPPED, *ENDED))
    assert [attempt.error for attempt in step.attempts] == ["Sandbox.Timedout", None]
    assert step.took == timedelta(seconds=7), "to its end, not to the first stop"


def test_a_state_that_is_entered_again_by_a_redrive_is_a_step_again() -> None:
    path = path_of(in_line(("ExecutionStarted", {}), *STOPPED, entered("RefundPayment"), *ENDED))
    assert [(step.state, len(step.attempts)) for step in path] == [("RefundPayment", 1), ("RefundPayment", 1)]


def test_an_attempt_that_was_cut_off_has_no_end() -> None:
    (step,) = path_of(in_line(entered("CreateOrder"), SCHEDULED, ("ExecutionAborted", {})))
    assert [(attempt.ended_at, attempt.error) for attempt in step.attempts] == [(None, None)]
    assert step.took == timedelta(seconds=2)


def test_a_state_that_is_being_worked_on_is_not_left() -> None:
    (step,) = path_of(in_line(entered("CreateOrder"), SCHEDULED, TIMED_OUT, SCHEDULED))
    assert [attempt.error for attempt in step.attempts] == ["States.Timeout", None]
    assert step.left_at is None


def test_an_execution_that_ended_before_its_first_state_has_no_path() -> None:
    events = in_line(("ExecutionStarted", {}), ("ExecutionAborted", {}))
    assert (path_of(events), stopped_in(())) == ((), ())


def by_state(*lines: str, linked: bool = True) -> dict[str, PathStep]:
    return {step.state: step for step in path_of(history(*lines, linked=linked))}


def errors(step: PathStep) -> list[str | None]:
    return [attempt.error for attempt in step.attempts]


def test_each_branch_of_a_group_has_its_own_attempts_and_errors() -> None:
    steps = by_state(FAILED_GROUP)
    assert errors(steps["CancelFlight"]) == ["Broken", "Broken"]
    assert errors(steps["CancelHotel"]) == ["Throttled", None]
    assert errors(steps["UndoReservations"]) == ["Broken"], "that of the branch that failed"
    assert {steps["CancelFlight"].within, steps["CancelHotel"].within} == {"UndoReservations"}


def test_a_saga_is_stuck_in_the_branch_that_failed_and_not_in_the_one_that_was_stopped() -> None:
    steps = by_state(FAILED_GROUP)
    assert {state: step.end for state, step in steps.items()} == {
        "UndoReservations": End.HELD,
        "CancelFlight": End.HELD,
        "CancelHotel": End.STOPPED,
    }
    assert stopped_in(steps.values()) == ("CancelFlight",)
    assert steps["CancelHotel"].left_at == START + timedelta(seconds=17), "with its group"


def test_a_resumed_group_goes_on_in_its_branches() -> None:
    running = by_state(FAILED_GROUP, *RESUMED.splitlines()[:5])
    assert {state: step.end for state, step in running.items()} == {
        "UndoReservations": None,
        "CancelFlight": None,
        "CancelHotel": None,
    }
    steps = by_state(FAILED_GROUP, RESUMED)
    assert errors(steps["CancelFlight"]) == ["Broken", "Broken", None]
    assert errors(steps["CancelHotel"]) == ["Throttled", None, None]
    assert {step.end for step in steps.values() if step.state != "TripFailed"} == {End.LEFT}
    assert (steps["TripFailed"].after, steps["TripFailed"].within) == ("UndoReservations", None)


def test_a_failure_that_the_group_has_caught_is_over() -> None:
    steps = by_state(*FAILED_GROUP.splitlines()[:-1], CAUGHT)
    assert [(state, step.end) for state, step in steps.items()] == [
        ("UndoReservations", End.LEFT),
        ("CancelFlight", End.LEFT),
        ("CancelHotel", End.STOPPED),
        ("Afterwards", None),
    ]
    assert (steps["Afterwards"].after, steps["Afterwards"].within) == ("UndoReservations", None)


def test_a_group_that_is_retried_has_an_attempt_a_start() -> None:
    lines = """
        1 0 ExecutionStarted
        2 0 ParallelStateEntered  Group
        3 2 ParallelStateStarted
        4 3 TaskStateEntered      One
        5 3 TaskStateEntered      Two
        6 4 TaskScheduled
        7 6 TaskFailed            Broken
        8 7 ParallelStateStarted
        9 8 TaskStateEntered      One
        10 8 TaskStateEntered     Two
    """
    path = path_of(history(lines))
    assert [(step.state, step.end) for step in path] == [
        ("Group", None),
        ("One", End.LEFT),
        ("Two", End.STOPPED),
        ("One", None),
        ("Two", None),
    ]
    assert errors(path[0]) == ["Broken", None]


def test_an_execution_that_is_stopped_in_a_group_is_stuck_in_all_that_was_under_way() -> None:
    steps = by_state(ABORTED_GROUP)
    assert {state for state, step in steps.items() if step.end is End.HELD} == {
        "Reservations",
        "ReserveFlight",
        "ReserveHotel",
    }
    assert stopped_in(steps.values()) == ("ReserveFlight", "ReserveHotel")


def test_the_iterations_of_a_map_are_told_apart() -> None:
    lines = """
        1 0 ExecutionStarted
        2 0 MapStateEntered       Each
        3 2 MapStateStarted
        4 3 MapIterationStarted
        5 3 MapIterationStarted
        6 4 TaskStateEntered      Do
        7 5 TaskStateEntered      Do
        8 6 TaskScheduled
        9 7 TaskScheduled
        10 8 TaskTimedOut         States.Timeout
        11 10 MapIterationFailed
        12 10 TaskStateAborted
        13 10 MapIterationAborted
        14 10 MapStateFailed
        15 14 ExecutionFailed     States.Timeout
    """
    path = path_of(history(lines))
    assert [(step.state, step.end, errors(step)) for step in path] == [
        ("Each", End.HELD, ["States.Timeout"]),
        ("Do", End.HELD, ["States.Timeout"]),
        ("Do", End.STOPPED, [None]),
    ]
    assert stopped_in(path) == ("Do",)


@pytest.mark.parametrize("linked", [True, False])
def test_without_branches_the_links_make_no_difference(*, linked: bool) -> None:
    path = path_of(history(IN_LINE, linked=linked))
    assert [(step.state, step.after, step.end, errors(step)) for step in path] == [
        ("One", None, End.LEFT, ["Broken"]),
        ("Undo", "One", End.HELD, ["Broken"]),
    ]
    assert stopped_in(path) == ("Undo",)


def test_without_links_and_without_what_is_in_a_group_the_saga_is_stuck_in_the_group() -> None:
    lines = """
        1 0 ExecutionStarted
        2 0 PassStateEntered      First
        3 0 PassStateExited       First
        4 0 ParallelStateEntered  Group
        5 0 ExecutionFailed       Broken
    """
    assert stopped_in(path_of(history(lines, linked=False))) == ("Group",)


def test_a_state_that_was_entered_again_by_a_redrive_and_left_is_not_stuck_any_more() -> None:
    lines = """
        10 9  ExecutionRedriven
        11 10 TaskStateEntered    Undo
        12 11 TaskScheduled
        13 12 TaskSucceeded
        14 13 TaskStateExited     Undo
        15 14 TaskStateEntered    Next
        16 15 ExecutionFailed     Broken
    """
    assert stopped_in(path_of(history(IN_LINE, lines))) == ("Next",)


def test_where_no_exits_are_told_a_state_ends_with_the_entrance_of_the_next() -> None:
    lines = """
        1 0 PassStateEntered  One
        2 1 PassStateEntered  Two
        3 2 ExecutionFailed   Broken
    """
    assert stopped_in(path_of(history(lines))) == ("Two",)


def test_an_execution_that_fails_between_two_states_is_stuck_in_the_former() -> None:
    lines = """
        1 0 PassStateEntered  One
        2 1 PassStateExited   One
        3 2 ExecutionFailed   Broken
    """
    assert stopped_in(path_of(history(lines))) == ("One",)


def test_what_a_task_does_after_the_end_of_its_execution_is_no_exit() -> None:
    (step,) = path_of(history(ABORTED_LOCALLY, linked=False))
    assert (step.end, step.left_at) == (End.HELD, START + timedelta(seconds=3))
