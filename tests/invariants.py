"""What must hold after whatever happened: of the rows, of their history, and of how the executions ended.

The functions return what is broken, in words; nothing is good. They take the saga's steps from the
definition, and the rows from the list of steps that the functions are made of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from tests.shape import Shape

Rows = Mapping[str, Mapping[str, Any]]


class Ended(Protocol):
    """What is asked of an execution that has ended: its id, how it ended, and the states it entered."""

    @property
    def arn(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def states(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The row of one step: its action, its key, the statuses that are live, in order, and the undone one.

    ``undoing`` is the one before it in which a service outside is still to undo its part, if there is such a service.
    """

    action: str
    entity: str
    live: tuple[str, ...]
    undone: str
    undoing: str | None = None

    @property
    def held(self) -> tuple[str, ...]:
        """The statuses in which the row is no other saga's business, and in which a clean failure leaves no row."""
        return (*self.live, self.undoing) if self.undoing else self.live


def broken(shape: Shape, kept: Iterable[Kept], executions: Iterable[Ended], rows: Rows) -> list[str]:
    """Every invariant that the executions of one order break. ``kept`` is in the order of the steps."""
    kept = tuple(kept)
    found = [problem for row in kept for problem in _history(row, rows.get(row.entity))]
    for execution in executions:
        found += [f"{execution.arn.rsplit(':', 1)[-1]}: {problem}" for problem in _of(shape, kept, execution, rows)]
    return found


def unbalanced(shape: Shape, executions: Iterable[tuple[Ended, Decimal]], net: Decimal) -> list[str]:
    """What a payment provider's books of one order break; ``net`` is charged and not refunded.

    It holds the price of the execution that succeeded, else nothing; and at no time more than one price.
    """
    executions = tuple(executions)
    due = [price for execution, price in executions if execution.status == "SUCCEEDED"]
    stuck = [price for execution, price in executions if is_stuck(shape, execution)]
    if sum(due) <= net <= max((*due, *stuck, Decimal(0))):
        return []
    return [f"9: the provider holds {net}; due: {due}, of stuck executions: {stuck}"]


def is_stuck(shape: Shape, execution: Ended) -> bool:
    """Whether it ended in neither of the two clean ways."""
    return execution.status != "SUCCEEDED" and execution.error != shape.failed


def _of(shape: Shape, kept: tuple[Kept, ...], execution: Ended, rows: Rows) -> Iterable[str]:
    live = {row.entity for row in kept if _live_for(row, execution.arn, rows)}
    complete = all(_holds(row, row.live[-1], execution.arn, rows) for row in kept)
    path = shape.path(execution.states)
    last, stuck = shape.parts[-1], is_stuck(shape, execution)
    if execution.status == "SUCCEEDED":
        if not complete:
            yield "1: succeeded, but not every row is complete and its own"
    elif complete and path[-1] not in (last.does + last.decides + last.undoes if stuck else last.does):
        # Stuck in the last step or in what undoes it, the last write may have been made all the same; resumed, it
        # succeeds, or is rolled back.
        yield f"1: every row is complete and its own, but it ended {execution.status}"
    if execution.error == shape.failed and live:
        yield f"2: failed cleanly, but {', '.join(sorted(live))} is live"
    if stuck and path[-1] not in shape.must_succeed:
        yield f"3: stuck in {path[-1]}"
    yield from _counts(shape, kept, execution, rows)
    yield from _path(shape, execution.status, execution.error, path)
    yield from _pivot(shape, kept, execution, rows)


def _counts(shape: Shape, kept: tuple[Kept, ...], execution: Ended, rows: Rows) -> Iterable[str]:
    for row in kept:
        statuses = [event["status"] for event in _events(row, rows) if event["saga_id"] == execution.arn]
        for status in (*row.held, row.undone):
            if statuses.count(status) > 1:
                yield f"4: {statuses.count(status)} times {status}"
        did, undid = row.live[0] in statuses, row.undone in statuses
        if execution.error == shape.failed and did and not undid:
            yield f"4: {row.live[0]}, but never {row.undone}"
        if undid and statuses[-1] != row.undone:
            yield f"6: {statuses[-1]} after {row.undone}"


def _path(shape: Shape, status: str, error: str | None, path: tuple[str, ...]) -> Iterable[str]:
    if status == "SUCCEEDED":
        allowed: Iterable[tuple[str, ...]] = shape.complete
    elif error == shape.failed:
        allowed = shape.rolled_back
    else:
        allowed = {whole[: len(path)] for whole in (*shape.complete, *shape.rolled_back)}
    if path not in allowed:
        yield f"7: the path is {' > '.join(path)}"


def _pivot(shape: Shape, kept: tuple[Kept, ...], execution: Ended, rows: Rows) -> Iterable[str]:
    """A pivot is never undone, and once it is done nothing is."""
    pivots = [action for part in shape.parts if part.is_pivot for action, _ in part.tasks]
    undone = {row.entity for row in kept if _holds(row, row.undone, execution.arn, rows)}
    for row in kept:
        if row.action not in pivots:
            continue
        statuses = {event["status"] for event in _events(row, rows) if event["saga_id"] == execution.arn}
        if {row.live[0], row.undone} <= statuses:
            yield f"8: {row.entity} is a pivot, but was undone"
        if undone and _live_for(row, execution.arn, rows):
            yield f"8: {row.entity} is done, but {', '.join(sorted(undone))} is undone"


def _history(row: Kept, kept: Mapping[str, Any] | None) -> Iterable[str]:
    """Of one row alone: nobody changed it while another saga held it, and it is what its history says."""
    if kept is None:
        return
    holder = None
    for event in kept["history"]:
        if holder not in (None, event["saga_id"]):
            yield f"5: {row.entity} of {holder} was made {event['status']} by {event['saga_id']}"
        holder = event["saga_id"] if event["status"] in row.held else None
    last = kept["history"][-1]
    if (last["status"], last["saga_id"]) != (kept["status"], kept["saga_id"]):
        yield f"5: {row.entity} is {kept['status']}, its history ends with {last['status']}"


def _events(row: Kept, rows: Rows) -> list[Mapping[str, str]]:
    return list(rows[row.entity]["history"]) if row.entity in rows else []


def _holds(row: Kept, status: str, saga_id: str, rows: Rows) -> bool:
    found = rows.get(row.entity, {})
    return (found.get("status"), found.get("saga_id")) == (status, saga_id)


def _live_for(row: Kept, saga_id: str, rows: Rows) -> bool:
    return any(_holds(row, status, saga_id, rows) for status in row.held)
