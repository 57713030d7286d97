"""The fake of Stripe, through the official client."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any, ForwardRef, cast, get_args
from urllib.parse import urlsplit

import pytest
import stripe
from stripe import PaymentIntent, StripeClient
from stripe import params as stripe_params

from examples.ticket_sale.fake_intents import (
    CANCELLATION_REASONS,
    CAPTURE_METHODS,
    PARAMETERS,
    Intents,
    Json,
    Params,
    Status,
    StripeError,
)
from examples.ticket_sale.fake_stripe import KEY_LIFETIME_SECONDS, FakeStripe, serving

SALE = "sale-1"
PRICE: dict[str, Any] = {
    "amount": 6000,
    "currency": "eur",
    "capture_method": "manual",
    "payment_method": "pm_card_visa",
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    "metadata": {"sale_id": SALE},
}
DECLINED = "pm_card_chargeDeclined"
CARD = "987-650-432-1987"


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with serving(hold_seconds=1) as fake:
        yield fake


@pytest.fixture
def client(fake: FakeStripe) -> StripeClient:
    return client_of(fake)


def client_of(fake: FakeStripe, *, timeout: float = 10) -> StripeClient:
    return StripeClient(
        fake.api_key,
        base_addresses={"api": fake.context["provider_url"]},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=timeout),
    )


def create(client: StripeClient, key: str = "", **changes: Any) -> PaymentIntent:
    params = cast("stripe_params.PaymentIntentCreateParams", {**PRICE, **changes})
    return client.v1.payment_intents.create(params, {"idempotency_key": key} if key else {})


def change(client: StripeClient, verb: str, intent: PaymentIntent, key: str = "") -> PaymentIntent:
    method = getattr(client.v1.payment_intents, verb)
    changed: PaymentIntent = method(intent.id, options={"idempotency_key": key} if key else {})
    return changed


def reach(client: StripeClient, status: str) -> PaymentIntent:
    """Return an intent with this status."""
    intent = create(client, payment_method="" if status == "requires_payment_method" else "pm_card_visa")
    verbs = {"requires_capture": ["confirm"], "succeeded": ["confirm", "capture"], "canceled": ["cancel"]}
    for verb in verbs.get(status, []):
        intent = change(client, verb, intent)
    assert intent.status == status
    return intent


def error_of(request: Callable[[], object], kind: type[stripe.StripeError], status: int) -> Any:
    """Send a request that fails so; return the error object of the response."""
    with pytest.raises(kind) as raised:
        request()
    assert raised.value.http_status == status
    return raised.value.error


def sums(fake: FakeStripe) -> tuple[float, float]:
    """Return what is captured and what is authorized for the sale."""
    return float(fake.balance(SALE)), float(fake.authorized(SALE))


def is_replay(intent: PaymentIntent) -> bool:
    assert intent.last_response is not None
    return intent.last_response.headers.get("Idempotent-Replayed") == "true"


# States.


def test_an_authorized_amount_is_captured(fake: FakeStripe, client: StripeClient) -> None:
    created = create(client)
    assert (created.status, created.amount_capturable) == ("requires_confirmation", 0)
    confirmed = change(client, "confirm", created)
    assert (confirmed.status, confirmed.amount_capturable) == ("requires_capture", 6000)
    assert sums(fake) == (0, 60)
    assert fake.authorized("another sale") == 0
    captured = change(client, "capture", created)
    assert (captured.status, captured.amount_received, captured.amount_capturable) == ("succeeded", 6000, 0)
    assert sums(fake) == (60, 0)
    assert fake.ledger(SALE) == "provider: authorized 60.00, captured 60.00"
    assert client.v1.payment_intents.retrieve(created.id) == captured


def test_a_cancelled_authorization_is_released(fake: FakeStripe, client: StripeClient) -> None:
    change(client, "cancel", reach(client, "requires_capture"))
    assert sums(fake) == (0, 0)
    assert fake.ledger(SALE) == "provider: authorized 60.00, cancelled 60.00"
    assert fake.ledger("another sale") == "provider: nothing was authorized"


def test_without_manual_capture_a_confirmation_captures(fake: FakeStripe, client: StripeClient) -> None:
    assert create(client, capture_method="automatic", confirm=True).status == "succeeded"
    assert fake.balance(SALE) == 60


@pytest.mark.parametrize(
    ("status", "confirm", "capture", "cancel"),
    [
        ("requires_payment_method", None, None, "canceled"),
        ("requires_confirmation", "requires_capture", None, "canceled"),
        ("requires_capture", None, "succeeded", "canceled"),
        ("succeeded", None, None, None),
        ("canceled", None, None, None),
    ],
)
def test_a_state_allows_these_changes_only(
    client: StripeClient, status: str, confirm: str | None, capture: str | None, cancel: str | None
) -> None:
    for verb, expected in {"confirm": confirm, "capture": capture, "cancel": cancel}.items():
        intent = reach(client, status)
        if expected:
            assert change(client, verb, intent).status == expected
            continue
        error = error_of(lambda: change(client, verb, intent), stripe.InvalidRequestError, 400)  # noqa: B023 (called here)
        assert (error.code, error.payment_intent.status) == ("payment_intent_unexpected_state", status)
        assert client.v1.payment_intents.retrieve(intent.id).status == status


@pytest.mark.parametrize("at_once", [False, True])
def test_a_declined_card_leaves_an_intent_that_another_card_can_pay(
    fake: FakeStripe, client: StripeClient, at_once: object
) -> None:
    def pay() -> None:
        intent = create(client, payment_method=DECLINED, confirm=at_once)
        change(client, "confirm", intent)

    error = error_of(pay, stripe.CardError, 402)
    declined = error.payment_intent
    assert (error.type, error.code, error.decline_code) == ("card_error", "card_declined", "generic_decline")
    assert (declined.status, declined.payment_method) == ("requires_payment_method", None)
    paid = client.v1.payment_intents.confirm(declined.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.last_payment_error) == ("requires_capture", None)
    assert fake.ledger(SALE) == "provider: declined 60.00, authorized 60.00"


# Errors.


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": ""}, "parameter_missing", "amount"),
        ({"amount": "6.00"}, "parameter_invalid_integer", "amount"),
        ({"currency": ""}, "parameter_missing", "currency"),
        ({"capture_method": "later"}, "parameter_invalid", "capture_method"),
        ({"payment_method": CARD}, "resource_missing", "payment_method"),
        ({"payment_method_types": ["card"]}, "parameter_unknown", "payment_method_types[0]"),
        ({"metadata": {"sale_id": "1" * 501}}, "parameter_invalid", "metadata"),
        ({"confirm": True, "automatic_payment_methods": {"enabled": True}}, "parameter_missing", "return_url"),
    ],
)
def test_an_invalid_request_is_rejected_and_leaves_no_intent_and_no_key(
    client: StripeClient, params: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        create(client, "key", **params)
    assert (raised.value.http_status, raised.value.code, raised.value.param) == (400, code, param)
    assert (raised.value.request_id or "").startswith("req_")
    assert client.v1.payment_intents.list().data == []
    assert not is_replay(create(client, "key"))


def test_an_unknown_intent_is_not_found(client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="pi_unknown") as raised:
        client.v1.payment_intents.capture("pi_unknown")
    assert (raised.value.http_status, raised.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="unknown path"):
        client.v1.refunds.create({"payment_intent": "pi_unknown"})


def test_a_replaced_api_key_is_rejected(fake: FakeStripe, client: StripeClient) -> None:
    intent = create(client)
    fake.rotate_key()
    with pytest.raises(stripe.AuthenticationError) as raised:
        change(client, "cancel", intent)
    assert raised.value.http_status == 401
    assert change(client_of(fake), "cancel", intent).status == "canceled"


# Idempotency keys.


def test_a_repetition_gets_the_first_response_whatever_happened_since(client: StripeClient) -> None:
    created = create(client, "key")
    change(client, "cancel", created)
    repeated = create(client, "key")
    assert (repeated.id, repeated.status) == (created.id, "requires_confirmation")
    assert (is_replay(created), is_replay(repeated)) == (False, True)


def test_a_repetition_gets_the_first_error_of_an_executed_request(client: StripeClient) -> None:
    intent = create(client, payment_method=DECLINED)
    for is_repetition in (False, True):
        with pytest.raises(stripe.CardError) as raised:
            change(client, "confirm", intent, "key")
        assert ("idempotent-replayed" in (raised.value.headers or {})) == is_repetition


def test_a_repetition_gets_the_first_server_error(
    fake: FakeStripe, client: StripeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_and_fail(params: Params) -> Json:
        Intents.create(fake, params)
        raise StripeError(500, None, "unknown", type="api_error")

    with monkeypatch.context() as patch:
        patch.setattr(fake, "create", create_and_fail)
        with pytest.raises(stripe.APIError) as first:
            create(client, "key")
    with pytest.raises(stripe.APIError) as repeated:
        create(client, "key")
    assert [raised.value.http_status for raised in (first, repeated)] == [500, 500]
    assert ["idempotent-replayed" in (raised.value.headers or {}) for raised in (first, repeated)] == [False, True]
    assert len(fake.list({})["data"]) == 1


def test_a_key_with_other_parameters_or_another_endpoint_is_rejected(client: StripeClient) -> None:
    intent = create(client, "creation")
    change(client, "confirm", intent, "confirmation")
    for repeat in (
        lambda: create(client, "creation", amount=6100),
        lambda: change(client, "cancel", intent, "confirmation"),
    ):
        assert error_of(repeat, stripe.IdempotencyError, 400).type == "idempotency_error"


@pytest.mark.parametrize(("age", "is_known"), [(KEY_LIFETIME_SECONDS - 60, True), (KEY_LIFETIME_SECONDS, False)])
def test_a_key_is_forgotten_when_it_is_old(
    fake: FakeStripe, client: StripeClient, age: float, is_known: object
) -> None:
    created = create(client, "key")
    fake.advance(age)
    assert (create(client, "key").id == created.id) == is_known


def test_a_forgotten_key_is_a_new_request(fake: FakeStripe, client: StripeClient) -> None:
    created = create(client, "key")
    fake.forget_keys()
    assert create(client, "key").id != created.id


def test_a_key_in_use_is_a_conflict(fake: FakeStripe, client: StripeClient) -> None:
    codes = []

    def repeat(_operation: str) -> None:
        fake.before = lambda _operation: None
        codes.append(error_of(lambda: create(client, "key"), stripe.APIError, 409).code)

    fake.before = repeat
    created = create(client, "key")
    assert codes == ["idempotency_key_in_use"]
    assert create(client, "key").id == created.id


# List and search.


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        (f'metadata["sale_id"]:"{SALE}"', True),
        (f"metadata['sale_id']:'{SALE.upper()}' AND metadata['saga']:'s'", True),
        (f'metadata["sale_id"]:"{SALE}" AND metadata["saga"]:"another"', False),
        ('metadata["another"]:""', False),
    ],
)
def test_search_finds_intents_by_their_metadata(client: StripeClient, query: str, is_found: object) -> None:
    intent = create(client, metadata={"sale_id": SALE, "saga": "s"})
    create(client, metadata={"sale_id": "another", "saga": "s"})
    found = client.v1.payment_intents.search({"query": query}).data
    assert [one.id for one in found] == ([intent.id] if is_found else [])


def test_an_invalid_query_is_rejected(client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="query"):
        client.v1.payment_intents.search({"query": f"metadata[sale_id]:{SALE}"})


def test_search_finds_a_change_late_and_list_at_once(fake: FakeStripe, client: StripeClient) -> None:
    def statuses() -> list[list[str]]:
        pages = client.v1.payment_intents.search({"query": f'metadata["sale_id"]:"{SALE}"'}), intents.list()
        return [[intent.status for intent in page.data] for page in pages]

    intents = client.v1.payment_intents
    fake.search_delay = 60
    intent = create(client)
    assert statuses() == [[], ["requires_confirmation"]]
    fake.advance(60)
    change(client, "cancel", intent)
    assert statuses() == [["requires_confirmation"], ["canceled"]]
    fake.advance(60)
    assert statuses() == [["canceled"], ["canceled"]]


def test_list_and_search_have_pages_with_the_newest_first(fake: FakeStripe, client: StripeClient) -> None:
    ids = [create(client).id for _ in range(5)]
    fake.advance(60)
    newest = create(client)
    found = client.v1.payment_intents.search({"query": f'metadata["sale_id"]:"{SALE}"', "limit": 4})
    listed = client.v1.payment_intents.list({"limit": 4})
    for page in (found, listed):
        assert [intent.id for intent in page.auto_paging_iter()] == [newest.id, *reversed(ids)]
    assert client.v1.payment_intents.list({"created": {"gte": newest.created}}).data == [newest]


# Slow and silent responses.


@pytest.mark.parametrize(("slow_at", "verb"), [("create", "create"), ("confirm", "create"), ("confirm", "confirm")])
@pytest.mark.parametrize(("amount", "comes_later"), [(6001, True), (6002, False)])
def test_a_late_response_is_of_an_executed_request(
    fake: FakeStripe, client: StripeClient, slow_at: str, verb: str, amount: int, comes_later: object
) -> None:
    fake.slow_at = slow_at
    impatient = client_of(fake, timeout=0.3)

    def request() -> PaymentIntent:
        if verb == "create":
            return create(impatient, "key", amount=amount, confirm=True)
        return change(impatient, "confirm", cast("PaymentIntent", intent), "key")

    intent = create(client, amount=amount) if verb == "confirm" else None
    with pytest.raises(stripe.APIConnectionError):
        request()
    assert fake.authorized(SALE) == Decimal(amount) / 100
    if comes_later:
        assert is_replay(request())
    else:
        with pytest.raises(stripe.APIConnectionError):
            request()
    assert fake.authorized(SALE) == Decimal(amount) / 100


# Webhooks.


def test_each_change_is_sent_as_a_signed_event(fake: FakeStripe, client: StripeClient) -> None:
    received: list[tuple[bytes, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.rfile.read(int(self.headers["Content-Length"])), self.headers["Stripe-Signature"]))
            self.send_response(HTTPStatus.OK)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        fake.webhook_url = f"http://127.0.0.1:{server.server_address[1]}"
        intent = reach(client, "succeeded")
        create(client, "key")
        create(client, "key")
        server.shutdown()
        thread.join()
    events = [stripe.Webhook.construct_event(body, header, fake.webhook_secret) for body, header in received]
    created, authorized = "payment_intent.created", "payment_intent.amount_capturable_updated"
    assert [event.type for event in events] == [created, authorized, "payment_intent.succeeded", created]
    assert cast("Any", events[2].data.object) == intent
    body, header = received[0]
    for forged in ((body + b" ", header, fake.webhook_secret), (body, header, "another secret")):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(*forged)


def test_a_receiver_that_fails_does_not_fail_the_request(fake: FakeStripe, client: StripeClient) -> None:
    fake.webhook_url = f"{fake.context['provider_url']}/nowhere"
    assert create(client).status == "requires_confirmation"


# What the fake keeps, and Stripe's API description.


def test_no_card_number_is_kept_printed_or_repeated(
    fake: FakeStripe, client: StripeClient, capfd: pytest.CaptureFixture[str]
) -> None:
    card = {"type": "card", "card": {"number": CARD, "exp_month": 1, "exp_year": 2040}}
    for params in ({"payment_method": CARD}, {"payment_method_data": card}):
        with pytest.raises(stripe.InvalidRequestError) as raised:
            create(client, "key", **params)
        assert CARD not in repr((vars(raised.value), vars(fake), capfd.readouterr()))


def values_of(annotation: object) -> set[str]:
    """Return the values of the Literal in an annotation of the client."""
    if isinstance(annotation, ForwardRef):
        return set(annotation.__forward_arg__.split("'")[1::2])
    parts = get_args(annotation)
    return {part for part in parts if isinstance(part, str)}.union(*map(values_of, parts)) if parts else set()


def test_the_fake_follows_the_description_from_which_the_client_is_generated(client: StripeClient) -> None:
    """Stripe generates the client's annotations from its API description."""
    fields = {name: kind for name, kind in PaymentIntent.__annotations__.items() if name != "OBJECT_NAME"}
    intent = reach(client, "requires_capture").to_dict()
    required = {name for name, kind in fields.items() if type(None) not in get_args(kind)}
    assert required <= intent.keys() <= fields.keys()
    assert set(get_args(Status)) <= values_of(fields["status"])
    assert set(CAPTURE_METHODS) == values_of(fields["capture_method"])
    assert set(CANCELLATION_REASONS) <= values_of(fields["cancellation_reason"])
    for operation, names in PARAMETERS.items():
        described = getattr(stripe_params, f"PaymentIntent{operation.capitalize()}Params").__annotations__
        assert set(names) <= described.keys()


def test_a_client_that_has_gone_before_the_response_is_not_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    has_come, is_gone = threading.Event(), threading.Event()

    def respond(*_: object) -> object:
        has_come.set()
        is_gone.wait(10)
        return (HTTPStatus.OK, {}), {}

    with serving() as fake:
        monkeypatch.setattr(fake, "respond", respond)
        address = urlsplit(fake.context["provider_url"])
        with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert has_come.wait(10)
            # Reset the connection when it is closed.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        is_gone.set()
    assert capfd.readouterr() == ("", "")
