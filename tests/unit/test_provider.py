"""The client of the payment provider that ``make new`` writes, over HTTP."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any

import pytest

from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import InvalidInput, StepCompensated
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import ProviderRequest
from templates.saga_provider.fake_provider import DECLINES, SILENT, SLOW_ONCE, FakeProvider, serving
from templates.saga_provider.lambdas import provider
from tests import charges
from tests.fixtures import TABLE, create_table, local_aws

CARD = "987-650-432-1987"
SALE: dict[str, Any] = {"sale_id": "1", "seat": "12 C", "price": 60, "card_no": CARD, "buyer": "Ada"}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with serving() as fake:
        monkeypatch.setenv("PROVIDER_URL", fake.context["provider_url"])
        yield fake


def request(sale: dict[str, Any] = SALE, *, id_: str = "key") -> ProviderRequest:
    saga = SagaIdentity(id="s", started_at="2026-01-01T00:00:00.000Z")
    row = Row(step=charges.PAYMENT, key=("sale_id", "1"), saga=saga, table=OWN_TABLE)
    return ProviderRequest(row=row, input=sale, id=id_, stored={}, requested_at=saga.started_at, compensates=False)


def priced(cents: Decimal) -> dict[str, Any]:
    return {**SALE, "price": float(60 + cents)}


def test_a_charge_that_timed_out_is_repeated_and_made_once(
    served: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = priced(SLOW_ONCE)
    with monkeypatch.context() as impatient:
        impatient.setattr(provider, "TIMEOUT_SECONDS", 0.1)
        with pytest.raises(provider.ProviderError, match="TimeoutError"):
            provider.charge(request(sale))
    assert served.balance("1") == 60 + SLOW_ONCE
    assert provider.charge(request(sale)) == {"charge_id": "charge-key"}
    assert served.ledger("1") == "provider: charged 60.01"


def test_a_cancellation_refunds_once_and_rejects_later_charges(served: FakeProvider) -> None:
    provider.charge(request())
    assert [provider.cancel(request()) for _ in range(2)] == [{"refunded": "60"}] * 2
    assert provider.cancel(request(id_="never charged")) == {"refunded": "0"}
    for key in ("key", "never charged"):
        with pytest.raises(StepCompensated):
            provider.charge(request(id_=key))
    assert served.ledger("1") == "provider: charged 60, refunded 60"


def test_a_declined_card_is_rejected(served: FakeProvider) -> None:
    with pytest.raises(InvalidInput, match="card_no was declined"):
        provider.charge(request(priced(DECLINES)))


@pytest.mark.parametrize("url", ["http://payments.example.com", "http://127.0.0.1.example.com/", "payments", ""])
def test_a_card_is_never_sent_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PROVIDER_URL", url)
    with pytest.raises(provider.ProviderError, match="https"):
        provider.charge(request())


def responding(status: int, body: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, CARD),
        (500, json.dumps({"error": CARD})),
        (201, CARD),
        (201, "{}"),
        (302, "{}"),
        (200, '{"charge_id": "1"}'),
    ],
)
def test_an_unexpected_response_is_an_unknown_outcome_and_not_repeated_in_the_error(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str
) -> None:
    with TCPServer(("127.0.0.1", 0), responding(status, body)) as server:
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(provider.ProviderError) as raised:
            provider.charge(request())
        thread.join()
    assert CARD not in str(raised.value)


def test_a_response_that_trickles_in_exceeds_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time; without a deadline the whole call would take 5 s."""
    ended = threading.Event()

    class Trickling(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(201)
            self.send_header("Content-Length", "100")
            self.end_headers()
            for _ in range(100):
                if ended.wait(0.05):
                    return
                self.wfile.write(b" ")
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    monkeypatch.setattr(provider, "DEADLINE_SECONDS", 0.3)
    with TCPServer(("127.0.0.1", 0), Trickling) as server:
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        began = time.monotonic()
        with pytest.raises(provider.ProviderError, match="did not respond"):
            provider.charge(request())
        assert time.monotonic() - began < 2
        ended.set()
        thread.join()


def test_a_provider_that_does_not_listen_is_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(provider.ProviderError, match="ConnectionRefusedError"):
            provider.cancel(request())


def test_no_row_log_error_or_ledger_has_the_card_number(
    served: FakeProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "TIMEOUT_SECONDS", 0.1)
    errors = []
    with local_aws():
        sales = create_table("sale_id")
        for cents in (Decimal(0), SLOW_ONCE, SILENT, DECLINES):
            event = {
                "saga": {"id": "s", "started_at": "2026-01-01T00:00:00.000Z"},
                "input": {**priced(cents), "sale_id": str(cents)},
            }
            for function in (charges.charge_card, charges.refund_card, charges.charge_card):
                try:
                    function(event, None)
                except Exception as error:  # noqa: BLE001 (Lambda logs any error)
                    errors.append(repr(error))
        items = str(sales.scan(TableName=TABLE)["Items"])
    printed = capsys.readouterr()
    assert len(errors) == 7
    assert "'card_last4': {'S': '1987'}" in items
    for text in (items, printed.out, printed.err, *errors, repr(vars(served))):
        assert "987-650" not in text
        assert "1987" not in text.replace("'card_last4': {'S': '1987'}", "")
