"""The sagas of one deployed stack: what they did, which are stuck, and how to resume them.

Everything that a command line or a console shows comes from here. No value holds an execution's input.
Methods raise OpsError's kinds for what is unknown or cannot be, and botocore's errors as they are
(``ops.errors.explained`` puts those in words).
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from ops.definition import read_definition
from ops.errors import NotResumable, UnknownExecution, UnknownOrder
from ops.model import Change, Execution, Order, Outcome, Page, Row, Saga, StuckSaga, StuckSagas
from ops.path import path_of, stopped_in
from ops.stuck_queue import Look, Message, StuckQueue
from ops.words import cause_in_words, noun_of, order_id_in, printable, without_card

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

# Requests at once; the clients have connections for ten.
AT_ONCE = 8
MAX_PAGE = 1000
ENDED_BADLY: "tuple[ExecutionStatusType, ...]" = ("FAILED", "TIMED_OUT", "ABORTED")
# How a service says that it does not have a call: MiniStack, LocalStack.
_NO_SUCH_CALL = ("InvalidAction", "UnknownOperationException")
# The event that made a message and DescribeExecution may differ by a rounding.
_SAME_STOP = timedelta(seconds=1)
_EXECUTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What the outputs of a stack name, and the partition key of its table."""

    name: str
    state_machine_arn: str
    table: str
    key: str
    stuck_sagas_queue_url: str

    @property
    def noun(self) -> str:
        """What its saga is about, in a word: ``order``, ``trip``."""
        return noun_of(self.key)


