"""Paths from histories that no emulator writes: redriven, aborted, or with mixed branches."""

from datetime import timedelta

import pytest

from lambdas.saga_runtime.execution_history import End, PathStep, path_of, stopped_in
from tests.histories import ABORTED_GROUP, ABORTED_LOCALLY, CAUGHT, FAILED_GROUP, IN_LINE, REDRIVEN, START, history

STOPPED = """
    1 0 ExecutionStarted
    2 0 TaskStateEntered   RefundPayment
    3 0 TaskScheduled
    4 0 TaskFailed         Sandbox.Timedout
    5 0 ExecutionFailed
    6 0 ExecutionRedriven
"""


def steps_of(*lines: str) -> dict[str, PathStep]:
    return {step.state: step for step in path_of(history(*lines))}


def errors(step: PathStep) -> list[str | None]:
    return [attempt.error for attempt in step.attempts]


def test_after_a_redrive_a_state_continues_with_a_further_attempt() -> None:
    lines = """
        7 0 TaskScheduled
        8 0 TaskSucceeded
        9 0 TaskStateExited  RefundPayment
    """
    (step,) = path_of(history(STOPPED, lines, linked=False))
    assert errors(step) == ["Sandbox.Timedout", None]
    assert step.took == timedelta(seconds=7), "until its end, not until the first stop"


def test_a_state_that_a_redrive_enters_again_is_a_further_step() -> None:
    lines = """
        7  0 TaskStateEntered  RefundPayment
        8  0 TaskScheduled
        9  0 TaskSucceeded
        10 0 TaskStateExited   RefundPayment
    """
    path = path_of(history(STOPPED, lines, linked=False))
    assert [(step.state, len(step.attempts)) for step in path] == [("RefundPayment", 1), ("RefundPayment", 1)]


def test_an_attempt_has_no_end_if_the_execution_was_aborted() -> None:
    lines = """
        1 0 TaskStateEntered   CreateOrder
        2 0 TaskScheduled
        3 0 ExecutionAborted
    """
    (step,) = path_of(history(lines, linked=False))
    assert [(attempt.ended_at, attempt.error) for attempt in step.attempts] == [(None, None)]
    assert step.took == timedelta(seconds=2)


def test_a_state_that_runs_has_no_end() -> None:
    lines = """
        1 0 TaskStateEntered   CreateOrder
        2 0 TaskScheduled
        3 0 TaskTimedOut       States.Timeout
        4 0 TaskScheduled
    """
    (step,) = path_of(history(lines, linked=False))
    assert errors(step) == ["States.Timeout", None]
    assert (step.left_at, step.end) == (None, None)


def test_an_execution_that_ended_before_its_first_state_has_no_path() -> None:
    lines = """
        1 0 ExecutionStarted
        2 0 ExecutionAborted
    """
    assert path_of(history(lines)) == ()
    assert stopped_in(()) == ()


def test_each_branch_of_a_group_has_its_own_attempts_and_errors() -> None:
    steps = steps_of(FAILED_GROUP)
    assert errors(steps["CancelFlight"]) == ["Broken", "Broken"]
    assert errors(steps["CancelHotel"]) == ["Throttled", None]
    assert errors(steps["UndoReservations"]) == ["Broken"], "the error of the branch that failed"
    assert {steps["CancelFlight"].within, steps["CancelHotel"].within} == {"UndoReservations"}


def test_a_saga_is_stuck_in_the_branch_that_failed_and_not_in_one_that_was_stopped() -> None:
    steps = steps_of(FAILED_GROUP)
    assert {state: step.end for state, step in steps.items()} == {
        "UndoReservations": End.HELD,
        "CancelFlight": End.HELD,
        "CancelHotel": End.STOPPED,
    }
    assert stopped_in(steps.values()) == ("CancelFlight",)
    assert steps["CancelHotel"].left_at == START + timedelta(seconds=17), "with its group"


def test_a_redriven_group_continues_in_its_branches() -> None:
    running = steps_of(FAILED_GROUP, *REDRIVEN.splitlines()[:5])
    assert [step.end for step in running.values()] == [None] * 3
    steps = steps_of(FAILED_GROUP, REDRIVEN)
    assert errors(steps["CancelFlight"]) == ["Broken", "Broken", None]
    assert errors(steps["CancelHotel"]) == ["Throttled", None, None]
    assert {step.end for step in steps.values() if step.state != "TripFailed"} == {End.LEFT}
    assert (steps["TripFailed"].after, steps["TripFailed"].within) == ("UndoReservations", None)


def test_a_failure_that_the_group_catches_is_over() -> None:
    steps = steps_of(*FAILED_GROUP.splitlines()[:-1], CAUGHT)
    assert [(state, step.end) for state, step in steps.items()] == [
        ("UndoReservations", End.LEFT),
        ("CancelFlight", End.LEFT),
        ("CancelHotel", End.STOPPED),
        ("Afterwards", None),
    ]
    assert (steps["Afterwards"].after, steps["Afterwards"].within) == ("UndoReservations", None)


def test_a_group_that_is_retried_has_an_attempt_for_each_start() -> None:
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


def test_an_execution_that_is_aborted_in_a_group_is_stuck_in_all_running_branches() -> None:
    steps = steps_of(ABORTED_GROUP)
    held = {state for state, step in steps.items() if step.end is End.HELD}
    assert held == {"Reservations", "ReserveFlight", "ReserveHotel"}
    assert stopped_in(steps.values()) == ("ReserveFlight", "ReserveHotel")


def test_the_iterations_of_a_map_are_separate_steps() -> None:
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


def test_a_state_that_a_redrive_enters_again_and_leaves_is_no_longer_stuck() -> None:
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


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ("1 0 PassStateEntered One\n 2 1 PassStateEntered Two\n 3 2 ExecutionFailed Broken", "Two"),
        ("1 0 PassStateEntered One\n 2 1 PassStateExited One\n 3 2 ExecutionFailed Broken", "One"),
        ("1 0 PassStateEntered One\n 2 0 ParallelStateEntered Group\n 3 0 ExecutionFailed Broken", "Group"),
    ],
    ids=["without exits", "between two states", "in a group without events"],
)
def test_an_execution_stops_in_the_last_state_that_was_entered(lines: str, state: str) -> None:
    assert stopped_in(path_of(history(lines))) == (state,)


def test_events_of_a_task_after_the_end_of_its_execution_are_ignored() -> None:
    (step,) = path_of(history(ABORTED_LOCALLY, linked=False))
    assert (step.end, step.left_at) == (End.HELD, START + timedelta(seconds=3))


def test_the_message_of_a_cause_is_redacted() -> None:
    events = history(IN_LINE)
    events[3]["taskFailedEventDetails"]["cause"] = '{"errorMessage": "no seat for 1234", "stackTrace": []}'
    first, _ = path_of(events, redact=lambda text: text.replace("1234", "(hidden)"))
    assert first.attempts[0].cause == "no seat for (hidden)"


def test_the_success_of_an_execution_ends_its_last_state() -> None:
    events = history("1 0 ExecutionStarted\n2 0 TaskStateEntered One\n3 0 TaskSucceeded\n4 0 ExecutionSucceeded")
    assert [(step.end, step.took) for step in path_of(events)] == [(End.LEFT, timedelta(seconds=2))]
