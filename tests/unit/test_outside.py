"""A step that calls a service outside: what is written and what is asked of it, in whatever order things come."""

import contextlib
import io
import itertools
import json
import random
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from rich.console import Console

from examples.ticket_sale.demo import EXAMPLE
from examples.ticket_sale.fake_provider import DECLINES, SILENT, SLOW_ONCE, FakeProvider, serving
from examples.ticket_sale.lambdas import handlers, provider
from examples.ticket_sale.lambdas.sales import PAYMENT, SEAT
from lambdas.shared import ledger
from lambdas.shared.errors import BusinessError, InvalidOrder, OrderConflict, StepCompensated
from lambdas.shared.fields import Fields
from lambdas.shared.handler import action, compensation, resolution
from lambdas.shared.outside import idempotency_key
from local.demo import Expected
from local.demo import run as run_demo
from local.orders import Ended
from tests.fixtures import TABLE, create_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CARD = "987-650-432-1987"
SALE: dict[str, Any] = {"sale_id": "1", "seat": "12 C", "price": 60, "card_no": CARD, "buyer": "Ada"}
PRICE = Decimal(60)
TRIALS = 60
EARLIER, LATER = "2025-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


@pytest.fixture
def sales() -> Iterator["DynamoDBClient"]:
    with mock_aws():
        yield create_table("sale_id")


def nothing(_path: str) -> None:
    pass


def no_answer(_path: str) -> None:
    raise provider.ProviderError("no answer")


