"""The path of an execution through its states, read from its history."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ops.model import Attempt, PathStep
from ops.words import cause_in_words, order_id_in, parsed, without_card

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

_STARTS = ("TaskScheduled", "LambdaFunctionScheduled")
_SUCCEEDS = ("TaskSucceeded", "LambdaFunctionSucceeded")
_FAILS = (
    "TaskFailed",
    "TaskTimedOut",
    "TaskStartFailed",
    "TaskSubmitFailed",
    "LambdaFunctionFailed",
    "LambdaFunctionTimedOut",
    "LambdaFunctionScheduleFailed",
    "LambdaFunctionStartFailed",
)
_ENDS = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")


def path_of(events: "Iterable[HistoryEventTypeDef]") -> tuple[PathStep, ...]:
    """The states that were entered, in order, each with the attempts of its task and their errors in words.

    What follows a redrive belongs to the state that it goes on in, whether that is entered again or not.
    """
    steps: list[PathStep] = []
    execution_input: str | None = None
    for event in events:
        type_, at = event["type"], event["timestamp"]
        if type_ == "ExecutionStarted":
            execution_input = _details(event).get("input")
        elif type_.endswith("StateEntered"):
            steps.append(
                PathStep(state=event["stateEnteredEventDetails"]["name"], entered_at=at, left_at=None, attempts=())
            )
        elif not steps:
            continue
        elif type_ in _STARTS:
            attempt = Attempt(started_at=at, ended_at=None, error=None, cause=None)
            steps[-1] = replace(steps[-1], attempts=(*steps[-1].attempts, attempt), left_at=None)
        elif type_ in _SUCCEEDS or type_ in _FAILS:
            steps[-1] = _ended(steps[-1], at, _details(event) if type_ in _FAILS else {}, execution_input)
        elif type_ in _ENDS or type_.endswith("StateExited"):
            steps[-1] = replace(steps[-1], left_at=steps[-1].left_at or at)
    return tuple(steps)


def order_id_of(events: "Iterable[HistoryEventTypeDef]") -> str | None:
    """The order's id as the functions answered it; the execution's input, which holds the card, is not looked at."""
    for event in events:
        if event["type"] in _SUCCEEDS:
            output = parsed(_details(event).get("output"))
            payload = output.get("Payload") if isinstance(output, Mapping) else None
            if order_id := order_id_in(payload):
                return order_id
    return None


def last_state(events: "Iterable[HistoryEventTypeDef]") -> str | None:
    """The state that was entered last; None if there was none."""
    path = path_of(events)
    return path[-1].state if path else None


def _ended(step: PathStep, at: datetime, failure: Mapping[str, str], execution_input: str | None) -> PathStep:
    """The step with its last attempt ended; an attempt of which nobody told the start began with the step."""
    *before, last = step.attempts or (Attempt(started_at=step.entered_at, ended_at=None, error=None, cause=None),)
    last = replace(
        last,
        ended_at=at,
        error=failure.get("error"),
        cause=without_card(cause_in_words(failure.get("cause")), execution_input),
    )
    return replace(step, attempts=(*before, last))


def _details(event: "HistoryEventTypeDef") -> Mapping[str, Any]:
    """What belongs to the event's type; the field is named after it, and missing without data."""
    type_ = event["type"]
    fields: Mapping[str, Any] = event
    found: Mapping[str, Any] = fields.get(f"{type_[0].lower()}{type_[1:]}EventDetails", {})
    return found
