"""The executions of one deployed saga: lists, reads, starts and stops them.

No value contains an execution's input; in causes, every text and number of the input is hidden, except its key.
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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from lambdas.saga_runtime.execution_history import path_of, stopped_in
from lambdas.saga_runtime.redaction import message_in, parsed_json, redacted, values_in
from ops.definition import read_definition
from ops.display import noun_of, order_id_in, printable
from ops.errors import NotStoppable, UnknownExecution
from ops.model import UNSUCCESSFUL, Execution, Outcome, Page, SagaRun, StuckSaga
from ops.selection import Selection

if TYPE_CHECKING:
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
_STATUSES_OF: "Mapping[Outcome | None, tuple[ExecutionStatusType, ...]]" = {
    None: (),
    Outcome.RUNNING: ("RUNNING",),
    Outcome.FULFILLED: ("SUCCEEDED",),
    Outcome.ROLLED_BACK: ("FAILED",),
    Outcome.STUCK: UNSUCCESSFUL,
}

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


class Executions:
    """The executions of one stack. Threads may share it.

    Args:
        stack: the stack.
        stepfunctions: a client of Step Functions with at least ``MAX_REQUESTS`` connections.
    """

    def __init__(self, stack: DeployedStack, stepfunctions: "SFNClient") -> None:
        self.stack = stack
        self._stepfunctions = stepfunctions
        self._clean_errors: dict[str, bool] = {}
        self._clean_errors_lock = threading.Lock()
        self._arn_prefix = stack.state_machine_arn.replace(":stateMachine:", ":execution:", 1) + ":"

    @property
    def stepfunctions(self) -> "SFNClient":
        """The client of Step Functions."""
        return self._stepfunctions

    def executions(
        self,
        *,
        status: "ExecutionStatusType | None" = None,
        limit: int = 20,
        token: str | None = None,
        describe: "Callable[[ExecutionListItemTypeDef], Execution] | None" = None,
    ) -> Page:
        """Return a page of executions, newest first.

        Args:
            status: only executions of this status. Default: all.
            limit: how many at most, up to 1,000. Default: 20.
            token: the token of the page. Default: the first page.
            describe: returns a listed execution; a caller may cache. Default: one request for each.
        """
        options: dict[str, Any] = {"statusFilter": status, "nextToken": token, "maxResults": limit}
        answer = self._stepfunctions.list_executions(
            stateMachineArn=self.stack.state_machine_arn, **{name: value for name, value in options.items() if value}
        )
        newest_first = sorted(answer["executions"], key=lambda one: one["startDate"], reverse=True)
        found = map_concurrently(describe or self._listed, newest_first)
        return Page(executions=tuple(found), next_token=answer.get("nextToken"))

    def newest(
        self,
        *,
        count: int,
        status: "ExecutionStatusType | None" = None,
        outcome: Outcome | None = None,
        selection: Selection = Selection(),  # noqa: B008 (it is frozen)
        describe: "Callable[[ExecutionListItemTypeDef], Execution | None] | None" = None,
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
        candidates = (one for one in summaries if selection.has_time(one["startDate"]))
        found: list[Execution] = []
        while listed := list(itertools.islice(candidates, _left(found, count))):
            executions = [one for one in map_concurrently(describe or self._listed_if_known, listed) if one]
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

    def events(self, execution: str) -> "list[HistoryEventTypeDef]":
        """Return the history of the execution of an ARN or a name, without any data. Raises UnknownExecution."""
        return self._history(self.execution(execution).arn, includeExecutionData=False)

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

    def stop(self, execution: str) -> None:
        """Stop the running execution of an ARN or a name; its saga is stuck then.

        Raises UnknownExecution, or NotStoppable if it has ended.
        """
        found = self.execution(execution)
        if found.outcome is not Outcome.RUNNING:
            raise NotStoppable(f"{found.name} has ended: nothing to stop")
        self._stepfunctions.stop_execution(executionArn=found.arn, error="Stopped", cause="An operator stopped it.")

    def _described(self, execution: str) -> "DescribeExecutionOutputTypeDef":
        try:
            return self._stepfunctions.describe_execution(executionArn=self._arn_of(execution))
        except ClientError as error:
            if code_of(error) not in ("ExecutionDoesNotExist", "InvalidArn"):
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

    def _listed(self, listed: "ExecutionListItemTypeDef") -> Execution:
        return self.execution(listed["executionArn"])

    def _listed_if_known(self, listed: "ExecutionListItemTypeDef") -> Execution | None:
        return self._if_known(listed["executionArn"])

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

    def _as_stuck(self, execution: Execution) -> StuckSaga:
        states = stopped_in(path_of(self._history(execution.arn)))
        return StuckSaga(execution=execution, state=states[-1] if states else None)

    def _is_stuck_in(self, execution: Execution, state: str) -> bool:
        return execution.outcome is Outcome.STUCK and self._as_stuck(execution).state == state


def map_concurrently(function: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """Return the results of the function in the order of the values."""
    pool = ThreadPoolExecutor(MAX_REQUESTS)
    try:
        return list(pool.map(function, values))
    finally:
        # After an error or Ctrl-C, do not start the rest.
        pool.shutdown(cancel_futures=True)


def code_of(error: ClientError) -> str:
    """Return the code of an error of AWS."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def _left(found: Collection[Execution], count: int) -> int:
    """Return how many executions to describe next: enough for all threads, unless the count is reached."""
    return max(count - len(found), MAX_REQUESTS) if len(found) < count else 0
