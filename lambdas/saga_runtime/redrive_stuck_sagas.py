"""RedriveStuckSagas: redrive the sagas that failed, with growing pauses, so that most of them need no operator.

A schedule calls the function. In each call

* it removes the entries and messages of sagas that have recovered,
* it redrives one saga of each group, the one that stopped first, and waits for its end; a group is the sagas that
  failed in the same state with the same error,
* as soon as that one has recovered, it redrives the others of its group that are due, a few at a time, until one does
  not recover.

A saga is due if it was redriven less often than the limit and its pause is over. The pause is three times as long after
each redrive. Every redrive counts, those by operators too (``redriveCount``: Step Functions API Reference,
DescribeExecution). A saga that somebody has ever closed, or has stopped, is not redriven: the function asks right
before.
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
# AWS redrives for 14 days after the stop (Step Functions Developer Guide, "Restarting state machine executions").
REDRIVABLE = timedelta(days=14)
# For how long a saga that runs again holds back its group. By then the retries of a compensation are exhausted
# (COMPENSATION_RETRY in saga_stack/construct/stages.py): if it still runs, it has passed its state, or waits for days.
HOLDS_BACK = timedelta(minutes=30)
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
_FIRST_PAUSE = int(os.environ["FIRST_PAUSE_SECONDS"])
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
        is_for_people: whether somebody stopped it or closed it before, so that only people may redrive it.
        stopped_at: when it stopped last.
        redriven_at: when it was redriven last.
        redrives: how often it was redriven; the limit if AWS redrives it no more.
    """

    arn: str
    group: tuple[str | None, str | None]
    outcome: Outcome = Outcome.STUCK
    is_for_people: bool = False
    stopped_at: datetime
    redriven_at: datetime | None = None
    redrives: int

    @property
    def has_recovered(self) -> bool:
        """Whether it ended cleanly."""
        return self.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)

    @property
    def holds_back_its_group(self) -> bool:
        """Whether it was redriven a short time ago and runs, so that nobody knows yet whether its cause is fixed."""
        if self.outcome is not Outcome.RUNNING:
            return False
        return self.redriven_at is None or datetime.now(UTC) < self.redriven_at + HOLDS_BACK

    @property
    def is_exhausted(self) -> bool:
        """Whether the function redrives it no more, also because AWS would not after its next pause."""
        is_last = self.redrives >= _LIMIT or self._pause >= REDRIVABLE.total_seconds()
        return self.outcome is Outcome.STUCK and not self.is_for_people and is_last

    @property
    def is_due(self) -> bool:
        """Whether it may be redriven now."""
        if self.outcome is not Outcome.STUCK or self.is_for_people or self.is_exhausted:
            return False
        return datetime.now(UTC) >= self.stopped_at + timedelta(seconds=self._pause)

    @property
    def _pause(self) -> int:
        """The seconds before the next redrive; no timedelta, which has a maximum."""
        return _FIRST_PAUSE * int(FACTOR**self.redrives)


def handler(_event: object, context: object) -> dict[str, int]:
    """Return how many sagas recovered, how many were redriven, and how many need people.

    Raises botocore's errors if a service does not respond; the next call continues.
    """
    remaining = getattr(context, "get_remaining_time_in_millis", lambda: 2 * RESERVE_SECONDS * 1000)() / 1000
    started, seconds = time.monotonic(), remaining - RESERVE_SECONDS
    # At most half of the call, however many entries there are: the rest stay as they were reported.
    sagas = {saga.arn: _described(saga) if time.monotonic() < started + seconds / 2 else saga for saga in _reported()}
    redriven = _redrive_groups(sagas, started + seconds)
    recovered = {saga.arn for saga in sagas.values() if saga.has_recovered}
    _clear(recovered)
    exhausted = sum(saga.is_exhausted for saga in sagas.values())
    if exhausted:
        count("RedrivesExhausted")
    answer = {"recovered": len(recovered), "redriven": redriven, "exhausted": exhausted}
    logger.info("redrives", extra=answer)
    return answer


