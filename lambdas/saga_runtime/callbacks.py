"""A step that waits for a callback: its action starts the work, and an answer ends it hours or days later.

Step Functions gives the task a token and waits (``waitForTaskToken``). The action writes ``in_progress`` with the token
into the row, and then starts the work. The answer changes the row through the write barrier, and then ends the task.
The row decides, the task follows. Therefore:

* An answer that comes after the compensation is rejected, and its sender learns that.
* A repeated answer changes nothing. If the first one crashed before it ended the task, the repeated one ends it.
* After a redrive the action replaces the token. If the answer is already there, the action ends its own task.
* A timeout is an unknown outcome: the step is compensated, and an answer that comes later is rejected.

The outside never sees the token. An answer names its request by the idempotency key of the step, which identifies one
step of one saga and stays the same in a redrive (provider_calls.py). So no answer counts for another saga, and none
becomes invalid with its token.
"""

import functools
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import boto3

from lambdas.saga_runtime import barrier
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import AnswerTooEarly, InvalidInput, SagaConflict, StepCompensated, StepRejected
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.own_table import CLIENT_CONFIG, OWN_TABLE
from lambdas.saga_runtime.provider_calls import ProviderCall, idempotency_key, request_of, requested, response
from lambdas.saga_runtime.steps import ACTION_RESPONSE, Attributes, Key, StepSpec
from lambdas.saga_runtime.validation import Input, json_type, line

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

# Bytes of JSON, escaped.
MAX_SIZE = 50_000
MAX_REASON = 500
# A UUID.
MAX_REQUEST = 36
FIELDS = ("step", "request", "result", "reason", "details")

Receiver = Callable[[object], dict[str, str]]


class Result(StrEnum):
    """The result that an answer reports."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    # A sign of life: the work goes on. It renews the heartbeat of the task.
    WORKING = "working"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A valid answer.

    Args:
        step: the step that it is for.
        key: the key of the row.
        request: the idempotency key of the request that it answers.
        result: the result.
        reason: why the work is rejected; empty for any other result.
        details: what an accepting answer adds to the row, before the rules of the step.
    """

    step: StepSpec
    key: Key
    request: str
    result: Result
    reason: str
    details: Input


def begin(row: Row, input_: Input, call: ProviderCall | None, token: str | None) -> str:
    """Start the work and leave its end to an answer; return the status of the row. Idempotent.

    Raises as ``barrier.act`` does, StepRejected if an answer has rejected the work, and what the call raises.

    Args:
        row: the row of the step.
        input_: the input of the saga.
        call: starts the work at a provider. Default: none, people see the row.
        token: the token of the task that waits; None in a direct call.
    """
    item = barrier.begin_waiting(row, requested(row, input_), token)
    status = item["status"]
    if status == row.step.in_progress:
        if call is not None:
            barrier.store(row, response(row, ACTION_RESPONSE, call(request_of(row, input_, item))))
    elif status == row.step.rejected:
        raise StepRejected(f"an answer rejected {row.step.entity}")
    elif token is not None:
        _succeed(row, token)
    return status


def receiver(*steps: StepSpec) -> Receiver:
    """Make the function that receives the answers to these steps.

    It takes ``{KEY, "step", "request", "result", "reason", "details"}``: the key of the schema, the name of the action,
    the idempotency key of the request, a ``Result``, the reason of a rejection, and the details that the step stores of
    an acceptance, if any. It returns the key, the step and the status of the row.

    The function raises

    * InvalidInput if the answer is not valid,
    * AnswerTooEarly if the row is not written yet: the sender sends the answer again later, but not for ever,
    * StepCompensated if the step was compensated before,
    * SagaConflict if the answer is for another saga than that of the row, or differs from an earlier answer,
    * botocore's errors if a service fails: the sender sends the answer again later.
    """
    by_action = {step.action: step for step in steps}
    for step in steps:
        if step.in_progress is None:
            raise ValueError(f"{step.entity} needs the status `in_progress` to wait for an answer")

    def receive(value: object) -> dict[str, str]:
        # Drop the keys of the answer before: the caller may log why this one is rejected.
        logger.clear_state()
        answer = _validated(by_action, value)
        row = _row(answer)
        step = answer.step
        logger.append_keys(step=step.name, saga_id=row.saga.id, **{step.schema.key: row.key[1]})
        if answer.result is Result.WORKING:
            status = _renew(row)
        elif answer.result is Result.REJECTED:
            status = _end(row, str(step.rejected), {"rejection": answer.reason})
        else:
            status = _end(row, step.live, step.answer_attributes(answer.details))
        logger.info("answered", extra={"result": answer.result, "status": status})
        return {step.schema.key: row.key[1], "step": step.action, "status": status}

    return receive


