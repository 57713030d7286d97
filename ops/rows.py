"""The rows of an order as the table has them, with the identity of their owners and no attribute of the input."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from boto3.dynamodb.types import TypeDeserializer

from lambdas.saga_runtime import cancellation, clock
from lambdas.saga_runtime.barrier import SagaIdentity
from ops.client import SagaClient
from ops.errors import UnknownExecution
from ops.model import Execution, history_of

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = Mapping[str, Row]


def projection(key: str) -> dict[str, Any]:
    """Return the parameters with which a request returns what ``read_row`` reads."""
    return {
        "ProjectionExpression": "#key, entity, #status, saga_id, saga_started_at, fence, history, "
        "previous_history, confirmed_at, confirmation_requested_at",
        "ExpressionAttributeNames": {"#key": key, "#status": "status"},
    }


def read_row(item: Mapping[str, Any], key: str) -> Row:
    """Return an item as a row with ``order_id``; without ``history`` if the item is malformed.

    ``history`` is that of the last two owners, ``own_statuses`` what the present one wrote.
    """
    row: Row = TypeDeserializer().deserialize({"M": item})
    row["order_id"] = row.pop(key)
    try:
        clock.normalized(row["saga_started_at"])
        own = [entry["status"] for entry in row["history"]]
        return {**row, "own_statuses": own, "history": [asdict(entry) for entry in history_of(row)]}
    except (KeyError, TypeError, ValueError):
        return {name: value for name, value in row.items() if name != "history"}


def stored_rows(client: SagaClient, order_id: str) -> Rows:
    """Return the rows of an order by entity, by a consistent read."""
    if re.search("[\ud800-\udfff]", order_id):
        # Half of a surrogate pair: it cannot be sent, and no key has it.
        return {}
    pages = client.dynamodb.get_paginator("query").paginate(
        TableName=client.stack.table,
        KeyConditionExpression="#key = :order_id",
        ExpressionAttributeValues={":order_id": {"S": order_id}},
        ConsistentRead=True,
        **projection(client.stack.key),
    )
    return {row["entity"]: row for page in pages for item in page["Items"] if (row := read_row(item, client.stack.key))}


def owner(row: Row) -> SagaIdentity:
    """Return the saga that owns a row."""
    return SagaIdentity(id=str(row.get("saga_id")), started_at=str(row.get("saga_started_at")))


def owners(rows: Rows) -> set[SagaIdentity]:
    """Return the owners of the rows that are not malformed."""
    return {owner(row) for row in rows.values() if "history" in row}


def identity_of(execution: Execution, rows: Rows) -> SagaIdentity:
    """Return the saga of an execution, written as in its rows if it has any."""
    return cancellation.identity_of(execution.arn, execution.started_at, owners(rows))


def known_execution(client: SagaClient, name: str) -> Execution | None:
    """Return the execution of a name or an ARN; None if Step Functions does not know it."""
    try:
        return client.execution(name)
    except UnknownExecution:
        return None
