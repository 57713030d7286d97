"""A payment provider on loopback, for the demo and the tests. It keeps no card number.

It does what the saga needs of a provider: a charge that is asked for twice with one idempotency key is made once, and
answered twice; a cancellation gives back what was charged with its key, and bars a charge with it that comes later.

And it goes wrong, by the cents of the amount.
"""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

SLOW_ONCE = Decimal("0.01")  # makes the charge, and answers the first request for it too late
SILENT = Decimal("0.02")  # makes the charge, and never answers
DECLINES = Decimal("0.03")
HOLD_SECONDS = 10.0

Answer = tuple[HTTPStatus, dict[str, str]]


class FakeProvider:
    """The provider's books: every key that it was given, and every movement of money."""

    def __init__(self, *, hold_seconds: float) -> None:
        self.hold_seconds = hold_seconds
        self.ended = threading.Event()
        self.context: Mapping[str, str] = {}
        self._lock = threading.Lock()
        self._charged: dict[str, tuple[str, Decimal]] = {}
        self._cancelled: set[str] = set()
        self._entries: list[tuple[str, Decimal]] = []

    def books(self, order_id: str) -> str:
        """What was charged and refunded for an order, in words."""
        entries = [amount for reference, amount in self._entries if reference == order_id]
        told = [f"charged {amount}" if amount > 0 else f"refunded {-amount}" for amount in entries]
        return "provider: " + (", ".join(told) or "nothing was charged")

    def net(self, order_id: str) -> Decimal:
        """What is charged for an order and not refunded."""
        return sum((amount for reference, amount in self._entries if reference == order_id), Decimal(0))

    def charge(self, key: str, reference: str, amount: Decimal) -> Answer | None:
        """Charge, once for each key. None means that the answer comes too late."""
        with self._lock:
            if key in self._cancelled:
                return HTTPStatus.CONFLICT, {"error": "cancelled"}
            if amount % 1 == DECLINES:
                return HTTPStatus.PAYMENT_REQUIRED, {"error": "declined"}
            first = key not in self._charged
            if first:
                self._charged[key] = (reference, amount)
                self._entries.append((reference, amount))
        if amount % 1 == SILENT or (amount % 1 == SLOW_ONCE and first):
            return None
        return HTTPStatus.CREATED, {"charge_id": f"charge-{key}"}

    def cancel(self, key: str) -> Answer:
        """Refund what was charged with the key, once, and never charge with it again."""
        with self._lock:
            reference, amount = self._charged.get(key, ("", Decimal(0)))
            if amount and key not in self._cancelled:
                self._entries.append((reference, -amount))
            self._cancelled.add(key)
        return HTTPStatus.OK, {"refunded": str(amount)}


@contextlib.contextmanager
def serving(*, hold_seconds: float = HOLD_SECONDS) -> Iterator[FakeProvider]:
    """Serve a new provider on a free port of 127.0.0.1 while the block runs."""
    provider = FakeProvider(hold_seconds=hold_seconds)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"]
            charging = self.path == "/charges"
            answer = (
                provider.charge(key, told["reference"], Decimal(told["amount"])) if charging else provider.cancel(key)
            )
            if answer is None:
                # Whoever asked gives up before that; then the connection ends without an answer.
                provider.ended.wait(provider.hold_seconds)
                return
            body = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: a request holds a card number."""

    # Not http.server's own server: that asks the network for this machine's name first.
    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        provider.context = {"provider_url": f"http://127.0.0.1:{server.server_address[1]}"}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            provider.ended.set()
            server.shutdown()
            thread.join()
