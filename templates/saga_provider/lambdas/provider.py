"""A client of the payment provider: charge a card, and cancel a charge, each by an idempotency key.

No error repeats a request or a response, because it may contain a card number.
"""

import contextlib
import http.client
import json
import os
import socket
import threading
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from lambdas.saga_runtime.errors import InvalidInput, StepCompensated
from lambdas.saga_runtime.provider_calls import ProviderRequest
from lambdas.saga_runtime.steps import Attributes
from lambdas.saga_runtime.validation import amount

# For each wait for a byte, and for the whole call; well below the function's timeout (saga.py).
TIMEOUT_SECONDS = 3.0
DEADLINE_SECONDS = 9.0

LOOPBACK = "127.0.0.1"


class ProviderError(Exception):
    """The outcome is unknown: the provider did not respond as expected. Calling again is safe."""


def charge(request: ProviderRequest) -> Attributes:
    """Charge the card with the price, once for each key.

    Raises InvalidInput if the card is declined, StepCompensated if the key was cancelled, otherwise ProviderError.
    """
    sale = request.input
    status, response = _post(
        "/charges",
        request.key,
        {"reference": sale["sale_id"], "amount": str(amount("price")(sale)), "card_no": sale["card_no"]},
    )
    match status, response:
        case HTTPStatus.CREATED, {"charge_id": str(charge_id)}:
            return {"charge_id": charge_id}
        case HTTPStatus.PAYMENT_REQUIRED, _:
            raise InvalidInput("card_no was declined by the payment provider: use another card")
        case HTTPStatus.CONFLICT, _:
            raise StepCompensated("the payment provider has cancelled this charge: it arrived too late")
    raise ProviderError(f"the payment provider responded with status {status}")


def cancel(request: ProviderRequest) -> Attributes:
    """Refund what was charged with this key, if anything, and reject later charges with it. Raises ProviderError."""
    status, response = _post("/cancellations", request.key, {})
    match status, response:
        case HTTPStatus.OK, {"refunded": str(refunded)}:
            return {"refunded": refunded}
    raise ProviderError(f"the payment provider responded with status {status}")


def _post(path: str, key: str, body: dict[str, object]) -> tuple[int, Any]:
    url = urlsplit(os.environ["PROVIDER_URL"])
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.netloc, timeout=TIMEOUT_SECONDS)
    elif url.hostname == LOOPBACK:
        connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_SECONDS)
    else:
        raise ProviderError("PROVIDER_URL must begin with https://, because card numbers are sent there")
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    try:
        connection.connect()
        # A response that trickles in would never exceed the timeout.
        deadline = threading.Timer(DEADLINE_SECONDS, _shut_down, [connection.sock])
        deadline.start()
        try:
            connection.request("POST", url.path.rstrip("/") + path, json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            deadline.cancel()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProviderError(f"the payment provider did not respond: {type(error).__name__}") from None
    finally:
        connection.close()


def _shut_down(connected: socket.socket) -> None:
    """End every read and write of the socket."""
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
