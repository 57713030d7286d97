"""A client of one deployed saga: reads its executions, rows and stuck sagas, starts and resumes executions.

The command line and the console show only what comes from here. No value contains an execution's input; in causes,
every text and number of the input is hidden, except its key.

The methods raise the kinds of OpsError for what does not exist or cannot be done, and botocore's errors as they are
(``ops.errors.explained`` puts those into words).
"""

import contextlib
import functools
import heapq
import itertools
import json
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from lambdas.saga_runtime.execution_history import path_of, stopped_in
from lambdas.saga_runtime.redaction import message_in, parsed_json, redacted, values_in
from ops.definition import read_definition
from ops.display import noun_of, order_id_in, printable
from ops.errors import FunctionFailed, NoRedrive, NotResumable, NotStoppable, UnknownExecution, UnknownOrder
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
from ops.selection import Selection
from ops.stuck_queue import Message, StuckQueue
from ops.stuck_table import Entry, StuckTable
from ops.waits import waits_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType
    from mypy_boto3_stepfunctions.type_defs import (
        DescribeExecutionOutputTypeDef,
        ExecutionListItemTypeDef,
        HistoryEventTypeDef,
    )

# Requests at a time; the clients have ten connections.
MAX_REQUESTS = 8
MAX_PAGE = 1000
# The errors of MiniStack and LocalStack for an API that they do not have.
_UNKNOWN_API = ("InvalidAction", "UnknownOperationException")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_CLEAN = (Outcome.FULFILLED, Outcome.ROLLED_BACK)
_STATUSES_OF: "Mapping[Outcome | None, tuple[ExecutionStatusType, ...]]" = {
    None: (),
    Outcome.RUNNING: ("RUNNING",),
    Outcome.FULFILLED: ("SUCCEEDED",),
    Outcome.ROLLED_BACK: ("FAILED",),
    Outcome.STUCK: UNSUCCESSFUL,
}
# An event and DescribeExecution may round the same time differently.
_SAME_STOP = timedelta(seconds=1)
_EXECUTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class DeployedStack:
    """A stack by its outputs, and the partition key of its table. It has a ``receiver`` of answers if a step waits."""

    name: str
    state_machine_arn: str
    table: str
    key: str
    stuck_sagas_queue_url: str
    stuck_sagas_table: str
    receiver: str | None = None

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
        self._table = StuckTable(dynamodb, stack.stuck_sagas_table)
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
        newest_first = sorted(answer["executions"], key=lambda one: one["startDate"], reverse=True)
        arns = (one["executionArn"] for one in newest_first)
        found = map_concurrently(describe or self.execution, arns)
        return Page(executions=tuple(found), next_token=answer.get("nextToken"))

    def newest(
        self,
        *,
        count: int,
        status: "ExecutionStatusType | None" = None,
        outcome: Outcome | None = None,
        selection: Selection = Selection(),  # noqa: B008 (it is frozen)
        describe: Callable[[str], Execution | None] | None = None,
    ) -> tuple[Execution, ...]:
        """Return the newest ``count`` executions of a status and an outcome, or of all, that the selection has.

        The times of the selection are compared with the start. One request describes an execution; one more finds the
        state of a stuck one, if the selection has a state.
        """
        statuses = _STATUSES_OF[Outcome.STUCK if selection.state else outcome]
        if status:
            statuses = (status,)
        summaries = self._summaries(statuses)
        if selection.since is not None:
            since = selection.since
            summaries = itertools.takewhile(lambda one: one["startDate"] >= since, summaries)
        candidates = (one["executionArn"] for one in summaries if selection.has_time(one["startDate"]))
        found: list[Execution] = []
        while arns := list(itertools.islice(candidates, _left(found, count))):
            executions = [one for one in map_concurrently(describe or self._if_known, arns) if one]
            found += [one for one in executions if outcome in (None, one.outcome) and selection.has_error(one)]
            if selection.state:
                found = [one for one in found if self._is_stuck_in(one, selection.state)]
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
            ProjectionExpression="entity, #status, saga_id, saga_started_at, idempotency_key, history, "
            "previous_history, confirmed_at",
            ConsistentRead=True,
        )
        rows = [_row(item) for page in pages for item in page["Items"]]
        return tuple(sorted(rows, key=lambda row: row.history[0].at if row.history else ""))

    def order(self, order_id: str, *, search: int | None = 0) -> Order:
        """Return an order: its rows and its sagas, newest first.

        Rows and entries name most sagas. A saga that was rejected because another owns the order is in none of these;
        it is found by describing executions.

        Args:
            order_id: the order's id, or the name or ARN of one of its executions.
            search: how many other executions that run or failed are described, newest first; None for all. Default: 0.

        Raises UnknownOrder if there is neither a row nor a saga.
        """
        rows = self.rows(order_id)
        sagas = self._known_sagas(order_id, rows)
        if not rows and not sagas and (named := self._execution_named(order_id)):
            if named.order_id not in (None, order_id):
                return self.order(named.order_id, search=search)
            sagas = [self._saga_run_if_known(named.arn)]
        others, searched_since = self._search(order_id, {saga.saga_id for saga in sagas}, limit=search)
        sagas = [self._with_waits(saga, rows) for saga in (*sagas, *others)]
        if not rows and not sagas:
            raise UnknownOrder(
                f"no {self.stack.noun} {printable(order_id)} in {self.stack.name}: "
                "ids are case sensitive; `python -m ops list` shows recent ones"
            )
        sagas.sort(key=_start, reverse=True)
        return Order(order_id=order_id, rows=rows, sagas=tuple(sagas), searched_since=searched_since)

    def stuck(self) -> StuckList:
        """Return the stuck sagas that have an open entry. Nothing is changed, hidden or removed.

        An entry is compared with ListExecutions, which answers for 1,000 executions at once. Only an execution that is
        not as it was reported is described.
        """
        entries = [entry for entry in self._table.entries() if entry.arn.startswith(self._arn_prefix)]
        open_ = [entry for entry in entries if entry.closure is None]
        stops = self._stops(open_)
        changed = [entry for entry in open_ if not _is_at(stops.get(entry.arn), entry.stopped_at)]
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
        closed = {entry.arn: entry.stopped_at for entry in self._table.entries() if entry.closure}
        found = map_concurrently(self._if_known, (one["executionArn"] for one in self._summaries(UNSUCCESSFUL)))
        stuck = [execution for execution in found if execution and execution.outcome is Outcome.STUCK]
        open_ = [execution for execution in stuck if not _is_at(execution.stopped_at, closed.get(execution.arn))]
        return StuckList(sagas=_newest_first(map_concurrently(self._as_stuck, open_)), closed=len(stuck) - len(open_))

    def stuck_saga(self, execution: str) -> StuckSaga:
        """Return the stuck saga of an execution or an order. Raises UnknownExecution and NotResumable."""
        found = self.find(execution)
        _require_resumable(found, self.stack.noun)
        return self._as_stuck(found)

    def resume(self, saga: StuckSaga) -> datetime:
        """Redrive a stuck saga from the state it stopped in; return the time of the redrive.

        Its entry stays until it has ended cleanly and ``forget`` is called.
        Raises NotResumable if Step Functions rejects it, and NoRedrive if the service has no RedriveExecution.
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
        return redriven_at

    def events(self, execution: str) -> "list[HistoryEventTypeDef]":
        """Return the history of the execution of an ARN or a name, without any data. Raises UnknownExecution."""
        return self._history(self.execution(execution).arn, includeExecutionData=False)

    def call(self, function: str, event: object) -> object:
        """Call a function of the stack by its name or ARN; return its answer. Raises FunctionFailed."""
        answer = self.functions().invoke(FunctionName=function, Payload=json.dumps(event).encode())
        payload = answer["Payload"].read().decode()
        result = parsed_json(payload)
        if "FunctionError" in answer:
            kind = result.get("errorType") if isinstance(result, dict) else None
            raise FunctionFailed(printable(f"{kind or 'an error'}: {message_in(payload)}"))
        return result

    def stop(self, execution: str) -> None:
        """Stop the running execution of an ARN or a name; its saga is stuck then.

        Raises UnknownExecution, or NotStoppable if it has ended.
        """
        found = self.execution(execution)
        if found.outcome is not Outcome.RUNNING:
            raise NotStoppable(f"{found.name} has ended: nothing to stop")
        self._stepfunctions.stop_execution(executionArn=found.arn, error="Stopped", cause="An operator stopped it.")

    def forget(self, recovered: Collection[str], *, running: Collection[Execution] = ()) -> None:
        """Remove the entries of sagas that have ended cleanly, and the messages that are out of date.

        Without the permission to write, entries and messages stay; a listing compares them with Step Functions anyway.

        Args:
            recovered: the ARNs of executions that have ended cleanly.
            running: executions that run again, as they were before: the messages about that stop are removed.
        """
        with contextlib.suppress(ClientError):
            self._table.remove(recovered)
        with contextlib.suppress(ClientError), self._queue.read_all() as contents:
            entries = {entry.arn: entry for entry in self._table.entries()}
            known = {execution.arn: execution.stopped_at for execution in running} | dict.fromkeys(recovered)
            over = [message for message in contents.messages if self._is_over(message, entries, known)]
            self._queue.remove(contents, over)

    def close(self, saga: StuckSaga, reason: str) -> None:
        """Close the entry of a stuck saga that was settled by hand, and remove its messages.

        Raises OpsError if it is closed already.
        """
        self._table.close(saga, reason)
        self.forget(())

    def stuck_or_not(self, text: str) -> StuckSaga:
        """Return the saga of an execution or an order, whether it is stuck or not. Raises as ``find``."""
        found = self.find(text)
        return self._as_stuck(found) if found.outcome is Outcome.STUCK else StuckSaga(execution=found, state=None)

    def closable(self, execution: str) -> StuckSaga:
        """Return the stuck saga of an execution or an order. Raises UnknownExecution, or NotResumable if not stuck."""
        found = self.find(execution)
        if found.outcome is not Outcome.STUCK:
            raise NotResumable(f"{found.name} is not stuck ({found.status}): nothing to close")
        return self._as_stuck(found)

    def find(self, text: str) -> Execution:
        """Return the execution of an ARN, of a name, or of an order's id: then the one that is stuck, or the newest.

        Raises UnknownExecution, and NotResumable if several executions of the order are stuck.
        """
        if text.startswith("arn:"):
            return self.execution(text)
        if _EXECUTION_NAME.fullmatch(text) and (named := self._if_known(self._arn_of(text))):
            return named
        known = [saga.execution for saga in self._known_sagas(text, self.rows(text)) if saga.execution]
        stuck = [execution for execution in known if execution.outcome is Outcome.STUCK]
        if len(stuck) > 1:
            names = ", ".join(printable(execution.name) for execution in stuck)
            raise NotResumable(f"{self.stack.noun} {printable(text)} has {len(stuck)} stuck sagas: name one of {names}")
        if not known:
            raise self._unknown(text)
        return (stuck or known)[0]

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
            raise self._unknown(execution) from None

    def _unknown(self, execution: str) -> UnknownExecution:
        return UnknownExecution(
            f"no execution {printable(execution)} in {self.stack.name}: "
            "`python -m ops list` shows names; Step Functions keeps an execution for 90 days"
        )

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
            # ``Root=1-...;Sampled=1`` (X-Ray Developer Guide, "Tracing header").
            trace_id=re.sub("^Root=|;.*", "", described.get("traceHeader", "")) or None,
        )

    def _redaction(self, execution_input: str | None) -> Callable[[str], str]:
        """Return a function that hides the values of the input in a text, except its key."""
        input_ = parsed_json(execution_input)
        if isinstance(input_, dict):
            input_ = {name: value for name, value in input_.items() if name != self.stack.key}
        values = list(values_in(input_))
        return functools.cache(lambda text: redacted(text, values))

    def _history(self, arn: str, **options: Any) -> "list[HistoryEventTypeDef]":
        pages = self._stepfunctions.get_paginator("get_execution_history").paginate(
            executionArn=arn, PaginationConfig={"PageSize": MAX_PAGE}, **options
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

    def _execution_named(self, text: str) -> Execution | None:
        try:
            return self.execution(text) if text.startswith("arn:") or _EXECUTION_NAME.fullmatch(text) else None
        except UnknownExecution:
            return None

    def _known_sagas(self, order_id: str, rows: Iterable[StoredRow]) -> list[SagaRun]:
        """Return the sagas of an order that its rows or the entries name, and its namesake; newest first."""
        ids = {entry.saga_id for row in rows for entry in row.history}
        entries = {entry.arn: entry for entry in self._table.entries()}
        ids |= {arn for arn, entry in entries.items() if entry.saga.execution.order_id == order_id}
        sagas = map_concurrently(self._saga_run_if_known, sorted(ids))
        namesake = self._namesake(order_id)
        if namesake and namesake.saga_id not in ids:
            sagas.append(namesake)
        closures = {arn: entry.closure for arn, entry in entries.items()}
        sagas = [replace(saga, closure=closures.get(saga.saga_id)) for saga in sagas]
        return sorted(sagas, key=_start, reverse=True)

    def _with_waits(self, saga: SagaRun, rows: Iterable[StoredRow]) -> SagaRun:
        if saga.execution is None or saga.execution.outcome is not Outcome.RUNNING:
            return saga
        definition = read_definition(self._definition_of(saga.execution.arn), where=saga.execution.name)
        return replace(saga, waits=waits_of(definition, saga, rows, stack=self.stack.name))

    def _search(
        self, order_id: str, known: Collection[str], *, limit: int | None
    ) -> tuple[list[SagaRun], datetime | None]:
        """Return further sagas of an order, and how far the search went back; None if to the end.

        An execution that succeeded owns its rows, so they name it.
        """
        if limit == 0:
            return [], None
        summaries = self._summaries(("RUNNING", *UNSUCCESSFUL))
        others = (one for one in summaries if one["executionArn"] not in known)
        searched = list(itertools.islice(others, limit))
        found = map_concurrently(self._if_known, (one["executionArn"] for one in searched))
        own = [one.arn for one in found if one and one.order_id == order_id]
        is_complete = next(others, None) is None
        since = None if is_complete else min(one["startDate"] for one in searched)
        return map_concurrently(self._saga_run_if_known, own), since

    def _summaries(self, statuses: "Iterable[ExecutionStatusType]") -> "Iterator[ExecutionListItemTypeDef]":
        """Yield the executions of some statuses, or of all, newest start first: one request for 1,000.

        Local clouds sort by the end, so each page is sorted.
        """
        return heapq.merge(
            *(self._summaries_of(status) for status in statuses or (None,)),
            key=lambda one: one["startDate"],
            reverse=True,
        )

    def _summaries_of(self, status: "ExecutionStatusType | None") -> "Iterator[ExecutionListItemTypeDef]":
        filtered: Any = {"statusFilter": status} if status else {}
        pages = self._stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self.stack.state_machine_arn,
            PaginationConfig={"PageSize": MAX_PAGE},
            **filtered,
        )
        for page in pages:
            yield from sorted(page["executions"], key=lambda one: one["startDate"], reverse=True)

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

    def _is_stuck_in(self, execution: Execution, state: str) -> bool:
        return execution.outcome is Outcome.STUCK and self._as_stuck(execution).state == state

    def _is_over(self, message: Message, entries: Mapping[str, Entry], known: Mapping[str, datetime | None]) -> bool:
        """Return whether the stop that a message reports is over: its entry came before it, and is gone or newer."""
        if message.arn in known:
            last = known[message.arn]
            return last is None or message.stopped_at is None or message.stopped_at <= last + _SAME_STOP
        entry = entries.get(message.arn)
        if not message.arn.startswith(self._arn_prefix) or message.stopped_at is None:
            return False
        if entry is None:
            # A message of a stack that had no entries yet, or whose entry another operator has removed.
            now = self._if_known(message.arn)
            return now is None or now.outcome in _CLEAN
        return entry.closure is not None or message.stopped_at + _SAME_STOP < entry.stopped_at

    def _as_stuck(self, execution: Execution) -> StuckSaga:
        states = stopped_in(path_of(self._history(execution.arn)))
        return StuckSaga(execution=execution, state=states[-1] if states else None)


def _row(item: Mapping[str, Any]) -> StoredRow:
    row = TypeDeserializer().deserialize({"M": item})
    return StoredRow(
        entity=row["entity"],
        status=row["status"],
        saga_id=row["saga_id"],
        history=history_of(row),
        saga_started_at=row.get("saga_started_at", ""),
        request=row.get("idempotency_key"),
    )


def map_concurrently(function: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """Return the results of the function in the order of the values."""
    pool = ThreadPoolExecutor(MAX_REQUESTS)
    try:
        return list(pool.map(function, values))
    finally:
        # After an error or Ctrl-C, do not start the rest.
        pool.shutdown(cancel_futures=True)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "Unknown")


def _is_at(time: datetime | None, reported: datetime | None) -> bool:
    return time is not None and reported is not None and abs(time - reported) <= _SAME_STOP


def _left(found: Collection[Execution], count: int) -> int:
    """Return how many executions to describe next: enough for all threads, unless the count is reached."""
    return max(count - len(found), MAX_REQUESTS) if len(found) < count else 0


def _start(saga: SagaRun) -> datetime:
    return saga.execution.started_at if saga.execution else _LONG_AGO


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
    too_old = execution.redrivable_until is not None and execution.redrivable_until < datetime.now(UTC)
    if execution.redrive_status == "NOT_REDRIVABLE" or (execution.redrive_status is None and too_old):
        raise _not_redrivable(execution, execution.redrive_status_reason or "it ended over 14 days ago", noun)


def _not_redrivable(execution: Execution, reason: str, noun: str) -> NotResumable:
    return NotResumable(
        f"{execution.name} can no longer be resumed: {reason.rstrip('.')}: "
        f"`python -m ops settle {execution.name}` compensates the {noun}, then `python -m ops close`"
    )


def _no_redrive(stack: DeployedStack) -> NoRedrive:
    return NoRedrive(
        f"the service that {stack.name} runs on has no RedriveExecution: on AWS this command continues the saga, "
        f"here it stays stuck; try the {stack.noun} again under another {stack.key}"
    )
