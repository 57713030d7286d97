"""Stripe's own client, with one deadline for all requests of a function, and the API key of the function."""

import contextlib
import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import stripe
from stripe import StripeClient

from lambdas.saga_runtime.own_secrets import OwnSecret

API_KEY = OwnSecret("STRIPE_KEY")
# For each wait for a byte, and for all requests of a call; well below the function's timeout (saga.py).
TIMEOUT_SECONDS = 3.0
DEADLINE_SECONDS = 12.0

LOOPBACK = "127.0.0.1"

_CODE = re.compile("[a-z_]{1,64}")
_Made = TypeVar("_Made")


class StripeFault(Exception):  # noqa: N818 (its name is shown as the error of a state)
    """The outcome of a request is unknown, or Stripe did not perform it. Requesting again is safe.

    The message never repeats what was sent or received, because both may contain what a buyer entered.
    """


class StripeCall:
    """The requests of one call. They end within DEADLINE_SECONDS together, and none is repeated without a reason."""

    def __init__(self) -> None:
        self._http = _HttpClient(time.monotonic() + DEADLINE_SECONDS)

    def make(self, request: Callable[[StripeClient], _Made]) -> _Made:
        """Make a request. If the API key is rejected, read it again and repeat: it may have been rotated.

        Raises Stripe's errors.
        """
        try:
            return request(self._client(API_KEY.value()))
        except stripe.AuthenticationError:
            return request(self._client(API_KEY.renewed()))

    def _client(self, api_key: str) -> StripeClient:
        return StripeClient(
            # A file that the key was put from may end with a line end.
            api_key.strip(),
            base_addresses={"api": os.environ["PROVIDER_URL"].rstrip("/")},
            max_network_retries=0,
            http_client=self._http,
        )


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Raise StripeFault for an error of Stripe's client that nobody expected."""
    try:
        yield
    except stripe.APIConnectionError as error:
        # Its message is that of _HttpClient.
        raise StripeFault(error.user_message) from None
    except stripe.StripeError as error:
        code = f", {error.code}" if isinstance(error.code, str) and _CODE.fullmatch(error.code) else ""
        raise StripeFault(f"Stripe responded with status {error.http_status}{code}") from None


class _HttpClient(stripe.HTTPClient):
    """Sends requests over HTTPS, or to loopback. It follows no redirect and uses no proxy."""

    name = "saga"

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def request(  # type: ignore[override]  # the base has another signature than its own subclasses
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        """Send a request; return the body, the status and the headers of the response."""
        target = urlsplit(url)
        seconds_left = self._deadline - time.monotonic()
        if seconds_left <= 0:
            raise _no_response("the deadline of the call has passed")
        connection = _connection(target.scheme, target.netloc, min(TIMEOUT_SECONDS, seconds_left))
        path = f"{target.path}?{target.query}" if target.query else target.path
        try:
            connection.connect()
            # A response that trickles in would never exceed the timeout.
            deadline = threading.Timer(seconds_left, _shut_down, [connection.sock])
            deadline.start()
            try:
                connection.request(method.upper(), path, post_data, dict(headers))
                response = connection.getresponse()
                names = {name.lower(): value for name, value in response.getheaders()}
                return response.read().decode(), response.status, names
            finally:
                deadline.cancel()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _no_response(f"Stripe did not respond: {type(error).__name__}") from None
        finally:
            connection.close()

    def close(self) -> None:
        """Close nothing: no connection outlasts its request."""


def _connection(scheme: str, netloc: str, timeout: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(netloc, timeout=timeout)
    if urlsplit(f"//{netloc}").hostname == LOOPBACK:
        return http.client.HTTPConnection(netloc, timeout=timeout)
    raise _no_response("PROVIDER_URL must begin with https://, because the API key is sent there")


def _no_response(reason: str) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(reason)  # type: ignore[no-untyped-call]  # the client leaves out its types


def _shut_down(connected: socket.socket) -> None:
    """End every read and write of the socket."""
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
