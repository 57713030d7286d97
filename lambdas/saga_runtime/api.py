"""The functions of the HTTP API of a saga: start it by an input, read its outcome, and cancel it.

No input starts two sagas. The name of an execution is derived from the key of the input and from the attempt, and Step
Functions accepts a name once (API Reference, StartExecution). So concurrent requests, and a request that is repeated
because its response was lost, arrive at the same execution. Nothing else is stored: there is nothing that a crash
could leave behind.

The attempt is one more than the number of sagas that have claimed the row of the first step, which is read
consistently. An attempt that failed before it claimed the row is not counted, but its name is used. So if Step
Functions rejects the name, the next attempt follows the newest one that it knows, and only if that one has failed.
Therefore the attempts have no gap, and all but the newest are over. This is why the newest one can be found by long
steps: what a step passes over is over, and what a read does not show yet cannot be started again.

A saga that was started by other means is treated alike, because the row names its execution.
"""

import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdas.saga_runtime import cancellation, clock
from lambdas.saga_runtime.barrier import Row, SagaIdentity, Table
from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.http_messages import (
    Event,
    Function,
    ProblemError,
    Response,
    UnavailableError,
    cacheable,
    function_of,
    json_body,
    json_response,
    path_parameter,
)
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.outcome import Outcome, outcome_of
from lambdas.saga_runtime.redaction import message_in, parsed_json, redacted
from lambdas.saga_runtime.steps import Key, Schema, StepSpec
from lambdas.saga_runtime.validation import Input

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

    # An execution as DescribeExecution returns it.
    Execution = DescribeExecutionOutputTypeDef

# A request to AWS ends within 9 s: two attempts of 4 s, and up to 1 s between them.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
# The receiver makes several requests to AWS. A second call beside the first one would only compete with it.
RECEIVER_CONFIG = Config(connect_timeout=1, read_timeout=18, retries={"total_max_attempts": 1})
# The longest that a client may have a response delayed, in seconds. API Gateway waits 30 s for a response: a request
# that begins at the last moment ends before.
MAX_WAIT = 20
# While a response is delayed, how often the row is read, and how often Step Functions is asked. Its quota for an
# account is 10 to 15 a second, which alerts and operators use too.
POLL_SECONDS = 0.5
DESCRIBE_SECONDS = 5
# Its answers are eventually consistent: an execution that it does not know so long after the start is forgotten.
KNOWN_WITHIN = timedelta(hours=1)

PENDING, CONFIRMED, FAILED, STUCK = "pending", "confirmed", "failed", "stuck"
# The end of the path of a request to cancel.
CANCEL = "cancel"

_TABLE_NAME = os.environ["TABLE_NAME"]
_STATE_MACHINE_ARN = os.environ["STATE_MACHINE_ARN"]
_CLEAN_ERROR = os.environ["CLEAN_ERROR"]
# The actions that may be followed by a rollback, in order; those of a parallel group together.
_FALLIBLE_ACTIONS: Sequence[Sequence[str]] = json.loads(os.environ["FALLIBLE_ACTIONS"])
# The function that receives answers; empty if no step waits.
_RECEIVER = os.environ.get("RECEIVER_NAME", "")
_EXECUTIONS = _STATE_MACHINE_ARN.replace(":stateMachine:", ":execution:")
_dynamodb: "DynamoDBClient" = boto3.client("dynamodb", config=CLIENT_CONFIG)
_stepfunctions: "SFNClient" = boto3.client("stepfunctions", config=CLIENT_CONFIG)

