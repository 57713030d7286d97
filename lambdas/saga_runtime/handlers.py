"""Makes the Lambda functions of a step. All have one shape: read the request, change the row, answer.

A function of a plain step changes the row by one write. That of a step that calls a provider (provider_calls.py) or
waits for an answer (callbacks.py) makes more writes, each of them conditional.

A function takes the bare input, when it is called directly, or what the state machine sends::

    {"saga": {"id": ..., "started_at": ...}, "input": ..., "failure": ..., "task_token": ...}

Only the action of a step that waits (callbacks.py) receives ``task_token``. ``input`` is the input of the execution.
Only compensations and resolutions receive ``failure``, which says why they run. The first of them receives the error
as Step Functions caught it, ``{"Error", "Cause"}``: its own step failed. In a parallel group it receives
``{"members": {STEP: {"failed", "caught"}}}``. It answers with ``{"step", "error", "reason"}``, which the next ones
pass on and the execution ends with.

The answer is ``{KEY, "status"}`` with the key of the schema, and the same for a repeated call. A direct call is a saga
of its own; its answer also has ``saga``, to compensate the call by.

The text of an exception reaches the log, X-Ray and the history of the execution, so it is redacted.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeAlias

from lambdas.saga_runtime import barrier, callbacks, clock, provider_calls
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import REJECTIONS, BusinessError, InvalidInput, SagaConflict, StepFailed
from lambdas.saga_runtime.names import fail_state
from lambdas.saga_runtime.observability import count, logger
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import ProviderCall
from lambdas.saga_runtime.redaction import message_in, redacted
from lambdas.saga_runtime.steps import StepSpec

Failure: TypeAlias = dict[str, str]
Answer: TypeAlias = dict[str, str | bool | Failure | None]
Kind: TypeAlias = Literal["action", "confirmation", "compensation", "resolution"]

DIRECT = "direct"
MAX_REASON = 1_000
# The longest ARN of an execution (Step Functions API Reference, DescribeExecution).
MAX_SAGA_ID = 256


@dataclass(frozen=True, kw_only=True)
class Handler:
    """The Lambda function of a step.

    Args:
        step: the step that it is made of. Checks read it, ``kind`` and ``has_callback``.
        kind: the name of the function below that makes it.
        handle: takes the event and Lambda's context, and returns the answer.
        has_callback: whether an answer ends what it starts.
    """

    step: StepSpec
    kind: Kind
    handle: Callable[[object, object], Answer]
    has_callback: bool = False

    def __call__(self, event: object, context: object) -> Answer:
        """Handle an event."""
        return self.handle(event, context)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a function was called with."""

    saga: SagaIdentity
    input: object
    failure: object
    task_token: str | None = None


def action(step: StepSpec, call: ProviderCall | None = None, *, has_callback: bool = False) -> Handler:
    """Make the function that performs the step.

    It raises business errors, botocore's errors if DynamoDB fails, and what ``call`` raises.

    Args:
        step: the step.
        call: calls the provider. Default: none, the step is its row.
        has_callback: whether the action only starts the work, and an answer ends it (callbacks.py). Default: false.
    """
    _require_statuses(step, call, has_callback=has_callback)

    def perform(request: Request, row: Row | None) -> Answer:
        input_ = step.schema.validated(request.input)
        row = row or _row(step, request)
        if has_callback:
            return _answer(step, row, callbacks.begin(row, input_, call, request.task_token))
        if call is None:
            barrier.act(row, step.attributes(input_))
        else:
            provider_calls.act(row, input_, call)
        return _answer(step, row, step.live)

    return replace(_handler(step, "action", perform), has_callback=has_callback)


def confirmation(step: StepSpec, call: ProviderCall | None = None) -> Handler:
    """Make the function that confirms the row of the step. It raises as an action does.

    Args:
        step: the step, which an earlier action has performed.
        call: has the provider complete what that action began, such as capture a payment that it authorized.
            Default: none, the confirmation is one write.
    """
    if step.confirmed is None:
        raise ValueError(f"{step.entity} needs the status `confirmed` to be confirmed")
    status = step.confirmed

    def perform(request: Request, row: Row | None) -> Answer:
        row = row or _row(step, request)
        if call is None:
            barrier.confirm(row)
        else:
            provider_calls.confirm(row, step.schema.validated(request.input), call)
        return _answer(step, row, status)

    return _handler(step, "confirmation", perform)


def compensation(step: StepSpec, call: ProviderCall | None = None) -> Handler:
    """Make the function that compensates the step.

    It raises no business error, because Step Functions would not retry it: StepFailed if ``call`` raises one,
    botocore's errors if DynamoDB fails, and what else ``call`` raises.

    Args:
        step: the step.
        call: calls the provider. Default: none, the step is its row.
    """
    # The step may wait without a provider.
    _require_statuses(step, call, has_callback=step.in_progress is not None)

    def perform(request: Request, row: Row | None) -> Answer:
        if row is not None:
            row = replace(row, reason=_reason(step, request))
        # Without a valid key the action can never write: nothing to compensate, nothing to reject.
        if row is not None and call is None:
            barrier.compensate(row)
        elif row is not None and call is not None and isinstance(request.input, dict):
            provider_calls.compensate(row, request.input, call)
        return _with_failure(step, request, _answer(step, row, step.compensated))

    return _handler(step, "compensation", perform)


