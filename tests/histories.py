"""Histories as AWS writes them (lambdas/saga_runtime/execution_history.py), from lines ``ID LINK TYPE [NAME]``.

The name is the state of an entrance or an exit, and the error of a failure. Events are a second apart.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

# Two branches run; the first one fails, which stops the second one.
FAILED_GROUP = """
    1  0  ExecutionStarted
    2  0  ParallelStateEntered  UndoReservations
    3  2  ParallelStateStarted
    4  3  TaskStateEntered      CancelFlight
    5  3  TaskStateEntered      CancelHotel
    6  4  TaskScheduled
    7  5  TaskScheduled
    8  6  TaskStarted
    9  7  TaskStarted
    10 8  TaskFailed            Broken
    11 9  TaskFailed            Throttled
    12 10 TaskScheduled
    13 11 TaskScheduled
    14 12 TaskStarted
    15 14 TaskFailed            Broken
    16 15 TaskStateAborted
    17 15 TaskStateAborted
    18 15 ParallelStateFailed
    19 18 ExecutionFailed       Broken
"""
REDRIVEN = """
    20 19 ExecutionRedriven
    21 4  TaskScheduled
    22 5  TaskScheduled
    23 22 TaskSucceeded
    24 23 TaskStateExited       CancelHotel
    25 21 TaskSucceeded
    26 25 TaskStateExited       CancelFlight
    27 26 ParallelStateSucceeded
    28 26 ParallelStateExited   UndoReservations
    29 28 FailStateEntered      TripFailed
    30 29 ExecutionFailed       TripFailed
"""
# The group catches the failure of the branch.
CAUGHT = """
    19 18 ParallelStateExited   UndoReservations
    20 19 TaskStateEntered      Afterwards
    21 20 TaskScheduled
"""
# Aborted after one branch has ended and before the others have.
ABORTED_GROUP = """
    1  0  ExecutionStarted
    2  0  ParallelStateEntered  Reservations
    3  2  ParallelStateStarted
    4  3  TaskStateEntered      ReserveFlight
    5  3  TaskStateEntered      ReserveHotel
    6  3  TaskStateEntered      ReserveCar
    7  4  TaskScheduled
    8  5  TaskScheduled
    9  6  TaskScheduled
    10 9  TaskSucceeded
    11 10 TaskStateExited       ReserveCar
    12 0  ExecutionAborted
"""
# No group; a Catch follows the error of the first state.
IN_LINE = """
    1  0  ExecutionStarted
    2  0  TaskStateEntered      One
    3  2  TaskScheduled
    4  3  TaskFailed            Broken
    5  4  TaskStateExited       One
    6  5  TaskStateEntered      Undo
    7  6  TaskScheduled
    8  7  TaskFailed            Broken
    9  8  ExecutionFailed       Broken
"""
# A local cloud records a task that runs at the abort until its end.
ABORTED_LOCALLY = """
    1  0  ExecutionStarted
    2  0  TaskStateEntered      One
    3  0  TaskScheduled
    4  0  ExecutionAborted
    5  0  TaskSucceeded
    6  0  TaskStateExited       One
"""


def history(*lines: str, linked: bool = True) -> Any:
    """Return the events of the lines; without links, as those of MiniStack."""
    events = [_event(*line.split()) for line in "\n".join(lines).splitlines() if line.strip()]
    return events if linked else [_without_link(event) for event in events]


def _event(id_: str, link: str, type_: str, name: str | None = None) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": int(id_),
        "previousEventId": int(link),
        "type": type_,
        "timestamp": START + timedelta(seconds=int(id_) - 1),
    }
    if name is None:
        return event
    for end in ("Entered", "Exited"):
        if type_.endswith(f"State{end}"):
            return event | {f"state{end}EventDetails": {"name": name}}
    resource = {"resource": "invoke", "resourceType": "lambda"} if type_.startswith("Task") else {}
    return event | {f"{type_[0].lower()}{type_[1:]}EventDetails": {"error": name, **resource}}


def _without_link(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "previousEventId"}
