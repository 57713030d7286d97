"""RedriveStuckSagas: redrive the sagas that failed, with growing pauses, so that most of them need no operator.

A schedule calls the function. In each call

* it removes the entries and messages of sagas that have recovered,
* it redrives one saga of each group, the one that stopped first, and waits for its end; a group is the sagas that
  failed in the same state with the same error,
* as soon as that one has recovered, it redrives the others of its group that are due, a few at a time, until one does
  not recover.

A saga is due if it was redriven less often than the limit and its pause is over. The pause is three times as long after
each redrive. Every redrive counts, those by operators too (``redriveCount``: Step Functions API Reference,
DescribeExecution). A saga that somebody has stopped or closed is not redriven: the function asks right before.
"""

import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdas.saga_runtime.observability import count, logger
from lambdas.saga_runtime.outcome import Outcome, outcome_of
from lambdas.saga_runtime.redaction import parsed_json

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
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
# Long polling asks all servers of a queue, a short poll only some (SQS Developer Guide, "Short and long polling").
WAIT_SECONDS = 1
# For how long other readers do not see a message, and for how long the queue is read: then the first is visible again.
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
    """A saga with an open entry in the table of stuck sagas, as it was reported or as Step Functions has it now.

    Args:
        arn: the ARN of its execution.
        group: the state and the error in its entry.
        outcome: how its execution ended, if it has ended.
        is_aborted: whether somebody stopped it.
        stopped_at: when it stopped last.
        redrives: how often it was redriven; the limit if AWS redrives it no more.
    """

    arn: str
    group: tuple[str | None, str | None]
    outcome: Outcome = Outcome.STUCK
    is_aborted: bool = False
    stopped_at: datetime
    redrives: int

    @property
    def has_recovered(self) -> bool:
        """Whether it ended cleanly."""
        return self.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)

    @property
    def is_exhausted(self) -> bool:
        """Whether the function redrives it no more."""
        return self.outcome is Outcome.STUCK and not self.is_aborted and self.redrives >= _LIMIT

    @property
    def is_due(self) -> bool:
        """Whether it may be redriven now."""
        if self.outcome is not Outcome.STUCK or self.is_aborted or self.is_exhausted:
            return False
        return datetime.now(UTC) >= self.stopped_at + _FIRST_PAUSE * int(FACTOR**self.redrives)


def handler(_event: object, context: object) -> dict[str, int]:
    """Return how many sagas recovered, how many were redriven, and how many need people.

    Raises botocore's errors if a service does not respond; the next call continues.
    """
    remaining = getattr(context, "get_remaining_time_in_millis", lambda: 2 * RESERVE_SECONDS * 1000)() / 1000
    started, seconds = time.monotonic(), remaining - RESERVE_SECONDS
    # At most half of the call, however many entries there are: the rest stay as they were reported.
    sagas = [_described(saga) if time.monotonic() < started + seconds / 2 else saga for saga in _reported()]
    redriven = _redrive_groups(sagas, started + seconds)
    present = {saga.arn: saga for saga in [*sagas, *redriven]}.values()
    recovered = {saga.arn for saga in present if saga.has_recovered}
    _clear(recovered)
    exhausted = sum(saga.is_exhausted for saga in present)
    if exhausted:
        count("RedrivesExhausted")
    answer = {"recovered": len(recovered), "redriven": len(redriven), "exhausted": exhausted}
    logger.info("redrives", extra=answer)
    return answer


def _reported() -> list[StuckSaga]:
    """Return the sagas in open entries, in the order in which they stopped."""
    pages = _dynamodb.get_paginator("scan").paginate(TableName=_TABLE, ConsistentRead=True)
    sagas = [
        StuckSaga(
            arn=item["execution_arn"]["S"],
            group=(item.get("state", {}).get("S"), item.get("error", {}).get("S")),
            stopped_at=datetime.fromisoformat(item["stopped_at"]["S"]),
            redrives=int(item.get("redrive_count", {}).get("N", 0)),
        )
        for page in pages
        for item in page["Items"]
        if _is_open(item)
    ]
    return sorted(sagas, key=lambda saga: saga.stopped_at)


def _is_open(entry: "Mapping[str, AttributeValueTypeDef]") -> bool:
    """Return whether it is the entry of a saga that nobody has stopped or closed."""
    return bool(entry) and entry["status"]["S"] != "ABORTED" and "closed_at" not in entry


