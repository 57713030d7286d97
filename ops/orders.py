"""The orders of one deployed saga: their rows, and the sagas that these or the entries of stuck sagas name."""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from ops.definition import read_definition
from ops.display import printable
from ops.errors import NotResumable, UnknownExecution, UnknownOrder
from ops.executions import DeployedStack, Executions, map_concurrently
from ops.model import UNSUCCESSFUL, Closure, Execution, Order, Outcome, SagaRun, StoredRow, history_of
from ops.stuck_table import Entry, StuckTable
from ops.waits import waits_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_stepfunctions import SFNClient

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_EXECUTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")


class Orders(Executions):
    """The orders of one stack, and its executions. Threads may share it.

    Args:
        stack: the stack.
        stepfunctions: see Executions.
        dynamodb: a client of DynamoDB.
    """

    def __init__(self, stack: DeployedStack, stepfunctions: "SFNClient", dynamodb: "DynamoDBClient") -> None:
        super().__init__(stack, stepfunctions)
        self._dynamodb = dynamodb
        self._table = StuckTable(dynamodb, stack.stuck_sagas_table)

    @property
    def dynamodb(self) -> "DynamoDBClient":
        """The client of DynamoDB."""
        return self._dynamodb

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
            order_id = named.order_id or order_id
            rows = self.rows(order_id)
            sagas = self._known_sagas(order_id, rows)
            if named.arn not in {saga.saga_id for saga in sagas}:
                sagas.append(self._saga_run_if_known(named.arn))
        others, searched_since = self._search(order_id, {saga.saga_id for saga in sagas}, limit=search)
        sagas = [self._with_waits(saga, rows) for saga in (*sagas, *others)]
        if not rows and not sagas:
            raise UnknownOrder(
                f"no {self.stack.noun} {printable(order_id)} in {self.stack.name}: "
                "ids are case sensitive; `python -m ops list` shows recent ones"
            )
        sagas.sort(key=_start, reverse=True)
        return Order(order_id=order_id, rows=rows, sagas=tuple(sagas), searched_since=searched_since)

    def closed(self) -> dict[str, Entry]:
        """Return the entries that operators have closed, by the ARNs of their executions."""
        return {entry.arn: entry for entry in self._table.entries() if entry.closure}

    def closure(self, execution: Execution) -> Closure | None:
        """Return how an operator has closed the stop that an execution is at; None if that is open."""
        entry = self._table.entry(execution.arn) if execution.outcome is Outcome.STUCK else None
        return entry.closure_of(execution) if entry else None

    def find(self, text: str) -> Execution:
        """Return the execution of an ARN, of a name, or of an order's id: then the one that is stuck, or the newest.

        A name that is also an order's id means the stuck execution of that order, unless the named one is active.
        Raises UnknownExecution, and NotResumable if several executions of the order are stuck.
        """
        if text.startswith("arn:"):
            return self.execution(text)
        named = self._if_known(self._arn_of(text)) if _EXECUTION_NAME.fullmatch(text) else None
        if named and named.outcome in (Outcome.RUNNING, Outcome.STUCK):
            return named
        known = [saga.execution for saga in self._known_sagas(text, self.rows(text)) if saga.execution]
        stuck = [execution for execution in known if execution.outcome is Outcome.STUCK]
        if len(stuck) > 1:
            raise self._several(stuck, text)
        found = stuck or ([named] if named else known)
        if not found:
            raise self._unknown(text)
        return found[0]

    def _several(self, stuck: Sequence[Execution], order_id: str) -> NotResumable:
        names = ", ".join(printable(execution.name) for execution in stuck)
        return NotResumable(
            f"{self.stack.noun} {printable(order_id)} has {len(stuck)} stuck sagas: name one of {names}"
        )

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


def _start(saga: SagaRun) -> datetime:
    return saga.execution.started_at if saga.execution else _LONG_AGO
