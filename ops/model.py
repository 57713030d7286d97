"""What an operator looks at, as values. Times are aware; texts are as AWS has them, but never hold the card."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# RedriveExecution takes an execution that ended in the last 14 days (Step Functions API Reference).
REDRIVABLE_FOR = timedelta(days=14)


class Outcome(StrEnum):
    """What the status and the error of an execution mean, by the contract."""

    RUNNING = "running"
    FULFILLED = "fulfilled"
    ROLLED_BACK = "rolled_back"
    STUCK = "stuck"


@dataclass(frozen=True, kw_only=True)
class Execution:
    """An execution as Step Functions describes it. ``order_id`` is None if its input has none.

    ``failed_cleanly`` says whether a Fail state ended it: by the contract, nothing of its saga is live then.
    ``redrive_status`` and its reason are None where the service does not say, as in local clouds.
    """

    arn: str
    name: str
    status: str
    started_at: datetime
    stopped_at: datetime | None
    error: str | None
    cause: str | None
    order_id: str | None
    failed_cleanly: bool
    redrive_count: int
    redrive_status: str | None
    redrive_status_reason: str | None

    @property
    def outcome(self) -> Outcome:
        """How it stands."""
        if self.status in ("RUNNING", "PENDING_REDRIVE"):
            return Outcome.RUNNING
        if self.status == "SUCCEEDED":
            return Outcome.FULFILLED
        if self.failed_cleanly:
            return Outcome.ROLLED_BACK
        return Outcome.STUCK

    @property
    def redrivable_until(self) -> datetime | None:
        """Until when a stuck one can be resumed; None if it is not stuck."""
        if self.outcome is not Outcome.STUCK or self.stopped_at is None:
            return None
        return self.stopped_at + REDRIVABLE_FOR


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some executions, newest first, and the token of the next page; None with the last."""

    executions: tuple[Execution, ...]
    next_token: str | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of a row's history. ``saga_id`` is an execution's ARN, or `direct` for a direct call."""

    status: str
    saga_id: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the table keeps of one step of an order; ``saga_id`` is who holds it."""

    entity: str
    status: str
    saga_id: str
    history: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of a state's task. ``ended_at`` is None while it is under way, or if it was cut off."""

    started_at: datetime
    ended_at: datetime | None
    error: str | None
    cause: str | None


class End(StrEnum):
    """How an execution's stay in a state ended."""

    LEFT = "left"  # to what follows, be it after an error that was caught
    HELD = "held"  # never left: it failed and nothing caught it, or the execution ended while it was under way
    STOPPED = "stopped"  # by the end of its group: another branch had failed


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """A state on an execution's path. A Fail state makes no attempt.

    ``left_at`` and ``end`` are None while it is there; ``left_at`` is the time of any end.
    ``within`` is the group (Parallel, Map) that it is a part of, ``after`` the state that led to it; None if none is.
    """

    state: str
    entered_at: datetime
    left_at: datetime | None
    attempts: tuple[Attempt, ...]
    end: End | None
    within: str | None
    after: str | None

    @property
    def took(self) -> timedelta | None:
        """The time from its entry to its end, all retries and waits between them included."""
        return None if self.left_at is None else self.left_at - self.entered_at


@dataclass(frozen=True, kw_only=True)
class Saga:
    """One saga of an order with its path. ``execution`` is None if Step Functions no longer knows it."""

    saga_id: str
    execution: Execution | None
    path: tuple[PathStep, ...]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is known of an order: its rows, and its sagas in the order in which they came."""

    order_id: str
    rows: tuple[Row, ...]
    sagas: tuple[Saga, ...]


@dataclass(frozen=True, kw_only=True)
class StuckSaga:
    """A saga that ended in neither of the clean ways, and the state it stopped in, if it came to one.

    The state is the one that failed; of several that were under way when the execution was stopped, the last entered.
    """

    execution: Execution
    state: str | None


@dataclass(frozen=True, kw_only=True)
class StuckSagas:
    """The stuck sagas, oldest first, and what was found of the queue's messages.

    ``removed`` messages were of sagas that have ended cleanly; ``outdated`` ones tell of a stop that is over, but
    could not or should not be removed; ``unreadable`` ones are no reports. Not ``complete``: the queue has more.
    """

    sagas: tuple[StuckSaga, ...]
    removed: int = 0
    outdated: int = 0
    unreadable: int = 0
    complete: bool = True
