"""The invariants of a saga: of its rows, of their history, and of how its executions ended.

The functions return each violation in words. ops/invariants.py has what the rows alone say. The invariants:

1. An execution succeeds if and only if every row is complete and its own.
2. After a clean failure the execution owns no live row.
3. A saga is stuck only in a state that must succeed, and a redrive ends it cleanly.
4. Each status is written once, and a live row of a clean failure is compensated.
5. No saga changes the row of another one, and the history of a row ends with its status.
6. After a compensation the action is rejected.
7. The path is one that the definition allows.
8. A pivot that happened is not compensated, nor are the steps before it.
9. The provider has charged the amount of the execution that succeeded, and holds nothing more, unless an execution is
   stuck. It never has more than one amount.
10. No payload exceeds a limit of AWS.
11. No answer counts for another saga, or after the compensation.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from ops.invariants import (
    ExpectedRow,
    Rows,
    history_problems,
    incomplete_rows,
    late_changes,
    owned_rows,
    repetitions,
)
from tests.shape import Shape


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


def violations(shape: Shape, expected: Iterable[ExpectedRow], executions: Iterable[Ended], rows: Rows) -> list[str]:
    """Return the invariants that the executions of one input violate. ``expected`` is in the order of the steps."""
    expected = tuple(expected)
    stored = [(row, rows[row.entity]) for row in expected if row.entity in rows]
    found = [f"5: {problem}" for row, item in stored for problem in history_problems(row, item)]
    for execution in executions:
        name = execution.arn.rsplit(":", 1)[-1]
        found += [f"{name}: {problem}" for problem in _of_execution(shape, expected, execution, rows)]
    return found


def imbalances(
    shape: Shape, executions: Iterable[tuple[Ended, Decimal]], balance: Decimal, authorized: Decimal
) -> list[str]:
    """Return the violations of a provider's ledger.

    Args:
        shape: the shape of the saga.
        executions: the executions of one input, each with the amount that it charges.
        balance: what is charged and not refunded.
        authorized: what is authorized, and neither charged nor released.
    """
    executions = tuple(executions)
    due = [amount for execution, amount in executions if execution.status == "SUCCEEDED"]
    stuck = [amount for execution, amount in executions if is_stuck(shape, execution)]
    if sum(due) <= balance and balance + authorized <= max((*due, *stuck, Decimal(0))):
        return []
    return [f"9: the provider charged {balance} and holds {authorized}; due: {due}, of stuck executions: {stuck}"]


def is_stuck(shape: Shape, execution: Ended) -> bool:
    """Return whether it ended in neither of the two clean ways."""
    return execution.status != "SUCCEEDED" and execution.error != shape.failed


def _of_execution(shape: Shape, expected: tuple[ExpectedRow, ...], execution: Ended, rows: Rows) -> Iterable[str]:
    owned = owned_rows(expected, execution.arn, rows)
    complete = not incomplete_rows(expected, execution.arn, rows)
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
    yield from (f"4: {problem}" for problem in repetitions(row, statuses))
    if failed and row.live[0] in statuses and row.compensated not in statuses:
        yield f"4: {row.live[0]}, but never {row.compensated}"
    yield from (f"6: {problem}" for problem in late_changes(row, statuses))


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
