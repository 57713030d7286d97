"""A client of one deployed saga: reads its executions, rows and stuck sagas, starts and resumes executions.

The command line and the console show only what comes from here. No value contains an execution's input; in causes,
every text and number of the input is hidden, except its key.

The methods raise the kinds of OpsError for what does not exist or cannot be done, and botocore's errors as they are
(``ops.errors.explained`` puts those into words).
"""

import contextlib
import functools
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from lambdas.saga_runtime.execution_history import path_of, stopped_in
from lambdas.saga_runtime.redaction import message_in, parsed_json, redacted, values_in
from ops.definition import read_definition
from ops.display import noun_of, order_id_in, printable
from ops.errors import NotResumable, UnknownExecution, UnknownOrder
from ops.model import (
    UNSUCCESSFUL,
    Execution,
    Order,
    Outcome,
    Page,
    SagaRun,
    StoredRow,
    StuckList,
    StuckSaga,
    history_of,
)
from ops.stuck_queue import Message, QueueContents, StuckQueue

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef, HistoryEventTypeDef

# Requests at a time; the clients have ten connections.
MAX_REQUESTS = 8
MAX_PAGE = 1000
# The errors of MiniStack and LocalStack for an API that they do not have.
_UNKNOWN_API = ("InvalidAction", "UnknownOperationException")
# The event behind a message and DescribeExecution may round the same time differently.
_SAME_STOP = timedelta(seconds=1)
_EXECUTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class DeployedStack:
    """A stack by its outputs, and the partition key of its table."""

    name: str
    state_machine_arn: str
    table: str
    key: str
    stuck_sagas_queue_url: str

    @property
    def noun(self) -> str:
        """The subject of its saga in a word, such as ``order`` or ``trip``."""
        return noun_of(self.key)