class Direct(FakeProvider):
    """The provider without HTTP: ``asked`` has the requests, and ``before`` is called before each."""

    def __init__(self) -> None:
        super().__init__(hold_seconds=0)
        self.asked: list[str] = []
        self.before: Callable[[str], object] = nothing

    def post(self, path: str, key: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.before(path)
        self.asked.append(path)
        if path == "/cancellations":
            return self.cancel(key)
        answer = self.charge(key, body["reference"], Decimal(body["amount"]))
        if answer is None:
            raise provider.ProviderError("no answer")
        return answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Direct:
    fake = Direct()
    monkeypatch.setattr(provider, "_post", fake.post)
    return fake


def by_saga(saga_id: str, sale: object = SALE, *, at: str = "2026-01-01T00:00:00.000Z", **more: object) -> object:
    return {"saga": {"id": saga_id, "started_at": at}, "order": sale, **more}


def charge(saga_id: str = "s", sale: object = SALE, at: str = "2026-01-01T00:00:00.000Z") -> Any:
    return handlers.charge_card(by_saga(saga_id, sale, at=at), None)


def refund(saga_id: str = "s", sale: object = SALE, at: str = "2026-01-01T00:00:00.000Z") -> Any:
    return handlers.refund_card(by_saga(saga_id, sale, at=at), None)


def row(sales: "DynamoDBClient") -> dict[str, Any]:
    found = sales.get_item(TableName=TABLE, Key={"sale_id": {"S": "1"}, "entity": {"S": "PAYMENT"}})
    return dict(found.get("Item", {}))


def history(sales: "DynamoDBClient") -> list[str]:
    return [event["M"]["status"]["S"] for event in row(sales)["history"]["L"]]


def key_of(saga_id: str) -> str:
    return idempotency_key(PAYMENT, ("sale_id", "1"), ledger.Saga(id=saga_id, started_at=LATER))


# What is written when.


def test_the_row_says_before_the_call_that_it_may_have_been_made_and_after_it_what_was_told(
    sales: "DynamoDBClient", fake: Direct
) -> None:
    meanwhile = []
    fake.before = lambda _path: meanwhile.append(row(sales))
    assert charge() == {"sale_id": "1", "status": "CHARGED"}
    assert (meanwhile[0]["status"], meanwhile[0]["idempotency_key"]) == ({"S": "CHARGING"}, {"S": key_of("s")})
    assert row(sales)["charge_id"] == {"S": f"charge-{key_of('s')}"}
    assert refund() == {"sale_id": "1", "status": "REFUNDED"}
    assert meanwhile[1]["status"] == {"S": "REFUNDING"}
    assert row(sales)["refunded"] == {"S": "60"}
    assert history(sales) == ["CHARGING", "CHARGED", "REFUNDING", "REFUNDED"]


def test_where_nothing_was_written_nothing_is_called_and_the_action_is_barred(
    sales: "DynamoDBClient", fake: Direct
) -> None:
    refund()
    with pytest.raises(StepCompensated):
        charge()
    assert history(sales) == ["REFUNDED"]
    assert fake.asked == []


def test_a_repeated_delivery_of_what_is_done_asks_nothing_and_changes_nothing(
    sales: "DynamoDBClient", fake: Direct
) -> None:
    for call in (charge, refund):
        answer, kept, before = call(), row(sales), len(fake.asked)
        assert (call(), row(sales), len(fake.asked)) == (answer, kept, before)


@pytest.mark.parametrize("cents", [SLOW_ONCE, SILENT])
def test_after_an_unknown_outcome_the_same_is_asked_again_and_charged_once(
    sales: "DynamoDBClient", fake: Direct, cents: Decimal
) -> None:
    sale = {**SALE, "price": float(PRICE + cents)}
    for _ in range(3):
        with contextlib.suppress(provider.ProviderError):
            charge(sale=sale)
    assert fake.books("1") == f"provider: charged {PRICE + cents}"
    assert fake.asked == ["/charges"] * (2 if cents == SLOW_ONCE else 3)
    refund(sale=sale)
    assert fake.net("1") == 0


@pytest.mark.parametrize("came_to", ["CHARGING", "CHARGED", "REFUNDING"])
def test_as_long_as_a_saga_may_have_money_another_one_is_refused_before_it_calls(
    sales: "DynamoDBClient",
    fake: Direct,
    came_to: str,
) -> None:
    with contextlib.suppress(provider.ProviderError):
        charge(sale={**SALE, "price": 60.02} if came_to == "CHARGING" else SALE)
    if came_to == "REFUNDING":
        fake.before = no_answer
        with pytest.raises(provider.ProviderError):
            refund()
    before, requests = row(sales), list(fake.asked)
    assert before["status"] == {"S": came_to}
    with pytest.raises(OrderConflict, match=came_to):
        charge("another", at=LATER)
    refund("another", at=LATER)
    assert row(sales) == {**before, "fence": {"S": LATER}}
    assert fake.asked == requests


def test_a_refund_that_dies_at_the_provider_bars_the_action_and_is_finished_by_its_next_delivery(
    sales: "DynamoDBClient", fake: Direct
) -> None:
    charge()
    fake.before = no_answer
    with pytest.raises(provider.ProviderError):
        refund()
    requests = list(fake.asked)
    with pytest.raises(StepCompensated):
        charge()
    assert fake.asked == requests
    fake.before = nothing
    assert refund()["status"] == "REFUNDED"
    assert history(sales) == ["CHARGING", "CHARGED", "REFUNDING", "REFUNDED"]
    assert fake.net("1") == 0


def test_an_answer_that_comes_while_the_refund_is_under_way_is_refused(sales: "DynamoDBClient", fake: Direct) -> None:
    def refund_that_dies(path: str) -> None:
        if path == "/charges":
            with pytest.raises(provider.ProviderError):
                refund()
        else:
            no_answer(path)

    fake.before = refund_that_dies
    with pytest.raises(StepCompensated):
        charge()
    assert row(sales)["status"] == {"S": "REFUNDING"}


def test_a_slow_answer_does_not_make_the_row_live_again(sales: "DynamoDBClient", fake: Direct) -> None:
    """The charge has passed the barrier, then everything is undone, and only then it comes to the provider."""

    def first_refund(path: str) -> None:
        if path == "/charges":
            refund()

    fake.before = first_refund
    with pytest.raises(StepCompensated):
        charge()
    assert history(sales) == ["CHARGING", "REFUNDING", "REFUNDED"]
    assert fake.books("1") == "provider: nothing was charged"


def test_a_refund_delivered_twice_at_once_does_not_touch_what_a_later_saga_has_by_then(
    sales: "DynamoDBClient", fake: Direct
) -> None:
    charge()

    def the_other_one_and_then_a_later_saga(_path: str) -> None:
        fake.before = nothing
        refund()
        charge("later", at=LATER)

    fake.before = the_other_one_and_then_a_later_saga
    refund()
    assert (row(sales)["status"], row(sales)["saga_id"]) == ({"S": "CHARGED"}, {"S": "later"})
    assert fake.net("1") == PRICE


def test_a_sale_that_was_refunded_can_be_tried_again_and_is_charged_under_another_key(
    sales: "DynamoDBClient", fake: Direct
) -> None:
    charge()
    refund()
    charge("later", at=LATER)
    assert fake.books("1") == "provider: charged 60, refunded 60, charged 60"


def test_a_declined_card_is_refused_for_good_and_undone(sales: "DynamoDBClient", fake: Direct) -> None:
    sale = {**SALE, "price": float(PRICE + DECLINES)}
    with pytest.raises(InvalidOrder, match="card_no was declined"):
        charge(sale=sale)
    refund(sale=sale)
    assert history(sales) == ["CHARGING", "REFUNDING", "REFUNDED"]


class Forgetful:
    """A provider that knows keys and refunds, but can neither cancel by a key nor bar one."""

    def __init__(self) -> None:
        self.charges: dict[str, Decimal] = {}
        self.refunded: set[str] = set()
        self.before: Callable[[], object] = lambda: None

    def charge(self, sale: Fields, key: str) -> dict[str, str]:
        self.before()
        self.charges.setdefault(key, Decimal(str(sale["price"])))
        return {"charge_id": f"charge-{key}"}

    def charge_again_and_refund(self, sale: Fields, key: str) -> dict[str, str]:
        self.refunded.add(self.charge(sale, key)["charge_id"])
        return {}

    def net(self) -> Decimal:
        return sum(
            (amount for key, amount in self.charges.items() if f"charge-{key}" not in self.refunded), start=Decimal(0)
        )


@pytest.mark.parametrize("late", [False, True])
def test_with_a_provider_that_cannot_cancel_by_key_the_compensation_charges_again_with_it_and_refunds_that(
    sales: "DynamoDBClient", *, late: bool
) -> None:
    forgetful = Forgetful()
    charge_card = action(PAYMENT, call=forgetful.charge)
    refund_card = compensation(PAYMENT, call=forgetful.charge_again_and_refund)

    def first_refund() -> None:
        forgetful.before = lambda: None
        refund_card(by_saga("s"), None)

    if late:
        forgetful.before = first_refund
        with pytest.raises(StepCompensated):
            charge_card(by_saga("s"), None)
    else:
        charge_card(by_saga("s"), None)
        refund_card(by_saga("s"), None)
    assert len(forgetful.charges) == 1
    assert forgetful.net() == 0


# The idempotency key.


def test_the_key_is_that_of_saga_order_and_step_and_stays_the_same() -> None:
    """It is stored nowhere but here: another form of it would charge twice what is under way at a deployment."""
    assert key_of("arn:aws:states:us-east-1:123456789012:execution:TicketSaga-dev-TicketSale:1") == (
        "05c3bd5d-3b4d-5f35-894f-dbb76a791527"
    )
    saga = ledger.Saga(id="s", started_at=LATER)
    keys = [
        idempotency_key(step, ("sale_id", order_id), one)
        for step in (SEAT, PAYMENT)
        for order_id in ("1", "2")
        for one in (saga, replace(saga, id="t"))
    ]
    assert len(set(keys)) == 8
    assert [str(uuid.UUID(key)) for key in keys] == keys
    assert idempotency_key(PAYMENT, ("sale_id", "1"), replace(saga, started_at=EARLIER)) == key_of("s")


# A step whose row cannot say whether its service may have been called is refused when it is loaded.


RESERVED_OUTSIDE = replace(SEAT, entity=replace(SEAT.entity, doing="RESERVING"))
MISFITS: dict[str, Callable[[], object]] = {
    "an action without the statuses": lambda: action(SEAT, call=provider.charge),
    "a compensation without the statuses": lambda: compensation(SEAT, call=provider.cancel),
    "an action with one of them": lambda: action(RESERVED_OUTSIDE, call=provider.charge),
    "an action that does not call": lambda: action(PAYMENT),
    "a compensation that does not call": lambda: compensation(PAYMENT),
    "a resolution": lambda: resolution(PAYMENT),
}


@pytest.mark.parametrize("make", MISFITS.values(), ids=MISFITS)
def test_statuses_that_do_not_fit_the_functions_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="a step whose functions call a service has the statuses `doing` and `undo"):
        make()


