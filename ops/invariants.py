"""The invariants of the rows of one order, for the audit of a live table and for the tests.

Each function returns the violations in words. ``rows`` has the rows of an order by entity, with their whole history
(``ops.model.history_of``). tests/invariants.py adds what only a test can know, such as the path of an execution.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lambdas.saga_runtime.steps import StepSpec
from ops.model import Outcome

Rows: TypeAlias = Mapping[str, Mapping[str, Any]]


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
        confirmed: the last of the live statuses if it is written after the point of no return, else None.
        is_retriable: whether its action follows the point of no return, so that the row can come after a confirmation.
    """

    action: str
    entity: str
    live: tuple[str, ...]
    compensated: str
    compensating: str | None = None
    rejected: str | None = None
    confirmed: str | None = None
    is_retriable: bool = False

    @classmethod
    def of(cls, step: StepSpec, *, is_retriable: bool = False) -> "ExpectedRow":
        """Return the row of a step."""
        return cls(
            action=step.name,
            entity=step.entity,
            live=tuple(status for status in (step.in_progress, step.live, step.confirmed) if status),
            compensating=step.compensating,
            rejected=step.rejected,
            compensated=step.compensated,
            confirmed=step.confirmed,
            is_retriable=is_retriable,
        )

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

    def is_complete(self, saga_id: str, rows: Rows) -> bool:
        """Return whether the saga owns the row with its last live status."""
        return self.has(self.live[-1], saga_id, rows)

    def history(self, rows: Rows, saga_id: str) -> list[str]:
        """Return the statuses that the saga wrote, in order."""
        entries = rows.get(self.entity, {}).get("history", [])
        return [entry["status"] for entry in entries if entry["saga_id"] == saga_id]


def owned_rows(expected: Iterable[ExpectedRow], saga_id: str, rows: Rows) -> list[str]:
    """Return the entities of the rows that the saga owns as not compensated."""
    return sorted(row.entity for row in expected if row.is_owned(saga_id, rows))


def incomplete_rows(expected: Iterable[ExpectedRow], saga_id: str, rows: Rows) -> list[str]:
    """Return the entities of the rows that a confirmed order of the saga lacks."""
    return sorted(row.entity for row in expected if not row.is_complete(saga_id, rows))


def saga_problems(
    expected: Sequence[ExpectedRow],
    saga_id: str,
    outcome: Outcome | None,
    rows: Rows,
    *,
    is_redrivable: bool = True,
) -> Iterable[str]:
    """Yield how the rows contradict the outcome of a saga: only a running or confirmed saga owns live rows.

    Args:
        expected: the rows of the saga.
        saga_id: the saga.
        outcome: its outcome; None if Step Functions does not know it.
        rows: the rows of the order.
        is_redrivable: whether a stuck saga can be redriven. If not, and all its rows are complete, nothing is left to
            do. Default: true.
    """
    owned, missing = owned_rows(expected, saga_id, rows), incomplete_rows(expected, saga_id, rows)
    match outcome:
        case Outcome.FULFILLED if missing:
            yield f"it succeeded, but {_described(missing, saga_id, rows)}"
        case Outcome.ROLLED_BACK if owned:
            yield f"it failed cleanly, but {_described(owned, saga_id, rows)}"
        case Outcome.STUCK if owned and (missing or is_redrivable):
            yield f"it is stuck, and {_described(owned, saga_id, rows)}"
        case None if owned and missing:
            yield f"Step Functions does not know it, but {_described(owned, saga_id, rows)}"
        case Outcome.RUNNING:
            is_confirmed = any(row.confirmed and row.has(row.confirmed, saga_id, rows) for row in expected)
            absent = sorted({row.entity for row in expected if not row.is_retriable} - set(owned))
            if is_confirmed and absent:
                yield f"it confirms the order, but {_described(absent, saga_id, rows)}"


def history_problems(row: ExpectedRow, stored: Mapping[str, Any]) -> Iterable[str]:
    """Yield where the history of a row contradicts its status, or a saga changed the row of another one."""
    owner = None
    for entry in stored["history"]:
        if owner not in (None, entry["saga_id"]):
            yield f"{row.entity} of {owner} was made {entry['status']} by {entry['saga_id']}"
        owner = entry["saga_id"] if entry["status"] in row.owned else None
    last = stored["history"][-1] if stored["history"] else {"status": "missing", "saga_id": None}
    if (last["status"], last["saga_id"]) != (stored["status"], stored["saga_id"]):
        yield f"{row.entity} is {stored['status']}, its history ends with {last['status']}"


def repetitions(row: ExpectedRow, statuses: Sequence[str]) -> Iterable[str]:
    """Yield each status that one saga wrote more than once."""
    for status in (*row.owned, row.compensated):
        if statuses.count(status) > 1:
            yield f"{statuses.count(status)} times {status}"


def late_changes(row: ExpectedRow, statuses: Sequence[str]) -> Iterable[str]:
    """Yield the change that one saga made after its compensation."""
    if row.compensated in statuses and statuses[-1] != row.compensated:
        yield f"{statuses[-1]} after {row.compensated}"


def _described(entities: Iterable[str], saga_id: str, rows: Rows) -> str:
    return ", ".join(f"{entity} is {_state(rows.get(entity), saga_id)}" for entity in entities)


def _state(row: Mapping[str, Any] | None, saga_id: str) -> str:
    if row is None:
        return "missing"
    return str(row.get("status")) if row.get("saga_id") == saga_id else "another saga's"