class SagaClient:
    """A client of one stack. Threads may share it.

    Args:
        stack: the stack.
        stepfunctions: a client of Step Functions with at least ``MAX_REQUESTS`` connections.
        dynamodb: a client of DynamoDB.
        sqs: a client of SQS.
        functions: makes a client of Lambda, which few commands need. Default: one of AWS's usual sources.
    """

    def __init__(
        self,
        *,
        stack: DeployedStack,
        stepfunctions: "SFNClient",
        dynamodb: "DynamoDBClient",
        sqs: "SQSClient",
        functions: "Callable[[], LambdaClient]" = lambda: boto3.client("lambda"),
    ) -> None:
        self.stack = stack
        self.functions = functions
        self._stepfunctions = stepfunctions
        self._dynamodb = dynamodb
        self._queue = StuckQueue(sqs, stack.stuck_sagas_queue_url)
        self._clean_errors: dict[str, bool] = {}
        self._clean_errors_lock = threading.Lock()
        self._arn_prefix = stack.state_machine_arn.replace(":stateMachine:", ":execution:", 1) + ":"

    @property
    def stepfunctions(self) -> "SFNClient":
        """The client of Step Functions."""
        return self._stepfunctions

    @property
    def dynamodb(self) -> "DynamoDBClient":
        """The client of DynamoDB."""
        return self._dynamodb

    def executions(
        self,
        *,
        status: "ExecutionStatusType | None" = None,
        limit: int = 20,
        token: str | None = None,
        describe: Callable[[str], Execution] | None = None,
    ) -> Page:
        """Return a page of executions, newest first.

        Args:
            status: only executions of this status. Default: all.
            limit: how many at most, up to 1,000. Default: 20.
            token: the token of the page. Default: the first page.
            describe: returns the execution of an ARN; a caller may cache. Default: ``execution``.
        """
        options: dict[str, Any] = {"statusFilter": status, "nextToken": token, "maxResults": limit}
        answer = self._stepfunctions.list_executions(
            stateMachineArn=self.stack.state_machine_arn, **{name: value for name, value in options.items() if value}
        )
        arns = (item["executionArn"] for item in answer["executions"])
        found = _map_concurrently(describe or self.execution, arns)
        return Page(executions=tuple(found), next_token=answer.get("nextToken"))

    def newest(self, *, status: "ExecutionStatusType | None", count: int) -> tuple[Execution, ...]:
        """Return the newest ``count`` executions of a status, or of all."""
        found: list[Execution] = []
        token: str | None = None
        while len(found) < count:
            page = self.executions(status=status, limit=min(count - len(found), MAX_PAGE), token=token)
            found += page.executions
            if (token := page.next_token) is None:
                break
        return tuple(found[:count])

    def definition(self, execution: str | None = None) -> str:
        """Return the definition of an execution as JSON. Default: the state machine's. Raises UnknownExecution."""
        if execution is None:
            machine = self.stack.state_machine_arn
            return self._stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
        return self._definition_of(self.execution(execution).arn)

    def execution(self, execution: str) -> Execution:
        """Return the execution of an ARN or a name. Raises UnknownExecution."""
        return self._read(self._described(execution))

    def saga_run(self, execution: str) -> SagaRun:
        """Return the execution of an ARN or a name with its path. Raises UnknownExecution."""
        described = self._described(execution)
        arn = described["executionArn"]
        path = path_of(self._history(arn), redact=self._redaction(described.get("input")))
        return SagaRun(saga_id=arn, execution=self._read(described), path=path)

    def rows(self, order_id: str) -> tuple[StoredRow, ...]:
        """Return the rows of an order with their history, in the order of their first writes."""
        if re.search("[\ud800-\udfff]", order_id):
            # Half of a surrogate pair: it cannot be sent, and no key has it.
            return ()
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self.stack.table,
            KeyConditionExpression="#key = :order_id",
            ExpressionAttributeValues={":order_id": {"S": order_id}},
            ExpressionAttributeNames={"#key": self.stack.key, "#status": "status"},
            # Only what is shown: the other attributes are from the input.
            ProjectionExpression="entity, #status, saga_id, history, previous_history, confirmed_at",
            ConsistentRead=True,
        )
        rows = [_row(item) for page in pages for item in page["Items"]]
        return tuple(sorted(rows, key=lambda row: row.history[0].at if row.history else ""))

    def order(self, order_id: str) -> Order:
        """Return an order: its rows, the sagas in their history, and the execution that has the order's id as its name.

        Raises UnknownOrder if none of these exists.
        """
        rows = self.rows(order_id)
        entries = sorted((entry for row in rows for entry in row.history), key=lambda entry: entry.at)
        sagas = _map_concurrently(self._saga_run_if_known, dict.fromkeys(entry.saga_id for entry in entries))
        namesake = self._namesake(order_id)
        if namesake and namesake.saga_id not in {saga.saga_id for saga in sagas}:
            sagas.append(namesake)
        if not rows and not sagas:
            raise UnknownOrder(
                f"no {self.stack.noun} {printable(order_id)} in {self.stack.name}: "
                "ids are case sensitive; `python -m ops list` shows recent ones"
            )
        return Order(order_id=order_id, rows=rows, sagas=tuple(sagas))

    def stuck(self, *, keep: bool = False) -> StuckList:
        """Return the stuck sagas that the queue reports, each once, as Step Functions describes them now.

        Messages of sagas that have ended cleanly are removed: nothing can make those stuck again, and otherwise the
        alarm on the queue would stay for up to 14 days. A message of a saga that was resumed stays until the saga ends.
        SQS counts every call, and moves a message that was received 1,000 times to the dead-letter queue.

        Args:
            keep: remove nothing. Default: false.
        """
        with self._queue.read_all() as contents:
            reports = [message for message in contents.messages if message.arn.startswith(self._arn_prefix)]
            arns = dict.fromkeys(message.arn for message in reports)
            found = dict(zip(arns, _map_concurrently(self._if_known, arns), strict=True))
            over = [message for message in reports if _is_over(message, found[message.arn])]
            removed = 0 if keep else self._remove(contents, over)
        running = sum(_is_running(found[message.arn]) for message in reports)
        return StuckList(
            sagas=self._stuck_among(found.values()),
            removed=removed,
            outdated=len(over) - removed + running,
            unreadable=len(contents.messages) - len(reports),
            complete=contents.complete,
        )

    def stuck_by_scan(self) -> StuckList:
        """Return the stuck sagas of the last 90 days, whether the queue reports them or not.

        It describes every execution that failed, clean failures too, so it can take long.
        """
        return StuckList(sagas=self._stuck_among(_map_concurrently(self._if_known, self._unsuccessful())))

    def stuck_saga(self, execution: str) -> StuckSaga:
        """Return the stuck saga of an ARN or a name. Raises UnknownExecution, or NotResumable with the reason."""
        found = self.execution(execution)
        _require_resumable(found, self.stack.noun)
        return self._as_stuck(found)

    def resume(self, saga: StuckSaga) -> datetime:
        """Redrive a stuck saga from the state it stopped in, and remove its messages; return the time of the redrive.

        Raises NotResumable if Step Functions rejects it, or has no RedriveExecution.
        """
        execution = saga.execution
        try:
            redriven_at: datetime = self._stepfunctions.redrive_execution(executionArn=execution.arn)["redriveDate"]
        except NotImplementedError:  # moto
            raise _no_redrive(self.stack) from None
        except ClientError as error:
            code = _code(error)
            if code in _UNKNOWN_API:
                raise _no_redrive(self.stack) from None
            if code == "ExecutionNotRedrivable":
                reason = error.response["Error"].get("Message", code)
                raise _not_redrivable(execution, reason, self.stack.noun) from None
            raise
        # It runs again, even if its messages cannot be removed; `stuck` removes them later.
        with contextlib.suppress(ClientError), self._queue.read_all() as contents:
            own = [m for m in contents.messages if m.arn == execution.arn and _reports_last_stop(m, execution)]
            self._remove(contents, own)
        return redriven_at

    def has_ended_since(self, execution: Execution) -> Execution | None:
        """Return how a resumed execution ended; None while it runs.

        Args:
            execution: the execution before it was resumed. DescribeExecution may still answer with that state.
        """
        now = self.execution(execution.arn)
        is_stale = now.outcome is Outcome.STUCK and now.stopped_at == execution.stopped_at
        return None if is_stale or now.outcome is Outcome.RUNNING else now

    def start(self, input_: object, *, name: str | None = None) -> str:
        """Start an execution; return its ARN.

        Args:
            input_: any JSON value, valid for the saga or not.
            name: the execution's name; AWS rejects one that was used in the last 90 days. Default: AWS chooses.
        """
        named = {"name": name} if name else {}
        return self._stepfunctions.start_execution(
            stateMachineArn=self.stack.state_machine_arn, input=json.dumps(input_), **named
        )["executionArn"]

    def _described(self, execution: str) -> "DescribeExecutionOutputTypeDef":
        try:
            return self._stepfunctions.describe_execution(executionArn=self._arn_of(execution))
        except ClientError as error:
            if _code(error) not in ("ExecutionDoesNotExist", "InvalidArn"):
                raise
            raise UnknownExecution(
                f"no execution {printable(execution)} in {self.stack.name}: "
                "`python -m ops list` shows names; Step Functions keeps an execution for 90 days"
            ) from None

    def _arn_of(self, execution: str) -> str:
        if not execution.startswith("arn:"):
            return self._arn_prefix + execution
        if not execution.startswith(self._arn_prefix):
            raise UnknownExecution(
                f"{printable(execution)} is not an execution of {self.stack.name}: "
                "name its stack with --stage or --stack"
            )
        return execution

    def _read(self, described: "DescribeExecutionOutputTypeDef") -> Execution:
        input_, error, cause = described.get("input"), described.get("error"), message_in(described.get("cause"))
        return Execution(
            arn=described["executionArn"],
            name=described["name"],
            status=described["status"],
            started_at=described["startDate"],
            stopped_at=described.get("stopDate"),
            error=error,
            cause=cause and self._redaction(input_)(cause),
            order_id=order_id_in(input_, self.stack.key),
            # The error of an aborted execution can be any: its caller chooses it.
            failed_cleanly=described["status"] == "FAILED" and self._is_clean(error, described["executionArn"]),
            redrive_count=described.get("redriveCount", 0),
            redrive_status=described.get("redriveStatus"),
            redrive_status_reason=described.get("redriveStatusReason"),
        )

    def _redaction(self, execution_input: str | None) -> Callable[[str], str]:
        """Return a function that hides the values of the input in a text, except its key."""
        input_ = parsed_json(execution_input)
        if isinstance(input_, dict):
            input_ = {name: value for name, value in input_.items() if name != self.stack.key}
        values = list(values_in(input_))
        return functools.cache(lambda text: redacted(text, values))

    def _history(self, arn: str) -> "list[HistoryEventTypeDef]":
        pages = self._stepfunctions.get_paginator("get_execution_history").paginate(
            executionArn=arn, PaginationConfig={"PageSize": MAX_PAGE}
        )
        return [event for page in pages for event in page["events"]]

    def _is_clean(self, error: str | None, arn: str) -> bool:
        """Return whether the error is that of a Fail state in the definition that the execution was started with.

        One request per error name: no task fails with the error of a Fail state, so the name decides.
        """
        if error is None:
            return False
        with self._clean_errors_lock:
            if error not in self._clean_errors:
                definition = read_definition(self._definition_of(arn), where=arn)
                self._clean_errors[error] = error in definition.clean_errors
            return self._clean_errors[error]

    def _definition_of(self, arn: str) -> str:
        return self._stepfunctions.describe_state_machine_for_execution(executionArn=arn)["definition"]

    def _if_known(self, arn: str) -> Execution | None:
        try:
            return self.execution(arn)
        except UnknownExecution:
            return None

    def _saga_run_if_known(self, saga_id: str) -> SagaRun:
        with contextlib.suppress(UnknownExecution):
            if saga_id.startswith("arn:"):
                return self.saga_run(saga_id)
        return SagaRun(saga_id=saga_id, execution=None, path=())

    def _namesake(self, order_id: str) -> SagaRun | None:
        """Return the execution that has the order's id as its name, unless it is of another order."""
        if not _EXECUTION_NAME.fullmatch(order_id):
            return None
        saga = self._saga_run_if_known(self._arn_of(order_id))
        return saga if saga.execution and saga.execution.order_id in (None, order_id) else None

    def _unsuccessful(self) -> Iterator[str]:
        paginator = self._stepfunctions.get_paginator("list_executions")
        for status in UNSUCCESSFUL:
            for page in paginator.paginate(stateMachineArn=self.stack.state_machine_arn, statusFilter=status):
                yield from (item["executionArn"] for item in page["executions"])

    def _stuck_among(self, executions: Iterable[Execution | None]) -> tuple[StuckSaga, ...]:
        """Return the stuck ones of the executions, oldest first."""
        stuck = [execution for execution in executions if execution and execution.outcome is Outcome.STUCK]
        stuck.sort(key=lambda execution: execution.stopped_at or execution.started_at)
        return tuple(_map_concurrently(self._as_stuck, stuck))

    def _as_stuck(self, execution: Execution) -> StuckSaga:
        states = stopped_in(path_of(self._history(execution.arn)))
        return StuckSaga(execution=execution, state=states[-1] if states else None)

    def _remove(self, contents: QueueContents, messages: Sequence[Message]) -> int:
        """Remove messages; return how many: none without the permission."""
        try:
            return self._queue.remove(contents, messages)
        except ClientError:
            return 0