# Every order of the writes and requests of calls that run at the same time, each of which may die at any of them.


class Killed(BaseException):
    """The function's process is gone."""


@dataclass
class Running:
    """One call of a function, which stops before each write and each request until it is told to go on."""

    saga: str
    call: Callable[[], object]
    ended: bool = False
    done: bool = False
    _killed: bool = False
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def begin(self) -> None:
        threading.Thread(target=self._run).start()
        self._stopped.acquire()

    def step(self) -> None:
        """Let it make its next write or request."""
        self._go.release()
        self._stopped.acquire()

    def kill(self) -> None:
        """Let it come no further."""
        self._killed = True
        while not self.ended:
            self.step()

    def gate(self) -> None:
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def _run(self) -> None:
        _here.running = self
        try:
            self.call()
            self.done = True
        except (BusinessError, Killed):
            pass
        finally:
            self.ended = True
            self._stopped.release()


_here = threading.local()


def gate(*_: object) -> None:
    running: Running | None = getattr(_here, "running", None)
    if running is not None:
        running.gate()


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> None:
    write = ledger._update

    def update(*arguments: Any) -> Any:
        gate()
        return write(*arguments)

    monkeypatch.setattr(ledger, "_update", update)


ROW = DynamoType({"S": "1"}), DynamoType({"S": "PAYMENT"})


