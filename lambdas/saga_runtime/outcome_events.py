"""The events by which other systems learn the outcome of a saga. docs/api.md has the contract."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import boto3
from botocore.config import Config

from lambdas.saga_runtime.steps import Key

# One request ends within the timeouts of its functions, its repetitions included.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=4, retries={"mode": "standard", "total_max_attempts": 3})
# Raised when a field changes its meaning or is removed. A new field does not raise it.
VERSION = "1"
# The most events that PutEvents accepts (EventBridge API Reference).
BATCH = 10

_events = boto3.client("events", config=CLIENT_CONFIG)


class NotPublishedError(Exception):
    """EventBridge rejected an event."""


@dataclass(frozen=True, kw_only=True)
class OutcomeEvent:
    """The outcome of a saga.

    Args:
        name: the name of the event, such as ``BookingConfirmed``.
        key: the key of the input.
        saga: the ARN of the execution.
        time: when the saga reached the outcome.
        reason: why it failed or got stuck; None if it did not.
    """

    name: str
    key: Key
    saga: str
    time: str
    reason: str | None


def publish(events: Sequence[OutcomeEvent], *, bus: str, source: str) -> None:
    """Publish events in order. Raises NotPublishedError if EventBridge rejects one, and botocore's errors.

    Args:
        events: the events.
        bus: the name of the event bus.
        source: what the events say they come from: the name of the stack.
    """
    for start in range(0, len(events), BATCH):
        answer = _events.put_events(
            Entries=[
                {"EventBusName": bus, "Source": source, "DetailType": event.name, "Detail": _detail(event)}
                for event in events[start : start + BATCH]
            ]
        )
        if answer["FailedEntryCount"]:
            codes = sorted({entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry})
            raise NotPublishedError(f"EventBridge rejected {answer['FailedEntryCount']} events: {', '.join(codes)}")


def _detail(event: OutcomeEvent) -> str:
    name, value = event.key
    return json.dumps({"version": VERSION, name: value, "saga": event.saga, "time": event.time, "reason": event.reason})
