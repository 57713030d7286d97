"""The one shape of all functions: read the request, make one write, answer.

The functions of a step that calls a service outside write before and after it (outside.py).

A function takes either the bare order, when it is invoked directly, or what the state machine sends::

    {"saga": {"id": ..., "started_at": ...}, "order": ..., "failure": ...}

``order`` is the input of the execution, whatever the saga calls it. ``failure`` goes to what undoes steps and says
why it runs. The first one gets the error as Step Functions caught it, ``{"Error", "Cause"}``, and knows from this
that it is its own step that failed. Those of a parallel group get what all of its ``members`` ended with, by their
steps' names, the failed ones ``{"failed", "caught"}``. They answer with ``{"step", "error", "reason"}``,
which the following ones pass on and the execution ends with.

The answer is ``{"order_id", "status"}``, or whatever the schema's key is, the same for a repeated delivery.
"""

from lambdas.shared import startup

# isort: split
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from lambdas.shared import clock, ledger, outside
from lambdas.shared.causes import in_words, without_card
from lambdas.shared.errors import BUSINESS_ERRORS, BusinessError, InvalidOrder, OrderConflict
from lambdas.shared.observability import count, logger
from lambdas.shared.steps import Step

Answer: TypeAlias = "dict[str, str | bool | Failure | None]"
Failure: TypeAlias = dict[str, str]
Handler: TypeAlias = Callable[[object, object], Answer]

DIRECT = "direct"
MAX_REASON = 1_000


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a function was asked to do."""

    saga: ledger.Saga
    order: object
    failure: object


def action(step: Step, call: outside.Call | None = None) -> Handler:
    """The function that does the step, by ``call`` if a service outside is needed for it.

    It raises the business errors, botocore's if DynamoDB fails, and what the call raises.
    """
    _require_statuses(step, call)

    def write(request: Request) -> Answer:
        order = step.schema.read(request.order)
        order_id = step.schema.id_of(order)
        key = (step.schema.key, order_id)
        if call is None:
            ledger.act(step.entity, key, request.saga, step.stored(order))
        else:
            outside.act(step, key, request.saga, order, call)
        return {step.schema.key: order_id, "status": step.entity.live}

    return _refusing(step, write)


def confirmation(step: Step) -> Handler:
    """The function that makes the step's row confirmed. It raises as an action does, but nothing can refuse it."""
    status = step.entity.confirmed
    if status is None:
        raise ValueError(f"{step.entity.name} has no status `confirmed`: name one in its Entity")

    def write(request: Request) -> Answer:
        order_id = step.schema.id_of(step.schema.read(request.order))
        ledger.confirm(step.entity, (step.schema.key, order_id), request.saga, status)
        return {step.schema.key: order_id, "status": status}

    return _refusing(step, write)


def compensation(step: Step, call: outside.Call | None = None) -> Handler:
    """The function that undoes the step, by ``call`` if a service outside is needed for it.

    It raises no business error, botocore's if DynamoDB fails, and what the call raises.
    """
    _require_statuses(step, call)

    def handle(event: object, _context: object) -> Answer:
        request, order_id = _undoing(step, event)
        # Without a valid id the action cannot have written, now or later: nothing to undo, nothing to bar.
        if order_id is not None:
            key = (step.schema.key, order_id)
            if call is None:
                ledger.compensate(step.entity, key, request.saga)
            else:
                outside.compensate(step, key, request.saga, step.schema.read(request.order), call)
        logger.info("undone", extra={"status": step.entity.undone})
        count("StepCompensated", step=step.name)
        answer: Answer = {step.schema.key: order_id, "status": step.entity.undone}
        return answer if request.failure is None else answer | {"failure": _failure(step, request)}

    return handle


