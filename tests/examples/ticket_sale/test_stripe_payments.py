"""The payment of a sale at Stripe: its writes and requests, a crash between any two of them, and its API key."""

import contextlib
import itertools
import json
import logging
import socket
import threading
import time as real_time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any

import boto3
import pytest

from examples.ticket_sale.fake_intents import Json, Params, StripeError
from examples.ticket_sale.fake_stripe import FakeStripe, serving
from examples.ticket_sale.lambdas import handlers, stripe_client
from examples.ticket_sale.lambdas.stripe_client import StripeFault
from lambdas.saga_runtime import barrier, clock
from lambdas.saga_runtime.errors import BusinessError, InvalidInput, KeyExpired, StepCompensated, StepFailed
from lambdas.saga_runtime.own_secrets import OwnSecret
from lambdas.saga_runtime.provider_calls import CLOSE_FIRST
from tests.fixtures import TABLE, create_table, local_aws, stored_item
from tests.unit.test_provider_calls import RunningCall, wait_for_turn

METHOD, DECLINED = "pm_card_visa", "pm_card_chargeDeclined"
A_DAY_LATER = timedelta(hours=25)
NEVER = float("inf")
_numbers = itertools.count(1)


class Killed(BaseException):
    """The process of the function was killed."""


class World:
    """A table, Stripe, the secret with its API key, and the clock of both. ``lives`` counts down to the next crash.

    ``events`` has the writes and requests since ``forget``.
    """

    def __init__(self, fake: FakeStripe) -> None:
        self.fake = fake
        self.lives: int | None = None
        self.events: list[str] = []
        self.secrets = boto3.client("secretsmanager")
        self.arn = self.secrets.create_secret(Name="any", SecretString=fake.api_key)["ARN"]
        self._skipped = timedelta(0)

    def present(self) -> datetime:
        return datetime.now(UTC) + self._skipped

    def advance(self, time: timedelta) -> None:
        self._skipped += time
        self.fake.advance(time.total_seconds())

    def around(self, event: str, happen: Callable[[], Any]) -> Any:
        """Let something happen, unless the process has been killed before."""
        if self.lives == 0:
            raise Killed
        if self.lives is not None:
            self.lives -= 1
        self.events.append(event)
        return happen()

    def killed_after(self, events: int, call: Callable[[], object]) -> None:
        """Make a call whose process is killed after so many writes and requests."""
        self.lives = events
        with contextlib.suppress(Killed, BusinessError, StepFailed, KeyExpired):
            call()
        self.lives = None

    def statuses(self, sale_id: str) -> list[str]:
        """Return the statuses of all intents of a sale."""
        return [
            one["status"] for one in self.fake.list({"limit": "100"})["data"] if sale_id in one["metadata"].values()
        ]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    write, send = barrier._update, stripe_client._HttpClient.request
    with local_aws(), serving(hold_seconds=0) as fake:
        create_table("sale_id")
        world = World(fake)
        monkeypatch.setenv("PROVIDER_URL", fake.context["provider_url"])
        monkeypatch.setenv("STRIPE_KEY", world.arn)
        monkeypatch.setattr(stripe_client, "API_KEY", OwnSecret("STRIPE_KEY"))
        monkeypatch.setattr(clock, "present", world.present)
        monkeypatch.setattr(
            barrier, "_update", lambda *some, **more: world.around("write", lambda: write(*some, **more))
        )
        monkeypatch.setattr(
            stripe_client._HttpClient,
            "request",
            lambda self, method, url, *more: world.around(
                f"{method} {url.rpartition('/')[2].partition('?')[0]}", lambda: send(self, method, url, *more)
            ),
        )
        yield world


