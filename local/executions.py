"""Starts executions of a deployed saga and waits for their ends."""

import time
from dataclasses import dataclass

from local.deployment import Deployment
from local.errors import LocalError

POLL_SECONDS = 0.05


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
    """Start an execution with this input, valid or not, and wait until it has ended. Raises LocalError as ``wait``."""
    return wait(deployment, start(deployment, input_), within_seconds=within_seconds)


def start(deployment: Deployment, input_: object) -> str:
    """Start an execution with this input, valid or not; return its ARN."""
    return deployment.client.start(input_)


def wait(deployment: Deployment, arn: str, *, within_seconds: float = 60) -> EndedExecution:
    """Wait until the execution has ended. Raises LocalError if it has not ended in time."""
    deadline = time.monotonic() + within_seconds
    while (found := deployment.stepfunctions.describe_execution(executionArn=arn))["status"] == "RUNNING":
        if time.monotonic() > deadline:
            raise LocalError(f"the execution {arn} has not ended within {within_seconds:.0f} s")
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
