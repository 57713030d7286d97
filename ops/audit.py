"""The audit: checks the invariants of all orders on the live table, and how it agrees with Step Functions.

It lists the executions first and then scans the table, in parallel and eventually consistent. An order that looks
wrong is looked at again: first its executions, then its rows by a consistent read. An execution that has ended changes
no row afterwards, so the time between two requests causes no finding.
"""

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from lambdas.saga_runtime.barrier import SagaIdentity
from lambdas.saga_runtime.cancellation import is_execution
from ops.client import SagaClient
from ops.documents import moment
from ops.executions import MAX_PAGE, MAX_REQUESTS
from ops.invariants import ExpectedRow, history_problems, late_changes, repetitions, saga_problems
from ops.model import STATUSES, Execution, Outcome
from ops.rows import (
    Row,
    Rows,
    identity_of,
    known_execution,
    owner,
    owners,
    projection,
    read_row,
    stored_rows,
)
from ops.saga_steps import DeployedStep, Kind
from ops.settle import NEW_FOR

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import ScanOutputTypeDef
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef

# An eventually consistent read of 8 KB is one unit (Amazon DynamoDB Developer Guide, "Read and write operations"). The
# price is that of us-east-1, on demand.
BYTES_A_UNIT = 8 * 1024
DOLLARS_A_UNIT = 0.125 / 1_000_000

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A violated invariant.

    Args:
        kind: ``row`` (the row contradicts itself), ``live`` (a live row of a saga that neither runs nor was confirmed),
            ``stuck`` (the same, and the saga can be resumed), ``incomplete`` (a confirmed order lacks rows) or ``slow``
            (a saga runs for longer than the limit).
        order_id: the order; None if it is unknown.
        saga_id: the saga; None if the finding is of no single one.
        problem: what is wrong.
        remedy: what to do.
    """

    kind: str
    order_id: str | None
    saga_id: str | None
    problem: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The size of the table as DynamoDB knows it, up to six hours old, and what reading it costs."""

    rows: int
    bytes: int

    @property
    def read_units(self) -> int:
        """The read units of a scan."""
        return -(-self.bytes // BYTES_A_UNIT)

    @property
    def dollars(self) -> float:
        """The price of a scan."""
        return self.read_units * DOLLARS_A_UNIT


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """What was checked and found. ``read_units`` is what the scan consumed.

    ``closed`` are the findings of sagas that an operator has closed: the operator, not the table, says that they are
    settled.
    """

    orders: int
    rows: int
    executions: int
    read_units: float
    findings: tuple[Finding, ...]
    closed: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class ListedExecution:
    """An execution in the list of all.

    Args:
        outcome: its outcome. A clean failure counts as stuck: neither may own a live row.
        started_at: its start.
        active_since: its start or its last redrive.
        ended_at: its end; None while it runs.
    """

    outcome: Outcome
    started_at: datetime
    active_since: datetime
    ended_at: datetime | None

    def is_active_since(self, time: datetime) -> bool:
        """Return whether the execution runs, or has started or ended since then."""
        return self.outcome is Outcome.RUNNING or max(self.active_since, self.ended_at or self.started_at) >= time


def estimate(client: SagaClient) -> Estimate:
    """Return what a scan of the table will read."""
    table = client.dynamodb.describe_table(TableName=client.stack.table)["Table"]
    return Estimate(rows=table.get("ItemCount", 0), bytes=table.get("TableSizeBytes", 0))


class Audit:
    """An audit of one stack.

    Args:
        client: the client of the stack.
        steps: the steps of its saga.
        limit: how long a saga may run.
        since: ignore orders that were not changed since then, and whose sagas neither started nor ended since and do
            not run. Default: none.
        segments: how many segments of the table are read at a time.
    """

    def __init__(
        self,
        client: SagaClient,
        steps: Iterable[DeployedStep],
        *,
        limit: timedelta,
        since: datetime | None = None,
        segments: int = 4,
    ) -> None:
        self._client = client
        self._expected = [
            ExpectedRow.of(step.spec, is_retriable=step.kind is Kind.RETRIABLE) for step in steps if step.spec
        ]
        self._limit = limit
        self._since = since
        self._segments = segments
        self._read_units = 0.0

    def run(self, *, progress: Callable[[int], object]) -> AuditResult:
        """Check everything. ``progress`` is called with the number of further rows that were read."""
        listed = dict(self._listed())
        orders, rows_read = 0, 0
        owner_ids, suspects = set[str](), set[str]()
        for order_id, rows in self._scanned(progress, listed):
            orders += 1
            rows_read += len(rows)
            owner_ids.update(str(row.get("saga_id")) for row in rows.values())
            outcomes = {saga: self._outcome_listed(saga, listed) for saga in owners(rows)}
            if any(self._problems(order_id, rows, outcomes)):
                suspects.add(order_id)
        # The list does not say of which order an execution is, so those that own no row must be described.
        without_rows = [arn for arn, one in listed.items() if one.outcome is Outcome.FULFILLED and arn not in owner_ids]
        found = [*self._slow(listed), *_flat(self._map(self._without_rows, without_rows))]
        found = list(dict.fromkeys([*found, *_flat(self._map(self._look_again, sorted(suspects)))]))
        closed = self._closed(found)
        return AuditResult(
            orders=orders,
            rows=rows_read,
            executions=len(listed),
            read_units=self._read_units,
            findings=tuple(finding for finding in found if finding.saga_id not in closed),
            closed=tuple(finding for finding in found if finding.saga_id in closed),
        )

    def _closed(self, found: Iterable[Finding]) -> set[str | None]:
        """Return the sagas of findings that an operator has closed and that were not redriven since."""
        entries = self._client.closed() if (sagas := {finding.saga_id for finding in found}) else {}
        named = [entry for entry in entries.values() if entry.arn in sagas]
        present = self._map(lambda arn: known_execution(self._client, arn), [entry.arn for entry in named])
        pairs = zip(named, present, strict=True)
        return {entry.arn for entry, execution in pairs if execution is None or entry.closure_of(execution)}

    def _listed(self) -> Iterator[tuple[str, ListedExecution]]:
        """Yield all executions by ARN, a thousand with one request; with ``since``, those that were active since then.

        The newest start comes first, but a saga that waits ends long after its start. So only one list is not read to
        its end, that of those that succeeded: their rows say when they were confirmed.
        """
        since = self._since
        if since is None:
            yield from itertools.chain.from_iterable(self._pages())
            return
        # Those that run come first: one that ends meanwhile is listed again.
        for status in STATUSES:
            for page in self._pages(statusFilter=status):
                active = [one for one in page if one[1].is_active_since(since)]
                yield from active
                if status == "SUCCEEDED" and page and not active:
                    break

    def _pages(self, **status: "ExecutionStatusType") -> Iterator[list[tuple[str, ListedExecution]]]:
        filtered: Any = status
        pages = self._client.stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self._client.stack.state_machine_arn, PaginationConfig={"PageSize": MAX_PAGE}, **filtered
        )
        for page in pages:
            yield [(item["executionArn"], _listed(item)) for item in page["executions"]]

    def _scanned(self, progress: Callable[[int], object], active: Container[object]) -> Iterator[tuple[str, Rows]]:
        """Yield the rows of each order. If they are not returned together, the order is yielded in parts."""
        pool = ThreadPoolExecutor(self._segments)
        try:
            waiting = {pool.submit(self._scan, segment): segment for segment in range(self._segments)}
            begun: dict[int, list[Row]] = {}
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    segment, page = waiting.pop(future), future.result()
                    self._read_units += page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
                    progress(len(page["Items"]))
                    rows = begun.pop(segment, []) + [read_row(item, self._client.stack.key) for item in page["Items"]]
                    groups = [list(group) for _, group in itertools.groupby(rows, key=_order_id)]
                    if after := page.get("LastEvaluatedKey"):
                        waiting[pool.submit(self._scan, segment, after)] = segment
                        # The next page may have more rows of the last order.
                        begun[segment] = groups.pop() if groups else []
                    yield from (
                        (_order_id(group[0]), by_entity) for group in groups if (by_entity := self._kept(group, active))
                    )
        finally:
            # After an error or Ctrl-C, do not start the rest.
            pool.shutdown(cancel_futures=True)

    def _scan(self, segment: int, after: Any = None) -> "ScanOutputTypeDef":
        return self._client.dynamodb.scan(
            TableName=self._client.stack.table,
            Segment=segment,
            TotalSegments=self._segments,
            ReturnConsumedCapacity="TOTAL",
            **projection(self._client.stack.key),
            **({"ExclusiveStartKey": after} if after else {}),
        )

    def _kept(self, rows: Iterable[Row], active: Container[object]) -> Rows:
        """Return the rows by entity; none if they were not changed since then, and their owners were not active."""
        by_entity = {row["entity"]: row for row in rows}
        since = moment(self._since) or ""
        is_kept = any(row.get("saga_id") in active or _changed_at(row, since) >= since for row in by_entity.values())
        return by_entity if is_kept else {}

    def _outcome_listed(self, saga: SagaIdentity, listed: Mapping[str, ListedExecution]) -> Outcome | None:
        found = listed.get(saga.id)
        return found.outcome if found and is_execution(saga, found.started_at) else None

    def _outcome_now(self, saga: SagaIdentity) -> tuple[Outcome | None, Execution | None]:
        """Return the outcome of a saga, and its execution; None if Step Functions does not know it."""
        found = known_execution(self._client, saga.id) if saga.id.startswith("arn:") else None
        if found and is_execution(saga, found.started_at):
            return found.outcome, found
        is_new = datetime.fromisoformat(saga.started_at) > datetime.now(UTC) - NEW_FOR and saga.id.startswith("arn:")
        return (Outcome.RUNNING if is_new else None), None

    def _look_again(self, order_id: str) -> list[Finding]:
        """Return the findings of an order that are true now."""
        first = stored_rows(self._client, order_id)
        found = {saga: self._outcome_now(saga) for saga in owners(first)}
        rows = stored_rows(self._client, order_id)
        outcomes = {saga: outcome for saga, (outcome, _) in found.items()}
        executions = {saga: execution for saga, (_, execution) in found.items()}
        # A saga that claimed a row in between is new, so it runs.
        outcomes |= dict.fromkeys(owners(rows) - outcomes.keys(), Outcome.RUNNING)
        return list(self._problems(order_id, rows, outcomes, executions))

    def _problems(
        self,
        order_id: str,
        rows: Rows,
        outcomes: Mapping[SagaIdentity, Outcome | None],
        executions: Mapping[SagaIdentity, Execution | None] = MappingProxyType({}),
    ) -> Iterator[Finding]:
        for problem in self._row_problems(rows):
            yield Finding(
                kind="row",
                order_id=order_id,
                saga_id=None,
                problem=problem,
                remedy="something else wrote to it: compare it with a backup (point-in-time recovery keeps 35 days)",
            )
        for saga, outcome in outcomes.items():
            own = {entity: row if owner(row) == saga else {**row, "saga_id": None} for entity, row in rows.items()}
            execution = executions.get(saga)
            is_redrivable = execution is None or execution.is_redrivable
            for problem in saga_problems(self._expected, saga.id, outcome, own, is_redrivable=is_redrivable):
                yield _saga_finding(order_id, saga, outcome, problem, execution)

    def _row_problems(self, rows: Rows) -> Iterator[str]:
        expected = {row.entity: row for row in self._expected}
        for entity, row in rows.items():
            if entity not in expected:
                yield f"{entity} is not a row of this saga"
            elif "history" not in row:
                yield f"{entity} lacks what every row has: status, saga_id, saga_started_at or history"
            elif row["status"] not in (*expected[entity].owned, expected[entity].compensated):
                yield f"{entity} has the unknown status {row['status']}"
            else:
                yield from history_problems(expected[entity], row)
                for check in (repetitions, late_changes):
                    yield from (f"{entity} was {problem}" for problem in check(expected[entity], row["own_statuses"]))

    def _slow(self, listed: Mapping[str, ListedExecution]) -> Iterator[Finding]:
        """Yield the sagas that have run for longer than the limit and still run."""
        before = datetime.now(UTC) - self._limit
        old = [arn for arn, one in listed.items() if one.outcome is Outcome.RUNNING and one.active_since < before]
        for execution in self._map(lambda arn: known_execution(self._client, arn), old):
            if execution and execution.outcome is Outcome.RUNNING:
                yield Finding(
                    kind="slow",
                    order_id=execution.order_id,
                    saga_id=execution.arn,
                    problem=f"it runs since {moment(listed[execution.arn].active_since)}",
                    remedy=f"see what it waits for: python -m ops show {quote(execution.order_id or execution.name)}",
                )

    def _without_rows(self, arn: str) -> list[Finding]:
        """Return the findings of an execution that succeeded and owned no row when the table was scanned."""
        execution = known_execution(self._client, arn)
        if execution is None or execution.order_id is None:
            return []
        rows = stored_rows(self._client, execution.order_id)
        if any(row.get("saga_id") == arn for row in rows.values()):
            return self._look_again(execution.order_id)
        problems = saga_problems(self._expected, arn, Outcome.FULFILLED, rows)
        saga = identity_of(execution, rows)
        return [_saga_finding(execution.order_id, saga, Outcome.FULFILLED, problem, execution) for problem in problems]

    def _map(self, function: Callable[[str], T], values: Iterable[str]) -> list[T]:
        pool = ThreadPoolExecutor(MAX_REQUESTS)
        try:
            return list(pool.map(function, values))
        finally:
            pool.shutdown(cancel_futures=True)


