"""RedriveStuckSagas: redrive the sagas that failed, with growing pauses, so that most of them need no operator.

A schedule calls the function. In each call

* it removes the entries and messages of sagas that have recovered,
* it redrives one saga of each group, the one that stopped first, and waits for its end; a group is the sagas that
  failed in the same state with the same error,
* if that one ended cleanly, it redrives the others that are due, a few at a time, until one gets stuck again.

A saga is due if it was redriven less often than the limit and its pause is over. The pause is three times as long after
each redrive. A saga that somebody stopped is never redriven. Every redrive counts, those by operators too
(``redriveCount``: Step Functions API Reference, DescribeExecution).
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdas.saga_runtime.observability import count, logger
from lambdas.saga_runtime.outcome import Outcome, outcome_of
from lambdas.saga_runtime.redaction import parsed_json

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

# Throttled requests wait: DescribeExecution allows 10 a second in most regions.
CLIENT_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "adaptive", "total_max_attempts": 8})
AT_A_TIME = 5
FACTOR = 3
# A call ends this long before the function's timeout.
RESERVE_SECONDS = 60
# The errors about an entry that names no execution of the state machine.
UNKNOWN = ("AccessDeniedException", "ExecutionDoesNotExist", "InvalidArn")
POLL_SECONDS = 1.0
# Of the queue, in one call: batches of 10 messages, and the time for which other readers do not see them.
MAX_RECEIVES = 100
HIDDEN_SECONDS = 20

_TABLE = os.environ["STUCK_SAGAS_TABLE"]
_QUEUE_URL = os.environ["QUEUE_URL"]
_CLEAN_ERROR = os.environ["CLEAN_ERROR"]
_LIMIT = int(os.environ["AUTOMATIC_REDRIVES"])
_FIRST_PAUSE = timedelta(seconds=int(os.environ["FIRST_PAUSE_SECONDS"]))
_stepfunctions: "SFNClient" = boto3.client("stepfunctions", config=CLIENT_CONFIG)
_dynamodb: "DynamoDBClient" = boto3.client("dynamodb", config=CLIENT_CONFIG)
_sqs: "SQSClient" = boto3.client("sqs", config=CLIENT_CONFIG)


@dataclass(frozen=True, kw_only=True)
class StuckSaga:
    """An open entry of the table of stuck sagas, with the present state of its execution."""

    arn: str
    group: tuple[str | None, str | None]
    reported_at: str
    outcome: Outcome
    stopped_at: datetime | None
    redrives: int

    @property
    def has_recovered(self) -> bool:
        """Whether it ended cleanly."""
        return self.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)

    @property
    def is_exhausted(self) -> bool:
        """Whether the function redrives it no more."""
        return self.outcome is Outcome.STUCK and self.redrives >= _LIMIT

    @property
    def is_due(self) -> bool:
        """Whether it may be redriven now."""
        if self.outcome is not Outcome.STUCK or self.is_exhausted or self.stopped_at is None:
            return False
        pause = _FIRST_PAUSE * int(FACTOR**self.redrives)
        return datetime.now(UTC) >= self.stopped_at + pause


def handler(_event: object, context: object) -> dict[str, int]:
    """Return how many sagas recovered, how many were redriven, and how many need people.

    Raises botocore's errors if a service does not respond; the next call continues.
    """
    remaining = getattr(context, "get_remaining_time_in_millis", lambda: 2 * RESERVE_SECONDS * 1000)() / 1000
    deadline = time.monotonic() + remaining - RESERVE_SECONDS
    sagas = list(_open_sagas())
    redriven = _redrive_groups(sagas, deadline)
    recovered = [saga for saga in [*sagas, *redriven] if saga.has_recovered]
    _clear(recovered)
    exhausted = sum(saga.is_exhausted for saga in {saga.arn: saga for saga in [*sagas, *redriven]}.values())
    if exhausted:
        count("RedrivesExhausted")
    answer = {"recovered": len(recovered), "redriven": len(redriven), "exhausted": exhausted}
    logger.info("redrives", extra=answer)
    return answer


def _open_sagas() -> Iterator[StuckSaga]:
    """Return the sagas that failed and were not closed, the first that stopped first."""
    pages = _dynamodb.get_paginator("scan").paginate(TableName=_TABLE, ConsistentRead=True)
    items = [
        {name: value["S"] for name, value in item.items() if "S" in value} for page in pages for item in page["Items"]
    ]
    for item in sorted(items, key=lambda item: item["stopped_at"]):
        if item["status"] != "ABORTED" and "closed_at" not in item:
            yield _described(item["execution_arn"], (item.get("state"), item.get("error")), item["stopped_at"])


def _described(arn: str, group: tuple[str | None, str | None], reported_at: str) -> StuckSaga:
    try:
        execution = _stepfunctions.describe_execution(executionArn=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] not in UNKNOWN:
            raise
        # Step Functions keeps an execution for 90 days; people must close its entry.
        logger.warning("unknown", extra={"saga_id": arn})
        return StuckSaga(
            arn=arn, group=group, reported_at=reported_at, outcome=Outcome.STUCK, stopped_at=None, redrives=_LIMIT
        )
    return StuckSaga(
        arn=arn,
        group=group,
        reported_at=reported_at,
        outcome=outcome_of(execution, clean_error=_CLEAN_ERROR),
        stopped_at=execution.get("stopDate"),
        redrives=execution.get("redriveCount", 0),
    )


def _redrive_groups(sagas: Iterable[StuckSaga], deadline: float) -> list[StuckSaga]:
    """Redrive what is due; return it as it ended. A group of which a saga is running waits for the next call."""
    groups: defaultdict[tuple[str | None, str | None], list[StuckSaga]] = defaultdict(list)
    for saga in sagas:
        groups[saga.group].append(saga)
    due = [
        [saga for saga in members if saga.is_due]
        for members in groups.values()
        if not any(saga.outcome is Outcome.RUNNING for saga in members)
    ]
    due = [members for members in due if members]
    ended = _redrive([members[0] for members in due], deadline)
    proven = {saga.arn for saga in ended if saga.has_recovered}
    for members in due:
        rest = members[1:] if members[0].arn in proven else []
        for start in range(0, len(rest), AT_A_TIME):
            if time.monotonic() >= deadline:
                break
            some = _redrive(rest[start : start + AT_A_TIME], deadline)
            ended += some
            if any(not saga.has_recovered for saga in some):
                break
    return ended


def _redrive(sagas: Sequence[StuckSaga], deadline: float) -> list[StuckSaga]:
    """Redrive the sagas and wait for their ends, or until the deadline; return them as they are then."""
    before = {saga.arn: saga for saga in sagas if _is_redriven(saga)}
    while True:
        now = {arn: _described(arn, saga.group, saga.reported_at) for arn, saga in before.items()}
        # DescribeExecution is eventually consistent: it may still show the stop before the redrive.
        is_over = all(
            one.has_recovered or (one.outcome is Outcome.STUCK and one.stopped_at != before[arn].stopped_at)
            for arn, one in now.items()
        )
        if is_over or time.monotonic() >= deadline:
            return list(now.values())
        time.sleep(POLL_SECONDS)


def _is_redriven(saga: StuckSaga) -> bool:
    """Redrive the saga; return whether Step Functions accepts that."""
    try:
        _stepfunctions.redrive_execution(executionArn=saga.arn)
    except _stepfunctions.exceptions.ExecutionNotRedrivable as rejection:
        # Somebody else has redriven it, or AWS no longer can.
        logger.warning("not redriven", extra={"saga_id": saga.arn, "reason": str(rejection)})
        return False
    return True


def _clear(recovered: Sequence[StuckSaga]) -> None:
    """Remove the entries of sagas that have recovered, and their messages, so that the alarm clears."""
    for saga in recovered:
        try:
            _dynamodb.delete_item(
                TableName=_TABLE,
                Key={"execution_arn": {"S": saga.arn}},
                # Not an entry that somebody has closed.
                ConditionExpression="attribute_not_exists(closed_at)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
    arns = {saga.arn for saga in recovered}
    for _ in range(MAX_RECEIVES if arns else 0):
        received = _sqs.receive_message(
            QueueUrl=_QUEUE_URL, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_SECONDS
        ).get("Messages", [])
        if not received:
            break
        for message in received:
            body = parsed_json(message["Body"])
            if isinstance(body, dict) and body.get("executionArn") in arns:
                _sqs.delete_message(QueueUrl=_QUEUE_URL, ReceiptHandle=message["ReceiptHandle"])
