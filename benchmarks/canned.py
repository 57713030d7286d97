"""AWS answers from memory: no request of this process leaves it.

It stands at botocore's own last step before the network, so that building, signing and parsing are the real ones,
and the same for whatever client is measured.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import botocore.handlers
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

ANSWERS = {
    "AWSStepFunctions.DescribeExecution": b'{"status": "FAILED", "error": "Lambda.Unknown", "cause": "out of memory"}',
    "AWSStepFunctions.GetExecutionHistory": b'{"events": [{"id": 2, "type": "TaskStateEntered", "timestamp": 1.0,'
    b' "stateEnteredEventDetails": {"name": "RefundPayment"}}]}',
}
_NOTHING = b"{}"


class _Body:
    """The little that AWSResponse asks of a body."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def install() -> None:
    """From now on, requests of clients that are made afterwards are answered from here."""
    botocore.handlers.BUILTIN_HANDLERS.append(("before-send", _answer))


def _answer(request: "AWSPreparedRequest", **_: object) -> AWSResponse:
    operation = request.headers["X-Amz-Target"]
    name = operation.decode() if isinstance(operation, bytes) else operation
    body = ANSWERS.get(name, _NOTHING)
    headers = HTTPHeaders()
    headers["Content-Type"] = "application/x-amz-json-1.0"
    headers["Content-Length"] = str(len(body))
    return AWSResponse(request.url, 200, headers, _Body(body))