@dataclass(frozen=True)
class Sale:
    """A sale of one saga."""

    world: World
    id: str
    method: str = METHOD
    price: float = 60

    def event(self) -> object:
        sale = {
            "sale_id": self.id,
            "seat": "12 C",
            "price": self.price,
            "payment_method": self.method,
            "buyer": "Ada",
        }
        return {"saga": {"id": f"saga-{self.id}", "started_at": "2026-01-01T00:00:00.000Z"}, "input": sale}

    def authorize(self) -> Any:
        return handlers.authorize_card(self.event(), None)

    def cancel(self) -> Any:
        return handlers.cancel_authorization(self.event(), None)

    def capture(self) -> Any:
        return handlers.capture_payment(self.event(), None)

    def row(self) -> dict[str, Any]:
        return stored_item(self.id, "PAYMENT") or {}

    @property
    def totals(self) -> tuple[float, float]:
        """What is captured, and what is authorized."""
        return float(self.world.fake.balance(self.id)), float(self.world.fake.authorized(self.id))


def new_sale(world: World, **changes: Any) -> Sale:
    return Sale(world, f"sale-{next(_numbers)}", **changes)


# The writes and requests.


def test_the_intent_is_stored_before_it_is_confirmed_and_captured_after_the_point_of_no_return(world: World) -> None:
    sale = new_sale(world)
    assert sale.authorize() == {"sale_id": sale.id, "status": "AUTHORIZED"}
    assert world.events == ["write", "post payment_intents", "write", "post confirm", "write"]
    assert sale.totals == (0, 60)
    world.events.clear()
    assert sale.capture() == {"sale_id": sale.id, "status": "CAPTURED"}
    assert world.events == ["write", "post capture", "write"]
    assert sale.totals == (60, 0)


def test_the_intent_says_which_saga_made_it(world: World) -> None:
    sale = new_sale(world)
    sale.authorize()
    (intent,) = world.fake.list({})["data"]
    assert intent["metadata"] == {
        "request": sale.row()["idempotency_key"]["S"],
        "saga_id": f"saga-{sale.id}",
        "saga_started_at": "2026-01-01T00:00:00.000Z",
        "sale_id": sale.id,
        "entity": "PAYMENT",
    }
    assert (intent["amount"], sale.row()["payment_intent"]) == (6000, {"S": intent["id"]})


def test_an_authorization_is_cancelled_by_its_id_and_a_repeated_delivery_requests_nothing(world: World) -> None:
    sale = new_sale(world)
    sale.authorize()
    world.events.clear()
    assert sale.cancel() == {"sale_id": sale.id, "status": "CANCELLED"}
    assert world.events == ["write", "write", "post cancel", "write"]
    assert (sale.totals, world.statuses(sale.id)) == ((0, 0), ["canceled"])
    world.events.clear()
    sale.cancel()
    assert set(world.events) == {"write"}
    with pytest.raises(StepCompensated):
        sale.authorize()


@pytest.mark.parametrize(
    ("method", "message"),
    [(DECLINED, "payment_method was declined"), ("pm_unknown", "payment_method was rejected by the payment provider")],
)
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_payment_method_that_is_declined_or_unknown_is_rejected_without_its_value(
    world: World, method: str, message: str, attempts: int
) -> None:
    sale = new_sale(world, method=method)
    for _ in range(attempts):
        with pytest.raises(InvalidInput, match=message) as rejection:
            sale.authorize()
        assert method not in str(rejection.value)
    assert sale.cancel()["status"] == "CANCELLED"
    assert set(world.statuses(sale.id)) <= {"canceled"}


@pytest.mark.parametrize(
    ("param", "error", "message"),
    [
        ("amount", InvalidInput, "price was rejected by the payment provider"),
        ("currency", StripeFault, "Stripe responded with status 400, amount_too_small"),
    ],
)
def test_a_sale_that_stripe_does_not_accept_is_rolled_back(
    world: World, monkeypatch: pytest.MonkeyPatch, param: str, error: type[Exception], message: str
) -> None:
    def reject(_params: object) -> Any:
        raise StripeError(400, "amount_too_small", "too small", is_saved=False, param=param)

    monkeypatch.setattr(world.fake, "create", reject)
    sale = new_sale(world)
    with pytest.raises(error, match=message):
        sale.authorize()
    assert sale.cancel()["status"] == "CANCELLED"