class Sagas:
    """A client of one stack. It may be shared by threads."""

    def __init__(
        self, *, stack: Stack, stepfunctions: "SFNClient", dynamodb: "DynamoDBClient", sqs: "SQSClient"
    ) -> None:
        self.stack = stack
        self._stepfunctions = stepfunctions
        self._dynamodb = dynamodb
        self._queue = StuckQueue(sqs, stack.stuck_sagas_queue_url)
        self._clean: dict[str, bool] = {}
        self._asking = threading.Lock()
        self._executions = stack.state_machine_arn.replace(":stateMachine:", ":execution:", 1) + ":"

    def executions(
        self,
        *,
        status: "ExecutionStatusType | None" = None,
        limit: int = 20,
        token: str | None = None,
        describe: Callable[[str], Execution] | None = None,
    ) -> Page:
        """At most ``limit`` (up to 1,000) executions, newest first, of one status or of all; ``token`` is a page's.

        ``describe`` is for callers that remember how an execution ended.
        """
        asked: dict[str, Any] = {"statusFilter": status, "nextToken": token, "maxResults": limit}
        answer = self._stepfunctions.list_executions(
            stateMachineArn=self.stack.state_machine_arn, **{name: value for name, value in asked.items() if value}
        )
        found = _at_once(describe or self.execution, (item["executionArn"] for item in answer["executions"]))
        return Page(executions=tuple(found), next_token=answer.get("nextToken"))

    def newest(self, *, status: "ExecutionStatusType | None", count: int) -> tuple[Execution, ...]:
        """The newest ``count`` executions, page by page."""
        found: list[Execution] = []
        token: str | None = None
        while len(found) < count:
            page = self.executions(status=status, limit=min(count - len(found), MAX_PAGE), token=token)
            found += page.executions
            if (token := page.next_token) is None:
                break
        return tuple(found[:count])

    def definition(self, execution: str | None = None) -> str:
        """The definition as JSON: that of an execution, else the state machine's. Raises UnknownExecution."""
        if execution is None:
            machine = self.stack.state_machine_arn
            return self._stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
        return self._definition_of(self.execution(execution).arn)

    def execution(self, execution: str) -> Execution:
        """The execution of an ARN or a name. Raises UnknownExecution."""
        arn = self._arn_of(execution)
        try:
            told: Mapping[str, Any] = self._stepfunctions.describe_execution(executionArn=arn)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("ExecutionDoesNotExist", "InvalidArn"):
                raise
            raise UnknownExecution(
                f"there is no execution {printable(execution)} of {self.stack.name}: "
                "`python -m ops list` shows names; Step Functions forgets after 90 days"
            ) from None
        return Execution(
            arn=arn,
            name=told["name"],
            status=told["status"],
            started_at=told["startDate"],
            stopped_at=told.get("stopDate"),
            error=told.get("error"),
            cause=without_card(cause_in_words(told.get("cause")), told.get("input")),
            order_id=order_id_in(told.get("input"), self.stack.key),
            # Whoever aborts an execution can name any error.
            failed_cleanly=told["status"] == "FAILED" and self._is_clean(told.get("error"), arn),
            redrive_count=told.get("redriveCount", 0),
            redrive_status=told.get("redriveStatus"),
            redrive_status_reason=told.get("redriveStatusReason"),
        )

    def saga(self, execution: str) -> Saga:
        """An execution with its path through the states. Raises UnknownExecution."""
        found = self.execution(execution)
        return Saga(saga_id=found.arn, execution=found, path=path_of(self._history(found.arn)))

    def rows(self, order_id: str) -> tuple[Row, ...]:
        """The rows of an order with their history, in the order in which they were written first."""
        if not _can_be_key(order_id):
            return ()
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self.stack.table,
            KeyConditionExpression="#key = :order_id",
            ExpressionAttributeValues={":order_id": {"S": order_id}},
            ExpressionAttributeNames={"#key": self.stack.key, "#status": "status"},
            # No more than what is shown: the other attributes are the order's.
            ProjectionExpression="entity, #status, saga_id, history",
            ConsistentRead=True,
        )
        rows = [_row(item) for page in pages for item in page["Items"]]
        return tuple(sorted(rows, key=lambda row: row.history[0].at if row.history else ""))

    def order(self, order_id: str) -> Order:
        """An order with its rows and its sagas: those of its rows' history, and the execution named like the order.

        Raises UnknownOrder if there is neither.
        """
        rows = self.rows(order_id)
        changes = sorted((change for row in rows for change in row.history), key=lambda change: change.at)
        sagas = _at_once(self._saga_if_known, dict.fromkeys(change.saga_id for change in changes))
        known = {saga.saga_id for saga in sagas}
        if (named := self._named_like(order_id)) and named.saga_id not in known:
            sagas = [*sagas, named]
        if not rows and not sagas:
            raise UnknownOrder(
                f"{self.stack.name} knows no {self.stack.noun} {printable(order_id)}: "
                "ids are case sensitive; `python -m ops list` shows recent ones"
            )
        return Order(order_id=order_id, rows=rows, sagas=tuple(sagas))

    def stuck(self, *, keep: bool = False) -> StuckSagas:
        """The stuck sagas that the queue tells of, each as Step Functions sees it now; a saga once, however often told.

        A message is never believed: a saga that was resumed is not stuck though its message is there. Looking
        takes nothing away, but for the messages of sagas that have ended cleanly since: nothing can make
        those stuck again, and the alarm on the queue would go on for up to 14 days. They are removed unless
        ``keep``. A message of a saga that runs again is kept until that ends; so is the message of a stop
        before the present one, as ``outdated``, if it may not be removed.

        SQS counts every look; a message that was looked at 1,000 times goes to the queue of the undelivered.
        """
        with self._queue.looked_at() as look:
            reports = [message for message in look.messages if self._is_of_this_stack(message)]
            arns = list(dict.fromkeys(message.arn for message in reports if message.arn))
            found = dict(zip(arns, _at_once(self._if_known, arns), strict=True))
            over = [message for message in reports if _is_over(message, found[message.arn or ""])]
            removed = 0 if keep else self._remove(look, over)
        waiting = sum(_runs(found[message.arn or ""]) for message in reports)
        return StuckSagas(
            sagas=_oldest_first(self._stopped(found.values())),
            removed=removed,
            outdated=len(over) - removed + waiting,
            unreadable=len(look.messages) - len(reports),
            complete=look.complete,
        )

    def stuck_by_scan(self) -> StuckSagas:
        """The stuck sagas that Step Functions knows, of the last 90 days, whether the queue tells of them or not.

        It asks for each execution that has failed, rolled back ones among them: with many of those it takes a while.
        """
        return StuckSagas(sagas=_oldest_first(self._stopped(_at_once(self._if_known, self._ended_badly()))))

    def stuck_saga(self, execution: str) -> StuckSaga:
        """The stuck saga of an ARN or a name. Raises UnknownExecution, and NotResumable if it cannot be resumed."""
        found = self.execution(execution)
        _require_resumable(found, self.stack.noun)
        return self._as_stuck(found)

    def resume(self, saga: StuckSaga) -> datetime:
        """Continue a stuck saga in the state where it stopped; returns when. Its messages leave the queue.

        Raises NotResumable if Step Functions refuses, or has no such call.
        """
        execution = saga.execution
        try:
            redriven_at: datetime = self._stepfunctions.redrive_execution(executionArn=execution.arn)["redriveDate"]
        except NotImplementedError:  # what moto says
            raise _no_such_call(self.stack) from None
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in _NO_SUCH_CALL:
                raise _no_such_call(self.stack) from None
            if code == "ExecutionNotRedrivable":
                reason = error.response["Error"].get("Message", code)
                raise NotResumable(_refusal(execution, reason, self.stack.noun)) from None
            raise
        # It runs again, whether its messages can be removed or not; `stuck` does it otherwise.
        with contextlib.suppress(ClientError), self._queue.looked_at() as look:
            self._remove(look, [m for m in look.messages if m.arn == execution.arn and _tells_of(m, execution)])
        return redriven_at

    def has_ended_since(self, execution: Execution) -> Execution | None:
        """How a saga that was resumed ended; None while it runs. ``execution`` is what it was before it was resumed.

        DescribeExecution may lag behind: what it says of the stop before the resumption is no answer.
        """
        now = self.execution(execution.arn)
        stale = now.outcome is Outcome.STUCK and now.stopped_at == execution.stopped_at
        return None if stale or now.outcome is Outcome.RUNNING else now

    def start(self, order: Mapping[str, object], *, name: str | None = None) -> str:
        """Start a saga for an order; returns the execution's ARN. With a name, a second start is refused by AWS."""
        named = {"name": name} if name else {}
        return self._stepfunctions.start_execution(
            stateMachineArn=self.stack.state_machine_arn, input=json.dumps(order), **named
        )["executionArn"]

    def _arn_of(self, execution: str) -> str:
        if not execution.startswith("arn:"):
            return self._executions + execution
        if not execution.startswith(self._executions):
            raise UnknownExecution(
                f"{printable(execution)} is no execution of {self.stack.name}: name its stack with --stage or --stack"
            )
        return execution

    def _is_of_this_stack(self, message: Message) -> bool:
        return message.arn is not None and message.arn.startswith(self._executions)

    def _history(self, arn: str) -> "list[HistoryEventTypeDef]":
        pages = self._stepfunctions.get_paginator("get_execution_history").paginate(
            executionArn=arn, PaginationConfig={"PageSize": MAX_PAGE}
        )
        return [event for page in pages for event in page["events"]]

    def _is_clean(self, error: str | None, arn: str) -> bool:
        """Whether an execution that failed with this error has undone everything: whether it is a Fail state's.

        The definition that the execution was started with says so; the present one may name its Fail state otherwise.
        That is one request for each name of an error, not for each execution: no task fails with the name of a Fail
        state, or nobody could tell what an execution ended by.
        """
        if error is None:
            return False
        with self._asking:
            if error not in self._clean:
                definition = read_definition(self._definition_of(arn), where=arn)
                self._clean[error] = error in definition.clean_errors
            return self._clean[error]

    def _definition_of(self, arn: str) -> str:
        return self._stepfunctions.describe_state_machine_for_execution(executionArn=arn)["definition"]

    def _if_known(self, arn: str) -> Execution | None:
        try:
            return self.execution(arn)
        except UnknownExecution:
            return None

    def _saga_if_known(self, saga_id: str) -> Saga:
        try:
            return self.saga(saga_id) if saga_id.startswith("arn:") else Saga(saga_id=saga_id, execution=None, path=())
        except UnknownExecution:
            return Saga(saga_id=saga_id, execution=None, path=())

    def _named_like(self, order_id: str) -> Saga | None:
        """The execution that bears the order's id as its name, unless it is of another order."""
        if not _EXECUTION_NAME.fullmatch(order_id):
            return None
        saga = self._saga_if_known(self._arn_of(order_id))
        is_its = saga.execution is not None and saga.execution.order_id in (None, order_id)
        return saga if is_its else None

    def _ended_badly(self) -> Iterator[str]:
        paginator = self._stepfunctions.get_paginator("list_executions")
        for status in ENDED_BADLY:
            for page in paginator.paginate(stateMachineArn=self.stack.state_machine_arn, statusFilter=status):
                yield from (item["executionArn"] for item in page["executions"])

    def _stopped(self, executions: Iterable[Execution | None]) -> list[StuckSaga]:
        """The stuck ones among the executions, each with the state that it stopped in."""
        stuck = [one for one in executions if one is not None and one.outcome is Outcome.STUCK]
        return _at_once(self._as_stuck, stuck)

    def _as_stuck(self, execution: Execution) -> StuckSaga:
        states = stopped_in(path_of(self._history(execution.arn)))
        return StuckSaga(execution=execution, state=states[-1] if states else None)

    def _remove(self, look: Look, messages: Sequence[Message]) -> int:
        """Remove messages; none if this is not allowed, as for somebody who may only look."""
        try:
            return self._queue.remove(look, messages)
        except ClientError:
            return 0


