"""PublishOutcome: publish an event whenever a saga ends by a write to the row of the first step.

The row reaches a final status, or a saga that has never written to it raises the fence of a compensated row: that saga
is rolled back too. The stream of the table calls the function, so that an event and the write that it reports cannot
disagree. The records of a key arrive in order and at least once; a batch that fails is repeated, and the later records
of its shard wait. So a record that no repetition would make an event of goes to the dead-letter queue instead.
"""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.types import TypeDeserializer

from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.outcome_events import CLIENT_CONFIG, OutcomeEvent, publish

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_BUS = os.environ["EVENT_BUS"]
_KEY = os.environ["KEY_FIELD"]
# The names of the events by the entity and the status of the row, such as ``{"ROOM BOOKED": "RoomBooked"}``.
_EVENTS: Mapping[str, str] = json.loads(os.environ["EVENTS"])
_UNDELIVERED = os.environ["UNDELIVERED_QUEUE_URL"]
_SOURCE = os.environ["POWERTOOLS_METRICS_NAMESPACE"]
_deserialize = TypeDeserializer().deserialize
_sqs: "SQSClient" = boto3.client("sqs", config=CLIENT_CONFIG)


def handler(event: dict[str, Any], _context: object) -> None:
    """Publish the events of a batch of records. Raises NotPublishedError, and botocore's errors."""
    events, rejected = [], []
    for record in event["Records"]:
        images = record["dynamodb"]
        try:
            one = _event_of(_row(images["NewImage"]), _row(images.get("OldImage", {})))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # Its message may contain a value of the row.
            rejected.append({"keys": images.get("Keys"), "error": type(error).__name__})
        else:
            events += [one] if one is not None else []
    publish(events, bus=_BUS, source=_SOURCE)
    for one in events:
        logger.info("published", extra={"event": one.name, one.key[0]: one.key[1], "saga_id": one.saga})
    for message in rejected:
        _sqs.send_message(QueueUrl=_UNDELIVERED, MessageBody=json.dumps(message))
        logger.error("cannot read the record", extra=message)


def _row(image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _deserialize(value) for name, value in image.items()}


def _event_of(row: Mapping[str, Any], before: Mapping[str, Any]) -> OutcomeEvent | None:
    """Return the event that reports a change of the row; None if no saga ended by it."""
    if row["status"] != before.get("status"):
        last = row["history"][-1]
        # The state that completes a saga records its time beside the history.
        time = last["at"] if last["status"] == row["status"] else row["confirmed_at"]
    elif row.get("fenced_by") != before.get("fenced_by"):
        (last,) = row["fenced_by"]
        time = last["at"]
    else:
        return None
    return OutcomeEvent(
        name=_EVENTS[f"{row['entity']} {row['status']}"],
        key=(_KEY, row[_KEY]),
        saga=last["saga_id"],
        time=time,
        reason=last.get("reason"),
    )