def _row(answer: Answer) -> Row:
    """Return the row as the saga owns it that the answer is for. The later write repeats what is read here."""
    step, item = answer.step, barrier.read(OWN_TABLE, answer.step, answer.key)
    if not item:
        raise AnswerTooEarly(f"{step.entity} is not requested yet: send the answer again later")
    saga = SagaIdentity(id=item["saga_id"], started_at=item["saga_started_at"])
    row = Row(step=step, key=answer.key, saga=saga, table=OWN_TABLE)
    if hmac.compare_digest(idempotency_key(row).encode(), answer.request.encode()):
        return row
    if item["status"] == step.compensated:
        if hmac.compare_digest(item.get("previous_request", "").encode(), answer.request.encode()):
            raise StepCompensated(f"an earlier saga compensated {step.entity}: the answer comes too late")
        raise AnswerTooEarly(f"{step.entity} has no such request yet: send the answer again later")
    raise SagaConflict(f"{step.entity} has another request: the answer is for another saga, nothing was changed")


def _end(row: Row, status: str, attributes: Attributes) -> str:
    """Write the answer, then end the task. Return the status of the row."""
    barrier.answer(row, status, attributes)
    # Read after the write: an action that writes its token later finds the answer and ends its own task.
    item = barrier.read(row.table, row.step, row.key)
    for token in _tokens(item) if row.owns(item) else ():
        if status == row.step.rejected:
            _fail(row, token, item["rejection"])
        else:
            _succeed(row, token)
    return item["status"] if row.owns(item) else status


def _renew(row: Row) -> str:
    item = barrier.read(row.table, row.step, row.key)
    barrier.require_own_and_not_compensated(row, item)
    for token in _tokens(item) if item["status"] == row.step.in_progress else ():
        _send(row, functools.partial(_heartbeat, token))
    return item["status"]


def _tokens(item: Mapping[str, str]) -> list[str]:
    """Return the tokens of which one is that of the task that waits, if one waits; the newest first."""
    tokens = (item.get(name) for name in ("task_token", "previous_task_token"))
    return list(dict.fromkeys(token for token in tokens if token))


def _heartbeat(token: str, client: "SFNClient") -> None:
    client.send_task_heartbeat(taskToken=token)


def _succeed(row: Row, token: str) -> None:
    # As the answer of an action that does not wait.
    output = json.dumps({row.step.schema.key: row.key[1], "status": row.step.live})
    _send(row, lambda client: client.send_task_success(taskToken=token, output=output))


def _fail(row: Row, token: str, reason: str) -> None:
    # As Lambda reports an exception, so that the compensation finds the message.
    cause = json.dumps({"errorMessage": f"{row.step.entity} was rejected: {reason}"})
    _send(row, lambda client: client.send_task_failure(taskToken=token, error=StepRejected.__name__, cause=cause))


def _send(row: Row, request: "Callable[[SFNClient], object]") -> None:
    """Send the request. A task that has ended needs none: if the saga is redriven, the action finds the answer."""
    client = _client()
    try:
        request(client)
    except (client.exceptions.TaskTimedOut, client.exceptions.TaskDoesNotExist) as error:
        logger.warning("the task has ended before", extra={"entity": row.step.entity, "error": type(error).__name__})


@functools.cache
def _client() -> "SFNClient":
    """Return the client. Most functions need none, and its creation takes time."""
    client: SFNClient = boto3.client("stepfunctions", config=CLIENT_CONFIG)
    return client


def _validated(steps: Mapping[str, StepSpec], value: object) -> Answer:
    """Return the answer, or raise InvalidInput. No message repeats a value."""
    if not isinstance(value, dict):
        raise InvalidInput(f"the answer is {json_type(value)}: expected an object")
    if (size := len(json.dumps(value))) > MAX_SIZE:
        raise InvalidInput(f"the answer has {size:,} bytes: expected at most {MAX_SIZE:,}")
    name = value.get("step")
    step = steps.get(name) if isinstance(name, str) else None
    if step is None:
        raise InvalidInput(f"step is not one that waits: expected {' or '.join(steps)}")
    if unknown := value.keys() - {step.schema.key, *FIELDS}:
        raise InvalidInput(f"{len(unknown)} unknown fields: expected {step.schema.key}, {', '.join(FIELDS)}")
    result = _result(step, value.get("result"))
    details = value.get("details", {})
    if not isinstance(details, dict):
        raise InvalidInput(f"details is {json_type(details)}: expected an object")
    return Answer(
        step=step,
        key=step.schema.key_of(value),
        request=line("request", longest=MAX_REQUEST)(value),
        result=result,
        reason=line("reason", longest=MAX_REASON)(value) if result is Result.REJECTED else "",
        details=details,
    )


def _result(step: StepSpec, value: object) -> Result:
    possible = [result for result in Result if result is not Result.REJECTED or step.rejected]
    for result in possible:
        if value == result:
            return result
    raise InvalidInput(f"result is not possible for {step.action}: expected {' or '.join(possible)}")
