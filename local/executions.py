"""Starts executions of a deployed saga and waits for their ends."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from local.deployment import Deployment
from local.faults import FaultError, fault_of

POLL_SECONDS = 0.05
CHECK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class EndedExecution:
    """An execution that has ended, as Step Functions describes it. ``states`` is its path without states in groups."""

    arn: str
    status: str
    error: str | None
    cause: str | None
    output: str | None
    states: tuple[str, ...]


def start_and_wait(deployment: Deployment, input_: object, *, within_seconds: float = 60) -> EndedExecution:
    """Start an execution with this input, valid or not, and wait until it has ended. Raises FaultError as ``wait``."""
    return wait(deployment, start(deployment, input_), within_seconds=within_seconds)


def start(deployment: Deployment, input_: object) -> str:
    """Start an execution with this input, valid or not; return its ARN."""
    return deployment.client.start(input_)


def wait(
    deployment: Deployment,
    arn: str,
    *,
    within_seconds: float = 60,
    check: Callable[[], None] = lambda: None,
) -> EndedExecution:
    """Wait until the execution has ended. Raises FaultError with the reason if it has not ended in time.

    Args:
        deployment: the deployment.
        arn: the execution.
        within_seconds: the time.
        check: called twice a second while it runs; what it raises ends the wait. Default: nothing is checked.
    """
    began = checked = time.monotonic()
    while (found := deployment.stepfunctions.describe_execution(executionArn=arn))["status"] == "RUNNING":
        now = time.monotonic()
        if now > began + within_seconds:
            reason = fault_of(deployment, arn) or f"it is in {path(deployment, arn)[-1]}"
            raise FaultError(f"the execution {arn} has not ended within {within_seconds:.0f} s: {reason}")
        if now > checked + CHECK_SECONDS:
            check()
            checked = now
        time.sleep(POLL_SECONDS)
    return EndedExecution(
        arn=arn,
        status=found["status"],
        error=found.get("error"),
        cause=found.get("cause"),
        output=found.get("output"),
        states=path(deployment, arn),
    )


def path(deployment: Deployment, arn: str) -> tuple[str, ...]:
    """Return the states that the execution entered, in order, without states in groups."""
    return tuple(step.state for step in deployment.client.saga_run(arn).path if step.within is None)


def statuses(deployment: Deployment, key: str) -> dict[str, str]:
    """Return the statuses of the rows by entity."""
    return {row.entity: row.status for row in deployment.client.rows(key)}
