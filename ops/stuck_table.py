"""The table of stuck sagas: one entry for each, which the stack's function writes. Listing it changes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdas.saga_runtime.clock import moment
from ops.errors import OpsError
from ops.executions import code_of, map_concurrently
from ops.model import SAME_STOP, Closure, Execution, Outcome, StuckSaga

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# How long a closed entry is kept: as long as the logs of prod.
KEEP_CLOSED = timedelta(days=365)
_IS_CLOSED = "ConditionalCheckFailedException"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A stuck saga as it was reported. ``closure`` is None while it is open."""

    saga: StuckSaga
    closure: Closure | None

    @property
    def arn(self) -> str:
        """The ARN of the execution."""
        return self.saga.execution.arn

    @property
    def stopped_at(self) -> datetime:
        """When the execution stopped."""
        execution = self.saga.execution
        return execution.stopped_at or execution.started_at

    def closure_of(self, execution: Execution) -> Closure | None:
        """Return the closure of the stop that the execution is at; None if that is open, or was redriven since."""
        stop = execution.stopped_at
        is_at = execution.outcome is Outcome.STUCK and stop is not None and stop <= self.stopped_at + SAME_STOP
        return self.closure if is_at else None


class StuckTable:
    """The table in the stack's output ``StuckSagasTableName``."""

    def __init__(self, dynamodb: "DynamoDBClient", name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, closed ones too. The read is consistent: one request for each MB."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True)
        return tuple(_entry(item) for page in pages for item in page["Items"])

    def entry(self, arn: str) -> Entry | None:
        """Return the entry of an execution; None without one. The read is consistent."""
        # A Query, because the policies of operators allow no GetItem.
        items = self._dynamodb.query(
            TableName=self._name,
            KeyConditionExpression="execution_arn = :arn",
            ExpressionAttributeValues={":arn": {"S": arn}},
            ConsistentRead=True,
        )["Items"]
        return _entry(items[0]) if items else None

    def remove(self, arns: Iterable[str]) -> None:
        """Remove the entries of sagas that have recovered. A closed entry stays, with its reason."""
        map_concurrently(self._remove, arns)

    def _remove(self, arn: str) -> None:
        try:
            self._dynamodb.delete_item(
                TableName=self._name,
                Key={"execution_arn": {"S": arn}},
                ConditionExpression="attribute_not_exists(closed_at)",
            )
        except ClientError as error:
            if code_of(error) != _IS_CLOSED:
                raise

    def close(self, saga: StuckSaga, reason: str) -> None:
        """Close the entry of a saga, or make a closed one. Raises OpsError if it is closed already."""
        execution, now = saga.execution, datetime.now(UTC)
        values = {
            **_facts(saga),
            "closed_at": {"S": moment(now)},
            "closed_because": {"S": reason},
            "expires_at": {"N": str(int((now + KEEP_CLOSED).timestamp()))},
        }
        is_open, is_other_stop = "attribute_not_exists(closed_at)", "stopped_at <> :stopped_at"
        try:
            self._dynamodb.update_item(
                TableName=self._name,
                Key={"execution_arn": {"S": execution.arn}},
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                ConditionExpression=f"{is_open} OR {is_other_stop}",
                ExpressionAttributeNames={f"#{name}": name for name in values},
                ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            )
        except ClientError as error:
            if code_of(error) != _IS_CLOSED:
                raise
            raise OpsError(
                f"{execution.name} is closed already: `python -m ops show {execution.name}` says why"
            ) from None


def _facts(saga: StuckSaga) -> dict[str, dict[str, str]]:
    """Return the attributes that the stack's function writes (lambdas/saga_runtime/report_stuck_saga.py)."""
    execution = saga.execution
    texts = {
        "saga_key": execution.order_id,
        "name": execution.name,
        "status": execution.status,
        "started_at": moment(execution.started_at),
        "stopped_at": moment(execution.stopped_at or execution.started_at),
        "state": saga.state,
        "error": execution.error,
        "cause": execution.cause,
    }
    facts = {name: {"S": text} for name, text in texts.items() if text is not None}
    return {**facts, "redrive_count": {"N": str(execution.redrive_count)}}


def _entry(item: Mapping[str, Any]) -> Entry:
    texts = {name: value["S"] for name, value in item.items() if "S" in value}
    execution = Execution(
        arn=texts["execution_arn"],
        name=texts["name"],
        status=texts["status"],
        started_at=datetime.fromisoformat(texts["started_at"]),
        stopped_at=datetime.fromisoformat(texts["stopped_at"]),
        error=texts.get("error"),
        cause=texts.get("cause"),
        order_id=texts.get("saga_key"),
        failed_cleanly=False,
        redrive_count=int(item.get("redrive_count", {}).get("N", 0)),
        redrive_status=None,
        redrive_status_reason=None,
    )
    closure = None
    if "closed_at" in texts:
        closure = Closure(at=datetime.fromisoformat(texts["closed_at"]), reason=texts["closed_because"])
    return Entry(saga=StuckSaga(execution=execution, state=texts.get("state")), closure=closure)
