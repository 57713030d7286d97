"""A payment provider on loopback, for the demo and the tests. It stores no card number.

Charges are idempotent: a second charge with the same key charges nothing and gets the same response. A cancellation
refunds the charge of its key, and rejects a later charge with it. The cents of an amount make a charge go wrong.
"""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

SLOW_ONCE = Decimal("0.01")  # charges; the first response for its key comes too late
SILENT = Decimal("0.02")  # charges; never responds
DECLINES = Decimal("0.03")  # declines
HOLD_SECONDS = 10.0

Response = tuple[HTTPStatus, dict[str, str]]


class FakeProvider:
    """The ledger of the provider.

    Args:
        hold_seconds: how late a late response comes.
    """

    def __init__(self, *, hold_seconds: float) -> None:
        self.hold_seconds = hold_seconds
        self.stopping = threading.Event()
        self.context: Mapping[str, str] = {}
        self.secrets: Mapping[str, str] = {}
        self._lock = threading.Lock()
        self._charges: dict[str, tuple[str, Decimal]] = {}
        self._cancelled: set[str] = set()
        self._entries: list[tuple[str, Decimal]] = []

    def ledger(self, reference: str) -> str:
        """Return in words what was charged and refunded for a sale."""
        amounts = [amount for other, amount in self._entries if other == reference]
        entries = [f"charged {amount}" if amount > 0 else f"refunded {-amount}" for amount in amounts]
        return "provider: " + (", ".join(entries) or "nothing was charged")

    def balance(self, reference: str) -> Decimal:
        """Return what was charged for a sale and not refunded."""
        return sum((amount for other, amount in self._entries if other == reference), Decimal(0))

    def authorized(self, _reference: str) -> Decimal:
        """Return 0: a charge is made at once, without an authorization before."""
        return Decimal(0)

    def charge(self, key: str, reference: str, amount: Decimal) -> Response | None:
        """Charge once for each key. None means that the response comes too late."""
        with self._lock:
            if key in self._cancelled:
                return HTTPStatus.CONFLICT, {"error": "cancelled"}
            if amount % 1 == DECLINES:
                return HTTPStatus.PAYMENT_REQUIRED, {"error": "declined"}
            is_first = key not in self._charges
            if is_first:
                self._charges[key] = (reference, amount)
                self._entries.append((reference, amount))
        if amount % 1 == SILENT or (amount % 1 == SLOW_ONCE and is_first):
            return None
        return HTTPStatus.CREATED, {"charge_id": f"charge-{key}"}

    def cancel(self, key: str) -> Response:
        """Refund the charge of the key once, and reject later charges with it."""
        with self._lock:
            reference, amount = self._charges.get(key, ("", Decimal(0)))
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
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"]
            response = (
                provider.charge(key, request["reference"], Decimal(request["amount"]))
                if self.path == "/charges"
                else provider.cancel(key)
            )
            if response is None:
                # The client times out before that; then the connection ends without a response.
                provider.stopping.wait(provider.hold_seconds)
                return
            status, content = response
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            # The client may have timed out.
            with contextlib.suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: a request contains a card number."""

    # Unlike http.server's own server, this one does not look up the machine's name in the network.
    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        provider.context = {"provider_url": f"http://127.0.0.1:{server.server_address[1]}"}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            provider.stopping.set()
            server.shutdown()
            thread.join()
