"""The documents that ``--json`` prints, one per command. Keys are stable: new ones may be added, none is removed.

Times are ISO 8601 text (UTC, milliseconds, ``Z``), durations are seconds, unknown values are null.

``list``    {"executions": [EXECUTION]}
``show``    {"order_id", "rows": [{"entity", "status", "saga_id", "history": [{"status", "saga_id", "at"}]}],
            "sagas": [{"saga_id", "execution": EXECUTION | null, "path": [STEP]}]}
``stuck``   {"stuck": [STUCK], "messages": {"removed", "outdated", "unreadable", "complete"}}
``resume``  {"resumed": STUCK, "redriven_at", "ended": EXECUTION | null}; ``ended`` only with ``--wait``

``cancel``, ``settle`` and ``audit``: see ops/recovery.py

EXECUTION   {"execution_arn", "name", "status", "outcome": "running" | "fulfilled" | "rolled_back" | "stuck",
            "order_id", "started_at", "stopped_at", "error", "cause", "redrive_count"}
            ``order_id`` is the key of any saga, for instance of a trip
STEP        {"state", "entered_at", "left_at", "seconds", "end": null | "left" | "held" | "stopped", "within", "after",
            "attempts": [{"started_at", "ended_at", "error", "cause"}]}; ``end``, ``within`` (its group) and ``after``
            (the state before it) as in lambdas/saga_runtime/execution_history.py
STUCK       EXECUTION and {"state", "redrivable_until", "redrive_status"}
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypeAlias

from lambdas.saga_runtime.execution_history import PathStep
from ops.model import Execution, Order, StuckList, StuckSaga

Document: TypeAlias = dict[str, object]


def executions(found: Iterable[Execution]) -> Document:
    """Return the document of ``list``."""
    return {"executions": [_execution(execution) for execution in found]}


def order(found: Order) -> Document:
    """Return the document of ``show``."""
    return {
        "order_id": found.order_id,
        "rows": [asdict(row) for row in found.rows],
        "sagas": [
            {
                "saga_id": saga.saga_id,
                "execution": _execution(saga.execution) if saga.execution else None,
                "path": [_step(step) for step in saga.path],
            }
            for saga in found.sagas
        ],
    }


def stuck(found: StuckList) -> Document:
    """Return the document of ``stuck``."""
    return {
        "stuck": [_stuck(saga) for saga in found.sagas],
        "messages": {
            "removed": found.removed,
            "outdated": found.outdated,
            "unreadable": found.unreadable,
            "complete": found.complete,
        },
    }


def resumption(saga: StuckSaga, *, redriven_at: datetime, ended: Execution | None) -> Document:
    """Return the document of ``resume``."""
    return {
        "resumed": _stuck(saga),
        "redriven_at": moment(redriven_at),
        "ended": _execution(ended) if ended else None,
    }


def moment(at: datetime | None) -> str | None:
    """Return a time as text, for instance ``2026-01-31T09:30:00.123Z``."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _execution(execution: Execution) -> Document:
    return {
        "execution_arn": execution.arn,
        "name": execution.name,
        "status": execution.status,
        "outcome": execution.outcome.value,
        "order_id": execution.order_id,
        "started_at": moment(execution.started_at),
        "stopped_at": moment(execution.stopped_at),
        "error": execution.error,
        "cause": execution.cause,
        "redrive_count": execution.redrive_count,
    }


def _step(step: PathStep) -> Document:
    return {
        "state": step.state,
        "entered_at": moment(step.entered_at),
        "left_at": moment(step.left_at),
        "seconds": step.took.total_seconds() if step.took is not None else None,
        "end": step.end.value if step.end else None,
        "within": step.within,
        "after": step.after,
        "attempts": [
            {
                "started_at": moment(attempt.started_at),
                "ended_at": moment(attempt.ended_at),
                "error": attempt.error,
                "cause": attempt.cause,
            }
            for attempt in step.attempts
        ],
    }


def _stuck(saga: StuckSaga) -> Document:
    return {
        **_execution(saga.execution),
        "state": saga.state,
        "redrivable_until": moment(saga.execution.redrivable_until),
        "redrive_status": saga.execution.redrive_status,
    }
