"""PaymentIntents as Stripe's API reference defines them: their states, errors, search and ledger. No HTTP.

Amounts are in cents, those of the ledger in whole units. Parameters are form fields, such as ``metadata[sale_id]``.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

Params = Mapping[str, str]
Json = dict[str, Any]
Status = Literal["requires_payment_method", "requires_confirmation", "requires_capture", "succeeded", "canceled"]

ROOT = "/v1/payment_intents"
# Stripe's payment methods for tests, each with the decline code of its card.
PAYMENT_METHODS: Mapping[str, str | None] = {
    "pm_card_visa": None,
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
}
CAPTURE_METHODS = ("automatic", "automatic_async", "manual")
CANCELLATION_REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
# The parameters of each operation that the fake knows; it rejects others.
PARAMETERS: Mapping[str, Sequence[str]] = {
    "create": (
        *("amount", "currency", "capture_method", "confirm", "metadata"),
        *("payment_method", "automatic_payment_methods", "return_url"),
    ),
    "retrieve": (),
    "confirm": ("payment_method", "return_url"),
    "capture": (),
    "cancel": ("cancellation_reason",),
    "list": ("limit", "starting_after", "created"),
    "search": ("query", "limit", "page"),
}
MAX_METADATA_VALUE = 500
_METADATA = re.compile(r"metadata\[([^\[\]]+)\]")
_CLAUSE = re.compile(r"""metadata\[(["'])(?P<name>[^"']+)\1\]:(["'])(?P<value>[^"']*)\3""")


class StripeError(Exception):
    """An error response.

    Args:
        status: the HTTP status.
        code: Stripe's error code, None if the error has none.
        message: what is wrong.
        is_saved: True if a repetition with the same idempotency key gets it again.
        details: further fields of the error object.
    """

    def __init__(
        self, status: int, code: str | None, message: str, *, is_saved: bool = True, **details: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_saved = is_saved
        self.body: Json = {"error": {"type": "invalid_request_error", "code": code, "message": message, **details}}


@dataclass(kw_only=True)
class Intent:
    """A PaymentIntent. Its fields are Stripe's."""

    id: str
    amount: int
    currency: str
    capture_method: str
    payment_method: str | None
    automatic_payment_methods: Mapping[str, object]
    metadata: Mapping[str, str]
    created: int
    status: Status
    amount_received: int = 0
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    last_payment_error: Json | None = None
    payment_method_types: Sequence[str] = ("card",)
    confirmation_method: str = "automatic"
    livemode: bool = False
    object: str = "payment_intent"

    @property
    def amount_capturable(self) -> int:
        """The authorized amount."""
        return self.amount if self.status == "requires_capture" else 0

    def json(self) -> Json:
        """Return the object as the API shows it."""
        return asdict(self) | {"amount_capturable": self.amount_capturable}

    def require_status(self, change: str, *statuses: Status) -> None:
        """Raise StripeError unless the intent has one of the statuses in which the API accepts the change."""
        if self.status not in statuses:
            raise self.unexpected_state(f"status is {self.status}, but {change} needs {' or '.join(statuses)}")

    def unexpected_state(self, message: str) -> StripeError:
        """Return the error of a request that the intent's state does not allow."""
        return StripeError(400, "payment_intent_unexpected_state", message, payment_intent=self.json())


class Intents:
    """All PaymentIntents of an account. Callers hold a lock: one operation at a time.

    Attributes:
        search_delay: after how many seconds search finds a new or changed intent.
        changes: each change in order: when, the type of its event, and the intent after it.
    """

    def __init__(self) -> None:
        self.search_delay = 0.0
        self.changes: list[tuple[float, str, Json]] = []
        self._intents: dict[str, Intent] = {}
        self._entries: list[tuple[Intent, str]] = []
        self._skipped = 0.0

    def now(self) -> float:
        """Return the time by the account's clock, in seconds since the epoch."""
        return time.time() + self._skipped

    def advance(self, seconds: float) -> None:
        """Set the clock forward."""
        self._skipped += seconds

    def ledger(self, reference: str) -> str:
        """Return in words what was authorized, captured and cancelled for a sale, named by any field of metadata."""
        entries = [entry for intent, entry in self._entries if reference in intent.metadata.values()]
        return "provider: " + (", ".join(entries) or "nothing was authorized")

    def balance(self, reference: str) -> Decimal:
        """Return what was captured for a sale."""
        return self._sum(reference, lambda intent: intent.amount_received)

    def authorized(self, reference: str) -> Decimal:
        """Return what is authorized for a sale, and neither captured nor cancelled."""
        return self._sum(reference, lambda intent: intent.amount_capturable)

    def _sum(self, reference: str, cents: Callable[[Intent], int]) -> Decimal:
        intents = [intent for intent in list(self._intents.values()) if reference in intent.metadata.values()]
        return Decimal(sum(map(cents, intents))) / 100

    def create(self, params: Params) -> Json:
        """Create an intent, and confirm it if ``confirm`` is true."""
        payment_method = _payment_method(params)
        intent = Intent(
            id=f"pi_{secrets.token_hex(12)}",
            amount=_integer(params, "amount"),
            currency=_required(params, "currency"),
            capture_method=_one_of(CAPTURE_METHODS, params, "capture_method") or "automatic_async",
            payment_method=payment_method,
            automatic_payment_methods={"enabled": True, "allow_redirects": _allow_redirects(params)},
            metadata=_metadata(params),
            created=int(self.now()),
            status="requires_confirmation" if payment_method else "requires_payment_method",
        )
        if is_confirmed := params.get("confirm") == "true":
            _require_return_url(intent, params)
        self._intents[intent.id] = intent
        self._change(intent, "created")
        return self.confirm(intent.id, params) if is_confirmed else intent.json()

    def retrieve(self, id_: str, _params: Params) -> Json:
        """Return an intent."""
        return self._intent(id_).json()

    def confirm(self, id_: str, params: Params) -> Json:
        """Authorize the amount; capture it too, unless the capture method is ``manual``."""
        intent = self._intent(id_)
        intent.require_status("confirm", "requires_confirmation", "requires_payment_method")
        _require_return_url(intent, params)
        intent.payment_method = _payment_method(params) or intent.payment_method
        if not intent.payment_method:
            raise intent.unexpected_state("confirm needs a payment_method")
        if decline_code := PAYMENT_METHODS[intent.payment_method]:
            raise self._decline(intent, decline_code)
        intent.status, intent.last_payment_error = "requires_capture", None
        self._change(intent, "amount_capturable_updated", "authorized")
        return intent.json() if intent.capture_method == "manual" else self.capture(id_, {})

    def capture(self, id_: str, _params: Params) -> Json:
        """Capture the authorized amount."""
        intent = self._intent(id_)
        intent.require_status("capture", "requires_capture")
        intent.status, intent.amount_received = "succeeded", intent.amount
        self._change(intent, "succeeded", "captured")
        return intent.json()

    def cancel(self, id_: str, params: Params) -> Json:
        """Cancel an intent for ever, and release its authorization."""
        reason = _one_of(CANCELLATION_REASONS, params, "cancellation_reason")
        intent = self._intent(id_)
        intent.require_status("cancel", "requires_payment_method", "requires_confirmation", "requires_capture")
        entry = "cancelled" if intent.amount_capturable else "cancelled an unauthorized"
        intent.status, intent.cancellation_reason, intent.canceled_at = "canceled", reason, int(self.now())
        self._change(intent, "canceled", entry)
        return intent.json()

    def list(self, params: Params) -> Json:
        """Return the newest intents first. Unlike search, it finds each change at once."""
        oldest = _integer(params, "created[gte]", default="0")
        intents = [intent for intent in self._intents.values() if intent.created >= oldest][::-1]
        after = params.get("starting_after")
        start = intents.index(self._intent(after)) + 1 if after else 0
        return _page("list", "", [intent.json() for intent in intents[start:]], params)

    def search(self, params: Params) -> Json:
        """Return the newest intents that match the query, as they were ``search_delay`` seconds ago."""
        clauses = [_CLAUSE.fullmatch(part.strip()) for part in re.split(r"\sAND\s", _required(params, "query"))]
        if not all(clauses):
            raise _invalid("query", 'must be metadata["name"]:"value", joined by AND')
        # Search ignores case.
        wanted = {clause["name"]: clause["value"].casefold() for clause in clauses if clause}
        indexed = {intent["id"]: intent for at, _, intent in self.changes if at + self.search_delay <= self.now()}
        found = [
            intent
            for intent in reversed(indexed.values())
            if wanted.items() <= {name: value.casefold() for name, value in intent["metadata"].items()}.items()
        ]
        start = _integer(params, "page", default="0")
        page = _page("search_result", "/search", found[start:], params)
        return page | {"next_page": str(start + len(page["data"])) if page["has_more"] else None}

    def _intent(self, id_: str) -> Intent:
        if id_ not in self._intents:
            raise StripeError(404, "resource_missing", f"No such payment_intent: '{id_}'", param="intent")
        return self._intents[id_]

    def _decline(self, intent: Intent, decline_code: str) -> StripeError:
        reason: Json = {"type": "card_error", "decline_code": decline_code}
        message = f"the card was declined: {decline_code}"
        intent.last_payment_error = {**reason, "code": "card_declined", "message": message}
        intent.status, intent.payment_method = "requires_payment_method", None
        self._change(intent, "payment_failed", "declined")
        return StripeError(402, "card_declined", message, **reason, payment_intent=intent.json())

    def _change(self, intent: Intent, event: str, entry: str = "") -> None:
        self.changes.append((self.now(), f"payment_intent.{event}", intent.json()))
        if entry:
            self._entries.append((intent, f"{entry} {intent.amount / 100:.2f}"))


def require_parameters(operation: str, params: Params) -> None:
    """Reject a parameter that the operation does not have."""
    for name in params:
        if name.partition("[")[0] not in PARAMETERS[operation]:
            raise _invalid(name, "unknown parameter", "parameter_unknown")


def _invalid(name: str, message: str, code: str = "parameter_invalid") -> StripeError:
    """Return the error of a request that is not executed, and may be repeated with the same key."""
    return StripeError(400, code, f"{name}: {message}", is_saved=False, param=name)


def _required(params: Params, name: str) -> str:
    if not params.get(name):
        raise _invalid(name, "missing parameter", "parameter_missing")
    return params[name]


def _integer(params: Params, name: str, *, default: str = "") -> int:
    value = _required({name: default, **params}, name)
    if not value.isascii() or not value.isdigit():
        raise _invalid(name, "not an integer", "parameter_invalid_integer")
    return int(value)


def _one_of(values: Sequence[str], params: Params, name: str) -> str | None:
    if name in params and params[name] not in values:
        raise _invalid(name, f"must be one of {', '.join(values)}")
    return params.get(name)


def _payment_method(params: Params) -> str | None:
    value = params.get("payment_method")
    if value and value not in PAYMENT_METHODS:
        # The message does not repeat it: a careless client may have sent a card number.
        raise _invalid("payment_method", "no such PaymentMethod", "resource_missing")
    return value


def _metadata(params: Params) -> dict[str, str]:
    metadata = {match[1]: value for name, value in params.items() if (match := _METADATA.fullmatch(name))}
    if any(len(value) > MAX_METADATA_VALUE for value in metadata.values()):
        raise _invalid("metadata", f"a value has at most {MAX_METADATA_VALUE} characters")
    return metadata


def _allow_redirects(params: Params) -> str:
    name = "automatic_payment_methods[allow_redirects]"
    return _one_of(("always", "never"), params, name) or "always"


def _require_return_url(intent: Intent, params: Params) -> None:
    """Reject a confirmation that may redirect the customer to another page, with no page to return to."""
    if intent.automatic_payment_methods["allow_redirects"] == "always" and "return_url" not in params:
        message = "missing parameter; automatic_payment_methods[allow_redirects]=never needs none"
        raise _invalid("return_url", message, "parameter_missing")


def _page(kind: str, path: str, objects: Sequence[Json], params: Params) -> Json:
    limit = _integer(params, "limit", default="10")
    return {"object": kind, "url": f"{ROOT}{path}", "data": objects[:limit], "has_more": len(objects) > limit}
