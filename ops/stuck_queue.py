"""The queue of stuck sagas: looked at without taking anything away, and cleared of what is over."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ops.words import parsed

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# How long messages stay hidden while they are looked at, should this program be killed before it shows them again.
HIDDEN_SECONDS = 60
# Long polling asks all servers of a queue; a short poll only some (SQS Developer Guide, "Short and long polling").
WAIT_SECONDS = 1
# Stop before the first message that was received comes into sight again.
LOOK_SECONDS = 40
BATCH = 10


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of the queue. ``arn`` is None if it is no report; ``stopped_at`` is the stop that it tells of."""

    receipt: str
    arn: str | None
    stopped_at: datetime | None


class StuckQueue:
    """The queue behind a stack's output ``StuckSagasQueueUrl``."""

    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url

    @contextlib.contextmanager
    def looked_at(self) -> "Iterator[Look]":
        """All messages that can be had now. What is not removed in the block is visible again after it."""
        look = Look()
        try:
            deadline = time.monotonic() + LOOK_SECONDS
            while time.monotonic() < deadline:
                if not (messages := self._receive()):
                    look.complete = True
                    break
                look.messages += messages
            yield look
        finally:
            self._show([message for message in look.messages if message.receipt not in look.removed])

    def remove(self, look: "Look", messages: Iterable[Message]) -> int:
        """Remove messages; returns how many. Those that may not be removed stay."""
        for some in _batches(list(messages)):
            entries = [{"Id": str(i), "ReceiptHandle": message.receipt} for i, message in enumerate(some)]
            answer = self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=entries,  # type: ignore[arg-type]  # a list of plain dicts, shaped as it should be
            )
            look.removed |= {some[int(done["Id"])].receipt for done in answer.get("Successful", [])}
        return len(look.removed)

    def _receive(self) -> list[Message]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
        )
        return [_read(message["ReceiptHandle"], message["Body"]) for message in answer.get("Messages", [])]

    def _show(self, messages: Sequence[Message]) -> None:
        for some in _batches(messages):
            # Should it fail, they come into sight by themselves.
            with contextlib.suppress(BotoCoreError, ClientError):
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(i), "ReceiptHandle": message.receipt, "VisibilityTimeout": 0}
                        for i, message in enumerate(some)
                    ],
                )


class Look:
    """The messages that were received, whether these are all, and the receipts of those that were removed since."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.complete = False
        self.removed: set[str] = set()


def _read(receipt: str, body: str) -> Message:
    told = parsed(body)
    arn = told.get("executionArn") if isinstance(told, dict) else None
    stopped = told.get("stopDate") if isinstance(told, dict) else None
    return Message(
        receipt=receipt,
        arn=arn if isinstance(arn, str) and arn else None,
        stopped_at=datetime.fromtimestamp(stopped / 1000, UTC) if isinstance(stopped, int | float) else None,
    )


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    return (messages[i : i + BATCH] for i in range(0, len(messages), BATCH))
