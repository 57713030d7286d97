"""The steps of a running saga that wait for an answer."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from lambdas.saga_runtime.barrier import SagaIdentity
from ops.definition import Definition
from ops.model import Execution, Outcome, SagaRun, StoredRow, Wait

WAITS = ".waitForTaskToken"


def waits_of(definition: Definition, run: SagaRun, rows: Iterable[StoredRow], *, stack: str) -> tuple[Wait, ...]:
    """Return the steps of a running saga that wait for an answer, in the order of their states.

    Args:
        definition: the definition of its execution.
        run: the saga with its path.
        rows: the rows of its order.
        stack: the name of its stack, with which the names of its functions begin.
    """
    execution = run.execution
    if execution is None or execution.outcome is not Outcome.RUNNING:
        return ()
    return tuple(_waits(definition, run, execution, {row.request: row for row in rows if row.request}, stack))


def wait_of(state: Mapping[str, Any]) -> timedelta:
    """Return how long a state waits for an answer at most; zero if it does not wait."""
    waits = state.get("Resource", "").endswith(WAITS)
    return timedelta(seconds=state["TimeoutSeconds"] if waits else 0)


def _waits(
    definition: Definition, run: SagaRun, execution: Execution, rows: Mapping[str, StoredRow], stack: str
) -> Iterator[Wait]:
    started_at = {row.saga_id: row.saga_started_at for row in rows.values()}
    saga = SagaIdentity(id=run.saga_id, started_at=started_at.get(run.saga_id, ""))
    for step in run.path:
        state = definition.states[step.state]
        row = rows.get(saga.request_id(execution.order_id or "", step.state))
        # Without its row, the action has not made its request yet.
        if step.end is None and row and (timeout := wait_of(state)):
            function = state["Parameters"]["FunctionName"].rpartition(":")[2]
            started = step.attempts[-1].started_at if step.attempts else step.entered_at
            heartbeat = state.get("HeartbeatSeconds")
            yield Wait(
                state=step.state,
                step=function.removeprefix(f"{stack}-"),
                row=row,
                since=step.entered_at,
                until=started + timeout,
                heartbeat=timedelta(seconds=heartbeat) if heartbeat else None,
            )
