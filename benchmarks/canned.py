"""AWS answers from memory: no request of this process leaves it, and every one is counted.

It stands at botocore's own last step before the network, so that building, signing and parsing are the real ones,
and the same for whatever client is measured.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import botocore.handlers
from botocore.awsrequest import AWSResponse

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

requests: list[str] = []


class _Body:
    """The little that AWSResponse asks of a body."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def install() -> None:
    """From now on, requests of clients that are made afterwards succeed at once with an empty answer."""
    botocore.handlers.BUILTIN_HANDLERS.append(("before-send", _answer))


def _answer(request: "AWSPreparedRequest", **_: object) -> AWSResponse:
    operation = request.headers["X-Amz-Target"]
    requests.append(sys.intern(operation.decode() if isinstance(operation, bytes) else operation))
    body = b"{}"
    headers = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(body))}
    return AWSResponse(request.url, 200, headers, _Body(body))