def _reported() -> list[StuckSaga]:
    """Return the sagas in open entries, in the order in which they stopped."""
    pages = _dynamodb.get_paginator("scan").paginate(TableName=_TABLE, ConsistentRead=True)
    sagas = [
        StuckSaga(
            arn=item["execution_arn"]["S"],
            group=(item.get("state", {}).get("S"), item.get("error", {}).get("S")),
            is_for_people=not _is_redrivable(item),
            stopped_at=datetime.fromisoformat(item["stopped_at"]["S"]),
            redrives=int(item.get("redrive_count", {}).get("N", 0)),
        )
        for page in pages
        for item in page["Items"]
        if "closed_at" not in item
    ]
    return sorted(sagas, key=lambda saga: saga.stopped_at)


def _is_redrivable(entry: "Mapping[str, AttributeValueTypeDef]") -> bool:
    """Return whether it is the entry of a saga that nobody has stopped and nobody has ever closed.

    The reason of a closure stays when the saga gets stuck again (report_stuck_saga.py).
    """
    return bool(entry) and entry["status"]["S"] != "ABORTED" and "closed_because" not in entry


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
        is_for_people=saga.is_for_people or execution["status"] == "ABORTED",
        stopped_at=execution.get("stopDate", saga.stopped_at),
        redriven_at=execution.get("redriveDate"),
        redrives=redrives,
    )


def _redrive_groups(sagas: dict[str, StuckSaga], deadline: float) -> int:
    """Redrive what is due; return how many. Replace in ``sagas`` those that were described, as they are now.

    A group waits for the next call if one of its sagas was redriven a short time ago and still runs. The groups do not
    wait for each other: one may be slow.
    """
    groups: defaultdict[tuple[str | None, str | None], list[StuckSaga]] = defaultdict(list)
    for saga in sagas.values():
        groups[saga.group].append(saga)
    free = [group for group in groups.values() if not any(saga.holds_back_its_group for saga in group)]
    with ThreadPoolExecutor(len(free) or 1) as pool:
        return sum(pool.map(lambda group: _redrive_group(group, sagas, deadline), free))


def _redrive_group(group: Iterable[StuckSaga], sagas: dict[str, StuckSaga], deadline: float) -> int:
    """Redrive one saga, then a few at a time, until one does not recover; return how many."""
    redrives, at_a_time, redriven = _redrives(group, sagas, deadline), 1, 0
    while time.monotonic() < deadline and (begun := list(islice(redrives, at_a_time))):
        redriven += len(begun)
        ended = _ended(begun, deadline)
        sagas |= {saga.arn: saga for saga in ended}
        if not all(saga.has_recovered for saga in ended):
            break
        at_a_time = AT_A_TIME
    return redriven


def _redrives(group: Iterable[StuckSaga], sagas: dict[str, StuckSaga], deadline: float) -> Iterator[StuckSaga]:
    """Redrive the next saga that is due, each time one is asked for; yield it as it was before."""
    for saga in group:
        if time.monotonic() >= deadline:
            return
        if not saga.is_due:
            continue
        present = sagas[saga.arn] = _described(saga)
        if present.is_due and _has_redrivable_entry(saga) and _is_redriven(saga):
            yield present


def _has_redrivable_entry(saga: StuckSaga) -> bool:
    answer = _dynamodb.get_item(TableName=_TABLE, Key={"execution_arn": {"S": saga.arn}}, ConsistentRead=True)
    return _is_redrivable(answer.get("Item", {}))


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

    The entries stay unless all messages were read: so the next call looks for theirs again.
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
    """Remove the messages about these executions; return whether all messages of the queue were read."""
    deadline = time.monotonic() + HIDDEN_SECONDS
    kept: set[str] = set()
    while time.monotonic() < deadline:
        messages = _sqs.receive_message(
            QueueUrl=_QUEUE_URL,
            MaxNumberOfMessages=10,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
        ).get("Messages", [])
        if not messages:
            return _message_count() <= len(kept)
        for message in messages:
            body = parsed_json(message["Body"])
            if isinstance(body, dict) and body.get("executionArn") in arns:
                _sqs.delete_message(QueueUrl=_QUEUE_URL, ReceiptHandle=message["ReceiptHandle"])
            else:
                kept.add(message["MessageId"])
    return False


def _message_count() -> int:
    """Return about how many messages the queue has, with those that another reader hides, such as an operator."""
    answer = _sqs.get_queue_attributes(
        QueueUrl=_QUEUE_URL,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    return sum(map(int, answer["Attributes"].values()))