def resolution(step: Step) -> Handler:
    """The function that finds out whether a pivot was done, and bars it if it was not; raises as a compensation.

    Its answer has a member more: ``committed``.
    """
    # Between its two writes a step that calls a service is neither done nor not done: the row cannot tell.
    _require_statuses(step, None)

    def handle(event: object, _context: object) -> Answer:
        request, order_id = _undoing(step, event)
        committed = order_id is not None and ledger.resolve(step.entity, (step.schema.key, order_id), request.saga)
        status = step.entity.live if committed else step.entity.undone
        logger.info("resolved", extra={"status": status})
        answer: Answer = {step.schema.key: order_id, "status": status, "committed": committed}
        return (
            answer if request.failure is None else answer | {"failure": _failure(step, request, counts=not committed)}
        )

    return handle


def _require_statuses(step: Step, call: outside.Call | None) -> None:
    """Refuse, when the function is loaded, a step whose row cannot say whether its service may have been called."""
    named = [status is not None for status in (step.entity.doing, step.entity.undoing)]
    if named != [call is not None] * 2:
        raise ValueError(
            f"{step.entity.name}: a step whose functions call a service has the statuses `doing` and `undoing` in its "
            "Entity, any other has neither"
        )


def _refusing(step: Step, write: Callable[[Request], Answer]) -> Handler:
    def handle(event: object, _context: object) -> Answer:
        request = _request(event)
        _log_keys(step, request)
        try:
            answer = write(request)
        except BusinessError as error:
            logger.warning("refused", extra={"error": type(error).__name__, "reason": str(error)})
            if isinstance(error, OrderConflict):
                count("OrderConflict", step=step.name)
            raise
        logger.info("done", extra={"status": answer["status"]})
        return answer

    return handle


def _undoing(step: Step, event: object) -> tuple[Request, str | None]:
    request = _request(event)
    return request, _log_keys(step, request)


def _log_keys(step: Step, request: Request) -> str | None:
    """Have every line of the log name step, saga and order; returns the order's id if it has a valid one."""
    order_id = _order_id_if_valid(step, request.order)
    logger.append_keys(step=step.name, saga_id=request.saga.id, **{step.schema.key: order_id})
    return order_id


def _request(event: object) -> Request:
    match event:
        case {"saga": {"id": str(saga_id), "started_at": str(started_at)}, "order": order, **rest}:
            saga = ledger.Saga(id=saga_id, started_at=clock.normalised(started_at))
            return Request(saga=saga, order=order, failure=rest.get("failure"))
    return Request(saga=ledger.Saga(id=DIRECT, started_at=clock.now()), order=event, failure=None)


def _order_id_if_valid(step: Step, order: object) -> str | None:
    try:
        return step.schema.id_of(step.schema.read(order))
    except InvalidOrder:
        return None


def _failure(step: Step, request: Request, *, counts: bool = True) -> Failure:
    """Which step failed and why, in words that are safe to show: no stack trace and no card number."""
    match request.failure:
        case {"step": str(first), "error": str(error), "reason": str(reason)}:
            return {"step": first, "error": error, "reason": reason}
        case {"members": dict() as members}:
            ends = ((name, end) for name, end in members.items() if isinstance(end, dict))
            caught = [(name, end.get("caught")) for name, end in ends if end.get("failed") is True]
        case _:
            caught = [(step.name, request.failure)]
    failures = [_caught(request, name, error) for name, error in caught or [(step.name, None)]]
    for failure in failures:
        if counts and failure["step"] == step.name:
            # What Step Functions caught, a time-out or a crash included; so this tells a refusal from a fault.
            count("StepFailed", step=step.name, kind="refused" if failure["error"] in BUSINESS_ERRORS else "fault")
    return failures[0]


def _caught(request: Request, name: str, caught: object) -> Failure:
    match caught:
        case {"Error": str(error), **rest}:
            reason = in_words(rest.get("Cause"))
        case _:
            error, reason = "Unknown", "the state machine did not say why"
    return {"step": name, "error": error, "reason": without_card(reason, request.order)[:MAX_REASON]}


startup.done()