def _row(item: Mapping[str, Any]) -> StoredRow:
    row = TypeDeserializer().deserialize({"M": item})
    return StoredRow(
        entity=row["entity"],
        status=row["status"],
        saga_id=row["saga_id"],
        history=history_of(row),
    )


def _map_concurrently(function: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """Return the results of the function in the order of the values."""
    pool = ThreadPoolExecutor(MAX_REQUESTS)
    try:
        return list(pool.map(function, values))
    finally:
        # After an error or Ctrl-C, do not start the rest.
        pool.shutdown(cancel_futures=True)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "Unknown")


def _is_running(execution: Execution | None) -> bool:
    return execution is not None and execution.outcome is Outcome.RUNNING


def _is_over(message: Message, execution: Execution | None) -> bool:
    """Return whether the stop that the message reports is over for good. An unknown execution cannot be stuck."""
    if execution is None or execution.outcome in (Outcome.FULFILLED, Outcome.ROLLED_BACK):
        return True
    return execution.outcome is Outcome.STUCK and not _reports_last_stop(message, execution)


def _reports_last_stop(message: Message, execution: Execution) -> bool:
    """Return whether the message reports the last stop of the execution, not one before it was resumed."""
    if message.stopped_at is None or execution.stopped_at is None:
        return True
    return message.stopped_at + _SAME_STOP >= execution.stopped_at