def _row(item: Mapping[str, Any]) -> Row:
    row = TypeDeserializer().deserialize({"M": item})
    return Row(
        entity=row["entity"],
        status=row["status"],
        saga_id=row["saga_id"],
        history=tuple(
            Change(status=event["status"], saga_id=event["saga_id"], at=event["at"]) for event in row["history"]
        ),
    )


def _can_be_key(order_id: str) -> bool:
    """Whether it is text that can be stored; half a surrogate pair cannot."""
    return all(not "\ud800" <= character <= "\udfff" for character in order_id)


def _at_once(make: Callable[[Given], Made], given: Iterable[Given]) -> list[Made]:
    """What is made of each, in order, several at a time."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        return list(pool.map(make, given))
    finally:
        # Whoever interrupts, or a first error, need not wait for what has not begun.
        pool.shutdown(cancel_futures=True)


def _oldest_first(sagas: Iterable[StuckSaga]) -> tuple[StuckSaga, ...]:
    return tuple(sorted(sagas, key=lambda saga: saga.execution.stopped_at or saga.execution.started_at))


def _runs(execution: Execution | None) -> bool:
    return execution is not None and execution.outcome is Outcome.RUNNING


def _is_over(message: Message, execution: Execution | None) -> bool:
    """Whether what a message tells of is over for good. An execution that nobody knows cannot be stuck."""
    if execution is None or execution.outcome in (Outcome.FULFILLED, Outcome.ROLLED_BACK):
        return True
    return execution.outcome is Outcome.STUCK and not _tells_of(message, execution)


def _tells_of(message: Message, execution: Execution) -> bool:
    """Whether it tells of the execution's present stop, not of one before it was resumed."""
    if message.stopped_at is None or execution.stopped_at is None:
        return True
    return message.stopped_at + _SAME_STOP >= execution.stopped_at


