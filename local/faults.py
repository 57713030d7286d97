"""Explains why an execution cannot end as it should: the state that fails, its error, and the end of its log."""

from typing import TYPE_CHECKING

from lambdas.saga_runtime.execution_history import Attempt, End, PathStep, path_of
from lambdas.saga_runtime.redaction import parsed_json
from local.deployment import Deployment
from local.errors import LocalError
from ops.definition import read_definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

# An action is tried so often (ACTION_RETRY in saga_stack/construct/stages.py), a compensation for half an hour.
ATTEMPTS_OF_ACTION = 5
LOG_LINES = 15
_LINES_OF_LAMBDA = ("START RequestId", "END RequestId", "REPORT RequestId", "LAMBDA_WARNING")


class FaultError(LocalError):
    """An execution has a fault. Its text is one line that says which, followed by the last lines of a log."""


def require_progress(deployment: Deployment, arn: str, *, expected: str | None = None) -> None:
    """Raise FaultError if retries do not help a running execution.

    That is so if a function cannot be imported, or if a state has failed as often as an action may.

    Args:
        deployment: the deployment.
        arn: the execution.
        expected: a state whose failure is expected. Default: none.
    """
    events = _history(deployment, arn)
    failed = _failed(events, expected)
    if any(map(_is_of_import, events)) or any(len(_failures(step)) >= ATTEMPTS_OF_ACTION for step in failed):
        raise FaultError(_explained(deployment, failed[0]))


def fault_of(deployment: Deployment, arn: str, *, expected: str | None = None) -> str | None:
    """Return what failed first in an execution, with the last lines of its log; None if nothing did.

    The arguments are those of ``require_progress``.
    """
    failed = _failed(_history(deployment, arn), expected)
    return _explained(deployment, failed[0]) if failed else None


def _failed(events: "Sequence[HistoryEventTypeDef]", expected: str | None) -> list[PathStep]:
    """Return the states whose task has failed and has not succeeded since. A group fails with a state in it."""
    path = path_of(events)
    others = {expected, *(step.within for step in path)}
    return [
        step
        for step in path
        if step.state not in others and _failures(step) and (step.attempts[-1].error or step.end is not End.LEFT)
    ]


def _failures(step: PathStep) -> list[Attempt]:
    return [attempt for attempt in step.attempts if attempt.error]


def _explained(deployment: Deployment, step: PathStep) -> str:
    states = read_definition(deployment.client.definition(), where=deployment.stack.name).states
    function = states[step.state].get("Parameters", {}).get("FunctionName", "").rpartition(":")[2]
    last = _failures(step)[-1]
    reason = " ".join(": ".join(filter(None, (f"{step.state} failed", last.error, last.cause))).split())
    log = _last_lines(deployment, function) if function else []
    if not log:
        return f"{reason}: fix it and run this again"
    shown = "\n".join(f"  {line}" for line in log)
    return f"{reason}: fix it in {function}, whose log ends with the lines below, and run this again\n{shown}"


def _is_of_import(event: "HistoryEventTypeDef") -> bool:
    """Return whether the event is the failure of a function that was never called: it has an empty ``requestId``."""
    cause = parsed_json(event.get("taskFailedEventDetails", {}).get("cause"))
    return isinstance(cause, dict) and cause.get("requestId") == ""


def _history(deployment: Deployment, arn: str) -> "list[HistoryEventTypeDef]":
    pages = deployment.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def _last_lines(deployment: Deployment, function: str) -> list[str]:
    """Return the last lines that the function has written to its log."""
    cloud = deployment.cloud
    logs = cloud.session().client("logs", endpoint_url=cloud.endpoint)
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
    lines = [line for page in pages for event in page["events"] for line in event["message"].splitlines()]
    return [line for line in lines if line.strip() and not any(word in line for word in _LINES_OF_LAMBDA)][-LOG_LINES:]
