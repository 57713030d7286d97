"""A client of one deployed saga: its executions and orders, and its stuck sagas, which it resumes and closes.

The command line and the console show only what comes from here. No value contains an execution's input; in causes,
every text and number of the input is hidden, except its key.

The methods raise the kinds of OpsError for what does not exist or cannot be done, and botocore's errors as they are
(``ops.errors.explained`` puts those into words).
"""

import contextlib
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lambdas.saga_runtime.clock import moment
from lambdas.saga_runtime.redaction import message_in, parsed_json
from ops.display import printable
from ops.errors import (
    NO_RESPONSE,
    ClosedSaga,
    FunctionFailed,
    LostResponse,
    NoRedrive,
    NotAnswered,
    NotResumable,
    UnknownExecution,
    explained,
)
from ops.executions import MAX_PAGE, DeployedStack, code_of, map_concurrently
from ops.model import SAME_STOP, UNSUCCESSFUL, Closure, Execution, Outcome, StuckList, StuckSaga, is_same_stop
from ops.orders import Orders
from ops.stuck_queue import Message, StuckQueue
from ops.stuck_table import Entry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

# The errors of MiniStack and LocalStack for an API that they do not have.
_UNKNOWN_API = ("InvalidAction", "UnknownOperationException")
_CLEAN = (Outcome.FULFILLED, Outcome.ROLLED_BACK)


