"""The table of stuck sagas: one entry for each, which the stack's function writes. Listing it changes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdas.saga_runtime.clock import moment
from ops.errors import OpsError
from ops.model import Closure, Execution, StuckSaga

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# BatchWriteItem accepts 25 requests (DynamoDB API Reference).
_BATCH = 25
# How long a closed entry is kept: as long as the logs of prod.
KEEP_CLOSED = timedelta(days=365)


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


class StuckTable:
    """The table in the stack's output ``StuckSagasTableName``."""

    def __init__(self, dynamodb: "DynamoDBClient", name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, closed ones too. The read is consistent: one request for each MB."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True)
        return tuple(_entry(item) for page in pages for item in page["Items"])

    def remove(self, arns: Iterable[str]) -> None:
        """Remove the entries of sagas that have recovered: one request for 25."""
        left = list(arns)
        for batch in (left[i : i + _BATCH] for i in range(0, len(left), _BATCH)):
            requests: Any = {self._name: [{"DeleteRequest": {"Key": {"execution_arn": {"S": arn}}}} for arn in batch]}
            while requests:
                requests = self._dynamodb.batch_write_item(RequestItems=requests).get("UnprocessedItems")

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
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
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
    return {name: {"S": text} for name, text in texts.items() if text is not None}


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
        redrive_count=0,
        redrive_status=None,
        redrive_status_reason=None,
    )
    closure = None
    if "closed_at" in texts:
        closure = Closure(at=datetime.fromisoformat(texts["closed_at"]), reason=texts["closed_because"])
    return Entry(saga=StuckSaga(execution=execution, state=texts.get("state")), closure=closure)
