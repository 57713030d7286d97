"""The invariants of a saga: of its rows, of their history, and of how its executions ended.

The functions return each violation in words. The invariants:

1. An execution succeeds if and only if every row is complete and its own.
2. After a clean failure the execution owns no live row.
3. A saga is stuck only in a state that must succeed, and a redrive ends it cleanly.
4. Each status is written once, and a live row of a clean failure is compensated.
5. No saga changes the row of another one, and the history of a row ends with its status.
6. After a compensation the action is rejected.
7. The path is one that the definition allows.
8. A pivot that happened is not compensated, nor are the steps before it.
9. The provider's balance is the amount of the execution that succeeded, and never more than one amount.
10. No payload exceeds a limit of AWS.
11. No answer counts for another saga, or after the compensation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from tests.shape import Shape

Rows = Mapping[str, Mapping[str, Any]]


class Ended(Protocol):
    """An execution that has ended."""

    @property
    def arn(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def states(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class ExpectedRow:
    """The row of one step.

    Args:
        action: the state of its action.
        entity: its sort key.
        live: the statuses before the compensation, in order.
        compensating: the status while the compensation calls a provider; None if it calls none.
        rejected: the status after an answer that rejects the work; None if the step does not wait for one.
        compensated: the status after the compensation.
    """

    action: str
    entity: str
    live: tuple[str, ...]
    compensated: str
    compensating: str | None = None
    rejected: str | None = None

    @property
    def owned(self) -> tuple[str, ...]:
        """The statuses in which no other saga can claim the row. A clean failure leaves no row in them."""
        return (*self.live, *(status for status in (self.rejected, self.compensating) if status))

    def is_owned(self, saga_id: str, rows: Rows) -> bool:
        """Return whether the saga owns the row, and no other can claim it."""
        return any(self.has(status, saga_id, rows) for status in self.owned)

    def has(self, status: str, saga_id: str, rows: Rows) -> bool:
        """Return whether the saga owns the row with this status."""
        row = rows.get(self.entity, {})
        return (row.get("status"), row.get("saga_id")) == (status, saga_id)

    def history(self, rows: Rows, saga_id: str) -> list[str]:
        """Return the statuses that the saga wrote, in order."""
        entries = rows.get(self.entity, {}).get("history", [])
        return [entry["status"] for entry in entries if entry["saga_id"] == saga_id]


def violations(shape: Shape, expected: Iterable[ExpectedRow], executions: Iterable[Ended], rows: Rows) -> list[str]:
    """Return the invariants that the executions of one input violate. ``expected`` is in the order of the steps."""
    expected = tuple(expected)
    found = [problem for row in expected for problem in _of_row(row, rows.get(row.entity))]
    for execution in executions:
        name = execution.arn.rsplit(":", 1)[-1]
        found += [f"{name}: {problem}" for problem in _of_execution(shape, expected, execution, rows)]
    return found


def imbalances(shape: Shape, executions: Iterable[tuple[Ended, Decimal]], balance: Decimal) -> list[str]:
    """Return the violations of a provider's ledger.

    Args:
        shape: the shape of the saga.
        executions: the executions of one input, each with the amount that it charges.
        balance: what is charged and not refunded.
    """
    executions = tuple(executions)
    due = [amount for execution, amount in executions if execution.status == "SUCCEEDED"]
    stuck = [amount for execution, amount in executions if is_stuck(shape, execution)]
    if sum(due) <= balance <= max((*due, *stuck, Decimal(0))):
        return []
    return [f"9: the provider's balance is {balance}; due: {due}, of stuck executions: {stuck}"]


def is_stuck(shape: Shape, execution: Ended) -> bool:
    """Return whether it ended in neither of the two clean ways."""
    return execution.status != "SUCCEEDED" and execution.error != shape.failed


def _of_execution(shape: Shape, expected: tuple[ExpectedRow, ...], execution: Ended, rows: Rows) -> Iterable[str]:
    owned = sorted(row.entity for row in expected if row.is_owned(execution.arn, rows))
    complete = all(row.has(row.live[-1], execution.arn, rows) for row in expected)
    path = shape.path(execution.states)
    last, stuck = shape.parts[-1], is_stuck(shape, execution)
    if execution.status == "SUCCEEDED":
        if not complete:
            yield "1: succeeded, but not every row is complete and its own"
    elif complete and path[-1] not in (last.forward + last.decision + last.rollback if stuck else last.forward):
        # In the last step, the last write may have been made although its response was lost. A redrive then succeeds
        # or rolls back.
        yield f"1: every row is complete and its own, but it ended {execution.status}"
    if execution.error == shape.failed and owned:
        yield f"2: failed cleanly, but {', '.join(owned)} is live"
    if stuck and path[-1] not in shape.must_succeed:
        yield f"3: stuck in {path[-1]}"
    for row in expected:
        yield from _of_history(row, row.history(rows, execution.arn), failed=execution.error == shape.failed)
    if path not in _allowed_paths(shape, execution, len(path)):
        yield f"7: the path is {' > '.join(path)}"
    yield from _of_pivot(shape, expected, execution, rows)


def _of_history(row: ExpectedRow, statuses: list[str], *, failed: bool) -> Iterable[str]:
    for status in (*row.owned, row.compensated):
        if statuses.count(status) > 1:
            yield f"4: {statuses.count(status)} times {status}"
    if failed and row.live[0] in statuses and row.compensated not in statuses:
        yield f"4: {row.live[0]}, but never {row.compensated}"
    if row.compensated in statuses and statuses[-1] != row.compensated:
        yield f"6: {statuses[-1]} after {row.compensated}"


def _allowed_paths(shape: Shape, execution: Ended, length: int) -> Iterable[tuple[str, ...]]:
    if execution.status == "SUCCEEDED":
        return shape.complete
    if execution.error == shape.failed:
        return shape.rolled_back
    return {path[:length] for path in (*shape.complete, *shape.rolled_back)}


def _of_pivot(shape: Shape, expected: tuple[ExpectedRow, ...], execution: Ended, rows: Rows) -> Iterable[str]:
    pivots = [action for part in shape.parts if part.is_pivot for action, _ in part.tasks]
    compensated = [row.entity for row in expected if row.has(row.compensated, execution.arn, rows)]
    for row in expected:
        if row.action not in pivots:
            continue
        if {row.live[0], row.compensated} <= set(row.history(rows, execution.arn)):
            yield f"8: {row.entity} is a pivot, but was compensated"
        if compensated and row.is_owned(execution.arn, rows):
            yield f"8: {row.entity} happened, but {', '.join(compensated)} is compensated"


def _of_row(row: ExpectedRow, stored: Mapping[str, Any] | None) -> Iterable[str]:
    if stored is None:
        return
    owner = None
    for entry in stored["history"]:
        if owner not in (None, entry["saga_id"]):
            yield f"5: {row.entity} of {owner} was made {entry['status']} by {entry['saga_id']}"
        owner = entry["saga_id"] if entry["status"] in row.owned else None
    last = stored["history"][-1]
    if (last["status"], last["saga_id"]) != (stored["status"], stored["saga_id"]):
        yield f"5: {row.entity} is {stored['status']}, its history ends with {last['status']}"