def _described(saga: StuckSaga) -> StuckSaga:
    """Return the saga as Step Functions has it now."""
    try:
        execution = _stepfunctions.describe_execution(executionArn=saga.arn)
    except ClientError as error:
        if error.response["Error"]["Code"] not in UNKNOWN:
            raise
        # Step Functions keeps an execution for 90 days; people must close its entry.
        logger.warning("unknown", extra={"saga_id": saga.arn})
        return replace(saga, redrives=_LIMIT)
    # What AWS does not redrive, such as after 14 days, needs people as well.
    redrives = _LIMIT if execution.get("redriveStatus") == "NOT_REDRIVABLE" else execution.get("redriveCount", 0)
    return replace(
        saga,
        outcome=outcome_of(execution, clean_error=_CLEAN_ERROR),
        is_aborted=execution["status"] == "ABORTED",
        stopped_at=execution.get("stopDate", saga.stopped_at),
        redrives=redrives,
    )


def _redrive_groups(sagas: Iterable[StuckSaga], deadline: float) -> list[StuckSaga]:
    """Redrive what is due; return it as it ended. A group of which a saga is running waits for the next call.

    The groups do not wait for each other: one may be slow.
    """
    groups: defaultdict[tuple[str | None, str | None], list[StuckSaga]] = defaultdict(list)
    for saga in sagas:
        groups[saga.group].append(saga)
    waiting = [group for group in groups.values() if all(saga.outcome is not Outcome.RUNNING for saga in group)]
    with ThreadPoolExecutor(len(waiting) or 1) as pool:
        ended = pool.map(lambda group: _redrive_group(group, deadline), waiting)
        return [saga for group in ended for saga in group]


def _redrive_group(group: Iterable[StuckSaga], deadline: float) -> list[StuckSaga]:
    """Redrive one saga, then a few at a time, until one does not recover; return them as they ended."""
    ended: list[StuckSaga] = []
    redrives, at_a_time = _redrives(group), 1
    while time.monotonic() < deadline and (begun := list(islice(redrives, at_a_time))):
        ended += _ended(begun, deadline)
        if not all(saga.has_recovered for saga in ended):
            break
        at_a_time = AT_A_TIME
    return ended


def _redrives(group: Iterable[StuckSaga]) -> Iterator[StuckSaga]:
    """Redrive the next saga that is due, each time one is asked for; yield it as it was before."""
    for saga in group:
        if saga.is_due and (present := _described(saga)).is_due and _has_open_entry(saga) and _is_redriven(saga):
            yield present


def _has_open_entry(saga: StuckSaga) -> bool:
    answer = _dynamodb.get_item(TableName=_TABLE, Key={"execution_arn": {"S": saga.arn}}, ConsistentRead=True)
    return _is_open(answer.get("Item", {}))


def _is_redriven(saga: StuckSaga) -> bool:
    """Redrive the saga; return whether Step Functions accepts that."""
    try:
        _stepfunctions.redrive_execution(executionArn=saga.arn)
    except _stepfunctions.exceptions.ExecutionNotRedrivable as rejection:
        # Somebody else has redriven it, or AWS no longer can.
        logger.warning("not redriven", extra={"saga_id": saga.arn, "reason": str(rejection)})
        return False
    return True


def _ended(begun: Sequence[StuckSaga], deadline: float) -> list[StuckSaga]:
    """Wait for the ends of the sagas, or until the deadline; return them as they are then."""
    while True:
        present = [_described(saga) for saga in begun]
        # DescribeExecution is eventually consistent: it may still show the stop before the redrive.
        is_over = all(
            one.has_recovered or (one.outcome is Outcome.STUCK and one.stopped_at != before.stopped_at)
            for one, before in zip(present, begun, strict=True)
        )
        if is_over or time.monotonic() >= deadline:
            return present
        time.sleep(POLL_SECONDS)


def _clear(recovered: Collection[str]) -> None:
    """Remove the messages of sagas that have recovered, so that the alarm clears, and then their entries.

    The entries stay unless the queue was read to its end: so the next call looks for their messages again.
    """
    if not recovered or not _has_removed_messages(recovered):
        return
    for arn in recovered:
        try:
            _dynamodb.delete_item(
                TableName=_TABLE,
                Key={"execution_arn": {"S": arn}},
                # Not an entry that somebody has closed.
                ConditionExpression="attribute_not_exists(closed_at)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def _has_removed_messages(arns: Collection[str]) -> bool:
    """Remove the messages about these executions; return whether the queue was read to its end."""
    deadline = time.monotonic() + HIDDEN_SECONDS
    while time.monotonic() < deadline:
        messages = _sqs.receive_message(
            QueueUrl=_QUEUE_URL,
            MaxNumberOfMessages=10,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
        ).get("Messages", [])
        if not messages:
            return True
        for message in messages:
            body = parsed_json(message["Body"])
            if isinstance(body, dict) and body.get("executionArn") in arns:
                _sqs.delete_message(QueueUrl=_QUEUE_URL, ReceiptHandle=message["ReceiptHandle"])
    return False
