"""A fake of Stripe on 127.0.0.1, for the demo and the tests. The official client talks to it unchanged.

Keys, signatures and the cents of an amount behave as follows.

- A repetition with the same Idempotency-Key gets the first response, even a server error, until the key is 24 hours old
  by the fake's clock or ``forget_keys`` is called.
- Each change can be sent to a URL as a signed webhook, before the response to the request that made it.
- An amount that ends in .01 or .02 makes a request slow or silent: it is executed, and its response comes too late once
  or never. ``slow_at`` says which request, by default the confirmation.

It stores no card number and logs no request.
"""

import contextlib
import hashlib
import hmac
import json
import secrets
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from urllib.parse import parse_qsl, urlsplit

from examples.ticket_sale.fake_intents import ROOT, Intents, Json, Params, StripeError, require_parameters

SLOW_ONCE_CENTS = 1
SILENT_CENTS = 2
HOLD_SECONDS = 10.0
KEY_LIFETIME_SECONDS = 24 * 60 * 60
WEBHOOK_TIMEOUT_SECONDS = 5

Response = tuple[int, Json]


@dataclass(kw_only=True)
class _Key:
    request: tuple[str, Params]
    used_at: float
    response: Response | None = None  # None while the request is executed


class FakeStripe(Intents):
    """A Stripe account. It generates its keys, so none of them is in the code.

    Args:
        hold_seconds: how late a late response comes.

    Attributes:
        api_key: the accepted key; ``rotate_key`` replaces it.
        context: the context of the CDK app that says where the fake is served.
        slow_at: which request the cents make slow or silent: create, confirm, capture or cancel.
        before: called with the operation before each is executed.
        webhook_url: where each change is sent; empty for nowhere.
        webhook_secret: what signs the webhooks.
    """

    def __init__(self, *, hold_seconds: float) -> None:
        super().__init__()
        self.hold_seconds = hold_seconds
        self.stopping = threading.Event()
        self.context: Mapping[str, str] = {}
        self.rotate_key()
        self.slow_at = "confirm"
        self.before: Callable[[str], object] = lambda _operation: None
        self.webhook_url = ""
        self.webhook_secret = f"whsec_{secrets.token_hex(16)}"
        self._lock = threading.RLock()
        self._keys: dict[str, _Key] = {}
        self._slowed: set[tuple[str, str]] = set()

    @property
    def secrets(self) -> Mapping[str, str]:
        """The values of the secrets that the functions read, by the names of their variables."""
        return {"STRIPE_KEY": self.api_key}

    def rotate_key(self) -> str:
        """Accept only a new API key from now on; return it."""
        self.api_key = f"sk_test_{secrets.token_hex(16)}"
        return self.api_key

    def forget_keys(self) -> None:
        """Forget all idempotency keys, as Stripe does when they are old."""
        with self._lock:
            self._keys.clear()

    def respond(
        self, method: str, path: str, params: Params, headers: Mapping[str, str]
    ) -> tuple[Response, dict[str, str]] | None:
        """Return the response to a request and its headers. None means that the response comes too late."""
        operation = ""
        is_replay = False
        try:
            if headers.get("authorization") != f"Bearer {self.api_key}":
                raise StripeError(401, None, "invalid API key")  # noqa: TRY301 (each error has one way out)
            operation, id_ = _route(method, path)
            key = headers.get("idempotency-key", "") if method == "POST" else ""
            saved = self._claim_key(key, (path, params))
            is_replay = saved is not None
            response = saved or self._execute(key, operation, id_, params)
        except StripeError as error:
            response = error.status, error.body
        if self._is_late(operation, params, response[1]):
            return None
        return response, {
            "Request-Id": f"req_{secrets.token_hex(8)}",
            **({"Idempotent-Replayed": "true"} if is_replay else {}),
        }

    def _claim_key(self, key: str, request: tuple[str, Params]) -> Response | None:
        """Return the response to the first request with the key; None if this is the first."""
        with self._lock:
            first = self._keys.get(key)
            if first is None or first.used_at + KEY_LIFETIME_SECONDS <= self.now():
                self._keys |= {key: _Key(request=request, used_at=self.now())} if key else {}
                return None
            if first.request != request:
                message = "the Idempotency-Key was first used with another endpoint or other parameters"
                raise StripeError(400, None, message, type="idempotency_error")
            if first.response is None:
                raise StripeError(409, "idempotency_key_in_use", "a request with this Idempotency-Key is in progress")
            return first.response

    def _execute(self, key: str, operation: str, id_: str, params: Params) -> Response:
        """Execute a request and save its response under the key. A request that fails validation leaves no key."""
        is_saved = False
        try:
            self.before(operation)
            require_parameters(operation, params)
            with self._lock:
                known = len(self.changes)
                method = getattr(self, operation)
                try:
                    response, is_saved = (200, method(*filter(None, [id_]), params)), True
                except StripeError as error:
                    response, is_saved = (error.status, error.body), error.is_saved
                if is_saved and key in self._keys:
                    self._keys[key].response = response
                changes = self.changes[known:]
        finally:
            if not is_saved:
                self._keys.pop(key, None)
        for at, event, intent in changes:
            self._send_webhook(int(at), event, intent)
        return response

    def _is_late(self, operation: str, params: Params, body: Json) -> bool:
        """Return whether the cents of the intent's amount withhold the response."""
        intent = body.get("error", body).get("payment_intent", body)
        confirms = operation == "create" and params.get("confirm") == "true"
        if self.slow_at not in {operation, "confirm" if confirms else ""} or "amount" not in intent:
            return False
        with self._lock:
            is_first = (intent["id"], operation) not in self._slowed
            self._slowed.add((intent["id"], operation))
        cents = intent["amount"] % 100
        return cents == SILENT_CENTS or (cents == SLOW_ONCE_CENTS and is_first)

    def _send_webhook(self, at: int, event: str, intent: Json) -> None:
        """Send a signed event. A receiver that fails loses it."""
        if not self.webhook_url:
            return
        content = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "type": event,
            "created": at,
            "livemode": False,
            "data": {"object": intent},
        }
        body = json.dumps(content).encode()
        mac = hmac.new(self.webhook_secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
        headers = {"Stripe-Signature": f"t={at},v1={mac.hexdigest()}", "Content-Type": "application/json"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError):
            opener.open(
                urllib.request.Request(self.webhook_url, data=body, headers=headers),  # noqa: S310 (a test's own URL)
                timeout=WEBHOOK_TIMEOUT_SECONDS,
            ).close()


def _route(method: str, path: str) -> tuple[str, str]:
    """Return the operation and the id of its intent, which may be empty."""
    match method, path.removeprefix(ROOT).split("/"):
        case "POST", [""]:
            return "create", ""
        case "GET", [""]:
            return "list", ""
        case "GET", ["", "search"]:
            return "search", ""
        case "GET", ["", id_]:
            return "retrieve", id_
        case "POST", ["", id_, ("confirm" | "capture" | "cancel") as operation]:
            return operation, id_
    raise StripeError(404, None, f"unknown path {method} {path}")


@contextlib.contextmanager
def serving(*, hold_seconds: float = HOLD_SECONDS) -> Iterator[FakeStripe]:
    """Serve a new account on a free port of 127.0.0.1 while the block runs."""
    fake = FakeStripe(hold_seconds=hold_seconds)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

        def _serve(self, form: str) -> None:
            params = dict(parse_qsl(form, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = fake.respond(self.command, urlsplit(self.path).path, params, headers)
            if answer is None:
                # The client times out before that; then the connection ends without a response.
                fake.stopping.wait(fake.hold_seconds)
                return
            (status, content), own = answer
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**own, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            # The client may have timed out.
            with contextlib.suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: a request contains what a buyer entered."""

    # Unlike http.server's own server, this one does not look up the machine's name in the network.
    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        fake.context = {"provider_url": f"http://127.0.0.1:{server.server_address[1]}"}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            fake.stopping.set()
            server.shutdown()
            thread.join()
