"""Which sagas or executions a command is about: by state, error and time."""

import argparse
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ops.definition import read_definition
from ops.display import printable
from ops.errors import OpsError
from ops.model import Execution, StuckSaga

_AGO = re.compile(r"([0-9]{1,6})(min|m|h|d)")
_UNITS = {"min": "minutes", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A filter. What is None selects all. Raises OpsError if its times exclude everything.

    Args:
        state: the state that a stuck saga stopped in.
        error: the error of the execution.
        since: the earliest time, included.
        until: the latest time, included.
    """

    state: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.since and self.until and self.since > self.until:
            raise OpsError("--since is later than --until: exchange them")

    @property
    def is_all(self) -> bool:
        """Whether nothing is filtered."""
        return self == Selection()

    def has_time(self, at: datetime) -> bool:
        """Return whether a time is selected."""
        return (self.since is None or self.since <= at) and (self.until is None or at <= self.until)

    def has_error(self, execution: Execution) -> bool:
        """Return whether the error of an execution is selected."""
        return self.error is None or execution.error == self.error

    def of(self, sagas: Iterable[StuckSaga]) -> tuple[StuckSaga, ...]:
        """Return the selected stuck sagas; the time is that of the stop."""
        return tuple(saga for saga in sagas if self._has(saga))

    def _has(self, saga: StuckSaga) -> bool:
        execution = saga.execution
        is_state = self.state is None or saga.state == self.state
        return is_state and self.has_error(execution) and self.has_time(execution.stopped_at or execution.started_at)


def add_filters(parser: argparse.ArgumentParser, *, time: str) -> None:
    """Add the filters to a command.

    Args:
        parser: the parser of the command.
        time: what ``--since`` and ``--until`` compare, for the help.
    """
    parser.add_argument("--state", help="only sagas that are stuck in this state")
    parser.add_argument("--error", help="only this error, such as RuntimeError")
    parser.add_argument("--since", type=read_time, help=f"{time} at or after: 2026-01-31T09:30Z, or 2h ago: 2h")
    parser.add_argument("--until", type=read_time, help=f"{time} at or before this time")


def selection_in(options: argparse.Namespace) -> Selection:
    """Return the filter in the options. Raises OpsError if its times exclude everything."""
    return Selection(state=options.state, error=options.error, since=options.since, until=options.until)


def require_state(definition: Callable[[], str], selection: Selection) -> None:
    """Raise OpsError if the definition has no such state. It is read only if the selection has a state."""
    if selection.state is None:
        return
    states = read_definition(definition(), where="the state machine").states
    if selection.state not in states:
        raise OpsError(f"unknown state {printable(selection.state)!r}: use one of {', '.join(states)}")


def read_time(text: str) -> datetime:
    """Read a time, or how long ago it was; one without a zone is UTC, as in every output. Return it in UTC.

    Raises argparse.ArgumentTypeError with the whole message.
    """
    # A time whose year in UTC is not from 1 to 9999 raises OverflowError.
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"invalid time {text!r}: use one such as 2026-01-31T09:30Z, 30min, 2h or 3d"
        ) from None