@pytest.mark.parametrize("field", [{"method": ""}, {"method": "x" * 101}], ids=["empty", "too long"])
def test_an_invalid_payment_method_is_never_sent(world: World, field: dict[str, Any]) -> None:
    sale = new_sale(world, **field)
    with pytest.raises(InvalidInput, match="payment_method is "):
        sale.authorize()
    sale.cancel()
    assert not any(event.startswith("post") for event in world.events)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        ("requires_action", InvalidInput, "payment_method needs the buyer's authentication"),
        ("processing", StripeFault, r"the payment pi_\w+ is processing after its confirmation"),
    ],
)
def test_an_intent_that_waits_for_the_buyer_is_rejected_and_any_other_state_is_an_unknown_outcome(
    world: World, monkeypatch: pytest.MonkeyPatch, status: str, error: type[Exception], message: str
) -> None:
    confirm = world.fake.confirm
    monkeypatch.setattr(world.fake, "confirm", lambda id_, params: confirm(id_, params) | {"status": status})
    with pytest.raises(error, match=message):
        new_sale(world).authorize()


# A crash after any write or request, of the authorization, and then of what follows it.


@pytest.mark.parametrize("later", [timedelta(0), A_DAY_LATER], ids=["at once", "a day later"])
@pytest.mark.parametrize("cents", [0, 0.01], ids=["", "slow"])
def test_a_crashed_authorization_is_cancelled_whatever_it_had_done(
    world: World, later: timedelta, cents: float
) -> None:
    for crash, second_crash in itertools.product(range(6), range(7)):
        sale = new_sale(world, price=60 + cents)
        with contextlib.suppress(StripeFault):
            world.killed_after(crash, sale.authorize)
        world.advance(later)
        with contextlib.suppress(StripeFault):
            world.killed_after(second_crash, sale.cancel)
        world.advance(later)
        sale.cancel()
        assert set(world.statuses(sale.id)) <= {"canceled"}, (crash, second_crash)
        assert sale.row()["status"] == {"S": "CANCELLED"}
        with pytest.raises(StepCompensated):
            sale.authorize()
        assert sale.totals == (0, 0)


def test_a_row_without_an_id_never_authorized_anything_even_if_search_finds_nothing(world: World) -> None:
    world.fake.search_delay = NEVER
    for crash in range(6):
        sale = new_sale(world)
        world.killed_after(crash, sale.authorize)
        world.advance(A_DAY_LATER)
        sale.cancel()
        assert sale.totals == (0, 0), crash


@pytest.mark.parametrize("later", [timedelta(0), A_DAY_LATER], ids=["at once", "a day later"])
def test_a_crashed_authorization_and_a_crashed_capture_are_completed_with_one_capture(
    world: World, later: timedelta
) -> None:
    for crash, second_crash in itertools.product(range(6), range(4)):
        sale = new_sale(world)
        world.killed_after(crash, sale.authorize)
        world.advance(later)
        if later and crash == 1:
            # The row says that the intent may exist, and the search that it does not: nobody knows for sure.
            with pytest.raises(KeyExpired):
                sale.authorize()
            sale.cancel()
            assert world.statuses(sale.id) == []
            continue
        assert sale.authorize()["status"] == "AUTHORIZED"
        world.killed_after(second_crash, sale.capture)
        world.advance(later)
        assert sale.capture()["status"] == "CAPTURED"
        sale.capture()
        assert (sale.totals, world.statuses(sale.id)) == ((60, 0), ["succeeded"]), (crash, second_crash)


def test_without_the_id_no_request_relies_on_a_key_that_stripe_has_forgotten(world: World) -> None:
    """Stripe may forget it after 24 hours, and would then take a repetition for a new request."""
    sale = new_sale(world)
    world.killed_after(2, sale.authorize)
    world.advance(A_DAY_LATER)
    world.fake.search_delay = NEVER
    world.events.clear()
    with pytest.raises(KeyExpired, match=f"PAYMENT of sale_id {sale.id}: the provider may have forgotten"):
        sale.authorize()
    assert world.events == ["write", "get search"]
    assert len(world.statuses(sale.id)) == 1