# Short, and without the characters that Step Functions rejects in a name (API Reference, StartExecution).
_SAFE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class SagaApi:
    """The HTTP API of a saga.

    Raises ValueError if its first step is not that of the state machine, or if the row of this step is never confirmed.

    Args:
        steps: the steps by entity. The first one's row says how far the saga is, so no other step runs beside it.
        path: where the inputs are, such as ``/bookings``.
    """

    steps: Mapping[str, StepSpec]
    path: str

    def __post_init__(self) -> None:
        if _FALLIBLE_ACTIONS and self._first.action not in _FALLIBLE_ACTIONS[0]:
            raise ValueError(
                f"the API begins with {self._first.action}, the saga with {' and '.join(_FALLIBLE_ACTIONS[0])}: "
                "list the steps in the same sequence"
            )
        if self._first.confirmed is None:
            raise ValueError(f"{self._first.action} has no status for a confirmed saga: give its StepSpec confirmed=")

    def start_function(self) -> Function:
        """Make the function that starts a saga by the input in the body of the request."""
        return function_of(self._start)

    def outcome_function(self) -> Function:
        """Make the function that returns the outcome of a saga, and rejects unknown paths and methods."""
        return function_of(self._outcome)

    def cancel_function(self) -> Function:
        """Make the function that cancels a saga, as long as one of its actions can still be rejected."""
        return function_of(self._cancel)

    def _start(self, event: Event) -> Response:
        input_ = _validated(self.steps, json_body(event, max_size=self._schema.max_size))
        key = self._schema.key_of(input_)
        logger.append_keys(**{key[0]: key[1]})
        _start_once(self._first, key, input_)
        location = f"{self.path}/{quote(key[1], safe='')}"
        return json_response(202, {key[0]: key[1], "location": location}, {"Location": location})

    def _outcome(self, event: Event) -> Response:
        if event["routeKey"] == "$default":
            raise _unknown_route(self.path, event)
        key = self._key_of(path_parameter(event, "id"))
        outcome = self._awaited(key, deadline=time.monotonic() + _wait_of(event)).outcome(self._first)
        return cacheable(json_response(200, {key[0]: key[1], **outcome}), event)

    def _awaited(self, key: Key, *, deadline: float) -> "_Progress":
        """Return how far the saga is once it has ended, or at the deadline. Raises ProblemError if none was started."""
        progress = self._progress(key, _row(self._first, key))
        described_at = time.monotonic()
        while progress.outcome(self._first)["status"] == PENDING:
            if (remaining := deadline - time.monotonic()) <= 0:
                break
            time.sleep(min(POLL_SECONDS, remaining))
            row, now = _row(self._first, key), time.monotonic()
            # Only a saga that is stuck, or that fails before it claims the row, ends without a change of the row.
            is_due = row != progress.row or now - described_at >= DESCRIBE_SECONDS
            if is_due and now < deadline:
                progress, described_at = self._progress(key, row), now
            else:
                progress = replace(progress, row=row)
        return progress

    def _cancel(self, event: Event) -> Response:
        # A key may contain slashes, so the route is that of everything below the path.
        id_, _, verb = path_parameter(event, "id").rpartition("/")
        if verb != CANCEL:
            raise _unknown_route(self.path, event)
        key = self._key_of(id_)
        logger.append_keys(**{key[0]: key[1]})
        progress = self._progress(key, _row(self._first, key))
        outcome = progress.outcome(self._first)
        if outcome["status"] == FAILED:
            return json_response(200, {key[0]: key[1], **outcome})
        noun = self._schema.noun
        if outcome["status"] == CONFIRMED:
            raise ProblemError(409, f"too late: the {noun} is confirmed")
        if progress.execution is None:
            _require_not_new(progress.row)
            raise ProblemError(409, f"the execution of the {noun} is not known: it cannot be cancelled")
        result = cancellation.cancel(self._rows_of(key, progress.saga(progress.execution)), _answer)
        if not result.is_accepted:
            begun = " and ".join(result.too_late)
            raise ProblemError(409, f"too late: the {noun} is about to be confirmed, {begun} has begun")
        logger.info("cancelled", extra={"rejected": result.rejected})
        return json_response(202, {key[0]: key[1], **outcome})

    def _progress(self, key: Key, row: "_Row | None") -> "_Progress":
        """Return how far the saga is, with the execution if the row alone does not say it.

        Raises ProblemError if none was started.
        """
        if row is None or row.status == self._first.compensated:
            _, execution = _newest_after(_claims(row), key)
        else:
            execution = None if row.status == self._first.confirmed else _described(row.owner.id)
        if row is None and execution is None:
            raise self._unknown()
        return _Progress(row=row, execution=execution)

    def _rows_of(self, key: Key, saga: SagaIdentity) -> list[list[Row]]:
        """Return the rows of the steps that can fail, as the saga addresses them; those of a group together."""
        steps = {step.action: step for step in self.steps.values()}
        table = Table(name=_TABLE_NAME, client=_dynamodb)
        return [
            [Row(step=steps[action], key=key, saga=saga, table=table) for action in group]
            for group in _FALLIBLE_ACTIONS
        ]

    def _key_of(self, id_: str) -> Key:
        """Return the key that a path names. Raises ProblemError if no input can have it."""
        try:
            return self._schema.key_of({self._schema.key: id_})
        except InvalidInput:
            raise self._unknown() from None

    def _unknown(self) -> ProblemError:
        return ProblemError(404, f"unknown {self._schema.noun}")

    @property
    def _first(self) -> StepSpec:
        return next(iter(self.steps.values()))

    @property
    def _schema(self) -> Schema:
        return self._first.schema


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The row of the first step: its status, its owner, and how many sagas have claimed it."""

    status: str
    owner: SagaIdentity
    claims: int
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class _Progress:
    """How far the newest saga of a key is: the row of the first step, or an execution that has no such row yet."""

    row: _Row | None
    execution: "Execution | None"

    def outcome(self, first: StepSpec) -> dict[str, str | None]:
        """Return the status and, of a failed saga, the reason."""
        if self.row is not None and self.row.status == first.confirmed:
            return {"status": CONFIRMED}
        if self.execution is not None:
            return _as_outcome(first, self.execution)
        if self.row is not None and self.row.status == first.compensated:
            return {"status": FAILED, "reason": self.row.reason}
        # The row is live, and nothing will change it.
        if self.row is not None and _is_forgotten(self.row.owner):
            return {"status": STUCK}
        return {"status": PENDING}

    def saga(self, execution: "Execution") -> SagaIdentity:
        """Return the saga of the execution, written as in the row."""
        owners = [self.row.owner] if self.row is not None else []
        return cancellation.identity_of(execution["executionArn"], execution["startDate"], owners)


def execution_name(key: str, attempt: int) -> str:
    """Return the name of the execution of an attempt. Different keys never give the same name."""
    if _SAFE_KEY.fullmatch(key):
        return f"id-{key}-{attempt}"
    return f"sha-{hashlib.sha256(key.encode()).hexdigest()}-{attempt}"


def _validated(steps: Mapping[str, StepSpec], value: object) -> Input:
    """Return the input if every step accepts it. Raises ProblemError, which names all invalid fields, never a value."""
    schema = next(iter(steps.values())).schema
    try:
        input_ = schema.validated(value)
    except InvalidInput as error:
        raise _invalid(schema, [str(error)]) from None
    # A dict keeps each message once, in order: several steps may use a field.
    messages: dict[str, None] = {}
    for check in (schema.key_of, *(rule for step in steps.values() for rule in step.stores.values())):
        try:
            check(input_)
        except InvalidInput as error:
            messages[str(error)] = None
    if not messages:
        try:
            for step in steps.values():
                step.attributes(input_)
        except InvalidInput as error:
            messages[str(error)] = None
    if messages:
        raise _invalid(schema, list(messages))
    return input_


def _invalid(schema: Schema, messages: list[str]) -> ProblemError:
    errors = []
    for message in messages:
        field = message.partition(" ")[0]
        errors.append({"detail": message} | ({"field": field} if field in schema.fields else {}))
    return ProblemError(422, "; ".join(messages), errors=errors)


def _start_once(first: StepSpec, key: Key, input_: Input) -> None:
    """Start the saga of the input unless it was started. Raises ProblemError if another input has its key.

    An input whose saga was rolled back is started again.
    """
    row = _row(first, key)
    if row is not None and row.status != first.compensated:
        _require_same(first, _execution_of(row), input_)
        return
    # In one form: Step Functions accepts a name again while it runs, with the very same input.
    text = json.dumps(input_, sort_keys=True)
    # Every attempt up to this one is over: it has failed, or has compensated the row that it claimed.
    attempt = _claims(row)
    while True:
        name = execution_name(key[1], attempt + 1)
        try:
            _stepfunctions.start_execution(stateMachineArn=_STATE_MACHINE_ARN, name=name, input=text)
        except _stepfunctions.exceptions.ExecutionAlreadyExists:
            attempt, execution = _newest_after(attempt, key)
        else:
            logger.info("started", extra={"execution": name})
            return
        if execution is None:
            raise UnavailableError("the execution has just been started: repeat the request")
        if _outcome_in(execution) != FAILED:
            _require_same(first, execution, input_)
            return


def _require_same(first: StepSpec, execution: "Execution | None", input_: Input) -> None:
    noun, key = first.schema.noun, first.schema.key
    if execution is None:
        raise ProblemError(409, f"this {key} is in use by an unknown execution: read the outcome of the {noun}")
    if parsed_json(execution.get("input")) != input_:
        raise ProblemError(409, f"a different {noun} with this {key} exists: use another {key}, or read its outcome")


def _as_outcome(first: StepSpec, execution: "Execution") -> dict[str, str | None]:
    status = _outcome_in(execution)
    if status != FAILED:
        return {"status": status}
    private = first.schema.private_values(parsed_json(execution.get("input")))
    return {"status": FAILED, "reason": redacted(message_in(execution.get("cause")) or "", private)}


def _outcome_in(execution: "Execution") -> str:
    names = {Outcome.RUNNING: PENDING, Outcome.SUCCEEDED: CONFIRMED, Outcome.FAILED: FAILED, Outcome.STUCK: STUCK}
    return names[outcome_of(execution, clean_error=_CLEAN_ERROR)]


def _newest_after(attempt: int, key: Key) -> tuple[int, "Execution | None"]:
    """Return the newest attempt after this one that Step Functions knows; the same one and None if it knows none.

    The steps double until an attempt is unknown; then each halves the rest. So 1,000 attempts take about 20 requests.
    """
    newest, execution = attempt, None
    step, unknown = 1, None
    while unknown is None or unknown - newest > 1:
        number = attempt + step if unknown is None else (newest + unknown) // 2
        found = _described(f"{_EXECUTIONS}:{execution_name(key[1], number)}")
        if found is None:
            unknown = number
        elif _outcome_in(found) != FAILED:
            # No later one was started.
            return number, found
        else:
            newest, execution, step = number, found, step * 2
    return newest, execution


def _claims(row: _Row | None) -> int:
    """Return how many sagas have claimed the row."""
    return row.claims if row is not None else 0


def _execution_of(row: _Row) -> "Execution | None":
    """Return the execution that owns the row. Raises UnavailableError if Step Functions may know it soon."""
    execution = _described(row.owner.id)
    if execution is None:
        _require_not_new(row)
    return execution


def _require_not_new(row: _Row | None) -> None:
    """Raise UnavailableError if Step Functions may not know the owner of the row yet."""
    if row is not None and row.owner.id.startswith(f"{_EXECUTIONS}:") and not _is_forgotten(row.owner):
        raise UnavailableError("the execution has just been started: repeat the request")


def _is_forgotten(saga: SagaIdentity) -> bool:
    """Return whether an execution of this state machine that Step Functions does not know is not merely new."""
    return saga.id.startswith(f"{_EXECUTIONS}:") and clock.age(saga.started_at) > KNOWN_WITHIN


def _described(arn: str) -> "Execution | None":
    """Return an execution; None if Step Functions does not know it, or if it is none of this state machine."""
    if not arn.startswith(f"{_EXECUTIONS}:"):
        return None
    try:
        return _stepfunctions.describe_execution(executionArn=arn)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ExecutionDoesNotExist":
            raise
        return None


def _row(first: StepSpec, key: Key) -> _Row | None:
    """Return the row of the first step by a consistent read. None if it does not exist."""
    item = _dynamodb.get_item(
        TableName=_TABLE_NAME,
        Key={key[0]: {"S": key[1]}, "entity": {"S": first.entity}},
        ConsistentRead=True,
        ProjectionExpression="#status, saga_id, saga_started_at, attempts, #history",
        ExpressionAttributeNames={"#status": "status", "#history": "history"},
    ).get("Item")
    if item is None:
        return None
    last = cast("Mapping[str, Mapping[str, str]]", item["history"]["L"][-1]["M"])
    return _Row(
        status=item["status"]["S"],
        owner=SagaIdentity(id=item["saga_id"]["S"], started_at=item["saga_started_at"]["S"]),
        claims=int(item.get("attempts", {"N": "0"})["N"]),
        reason=last.get("reason", {}).get("S"),
    )


def _answer(answer: Mapping[str, str]) -> str | None:
    """Send an answer to a step that waits, as a ``cancellation.Answer`` does. Raises UnavailableError."""
    response = _lambda().invoke(FunctionName=_RECEIVER, Payload=json.dumps(answer).encode())
    if "FunctionError" not in response:
        return None
    failure = parsed_json(response["Payload"].read().decode())
    error = failure.get("errorType") if isinstance(failure, dict) else None
    if error not in cancellation.DECIDED:
        raise UnavailableError("the step that waits cannot be rejected now: repeat the request")
    return str(error)


@functools.cache
def _lambda() -> "LambdaClient":
    """Return the client. Only the cancellation of a step that waits needs one."""
    client: LambdaClient = boto3.client("lambda", config=RECEIVER_CONFIG)
    return client


def _wait_of(event: Event) -> int:
    """Return for how many seconds the response may be delayed until the saga has ended. Raises ProblemError."""
    text = (event.get("queryStringParameters") or {}).get("wait", "0")
    if not re.fullmatch("[0-9]{1,2}", text) or int(text) > MAX_WAIT:
        raise ProblemError(400, f"invalid wait: expected a number of seconds, at most {MAX_WAIT}")
    return int(text)


def _unknown_route(path: str, event: Event) -> ProblemError:
    """Return 405 for a known path, and 404 for any other one."""
    requested = event["rawPath"]
    if requested == path:
        return ProblemError(405, "expected POST", headers={"Allow": "POST"})
    if requested.startswith(f"{path}/"):
        method = "POST" if requested.endswith(f"/{CANCEL}") else "GET"
        return ProblemError(405, f"expected {method}", headers={"Allow": method})
    return ProblemError(404, f"unknown path: expected {path}, {path}/ID or {path}/ID/{CANCEL}")