def resolution(step: StepSpec) -> Handler:
    """Make the function that finds out whether a pivot happened, and rejects it if it did not.

    It raises as a compensation does. Its answer has one more member: ``committed``.
    """
    # Between the two writes of a step that calls a provider, the row cannot tell.
    _require_statuses(step, None, has_callback=False)

    def perform(request: Request, row: Row | None) -> Answer:
        committed = row is not None and barrier.resolve(row)
        answer = _answer(step, row, step.live if committed else step.compensated) | {"committed": committed}
        return _with_failure(step, request, answer, compensated=not committed)

    return _handler(step, "resolution", perform)


def _handler(step: StepSpec, kind: Kind, perform: Callable[[Request, Row | None], Answer]) -> Handler:
    """Make the function around ``perform``. The row is None if the input has no valid key."""
    may_reject = kind in ("action", "confirmation")

    def handle(event: object, _context: object) -> Answer:
        request = _request(event)
        try:
            row = _row(step, request)
        except InvalidInput:
            row = None
        logger.append_keys(step=step.name, saga_id=request.saga.id, **{step.schema.key: row.key[1] if row else None})
        try:
            answer = perform(request, row)
        except BusinessError as error:
            _log_rejection(step, error)
            if may_reject and not _looks_clean(step, error):
                raise
            raise StepFailed(f"{type(error).__name__}: {error}") from None
        except Exception as error:
            text = redacted(str(error), step.schema.sensitive_values(request.input))[:MAX_REASON]
            if text == str(error) and not _looks_clean(step, error):
                raise
            raise StepFailed(f"{type(error).__name__}: {text}") from None
        logger.info("done", extra={"status": answer["status"]})
        return answer if request.saga.id != DIRECT else answer | {"saga": asdict(request.saga)}

    return Handler(step=step, kind=kind, handle=handle)


def _row(step: StepSpec, request: Request) -> Row:
    """Return the row of the step. Raises InvalidInput if the input has no valid key."""
    return Row(step=step, key=step.schema.key_of(request.input), saga=request.saga, table=OWN_TABLE)


def _looks_clean(step: StepSpec, error: Exception) -> bool:
    """Return whether an execution that fails with the error would be taken for one with nothing live."""
    return type(error).__name__ == fail_state(step.schema.noun)


def _log_rejection(step: StepSpec, error: BusinessError) -> None:
    logger.warning("rejected", extra={"error": type(error).__name__, "reason": str(error)})
    if isinstance(error, SagaConflict):
        count("SagaConflict", step=step.name)


def _require_statuses(step: StepSpec, call: ProviderCall | None, *, has_callback: bool) -> None:
    calls = call is not None
    if [step.in_progress is not None, step.compensating is not None] != [calls or has_callback, calls]:
        raise ValueError(
            f"{step.entity}: a step that calls a provider needs the statuses `in_progress` and `compensating`, a step "
            "that only waits needs `in_progress`, any other step needs neither"
        )


def _request(event: object) -> Request:
    """Read the event. Raises ValueError if the saga's id or start time cannot be one of Step Functions."""
    match event:
        case {"saga": {"id": str(saga_id), "started_at": str(started_at)}, "input": input_, **rest}:
            if len(saga_id) > MAX_SAGA_ID:
                raise ValueError(f"the saga's id has {len(saga_id)} characters: expected at most {MAX_SAGA_ID}")
            clock.require_past(started_at)
            return Request(
                saga=SagaIdentity(id=saga_id, started_at=started_at),
                input=input_,
                failure=rest.get("failure"),
                task_token=None if (token := rest.get("task_token")) is None else str(token),
            )
    return Request(saga=SagaIdentity(id=DIRECT, started_at=clock.now()), input=event, failure=None)


def _answer(step: StepSpec, row: Row | None, status: str) -> Answer:
    return {step.schema.key: row.key[1] if row else None, "status": status}


def _with_failure(step: StepSpec, request: Request, answer: Answer, *, compensated: bool = True) -> Answer:
    """Add to the answer which step failed and why. Count the compensation: because of a fault of this step or not."""
    failures = _failures(step, request)
    # What Step Functions caught includes timeouts and crashes, so this separates rejections from faults.
    own = [failure["error"] in REJECTIONS for failure in failures if failure["step"] == step.name]
    if compensated:
        count("StepCompensated", step=step.name, kind=("rejected" if own[0] else "fault") if own else "rollback")
    return answer | {"failure": failures[0]} if failures else answer


def _failures(step: StepSpec, request: Request) -> list[Failure]:
    """Return the steps that failed, and why; none for a direct call."""
    match request.failure:
        case None:
            return []
        case {"step": str(first), "error": str(error), "reason": str(reason)}:
            return [{"step": first, "error": error, "reason": reason}]
        case {"members": dict() as members}:
            failed = [(name, end.get("caught")) for name, end in members.items() if _has_failed(end)]
            return [_failure(step, request, name, caught) for name, caught in failed or [(step.name, None)]]
        case _:
            return [_failure(step, request, step.name, request.failure)]


def _reason(step: StepSpec, request: Request) -> str | None:
    """Return why the saga is rolled back, in the words of the failed execution's cause; None for a direct call.

    It is published to other systems, so it has no text of the input.
    """
    failures = _failures(step, request)
    if not failures:
        return None
    return redacted("{step} failed: {error}: {reason}".format(**failures[0]), step.schema.private_values(request.input))


def _has_failed(member: object) -> bool:
    return isinstance(member, dict) and member.get("failed") is True


def _failure(step: StepSpec, request: Request, name: str, caught: object) -> Failure:
    match caught:
        case {"Error": str(error), **rest}:
            reason = message_in(rest.get("Cause")) or "no cause was given"
        case _:
            error, reason = "Unknown", "the state machine did not say why"
    reason = redacted(reason, step.schema.sensitive_values(request.input))
    return {"step": name, "error": error, "reason": reason[:MAX_REASON]}