class SagaClient(Orders):
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
        super().__init__(stack, stepfunctions, dynamodb)
        self.functions = functions
        self._queue = StuckQueue(sqs, stack.stuck_sagas_queue_url)

    def stuck(self) -> StuckList:
        """Return the stuck sagas that have an open entry. Nothing is changed, hidden or removed.

        An entry is compared with ListExecutions, which answers for 1,000 executions at once. Only an execution that is
        not as it was reported is described.
        """
        entries = [entry for entry in self._table.entries() if entry.arn.startswith(self._arn_prefix)]
        open_ = [entry for entry in entries if entry.closure is None]
        stops = self._stops(open_)
        changed = [entry for entry in open_ if not is_same_stop(stops.get(entry.arn), entry.stopped_at)]
        now = dict(zip((entry.arn for entry in changed), map_concurrently(self._present, changed), strict=True))
        sagas = [now.get(entry.arn, entry.saga) for entry in open_]
        outcomes = [saga.execution.outcome for saga in sagas]
        return StuckList(
            sagas=_newest_first(saga for saga in sagas if saga.execution.outcome is Outcome.STUCK),
            resumed=outcomes.count(Outcome.RUNNING),
            recovered=tuple(saga.execution.arn for saga in sagas if saga.execution.outcome in _CLEAN),
            closed=len(entries) - len(open_),
            undelivered=self._queue.undelivered(),
        )

    def stuck_by_scan(self) -> StuckList:
        """Return the stuck sagas of the last 90 days that are not closed, whether they were reported or not.

        It describes every execution that failed, clean failures too, so it can take long.
        """
        closed = self.closed()
        found = map_concurrently(self._if_known, (one["executionArn"] for one in self._summaries(UNSUCCESSFUL)))
        stuck = [execution for execution in found if execution and execution.outcome is Outcome.STUCK]
        open_ = [one for one in stuck if one.arn not in closed or closed[one.arn].closure_of(one) is None]
        sagas = _newest_first(map_concurrently(self._as_stuck, open_))
        return StuckList(sagas=sagas, closed=len(stuck) - len(open_), is_complete=True)

    def stuck_saga(self, execution: str) -> StuckSaga:
        """Return the stuck saga of an execution or an order. Raises UnknownExecution and NotResumable."""
        try:
            found = self.find(execution)
        except UnknownExecution:
            if reported := self._reported(execution):
                raise _gone(reported.execution, self.stack.noun) from None
            raise
        _require_resumable(found, self.stack.noun)
        return self._as_stuck(found)

    def resume(self, saga: StuckSaga) -> datetime:
        """Redrive a stuck saga from the state it stopped in; return the time of the redrive.

        Its entry stays until it has ended cleanly and ``forget`` is called.
        Raises ClosedSaga if an operator has closed it, NotResumable if Step Functions rejects it, NoRedrive if the
        service has no RedriveExecution, UnknownExecution if Step Functions no longer has the execution, and
        LostResponse if it did not respond.
        """
        execution = saga.execution
        if closure := self.closure(execution):
            raise _closed(execution, closure)
        try:
            redriven_at: datetime = self._stepfunctions.redrive_execution(executionArn=execution.arn)["redriveDate"]
        except NotImplementedError:  # moto
            raise _no_redrive(self.stack) from None
        except ClientError as error:
            code = code_of(error)
            if code in _UNKNOWN_API:
                raise _no_redrive(self.stack) from None
            if code == "ExecutionDoesNotExist":
                raise _gone(execution, self.stack.noun) from None
            if code == "ExecutionNotRedrivable":
                # It may run again, because another operator was faster: only its description says what to do.
                _require_resumable(self.execution(execution.arn), self.stack.noun)
                reason = error.response["Error"].get("Message", code)
                raise NotResumable(f"{execution.name} was not resumed: {reason}") from None
            raise
        except NO_RESPONSE as error:
            raise LostResponse(f"{execution.name} may have been resumed or not: {explained(error)}") from None
        return redriven_at

    def call(self, function: str, event: object) -> object:
        """Call a function of the stack by its name or ARN; return its answer. Raises FunctionFailed."""
        answer = self.functions().invoke(FunctionName=function, Payload=json.dumps(event).encode())
        payload = answer["Payload"].read().decode()
        result = parsed_json(payload)
        if "FunctionError" in answer:
            kind = result.get("errorType") if isinstance(result, dict) else None
            raise FunctionFailed(printable(str(kind or "an error")), printable(str(message_in(payload))))
        return result

    def answer(self, answer: Mapping[str, object]) -> object:
        """Send an answer to a step that waits; return what its receiver returns.

        Raises FunctionFailed, and NotAnswered if the stack has no receiver.
        """
        if self.stack.receiver is None:
            raise NotAnswered(f"{self.stack.name} has no output ReceiverName: deploy it again with this version")
        return self.call(self.stack.receiver, answer)

    def forget(self, recovered: Collection[str], *, running: Collection[Execution] = ()) -> str | None:
        """Remove the entries of sagas that have ended cleanly, and the messages that are out of date.

        Return why entries stay; None if they are removed. Without the permission to write, or the network, entries and
        messages stay; a listing compares them with Step Functions anyway.

        Args:
            recovered: the ARNs of executions that have ended cleanly.
            running: executions that run again, as they were before: the messages about that stop are removed.
        """
        problem = None
        try:
            self._table.remove(recovered)
        except (BotoCoreError, ClientError) as error:
            problem = explained(error)
        with contextlib.suppress(BotoCoreError, ClientError), self._queue.read_all() as contents:
            entries = {entry.arn: entry for entry in self._table.entries()}
            known = {execution.arn: execution.stopped_at for execution in running} | dict.fromkeys(recovered)
            over = [message for message in contents.messages if self._is_over(message, entries, known)]
            self._queue.remove(contents, over)
        return problem

    def close(self, saga: StuckSaga, reason: str) -> None:
        """Close the entry of a stuck saga that is settled by hand, and remove its messages.

        Raises OpsError if it is closed already.
        """
        self._table.close(saga, reason)
        self.forget(())

    def stuck_or_not(self, text: str) -> StuckSaga:
        """Return the saga of an execution or an order, whether it is stuck or not. Raises as ``find``."""
        found = self.find(text)
        return self._as_stuck(found) if found.outcome is Outcome.STUCK else StuckSaga(execution=found, state=None)

    def closable(self, execution: str) -> StuckSaga:
        """Return the stuck saga of an execution or an order, also one whose execution Step Functions no longer has.

        Raises UnknownExecution, and NotResumable if it is not stuck or if several sagas of the order are.
        """
        try:
            found = self.find(execution)
        except UnknownExecution:
            if (reported := self._reported(execution)) is None:
                raise
            return reported
        if found.outcome is not Outcome.STUCK:
            raise NotResumable(f"{found.name} is not stuck ({found.status}): nothing to close")
        return self._as_stuck(found)

    def _reported(self, text: str) -> StuckSaga | None:
        """Return the saga of the open entry of an ARN, a name or an order; None without one."""
        open_ = [entry.saga for entry in self._table.entries() if entry.closure is None]
        named = [saga for saga in open_ if text in (saga.execution.arn, saga.execution.name)]
        found = named or [saga for saga in open_ if saga.execution.order_id == text]
        if len(found) > 1:
            raise self._several([saga.execution for saga in found], text)
        return found[0] if found else None

    def _stops(self, entries: Collection[Entry]) -> dict[str, datetime]:
        """Return when executions stopped, by ARN, as ListExecutions says.

        It is never asked more often than describing the entries would take.
        """
        if not entries:
            return {}
        oldest = min(entry.saga.execution.started_at for entry in entries)
        summaries = itertools.takewhile(lambda one: one["startDate"] >= oldest, self._summaries(UNSUCCESSFUL))
        listed = itertools.islice(summaries, MAX_PAGE * len(entries))
        return {one["executionArn"]: one["stopDate"] for one in listed if "stopDate" in one}

    def _present(self, entry: Entry) -> StuckSaga:
        """Return the saga of an entry as it is now. One that Step Functions does not know any more stays as it was."""
        execution = self._if_known(entry.arn)
        if execution is None:
            return entry.saga
        return (
            self._as_stuck(execution)
            if execution.outcome is Outcome.STUCK
            else StuckSaga(execution=execution, state=None)
        )

    def _is_over(self, message: Message, entries: Mapping[str, Entry], known: Mapping[str, datetime | None]) -> bool:
        """Return whether the stop that a message reports is over: its entry came before it, and is gone or newer."""
        if message.arn in known:
            last = known[message.arn]
            return last is None or message.stopped_at is None or message.stopped_at <= last + SAME_STOP
        entry = entries.get(message.arn)
        if not message.arn.startswith(self._arn_prefix) or message.stopped_at is None:
            return False
        if entry is None:
            # A message of a stack that had no entries yet, or whose entry another operator has removed.
            now = self._if_known(message.arn)
            return now is None or now.outcome in _CLEAN
        return entry.closure is not None or message.stopped_at + SAME_STOP < entry.stopped_at


