"""PublishOutcome: publish an event whenever the row of the first step reaches a final status.

The stream of the table calls the function, so that an event and the write that it reports cannot disagree. The records
of a key arrive in order and at least once; a batch that fails is repeated as a whole.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.outcome_events import OutcomeEvent, publish

_BUS = os.environ["EVENT_BUS"]
_KEY = os.environ["KEY_FIELD"]
# The names of the events by the entity and the status of the row, such as ``{"ROOM BOOKED": "RoomBooked"}``.
_EVENTS: Mapping[str, str] = json.loads(os.environ["EVENTS"])
_SOURCE = os.environ["POWERTOOLS_METRICS_NAMESPACE"]
_deserialize = TypeDeserializer().deserialize


def handler(event: dict[str, Any], _context: object) -> None:
    """Publish the events of a batch of records. Raises NotPublishedError, and botocore's errors."""
    events = [_event_of(record["dynamodb"]["NewImage"]) for record in event["Records"]]
    publish(events, bus=_BUS, source=_SOURCE)
    for one in events:
        logger.info("published", extra={"event": one.name, one.key[0]: one.key[1], "saga_id": one.saga})


def _event_of(image: Mapping[str, Any]) -> OutcomeEvent:
    row = {name: _deserialize(value) for name, value in image.items()}
    last = row["history"][-1]
    # The state that completes a saga records its time beside the history.
    time = last["at"] if last["status"] == row["status"] else row["confirmed_at"]
    return OutcomeEvent(
        name=_EVENTS[f"{row['entity']} {row['status']}"],
        key=(_KEY, row[_KEY]),
        saga=row["saga_id"],
        time=time,
        reason=last.get("reason"),
    )
