"""The queue of stuck sagas: removes messages that are out of date. Listings do not read it."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.saga_runtime.redaction import parsed_json

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

# How long messages stay hidden if this program is killed before it makes them visible again.
HIDDEN_SECONDS = 60
# Long polling asks all servers of a queue, a short poll only some (SQS Developer Guide, "Short and long polling").
WAIT_SECONDS = 1
# Stop before the first message becomes visible again.
READ_SECONDS = 40
BATCH = 10


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of the queue. ``arn`` is empty if it is not a report; ``stopped_at`` is when the execution stopped."""

    receipt: str
    arn: str
    stopped_at: datetime | None


@dataclass(kw_only=True)
class QueueContents:
    """The messages that were received, whether these are all, and the receipts of those that were removed since."""

    messages: list[Message] = field(default_factory=list)
    complete: bool = False
    removed: set[str] = field(default_factory=set)


class StuckQueue:
    """The queue in the stack's output ``StuckSagasQueueUrl``."""

    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url

    def undelivered(self) -> int | None:
        """Return about how many reports are in the dead-letter queue; None without the permission to ask."""
        try:
            policy = parsed_json(self._attribute(self._url, "RedrivePolicy"))
            if not isinstance(policy, dict):
                return 0
            name = policy["deadLetterTargetArn"].rsplit(":", 1)[-1]
            url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
            return int(self._attribute(url, "ApproximateNumberOfMessages") or 0)
        except ClientError:
            return None

    def _attribute(self, url: str, name: "QueueAttributeNameType") -> str | None:
        return self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name]).get("Attributes", {}).get(name)

    @contextlib.contextmanager
    def read_all(self) -> Iterator[QueueContents]:
        """Receive all messages. After the block, those that were not removed are visible again."""
        contents = QueueContents()
        try:
            deadline = time.monotonic() + READ_SECONDS
            while time.monotonic() < deadline:
                if not (messages := self._receive()):
                    contents.complete = True
                    break
                contents.messages += messages
            yield contents
        finally:
            self._show([message for message in contents.messages if message.receipt not in contents.removed])

    def remove(self, contents: QueueContents, messages: Iterable[Message]) -> int:
        """Remove messages; return how many were removed."""
        for batch in _batches(list(messages)):
            entries = [{"Id": str(i), "ReceiptHandle": message.receipt} for i, message in enumerate(batch)]
            answer = self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=entries,  # type: ignore[arg-type]  # plain dicts in the shape of the TypedDict
            )
            contents.removed |= {batch[int(entry["Id"])].receipt for entry in answer.get("Successful", [])}
        return len(contents.removed)

    def _receive(self) -> list[Message]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
        )
        return [_read(message["ReceiptHandle"], message["Body"]) for message in answer.get("Messages", [])]

    def _show(self, messages: Sequence[Message]) -> None:
        for batch in _batches(messages):
            # On failure they become visible after HIDDEN_SECONDS.
            with contextlib.suppress(BotoCoreError, ClientError):
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(i), "ReceiptHandle": message.receipt, "VisibilityTimeout": 0}
                        for i, message in enumerate(batch)
                    ],
                )


def _read(receipt: str, body: str) -> Message:
    parsed = parsed_json(body)
    report = parsed if isinstance(parsed, dict) else {}
    arn, stopped = report.get("executionArn"), report.get("stopDate")
    return Message(
        receipt=receipt,
        arn=arn if isinstance(arn, str) else "",
        stopped_at=datetime.fromtimestamp(stopped / 1000, UTC) if isinstance(stopped, int | float) else None,
    )


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    return (messages[i : i + BATCH] for i in range(0, len(messages), BATCH))