def _newest_first(sagas: Iterable[StuckSaga]) -> tuple[StuckSaga, ...]:
    return tuple(sorted(sagas, key=lambda saga: saga.execution.started_at, reverse=True))


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
    if not execution.is_redrivable:
        reason = execution.redrive_status_reason or "it ended over 14 days ago"
        raise NotResumable(
            f"{execution.name} can no longer be resumed: {reason.rstrip('.')}: "
            f"`python -m ops settle {execution.name}` compensates the {noun}, then `python -m ops close`"
        )


def _closed(execution: Execution, closure: Closure) -> ClosedSaga:
    return ClosedSaga(
        f"{execution.name} was closed at {moment(closure.at)}: {printable(closure.reason)}: to resume it anyway, call "
        f"`aws stepfunctions redrive-execution --execution-arn {execution.arn}`"
    )


def _gone(execution: Execution, noun: str) -> UnknownExecution:
    key = printable(quote(execution.order_id or noun.upper()))
    return UnknownExecution(
        f"Step Functions no longer has {execution.name}: `python -m ops settle {key}` compensates the {noun}, "
        f"then `python -m ops close {execution.name}`"
    )


def _no_redrive(stack: DeployedStack) -> NoRedrive:
    return NoRedrive(
        f"the service that {stack.name} runs on has no RedriveExecution: on AWS this command continues the saga, "
        f"here it stays stuck; try the {stack.noun} again under another {stack.key}"
    )