class Trial:
    """Calls that run at the same time on an empty table and a new provider."""

    def __init__(self, sales: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch, started: dict[str, str]) -> None:
        if row(sales):
            sales.delete_item(TableName=TABLE, Key={"sale_id": {"S": "1"}, "entity": {"S": "PAYMENT"}})
        self.fake = Direct()
        self.fake.before = gate
        monkeypatch.setattr(provider, "_post", self.fake.post)
        self.started = started
        self.undone: set[str] = set()

    def action(self, saga: str) -> Running:
        return Running(saga, lambda: charge(saga, at=self.started[saga]))

    def compensation(self, saga: str) -> Running:
        def undo() -> None:
            refund(saga, at=self.started[saga])
            self.undone.add(saga)

        return Running(saga, undo)

    def holds(self, saga: str) -> Decimal:
        _, amount = self.fake._charged.get(key_of(saga), ("", Decimal(0)))
        return Decimal(0) if key_of(saga) in self.fake._cancelled else amount

    def check(self) -> None:
        """What must hold at any moment, so also if everything dies now."""
        # moto's own store: as a call of the API, this would take half of the time.
        item = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[TABLE].items[ROW[0]].get(ROW[1])
        kept = {} if item is None else item.to_json()["Attributes"]
        status, owner = kept.get("status", {}).get("S"), kept.get("saga_id", {}).get("S")
        held = {saga: self.holds(saga) for saga in self.started}
        assert sum(held.values()) <= PRICE, "charged twice"
        for saga, amount in held.items():
            if saga in self.undone:
                assert amount == 0, "an undone saga has been charged"
                assert (status, owner) not in [("CHARGING", saga), ("CHARGED", saga)], "an undone row is live again"
            if amount:
                assert owner == saga and status != "REFUNDED", "nobody knows of a charge"
        if status == "CHARGED":
            assert held[str(owner)] == PRICE, "live, and not charged"

    def settle(self) -> None:
        """Deliver once more what died: every saga's action, then its compensation."""
        for saga in self.started:
            if saga not in self.undone:
                with contextlib.suppress(BusinessError):
                    charge(saga, at=self.started[saga])
                    assert self.holds(saga) == PRICE
                self.check()
            refund(saga, at=self.started[saga])
            self.undone.add(saga)
            self.check()
        with pytest.raises(BusinessError):
            charge(next(iter(self.started)), at=self.started["s"])
        assert self.fake.net("1") == 0


def run(trial: Trial, calls: Sequence[Running], schedule: Iterator[int], killed: set[int]) -> None:
    """Let the calls go on in turns. A call begins at its first turn."""
    begun: set[int] = set()
    try:
        for index in schedule:
            call = calls[index]
            if index not in begun:
                begun.add(index)
                call.begin()
            if not call.ended:
                call.step()
            trial.check()
        for index in begun - killed:
            while not calls[index].ended:
                calls[index].step()
                trial.check()
    finally:
        for index in begun:
            calls[index].kill()
    trial.settle()


