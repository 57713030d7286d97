"""The values that an operator sees. Times have a time zone. No value contains the input of an execution."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lambdas.saga_runtime.execution_history import PathStep

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType

UNSUCCESSFUL: "tuple[ExecutionStatusType, ...]" = ("FAILED", "TIMED_OUT", "ABORTED")
STATUSES: "tuple[ExecutionStatusType, ...]" = ("RUNNING", "SUCCEEDED", *UNSUCCESSFUL)
# An event, ListExecutions and DescribeExecution may round the same time differently.
SAME_STOP = timedelta(seconds=1)
# RedriveExecution accepts an execution that ended in the last 14 days (Step Functions API Reference).
REDRIVABLE_FOR = timedelta(days=14)


def is_same_stop(one: datetime | None, other: datetime | None) -> bool:
    """Return whether two answers of AWS mean the same stop; False if an execution has not stopped."""
    return one is not None and other is not None and abs(one - other) <= SAME_STOP


class Outcome(StrEnum):
    """What the status and the error of an execution mean by the contract."""

    RUNNING = "running"
    FULFILLED = "fulfilled"
    ROLLED_BACK = "rolled_back"
    STUCK = "stuck"

    @property
    def words(self) -> str:
        """The outcome for people."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """An execution as Step Functions describes it.

    Args:
        arn: its ARN.
        name: its name.
        status: its status, one of ``STATUSES`` or ``PENDING_REDRIVE``.
        started_at: when it started.
        stopped_at: when it ended; None while it runs.
        error: the error it failed with; None if it did not fail.
        cause: the message of the cause, redacted; None if there is none.
        order_id: the key in its input; None if the input has no valid one.
        failed_cleanly: whether a Fail state ended it. By the contract, nothing of its saga is live then.
        redrive_count: how often it was redriven.
        redrive_status: whether AWS can redrive it; None if the service does not say.
        redrive_status_reason: why AWS cannot; None if it can, or does not say.
        trace_id: the id of its X-Ray trace; None if it has none.
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
    trace_id: str | None = None

    @property
    def outcome(self) -> Outcome:
        """The meaning of status and error."""
        if self.status in ("RUNNING", "PENDING_REDRIVE"):
            return Outcome.RUNNING
        if self.status == "SUCCEEDED":
            return Outcome.FULFILLED
        return Outcome.ROLLED_BACK if self.failed_cleanly else Outcome.STUCK

    @property
    def redrivable_until(self) -> datetime | None:
        """The end of the time in which a stuck execution can be resumed; None if it is not stuck."""
        if self.outcome is not Outcome.STUCK or self.stopped_at is None:
            return None
        return self.stopped_at + REDRIVABLE_FOR

    @property
    def is_redrivable(self) -> bool:
        """Whether AWS can redrive it: it is stuck, not called NOT_REDRIVABLE, and has not been so for too long."""
        until = self.redrivable_until
        return until is not None and until > datetime.now(UTC) and self.redrive_status != "NOT_REDRIVABLE"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some executions, newest first, and the token of the next page; None on the last."""

    executions: tuple[Execution, ...]
    next_token: str | None


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """A change of a row's status. ``saga_id`` is the ARN of an execution, or ``direct`` for a direct call."""

    status: str
    saga_id: str
    at: str


@dataclass(frozen=True, kw_only=True)
class StoredRow:
    """The row of one step of an order in the table.

    ``saga_id`` and ``saga_started_at`` name its owner. ``request`` is the idempotency key of what the step requested of
    a provider, or waits for; None if it requests nothing.
    """

    entity: str
    status: str
    saga_id: str
    history: tuple[HistoryEntry, ...]
    saga_started_at: str = ""
    request: str | None = None


def history_of(item: Mapping[str, Any]) -> tuple[HistoryEntry, ...]:
    """Return the history of a row, oldest first: that of the owner before, and that of its owner.

    Args:
        item: the item of the table, deserialized.
    """
    entries = [*item.get("previous_history", ()), *item["history"]]
    if "confirmed_at" in item:
        entries.append({"status": item["status"], "saga_id": item["saga_id"], "at": item["confirmed_at"]})
    return tuple(HistoryEntry(status=entry["status"], saga_id=entry["saga_id"], at=entry["at"]) for entry in entries)


@dataclass(frozen=True, kw_only=True)
class Closure:
    """The end of a stuck saga that an operator settles by hand: when, and why."""

    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A step that waits for an answer to its request.

    Args:
        state: the state of its action.
        step: the name of its action.
        row: its row.
        since: when the execution entered the state.
        until: when the task times out.
        heartbeat: how long the task waits for the next sign of life; None if it expects none.
    """

    state: str
    step: str
    row: StoredRow
    since: datetime
    until: datetime
    heartbeat: timedelta | None


@dataclass(frozen=True, kw_only=True)
class SagaRun:
    """One saga of an order with its path.

    ``execution`` is None if Step Functions does not know it, ``closure`` if no operator has closed it. ``waits`` are
    the steps that wait for an answer.
    """

    saga_id: str
    execution: Execution | None
    path: tuple[PathStep, ...]
    closure: Closure | None = None
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order: its rows, and its sagas, newest first.

    ``searched_since`` is the start of the oldest execution that was searched for more sagas; None if all were.
    """

    order_id: str
    rows: tuple[StoredRow, ...]
    sagas: tuple[SagaRun, ...]
    searched_since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class StuckSaga:
    """A stuck saga, and the state it stopped in; None if it stopped before its first state.

    If several states were running when the execution ended, ``state`` is the one it entered last.
    """

    execution: Execution
    state: str | None


@dataclass(frozen=True, kw_only=True)
class StuckGroup:
    """The stuck sagas, at least one, that stopped in one state with one error, oldest stop first."""

    state: str | None
    error: str | None
    sagas: tuple[StuckSaga, ...]

    @property
    def oldest(self) -> datetime | None:
        """When the first of them stopped."""
        return self.sagas[0].execution.stopped_at

    @property
    def redrivable_until(self) -> datetime | None:
        """Until when all of them can be resumed."""
        return self.sagas[0].execution.redrivable_until


def groups_of(sagas: Iterable[StuckSaga]) -> tuple[StuckGroup, ...]:
    """Return stuck sagas by state and error, the largest group first."""
    found: dict[tuple[str | None, str | None], list[StuckSaga]] = {}
    for saga in sorted(sagas, key=_stop):
        found.setdefault((saga.state, saga.execution.error), []).append(saga)
    groups = [StuckGroup(state=state, error=error, sagas=tuple(own)) for (state, error), own in found.items()]
    return tuple(sorted(groups, key=lambda group: len(group.sagas), reverse=True))


def _stop(saga: StuckSaga) -> datetime:
    return saga.execution.stopped_at or saga.execution.started_at


@dataclass(frozen=True, kw_only=True)
class StuckList:
    """The stuck sagas, newest start first, and what else the reports say.

    Args:
        sagas: the stuck sagas.
        resumed: the number of sagas that run again.
        recovered: the executions of the entries whose sagas have since ended cleanly.
        closed: the number of stuck sagas that an operator has closed.
        undelivered: about how many reports were not delivered; None if that cannot be read.
        is_complete: whether all executions were checked, not only the reported ones.
    """

    sagas: tuple[StuckSaga, ...]
    resumed: int = 0
    recovered: tuple[str, ...] = ()
    closed: int = 0
    undelivered: int | None = 0
    is_complete: bool = False