def _require_resumable(execution: Execution, noun: str) -> None:
    match execution.outcome:
        case Outcome.RUNNING:
            raise NotResumable(f"{execution.name} is still running: wait for its end")
        case Outcome.FULFILLED:
            raise NotResumable(f"{execution.name} has succeeded: nothing to resume")
        case Outcome.ROLLED_BACK:
            raise NotResumable(
                f"{execution.name} has failed cleanly, every step is compensated: start a new execution for the {noun}"
            )
    too_old = execution.redrivable_until is not None and execution.redrivable_until < datetime.now(UTC)
    if execution.redrive_status == "NOT_REDRIVABLE" or (execution.redrive_status is None and too_old):
        raise _not_redrivable(execution, execution.redrive_status_reason or "it ended over 14 days ago", noun)


def _not_redrivable(execution: Execution, reason: str, noun: str) -> NotResumable:
    return NotResumable(
        f"{execution.name} can no longer be resumed: {reason.rstrip('.')}: "
        f"look at its rows with `python -m ops show` and settle the {noun} by hand"
    )


def _no_redrive(stack: DeployedStack) -> NotResumable:
    return NotResumable(
        f"the service that {stack.name} runs on has no RedriveExecution: on AWS this command continues the saga, "
        f"here it stays stuck; try the {stack.noun} again under another {stack.key}"
    )
