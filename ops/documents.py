"""The documents that ``--json`` prints, one per command. Keys are stable: new ones may be added, none is removed.

Times are ISO 8601 text (UTC, milliseconds, ``Z``), durations are seconds, unknown values are null.

``list``    {"executions": [EXECUTION]}
``show``    {"order_id", "rows": [{"entity", "status", "saga_id", "history": [{"status", "saga_id", "at"}],
            "saga_started_at", "request"}], "sagas": [{"saga_id", "execution": EXECUTION | null, "path": [STEP],
            "closed": {"at", "reason"} | null, "waits": [WAIT]}], "searched_since"}
            ``request`` is the idempotency key of what the step requested, or null; ``searched_since`` is null if all
            executions were searched for more sagas
``stuck``   {"stuck": [STUCK], "groups": [GROUP], "entries": {"resumed", "recovered", "closed", "undelivered"}}
            ``entries`` counts the other reports; with ``--scan`` only ``closed`` is known
``resume``  {"resumed": STUCK, "redriven_at", "ended": EXECUTION | null}; ``ended`` only with ``--wait``
            of several: {"groups": [{"state", "error", "results": {RESULT: count}}],
            "sagas": [{"execution_arn", "name", "order_id", "result": RESULT, "reason"}]}
``close``   {"closed": STUCK, "reason"}

``cancel``, ``settle`` and ``audit``: see ops/recovery.py

EXECUTION   {"execution_arn", "name", "status", "outcome": "running" | "fulfilled" | "rolled_back" | "stuck",
            "order_id", "started_at", "stopped_at", "error", "cause", "redrive_count"}
            ``order_id`` is the key of any saga, for instance of a trip
STEP        {"state", "entered_at", "left_at", "seconds", "end": null | "left" | "held" | "stopped", "within", "after",
            "attempts": [{"started_at", "ended_at", "error", "cause"}]}; ``end``, ``within`` (its group) and ``after``
            (the state before it) as in lambdas/saga_runtime/execution_history.py
WAIT        {"state", "entity", "status", "since", "until", "heartbeat_seconds"}: a step that waits for an answer, its
            row, since when and until when; ``heartbeat_seconds`` is null if no sign of life is expected
GROUP       {"state", "error", "count", "oldest", "redrivable_until"}
RESULT      "recovered" | "stuck again" | "rejected" | "running" | "not started"
STUCK       EXECUTION and {"state", "redrivable_until", "redrive_status"}
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypeAlias

from lambdas.saga_runtime.execution_history import PathStep
from ops.bulk import GroupResumption, Result
from ops.model import Closure, Execution, Order, StuckGroup, StuckList, StuckSaga, Wait, groups_of

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
                "closed": _closure(saga.closure) if saga.closure else None,
                "waits": [_wait(wait) for wait in saga.waits],
            }
            for saga in found.sagas
        ],
        "searched_since": moment(found.searched_since),
    }


def stuck(found: StuckList) -> Document:
    """Return the document of ``stuck``."""
    return {
        "stuck": [_stuck(saga) for saga in found.sagas],
        "groups": [_group(group) for group in groups_of(found.sagas)],
        "entries": {
            "resumed": None if found.is_complete else found.resumed,
            "recovered": None if found.is_complete else len(found.recovered),
            "closed": found.closed,
            "undelivered": None if found.is_complete else found.undelivered,
        },
    }


def resumption(saga: StuckSaga, *, redriven_at: datetime, ended: Execution | None) -> Document:
    """Return the document of ``resume``."""
    return {
        "resumed": _stuck(saga),
        "redriven_at": moment(redriven_at),
        "ended": _execution(ended) if ended else None,
    }


def bulk_resumption(groups: Iterable[GroupResumption]) -> Document:
    """Return the document of ``resume`` for several sagas."""
    found = list(groups)
    return {
        "groups": [
            {
                "state": one.group.state,
                "error": one.group.error,
                "results": {str(result): one.count(result) for result in Result},
            }
            for one in found
        ],
        "sagas": [
            {
                "execution_arn": saga.saga.execution.arn,
                "name": saga.saga.execution.name,
                "order_id": saga.saga.execution.order_id,
                "result": str(saga.result),
                "reason": saga.reason,
            }
            for one in found
            for saga in one.sagas
        ],
    }


def closing(saga: StuckSaga, *, reason: str) -> Document:
    """Return the document of ``close``."""
    return {"closed": _stuck(saga), "reason": reason}


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


def _wait(wait: Wait) -> Document:
    return {
        "state": wait.state,
        "entity": wait.row.entity,
        "status": wait.row.status,
        "since": moment(wait.since),
        "until": moment(wait.until),
        "heartbeat_seconds": wait.heartbeat.total_seconds() if wait.heartbeat else None,
    }


def _closure(closure: Closure) -> Document:
    return {"at": moment(closure.at), "reason": closure.reason}


def _group(group: StuckGroup) -> Document:
    return {
        "state": group.state,
        "error": group.error,
        "count": len(group.sagas),
        "oldest": moment(group.oldest),
        "redrivable_until": moment(group.redrivable_until),
    }


def _stuck(saga: StuckSaga) -> Document:
    return {
        **_execution(saga.execution),
        "state": saga.state,
        "redrivable_until": moment(saga.execution.redrivable_until),
        "redrive_status": saga.execution.redrive_status,
    }