@pytest.mark.parametrize("search_delay", [0, NEVER], ids=["search finds it", "search finds nothing"])
@pytest.mark.parametrize("creates", [True, False])
def test_a_creation_that_stripe_answers_with_a_server_error_for_good_is_cancelled_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, search_delay: float, *, creates: bool
) -> None:
    """A server error is the response to every repetition with the key, whatever the first request has done."""
    create = world.fake.create

    def fail(params: Params) -> Json:
        if creates:
            create(params)
        raise StripeError(500, None, "unknown", type="api_error")

    monkeypatch.setattr(world.fake, "create", fail)
    world.fake.search_delay = search_delay
    sale = new_sale(world)
    for call in (sale.authorize, sale.authorize, sale.cancel):
        with contextlib.suppress(StripeFault):
            call()
    assert sale.row()["status"] == {"S": "CANCELLED"}
    with pytest.raises(StepCompensated):
        sale.authorize()
    left = "requires_confirmation" if search_delay else "canceled"
    assert (world.statuses(sale.id), sale.totals) == ([left] if creates else [], (0, 0))


def test_a_server_error_that_stripe_has_not_saved_leaves_the_cancellation_to_a_retry(world: World) -> None:
    sale = new_sale(world)

    def fail(_operation: str) -> None:
        raise StripeError(500, None, "unknown", type="api_error")

    world.fake.before = fail
    for call in (sale.authorize, sale.cancel, sale.cancel):
        with pytest.raises(StripeFault, match="500"):
            call()
    assert sale.row()["status"] == {"S": "CANCELLING"}


def test_a_late_confirmation_of_a_cancelled_intent_is_rejected(world: World) -> None:
    sale = new_sale(world)

    def cancel_first(operation: str) -> None:
        if operation == "confirm":
            world.fake.before = lambda _operation: None
            sale.cancel()

    world.fake.before = cancel_first
    with pytest.raises(StepCompensated):
        sale.authorize()
    assert (sale.totals, world.statuses(sale.id)) == ((0, 0), ["canceled"])


# What no request can change.


def test_an_authorization_that_stripe_released_before_the_capture_leaves_the_saga_stuck(world: World) -> None:
    sale = new_sale(world)
    sale.authorize()
    id_ = sale.row()["payment_intent"]["S"]
    world.fake.cancel(id_, {})
    with pytest.raises(StripeFault, match=f"PAYMENT of sale_id {sale.id}: {id_} was cancelled before its capture"):
        sale.capture()
    assert sale.row()["status"] == {"S": "AUTHORIZED"}


def test_a_captured_payment_is_never_taken_for_a_cancelled_one(world: World) -> None:
    sale = new_sale(world)
    sale.authorize()
    id_ = sale.row()["payment_intent"]["S"]
    world.fake.capture(id_, {})
    with pytest.raises(StripeFault, match=f"PAYMENT of sale_id {sale.id}: {id_} is captured: {CLOSE_FIRST} refund it"):
        sale.cancel()
    assert sale.row()["status"] == {"S": "CANCELLING"}


def test_an_intent_that_the_account_does_not_know_is_not_taken_for_a_cancelled_one(world: World) -> None:
    sale = new_sale(world)
    sale.authorize()
    world.fake._intents.clear()
    for call in (sale.cancel, sale.capture):
        with pytest.raises(Exception, match=r"404, resource_missing|does not own PAYMENT"):
            call()
    assert sale.row()["status"] == {"S": "CANCELLING"}


# Every order of an authorization and its cancellation.


def test_an_authorization_and_its_cancellation_in_every_order_of_their_writes_and_requests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = world.around

    def in_turn(event: str, happen: Callable[[], Any]) -> Any:
        wait_for_turn()
        return around(event, happen)

    monkeypatch.setattr(world, "around", in_turn)
    # An authorization takes 5 turns, a cancellation at most 6. Every fifth order.
    for of_action in list(itertools.combinations(range(11), 5))[::5]:
        sale = new_sale(world)
        calls = [RunningCall("s", sale.authorize), RunningCall("s", sale.cancel)]
        for call in calls:
            call.begin()
        for turn in range(11):
            call = calls[0 if turn in of_action else 1]
            if not call.has_ended:
                call.step()
        for call in calls:
            while not call.has_ended:
                call.step()
        assert set(world.statuses(sale.id)) <= {"canceled"}, of_action
        assert sale.row()["status"] == {"S": "CANCELLED"}, of_action


# The API key.


