"""The fake of Stripe, through the official client."""

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from stripe import PaymentIntent, StripeClient

from examples.ticket_sale import fake_intents
from examples.ticket_sale.fake_stripe import FakeStripe, serving

SALE = "sale-1"
PRICE: dict[str, Any] = {
    "amount": 6000,
    "currency": "eur",
    "capture_method": "manual",
    "payment_method": "pm_card_visa",
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    "metadata": {"sale_id": SALE},
}


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with serving() as fake:
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


def create(client: StripeClient, key: str | None = None, **changes: Any) -> PaymentIntent:
    return client.v1.payment_intents.create({**PRICE, **changes}, {"idempotency_key": key} if key else {})


def reach(client: StripeClient, status: str) -> PaymentIntent:
    """Return an intent with the status."""
    method = None if status == "requires_payment_method" else "pm_card_visa"
    intent = create(client, **{} if method else {"payment_method": ""})
    intents = client.v1.payment_intents
    if status in {"requires_capture", "succeeded"}:
        intent = intents.confirm(intent.id)
    if status == "succeeded":
        intent = intents.capture(intent.id)
    if status == "canceled":
        intent = intents.cancel(intent.id)
    assert intent.status == status
    return intent


def test_an_authorized_amount_is_captured(fake: FakeStripe, client: StripeClient) -> None:
    created = create(client)
    assert (created.status, created.amount_capturable, created.metadata["sale_id"]) == (
        "requires_confirmation",
        0,
        SALE,
    )
    confirmed = client.v1.payment_intents.confirm(created.id)
    assert (confirmed.status, confirmed.amount_capturable) == ("requires_capture", 6000)
    assert fake.totals(SALE) == fake_intents.Totals(captures=0, captured=0, open_authorizations=1)
    captured = client.v1.payment_intents.capture(created.id)
    assert (captured.status, captured.amount_received, captured.amount_capturable) == ("succeeded", 6000, 0)
    assert fake.totals(SALE) == fake_intents.Totals(captures=1, captured=6000, open_authorizations=0)
    assert fake.ledger(SALE) == "provider: authorized 60.00, captured 60.00"
    assert client.v1.payment_intents.retrieve(created.id) == captured
