"""Cancels a running saga by the rule of lambdas/saga_runtime/cancellation.py, which the HTTP API shares."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from lambdas.saga_runtime import cancellation
from lambdas.saga_runtime.barrier import Row, Table
from lambdas.saga_runtime.cancellation import Cancellation
from ops.client import SagaClient
from ops.display import printable
from ops.errors import FunctionFailed, NotCancellable
from ops.executions import MAX_PAGE
from ops.model import Execution, Outcome
from ops.rows import identity_of, known_execution, owners, stored_rows
from ops.saga_steps import DeployedStep

POLL_SECONDS = 1.0


def cancellable(client: SagaClient, name: str) -> Execution:
    """Return the running or stopped execution of an order, or of its own name or ARN. Raises NotCancellable."""
    found = {one.arn: one for one in _candidates(client, name)}
    running = [execution for execution in found.values() if execution.outcome is Outcome.RUNNING]
    stuck = [execution for execution in found.values() if execution.outcome is Outcome.STUCK]
    match running or stuck:
        case [execution] if execution.order_id is not None:
            return execution
        case [execution]:
            raise NotCancellable(f"the input of {execution.name} has no valid {client.stack.key}: it rolls back anyway")
        case [_, _, *_] as several:
            names = ", ".join(sorted(execution.name for execution in several))
            raise NotCancellable(f"several sagas of {client.stack.noun} {printable(name)} run: name one of {names}")
    ended = "".join(f"{one.name} has ended ({one.status}), " for one in found.values())
    raise NotCancellable(
        f"no saga of {client.stack.noun} {printable(name)} runs: {ended}see `python -m ops list --status RUNNING`"
    )


def cancel(client: SagaClient, steps: Sequence[DeployedStep], execution: Execution) -> Cancellation:
    """Reject the actions of an execution that have not run, or find that it is too late."""
    parts = itertools.groupby(_rows(client, steps, execution), key=lambda pair: pair[0].part)
    return cancellation.cancel([[row for _, row in part] for _, part in parts], partial(_answer, client))


def wait_for_end(client: SagaClient, execution: Execution) -> Execution:
    """Return the execution once it has ended."""
    while (now := client.execution(execution.arn)).outcome is Outcome.RUNNING:
        time.sleep(POLL_SECONDS)
    return now


def _answer(client: SagaClient, answer: Mapping[str, str]) -> str | None:
    """Send an answer as an ``Answer`` does. Raises OpsError."""
    try:
        client.answer(answer)
    except FunctionFailed as failure:
        if failure.error not in cancellation.DECIDED:
            raise
        return failure.error
    return None


def _candidates(client: SagaClient, name: str) -> list[Execution]:
    """Return the executions of an order that own rows or run; if none is active, the execution of this name."""
    if name.startswith("arn:"):
        return [client.execution(name)]
    arns = {saga.id for saga in owners(stored_rows(client, name)) if saga.id.startswith("arn:")}
    found = [execution for arn in sorted(arns) if (execution := known_execution(client, arn))]
    if not any(execution.outcome is Outcome.RUNNING for execution in found):
        # Its first action has not run yet.
        found += [one for one in client.newest(status="RUNNING", count=MAX_PAGE) if one.order_id == name]
    if not any(execution.outcome in (Outcome.RUNNING, Outcome.STUCK) for execution in found):
        namesake = known_execution(client, name)
        found += [namesake] if namesake else []
    return found


def _rows(
    client: SagaClient, steps: Sequence[DeployedStep], execution: Execution
) -> Iterator[tuple[DeployedStep, Row]]:
    """Yield the steps that can fail, each with its row as the saga addresses it."""
    order_id = execution.order_id or ""
    saga = identity_of(execution, stored_rows(client, order_id))
    table = Table(name=client.stack.table, client=client.dynamodb)
    for step in steps:
        if step.compensation and step.spec:
            yield step, Row(step=step.spec, key=(client.stack.key, order_id), saga=saga, table=table)