def test_the_api_key_is_read_once_and_again_after_a_rotation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed, reads = OwnSecret.renewed, []

    def counted(secret: OwnSecret) -> str:
        reads.append(secret)
        return renewed(secret)

    monkeypatch.setattr(OwnSecret, "renewed", counted)
    for _ in range(2):
        new_sale(world).authorize()
    assert len(reads) == 1
    world.secrets.put_secret_value(SecretId=world.arn, SecretString=f"{world.fake.rotate_key()}\n")
    sale = new_sale(world)
    assert sale.authorize()["status"] == "AUTHORIZED"
    assert (len(reads), sale.totals) == (2, (0, 60))


def test_a_key_that_stripe_rejects_twice_is_an_error_and_nothing_is_concluded(world: World) -> None:
    sale = new_sale(world)
    sale.authorize()
    world.fake.rotate_key()
    for call in (sale.cancel, new_sale(world).authorize):
        with pytest.raises(StripeFault, match=r"^Stripe responded with status 401$"):
            call()
    assert sale.row()["status"] == {"S": "CANCELLING"}


def test_no_row_log_or_error_has_the_api_key_or_the_payment_method(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    errors, old = [], world.fake.api_key
    for sale in (new_sale(world), new_sale(world, price=60.02), new_sale(world, method=DECLINED)):
        for call in (sale.authorize, sale.cancel, sale.authorize, sale.capture):
            try:
                call()
            except Exception as error:  # noqa: BLE001 (Lambda logs any error)
                errors.append(repr(error))
    new = world.fake.rotate_key()
    try:
        new_sale(world).authorize()
    except StripeFault as error:
        errors.append(repr(error))
    printed = capsys.readouterr()
    items = str(boto3.client("dynamodb").scan(TableName=TABLE)["Items"])
    assert len(errors) == 9
    for text in (items, printed.out, printed.err, caplog.text, *errors):
        for secret in (old, new, METHOD, DECLINED):
            assert secret not in text


# The connection.


@pytest.mark.parametrize("url", ["http://payments.example.com", "http://127.0.0.1.example.com/", "payments", ""])
def test_the_api_key_is_never_sent_unencrypted_to_another_machine(
    world: World, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PROVIDER_URL", url)
    with pytest.raises(StripeFault, match="https"):
        new_sale(world).authorize()


@contextlib.contextmanager
def responding(handler: type[BaseHTTPRequestHandler], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with TCPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, METHOD),
        (500, json.dumps({"error": {"code": METHOD, "message": METHOD}})),
        (409, json.dumps({"error": {"code": f"{METHOD} in use", "message": METHOD}})),
        (200, METHOD),
        (302, "{}"),
    ],
)
def test_an_unexpected_response_is_an_unknown_outcome_and_not_repeated_in_the_error(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int, body: str
) -> None:
    class Responding(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with responding(Responding, monkeypatch), pytest.raises(Exception, match=f"{status}") as raised:
        new_sale(world).authorize()
    assert METHOD not in str(raised.value)


def test_requests_that_trickle_in_exceed_the_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time; without a deadline the whole call would take 5 s."""
    ended = threading.Event()

    class Trickling(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            for _ in range(100):
                if ended.wait(0.05):
                    return
                self.wfile.write(b" ")
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    monkeypatch.setattr(stripe_client, "DEADLINE_SECONDS", 0.3)
    with responding(Trickling, monkeypatch):
        began = real_time.monotonic()
        with pytest.raises(StripeFault, match="Stripe did not respond"):
            new_sale(world).authorize()
        assert real_time.monotonic() - began < 2
        ended.set()


def test_all_requests_of_a_call_share_one_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The creation and the confirmation end in time; together they do not."""
    monkeypatch.setattr(stripe_client, "DEADLINE_SECONDS", 0.5)
    ended = threading.Event()
    world.fake.before = lambda _operation: ended.wait(0.3)
    with pytest.raises(StripeFault, match="Stripe did not respond"):
        new_sale(world).authorize()
    ended.set()


def test_a_provider_that_does_not_listen_is_an_unknown_outcome(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(StripeFault, match="Stripe did not respond: ConnectionRefusedError"):
            new_sale(world).authorize()