def _saga_finding(
    order_id: str, saga: SagaIdentity, outcome: Outcome | None, problem: str, execution: Execution | None
) -> Finding:
    name = saga.id.rsplit(":", 1)[-1]
    settle = f"python -m ops settle {quote(name if execution else order_id)}"
    match outcome:
        case Outcome.STUCK if execution and execution.is_redrivable:
            kind, remedy = "stuck", f"fix the cause, then: python -m ops resume {quote(name)}"
        case Outcome.STUCK | Outcome.ROLLED_BACK | None:
            kind, remedy = "live", settle
        case _:
            kind, remedy = "incomplete", "compare the rows with a backup: something else changed or deleted them"
    return Finding(kind=kind, order_id=order_id, saga_id=saga.id, problem=problem, remedy=remedy)


def _listed(item: "ExecutionListItemTypeDef") -> ListedExecution:
    outcomes = {"RUNNING": Outcome.RUNNING, "PENDING_REDRIVE": Outcome.RUNNING, "SUCCEEDED": Outcome.FULFILLED}
    started_at = item["startDate"]
    return ListedExecution(
        outcome=outcomes.get(item["status"], Outcome.STUCK),
        started_at=started_at,
        active_since=max(started_at, item.get("redriveDate", started_at)),
        ended_at=item.get("stopDate"),
    )


def _changed_at(row: Row, default: str) -> str:
    """Return when a saga changed the row last, or the default if the row does not say."""
    times = (row.get("fence", default), row.get("confirmation_requested_at", ""))
    return max(str(time) for time in (*times, *(entry["at"] for entry in row.get("history", ()))))


def _order_id(row: Row) -> str:
    return str(row["order_id"])


def _flat(lists: Iterable[Iterable[Finding]]) -> list[Finding]:
    return list(itertools.chain.from_iterable(lists))