def _require_resumable(execution: Execution, noun: str) -> None:
    match execution.outcome:
        case Outcome.RUNNING:
            raise NotResumable(f"{execution.name} is still running: wait for its end")
        case Outcome.FULFILLED:
            raise NotResumable(f"{execution.name} has succeeded: there is nothing to resume")
        case Outcome.ROLLED_BACK:
            raise NotResumable(
                f"{execution.name} has failed cleanly, everything is undone: start a new execution for the {noun}"
            )
    too_old = execution.redrivable_until is not None and execution.redrivable_until < datetime.now(UTC)
    if execution.redrive_status == "NOT_REDRIVABLE" or (execution.redrive_status is None and too_old):
        raise NotResumable(_refusal(execution, execution.redrive_status_reason or "it ended over 14 days ago", noun))


def _refusal(execution: Execution, reason: str, noun: str) -> str:
    return (
        f"{execution.name} can no longer be resumed: {reason.rstrip('.')}: "
        f"look at its rows with `python -m ops show` and settle the {noun} by hand"
    )


def _no_such_call(stack: Stack) -> NotResumable:
    return NotResumable(
        f"the service that {stack.name} runs on has no RedriveExecution: on AWS this command continues the saga, "
        f"here it stays as it is; try the {stack.noun} again under another {stack.key}"
    )
