"""The one shape of the six functions: read the request, make one write, answer.

A function takes either the bare order, when it is invoked directly, or what the state machine sends::

    {"saga": {"id": ..., "started_at": ...}, "order": ..., "failure": ...}

``failure`` goes to compensations only and says why they run. The first one gets the error as Step Functions
caught it, ``{"Error", "Cause"}``, and knows from this that it is its own step that failed; it answers with
``{"step", "error", "reason"}``, which the following ones pass on and the execution ends with.

The answer is ``{"order_id", "status"}``, the same for a repeated delivery.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from lambdas.shared import clock, ledger
from lambdas.shared.causes import in_words, without_card
from lambdas.shared.errors import BUSINESS_ERRORS, BusinessError, InvalidOrder, OrderConflict
from lambdas.shared.observability import count, logger
from lambdas.shared.orders import Step, as_order, order_id_of

Answer: TypeAlias = "dict[str, str | Failure | None]"
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


def action(step: Step) -> Handler:
    """The function that does the step. It raises the business errors, and botocore's if DynamoDB fails."""

    def handle(event: object, _context: object) -> Answer:
        request = _request(event)
        logger.append_keys(step=step.name, saga_id=request.saga.id, order_id=_order_id_if_valid(request.order))
        try:
            order = as_order(request.order)
            order_id = order_id_of(order)
            ledger.act(step.entity, order_id, request.saga, step.stored(order))
        except BusinessError as error:
            logger.warning("refused", extra={"error": type(error).__name__, "reason": str(error)})
            if isinstance(error, OrderConflict):
                count("OrderConflict", step=step.name)
            raise
        logger.info("done", extra={"status": step.entity.live})
        return {"order_id": order_id, "status": step.entity.live}

    return handle


def compensation(step: Step) -> Handler:
    """The function that undoes the step. It raises no business error, and botocore's if DynamoDB fails."""

    def handle(event: object, _context: object) -> Answer:
        request = _request(event)
        # Without a valid id the action cannot have written, now or later: nothing to undo, nothing to bar.
        order_id = _order_id_if_valid(request.order)
        logger.append_keys(step=step.name, saga_id=request.saga.id, order_id=order_id)
        if order_id is not None:
            ledger.compensate(step.entity, order_id, request.saga)
        logger.info("undone", extra={"status": step.entity.undone})
        count("StepCompensated", step=step.name)
        answer: Answer = {"order_id": order_id, "status": step.entity.undone}
        return answer if request.failure is None else answer | {"failure": _failure(step, request)}

    return handle


def _request(event: object) -> Request:
    match event:
        case {"saga": {"id": str(saga_id), "started_at": str(started_at)}, "order": order, **rest}:
            saga = ledger.Saga(id=saga_id, started_at=clock.normalised(started_at))
            return Request(saga=saga, order=order, failure=rest.get("failure"))
    return Request(saga=ledger.Saga(id=DIRECT, started_at=clock.now()), order=event, failure=None)


def _order_id_if_valid(order: object) -> str | None:
    try:
        return order_id_of(as_order(order))
    except InvalidOrder:
        return None


def _failure(step: Step, request: Request) -> Failure:
    """Which step failed and why, in words that are safe to show: no stack trace and no card number."""
    match request.failure:
        case {"step": str(first), "error": str(error), "reason": str(reason)}:
            return {"step": first, "error": error, "reason": reason}
        case {"Error": str(error), **rest}:
            reason = in_words(rest.get("Cause"))
        case _:
            error, reason = "Unknown", "the state machine did not say why"
    # What Step Functions caught, a time-out or a crash included; so this tells a refusal from a fault.
    count("StepFailed", step=step.name, kind="refused" if error in BUSINESS_ERRORS else "fault")
    return {"step": step.name, "error": error, "reason": without_card(reason, request.order)[:MAX_REASON]}