@pytest.mark.usefixtures("gated")
def test_an_action_and_its_compensation_in_every_order_of_their_writes_and_requests(
    sales: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    # An action makes 3 steps, a compensation 4.
    for turns in itertools.combinations(range(7), 3):
        trial = Trial(sales, monkeypatch, {"s": "2026-01-01T00:00:00.000Z"})
        calls = [trial.action("s"), trial.compensation("s")]
        run(trial, calls, iter([0 if turn in turns else 1 for turn in range(7)]), set())


@pytest.mark.usefixtures("gated")
def test_two_sagas_at_once_every_call_twice_in_random_orders_and_dying_anywhere(
    sales: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(20_260_101)
    for _ in range(TRIALS):
        trial = Trial(sales, monkeypatch, {"s": "2026-01-01T00:00:00.000Z", "t": chance.choice([LATER, EARLIER])})
        calls = [make(saga) for saga in "st" for make in (trial.action, trial.compensation) for _ in range(2)]
        turns = chance.sample([index for index in range(len(calls)) for _ in range(4)], chance.randrange(8, 32))
        run(trial, calls, iter(turns), set(chance.sample(range(len(calls)), 3)))


# The client, over HTTP.


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with serving() as fake:
        monkeypatch.setenv("PROVIDER_URL", fake.context["provider_url"])
        yield fake


def test_a_provider_that_times_out_after_charging_is_asked_again_and_has_charged_once(
    served: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = {**SALE, "price": float(PRICE + SLOW_ONCE)}
    with monkeypatch.context() as impatient:
        impatient.setattr(provider, "TIMEOUT_SECONDS", 0.1)
        with pytest.raises(provider.ProviderError, match="TimeoutError"):
            provider.charge(sale, "key")
    assert served.net("1") == PRICE + SLOW_ONCE
    assert provider.charge(sale, "key") == {"charge_id": "charge-key"}
    assert served.books("1") == "provider: charged 60.01"


def test_a_cancellation_refunds_and_bars_what_comes_later(served: FakeProvider) -> None:
    provider.charge(SALE, "key")
    assert [provider.cancel(SALE, "key") for _ in range(2)] == [{"refunded": "60"}] * 2
    assert provider.cancel(SALE, "never charged") == {"refunded": "0"}
    for key in ("key", "never charged"):
        with pytest.raises(StepCompensated):
            provider.charge(SALE, key)
    assert served.books("1") == "provider: charged 60, refunded 60"


@pytest.mark.parametrize("url", ["http://payments.example.com", "http://127.0.0.1.example.com/", "payments", ""])
def test_a_card_is_never_sent_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PROVIDER_URL", url)
    with pytest.raises(provider.ProviderError, match="https"):
        provider.charge(SALE, "key")


def answering(status: int, body: str) -> type[BaseHTTPRequestHandler]:
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
def test_an_answer_that_is_none_is_an_unknown_outcome_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str
) -> None:
    with TCPServer(("127.0.0.1", 0), answering(status, body)) as server:
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(provider.ProviderError) as raised:
            provider.charge(SALE, "key")
        thread.join()
    assert CARD not in str(raised.value)


def test_a_provider_that_is_not_there_is_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(provider.ProviderError, match="ConnectionRefusedError"):
            provider.cancel(SALE, "key")


def test_no_row_log_error_or_book_holds_the_card_number(
    sales: "DynamoDBClient", served: FakeProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "TIMEOUT_SECONDS", 0.1)
    raised = []
    for cents in (Decimal(0), SLOW_ONCE, SILENT, DECLINES):
        sale = {**SALE, "sale_id": str(cents), "price": float(PRICE + cents)}
        for function in (handlers.charge_card, handlers.refund_card, handlers.charge_card):
            try:
                function(by_saga("s", sale), None)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is logged by the runtime)
                raised.append(repr(error))
    told = capsys.readouterr()
    seen = [str(sales.scan(TableName=TABLE)["Items"]), told.out, told.err, *raised, repr(vars(served))]
    assert len(raised) == 7
    assert not [text for text in seen if "1987" in text.replace("'card_last4': {'S': '1987'}", "") or "987-650" in text]


# The demo.


@pytest.mark.parametrize(
    ("status", "net", "found"),
    [
        ("SUCCEEDED", "60", []),
        ("FAILED", "0", []),
        ("SUCCEEDED", "120", ["the service holds 120, expected 60"]),
        ("SUCCEEDED", "0", ["the service holds 0, expected 60"]),
        ("FAILED", "60", ["the service holds 60, expected 0"]),
    ],
)
def test_a_demo_differs_from_the_contract_if_the_provider_holds_anything_but_the_price(
    status: str, net: str, found: list[str]
) -> None:
    ended = Ended(arn="arn", status=status, error=None, cause=None, output=None, states=())
    orders: Any = SimpleNamespace(start=lambda _sale: "arn", end=lambda _arn: ended, rows=lambda _sale_id: {})
    service: Any = SimpleNamespace(books=lambda _sale_id: "its books", net=lambda _sale_id: Decimal(net))
    expected = {"1-success": Expected(title="any", status=status, states=(), statuses={})}
    shown = io.StringIO()
    differences = run_demo(orders, Console(file=shown), replace(EXAMPLE, expected=expected), service)
    assert differences == [f"1-success: {problem}" for problem in found]
    assert "its books" in shown.getvalue()
