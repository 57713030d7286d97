"""A step that calls a provider: its writes and its requests, in whatever order they happen."""

import contextlib
import itertools
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from lambdas.saga_runtime import barrier
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import BusinessError, InvalidInput, SagaConflict, StepCompensated, StepFailed
from lambdas.saga_runtime.handlers import action, compensation, confirmation, resolution
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import ProviderRequest, idempotency_key
from lambdas.saga_runtime.steps import Attributes
from templates.saga_provider.fake_provider import DECLINES, SILENT, SLOW_ONCE, FakeProvider
from templates.saga_provider.lambdas import provider
from tests import charges
from tests.charges import STEPS
from tests.fixtures import create_table, local_aws, store_item, stored_item

SEAT, PAYMENT = STEPS["SEAT"], STEPS["PAYMENT"]
SALE: dict[str, Any] = {"sale_id": "1", "seat": "12 C", "price": 60, "card_no": "987-650-432-1987", "buyer": "Ada"}
PRICE = Decimal(60)
RACES = 60
EARLIER, NOW, LATER = "2025-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


@pytest.fixture(autouse=True)
def _sales() -> Iterator[None]:
    with local_aws():
        create_table("sale_id")
        yield


def do_nothing(_path: str) -> None:
    pass


def fail(_path: str) -> None:
    raise provider.ProviderError("no response")


class DirectProvider(FakeProvider):
    """The provider without HTTP. ``requests`` has its requests; ``before`` is called before each."""

    def __init__(self) -> None:
        super().__init__(hold_seconds=0)
        self.requests: list[str] = []
        self.before: Callable[[str], object] = do_nothing

    def post(self, path: str, key: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.before(path)
        self.requests.append(path)
        if path == "/cancellations":
            return self.cancel(key)
        response = self.charge(key, body["reference"], Decimal(body["amount"]))
        if response is None:
            raise provider.ProviderError("no response")
        return response


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> DirectProvider:
    fake = DirectProvider()
    monkeypatch.setattr(provider, "_post", fake.post)
    return fake


def by_saga(saga_id: str, sale: object = SALE, *, at: str = NOW) -> object:
    return {"saga": {"id": saga_id, "started_at": at}, "input": sale}


def charge(saga_id: str = "s", sale: object = SALE, at: str = NOW) -> Any:
    return charges.charge_card(by_saga(saga_id, sale, at=at), None)


def refund(saga_id: str = "s", sale: object = SALE, at: str = NOW) -> Any:
    return charges.refund_card(by_saga(saga_id, sale, at=at), None)


def stored() -> dict[str, Any]:
    return stored_item("1", "PAYMENT") or {}


def history() -> list[str]:
    return [entry["M"]["status"]["S"] for entry in stored()["history"]["L"]]


def key_of(saga_id: str, started_at: str = NOW) -> str:
    return idempotency_key(
        Row(step=PAYMENT, key=("sale_id", "1"), saga=SagaIdentity(id=saga_id, started_at=started_at), table=OWN_TABLE)
    )


# The writes around a call.


def test_the_row_says_before_the_call_that_it_may_be_made_and_after_it_what_the_provider_returned(
    fake: DirectProvider,
) -> None:
    during_call = []
    fake.before = lambda _path: during_call.append(stored())
    assert charge() == {"sale_id": "1", "status": "CHARGED"}
    assert (during_call[0]["status"], during_call[0]["idempotency_key"]) == ({"S": "CHARGING"}, {"S": key_of("s")})
    assert stored()["action_response"] == {"M": {"charge_id": {"S": f"charge-{key_of('s')}"}}}
    assert refund() == {"sale_id": "1", "status": "REFUNDED"}
    assert during_call[1]["status"] == {"S": "REFUNDING"}
    assert stored()["compensation_response"] == {"M": {"refunded": {"S": "60"}}}
    assert history() == ["CHARGING", "CHARGED", "REFUNDING", "REFUNDED"]


class SaleFailed(Exception):  # noqa: N818 (the name of the Fail state)
    """An error of a provider's client."""


class RejectionError(BusinessError):
    """A business error with the name of the Fail state."""


RejectionError.__name__ = SaleFailed.__name__


@pytest.mark.parametrize("error", [SaleFailed, RejectionError], ids=["fault", "business error"])
def test_no_error_has_the_name_of_the_fail_state_or_a_stuck_saga_would_look_clean(error: type[Exception]) -> None:
    def call(_request: ProviderRequest) -> Attributes:
        raise error("no response")

    step = replace(PAYMENT, confirmed="CAPTURED")
    with pytest.raises(StepFailed, match="SaleFailed: no response"):
        action(step, call)(by_saga("s"), None)
    with pytest.raises(StepFailed, match="SaleFailed: no response"):
        compensation(step, call)(by_saga("s"), None)
    action(step, lambda _: {})(by_saga("t", {**SALE, "sale_id": "2"}), None)
    with pytest.raises(StepFailed, match="SaleFailed: no response"):
        confirmation(step, call)(by_saga("t", {**SALE, "sale_id": "2"}), None)


def test_a_compensation_without_a_row_calls_nothing_and_rejects_the_late_action(fake: DirectProvider) -> None:
    refund()
    with pytest.raises(StepCompensated):
        charge()
    assert history() == ["REFUNDED"]
    assert fake.requests == []


def test_a_repeated_delivery_calls_nothing_and_changes_nothing(fake: DirectProvider) -> None:
    for call in (charge, refund):
        answer, row, requests = call(), stored(), len(fake.requests)
        assert (call(), stored(), len(fake.requests)) == (answer, row, requests)


@pytest.mark.parametrize("cents", [SLOW_ONCE, SILENT])
def test_after_an_unknown_outcome_the_call_is_repeated_and_charges_once(fake: DirectProvider, cents: Decimal) -> None:
    sale = {**SALE, "price": float(PRICE + cents)}
    for _ in range(3):
        with contextlib.suppress(provider.ProviderError):
            charge(sale=sale)
    assert fake.ledger("1") == f"provider: charged {PRICE + cents}"
    assert fake.requests == ["/charges"] * (2 if cents == SLOW_ONCE else 3)
    refund(sale=sale)
    assert fake.balance("1") == 0


@pytest.mark.parametrize("status", ["CHARGING", "CHARGED", "REFUNDING"])
def test_while_a_saga_may_have_charged_another_one_is_rejected_before_it_calls(
    fake: DirectProvider, status: str
) -> None:
    with contextlib.suppress(provider.ProviderError):
        charge(sale={**SALE, "price": 60.02} if status == "CHARGING" else SALE)
    if status == "REFUNDING":
        fake.before = fail
        with pytest.raises(provider.ProviderError):
            refund()
    before, requests = stored(), list(fake.requests)
    assert before["status"] == {"S": status}
    with pytest.raises(SagaConflict, match=status):
        charge("another", at=LATER)
    refund("another", at=LATER)
    after = stored()
    assert after.pop("fenced_by")
    assert after == {**before, "fence": {"S": LATER}}
    assert fake.requests == requests


def test_a_refund_that_fails_at_the_provider_rejects_the_action_and_is_finished_by_its_next_delivery(
    fake: DirectProvider,
) -> None:
    charge()
    fake.before = fail
    with pytest.raises(provider.ProviderError):
        refund()
    requests = list(fake.requests)
    with pytest.raises(StepCompensated):
        charge()
    assert fake.requests == requests
    fake.before = do_nothing
    assert refund()["status"] == "REFUNDED"
    assert history() == ["CHARGING", "CHARGED", "REFUNDING", "REFUNDED"]
    assert fake.balance("1") == 0


def test_a_response_that_arrives_during_the_refund_is_rejected(fake: DirectProvider) -> None:
    def fail_during_the_refund(path: str) -> None:
        if path == "/charges":
            with pytest.raises(provider.ProviderError):
                refund()
        else:
            fail(path)

    fake.before = fail_during_the_refund
    with pytest.raises(StepCompensated):
        charge()
    assert stored()["status"] == {"S": "REFUNDING"}


def test_a_slow_request_does_not_make_the_row_live_again(fake: DirectProvider) -> None:
    """The charge has passed the barrier, then it is compensated, and only then it arrives at the provider."""

    def refund_first(path: str) -> None:
        if path == "/charges":
            refund()

    fake.before = refund_first
    with pytest.raises(StepCompensated):
        charge()
    assert history() == ["CHARGING", "REFUNDING", "REFUNDED"]
    assert fake.ledger("1") == "provider: nothing was charged"


@pytest.mark.parametrize("owner", [{"saga_id": {"S": "t"}}, {"saga_started_at": {"S": LATER}}], ids=["id", "start"])
@pytest.mark.parametrize("compensates", [False, True], ids=["charge", "refund"])
def test_a_response_does_not_change_the_row_of_another_saga_that_waits_for_its_own(
    fake: DirectProvider, owner: dict[str, Any], compensates: object
) -> None:
    foreign: dict[str, Any] = {}

    def change_owner(_path: str) -> None:
        foreign.update(stored() | owner)
        store_item("1", "PAYMENT", foreign)

    if compensates:
        charge()
    fake.before = change_owner
    with contextlib.nullcontext() if compensates else pytest.raises(SagaConflict):
        (refund if compensates else charge)()
    assert stored() == foreign


def test_a_refund_that_is_delivered_twice_at_once_does_not_change_the_row_of_a_later_saga(
    fake: DirectProvider,
) -> None:
    charge()

    def refund_and_charge_by_a_later_saga(_path: str) -> None:
        fake.before = do_nothing
        refund()
        charge("later", at=LATER)

    fake.before = refund_and_charge_by_a_later_saga
    refund()
    assert (stored()["status"], stored()["saga_id"]) == ({"S": "CHARGED"}, {"S": "later"})
    assert fake.balance("1") == PRICE


def test_a_sale_that_was_refunded_can_be_tried_again_and_is_charged_with_another_key(fake: DirectProvider) -> None:
    charge()
    refund()
    charge("later", at=LATER)
    assert fake.ledger("1") == "provider: charged 60, refunded 60, charged 60"


def test_a_later_saga_keeps_nothing_that_the_provider_returned_to_an_earlier_one(fake: DirectProvider) -> None:
    charge(at=EARLIER)
    refund(at=EARLIER)
    during_call = []
    fake.before = lambda _path: during_call.append(stored())
    charge("later")
    assert not during_call[0].keys() & {"action_response", "compensation_response"}
    assert stored()["action_response"] == {"M": {"charge_id": {"S": f"charge-{key_of('later')}"}}}
    assert "compensation_response" not in stored()


def test_a_compensation_fits_into_the_row_however_the_responses_of_earlier_sagas_were_named() -> None:
    def responding(name: str) -> Callable[[ProviderRequest], Attributes]:
        return lambda _request: {name: "x" * 99_000}

    for number in range(1, 6):
        event = by_saga(f"saga-{number}", at=f"2026-01-0{number}T00:00:00.000Z")
        action(PAYMENT, call=responding(f"receipt_{number}"))(event, None)
        compensation(PAYMENT, call=responding(f"refund_{number}"))(event, None)
    assert stored()["status"] == {"S": "REFUNDED"}
    assert [set(stored()[name]["M"]) for name in ("action_response", "compensation_response")] == [
        {"receipt_5"},
        {"refund_5"},
    ]


def test_a_declined_card_is_rejected_and_compensated(fake: DirectProvider) -> None:
    sale = {**SALE, "price": float(PRICE + DECLINES)}
    with pytest.raises(InvalidInput, match="card_no was declined"):
        charge(sale=sale)
    refund(sale=sale)
    assert history() == ["CHARGING", "REFUNDING", "REFUNDED"]


def test_what_a_provider_returns_replaces_no_other_attribute_of_the_row() -> None:
    action(PAYMENT, call=lambda _request: {"status": "FREE", "amount": "0"})(by_saga("s"), None)
    row = stored()
    assert (row["status"], row["amount"]) == ({"S": "CHARGED"}, {"N": "60"})
    assert row["action_response"] == {"M": {"status": {"S": "FREE"}, "amount": {"S": "0"}}}


class ForgetfulProvider:
    """A provider with keys and refunds that can neither cancel nor reject a key."""

    def __init__(self) -> None:
        self.charges: dict[str, Decimal] = {}
        self.refunded: set[str] = set()
        self.before: Callable[[], object] = lambda: None

    def charge(self, request: ProviderRequest) -> dict[str, str]:
        self.before()
        self.charges.setdefault(request.key, Decimal(str(request.input["price"])))
        return {"charge_id": f"charge-{request.key}"}

    def charge_again_and_refund(self, request: ProviderRequest) -> dict[str, str]:
        self.refunded.add(self.charge(request)["charge_id"])
        return {}

    def balance(self) -> Decimal:
        return sum(
            (amount for key, amount in self.charges.items() if f"charge-{key}" not in self.refunded), start=Decimal(0)
        )


@pytest.mark.parametrize("late", [False, True])
def test_with_a_provider_that_cannot_cancel_by_key_the_compensation_charges_again_and_refunds_that(
    *, late: bool
) -> None:
    forgetful = ForgetfulProvider()
    charge_card = action(PAYMENT, call=forgetful.charge)
    refund_card = compensation(PAYMENT, call=forgetful.charge_again_and_refund)

    def refund_first() -> None:
        forgetful.before = lambda: None
        refund_card(by_saga("s"), None)

    if late:
        forgetful.before = refund_first
        with pytest.raises(StepCompensated):
            charge_card(by_saga("s"), None)
    else:
        charge_card(by_saga("s"), None)
        refund_card(by_saga("s"), None)
    assert len(forgetful.charges) == 1
    assert forgetful.balance() == 0


# The idempotency key.


def test_the_key_depends_on_saga_sale_and_step_and_never_changes() -> None:
    """Another form of it would charge twice for the calls that are in flight during a deployment."""
    assert key_of("arn:aws:states:us-east-1:123456789012:execution:TicketSaga-dev-TicketSale:1") == (
        "b0705409-f981-5e31-a023-c1b0c01d0c36"
    )
    saga = SagaIdentity(id="s", started_at=LATER)
    keys = [
        idempotency_key(Row(step=step, key=("sale_id", sale_id), saga=one, table=OWN_TABLE))
        for step in (SEAT, PAYMENT)
        for sale_id in ("1", "2")
        for one in (saga, replace(saga, id="t"), replace(saga, started_at=EARLIER))
    ]
    assert len(set(keys)) == 12
    assert [str(uuid.UUID(key)) for key in keys] == keys


WITH_ONE_STATUS = replace(SEAT, in_progress="RESERVING")


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: action(SEAT, call=provider.charge), id="an action without the statuses"),
        pytest.param(lambda: compensation(SEAT, call=provider.cancel), id="a compensation without the statuses"),
        pytest.param(lambda: action(WITH_ONE_STATUS, call=provider.charge), id="an action with one of them"),
        pytest.param(lambda: action(PAYMENT), id="an action that does not call"),
        pytest.param(lambda: compensation(PAYMENT), id="a compensation that does not call"),
        pytest.param(lambda: resolution(PAYMENT), id="a resolution"),
    ],
)
def test_a_step_whose_row_cannot_show_a_call_is_rejected_when_it_is_loaded(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="a step that calls a provider needs the statuses `in_progress` and `compensa"):
        make()


# Calls that run at the same time, in every order of their writes and requests, each killed at any of them.


class Killed(BaseException):
    """The process of the function was killed."""


@dataclass
class RunningCall:
    """A call of a function that waits for its turn before each write and each request."""

    saga: str
    call: Callable[[], object]
    has_ended: bool = False
    _is_killed: bool = False
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def begin(self) -> None:
        threading.Thread(target=self._run).start()
        self._waiting.acquire()

    def step(self) -> None:
        """Let it make its next write or request."""
        self._turn.release()
        self._waiting.acquire()

    def kill(self) -> None:
        """Let it make no further write or request."""
        self._is_killed = True
        while not self.has_ended:
            self.step()

    def wait_for_turn(self) -> None:
        self._waiting.release()
        self._turn.acquire()
        if self._is_killed:
            raise Killed

    def _run(self) -> None:
        _thread.call = self
        try:
            self.call()
        except (BusinessError, Killed):
            pass
        finally:
            self.has_ended = True
            self._waiting.release()


_thread = threading.local()


def wait_for_turn(*_: object) -> None:
    call: RunningCall | None = getattr(_thread, "call", None)
    if call is not None:
        call.wait_for_turn()


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> None:
    write = barrier._update

    def update(*arguments: Any, **named: Any) -> Any:
        wait_for_turn()
        return write(*arguments, **named)

    monkeypatch.setattr(barrier, "_update", update)


class Race:
    """Calls that run at the same time, on an empty table and a new provider."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, starts: dict[str, str]) -> None:
        store_item("1", "PAYMENT", None)
        self.fake = DirectProvider()
        self.fake.before = wait_for_turn
        monkeypatch.setattr(provider, "_post", self.fake.post)
        self.starts = starts
        self.compensated: set[str] = set()

    def action(self, saga: str) -> RunningCall:
        return RunningCall(saga, lambda: charge(saga, at=self.starts[saga]))

    def compensation(self, saga: str) -> RunningCall:
        return RunningCall(saga, lambda: self._compensate(saga))

    def _compensate(self, saga: str) -> None:
        refund(saga, at=self.starts[saga])
        self.compensated.add(saga)

    def charged(self, saga: str) -> Decimal:
        _, amount = self.fake._charges.get(key_of(saga, self.starts[saga]), ("", Decimal(0)))
        return Decimal(0) if key_of(saga, self.starts[saga]) in self.fake._cancelled else amount

    def check(self) -> None:
        """Check what must be true at any moment, even if every process is killed now."""
        row = stored()
        status, owner = row.get("status", {}).get("S"), row.get("saga_id", {}).get("S")
        charged = {saga: self.charged(saga) for saga in self.starts}
        assert sum(charged.values()) <= PRICE, "charged twice"
        for saga, amount in charged.items():
            if saga in self.compensated:
                assert amount == 0, "a compensated saga has charged"
                assert (status, owner) not in [("CHARGING", saga), ("CHARGED", saga)], "a compensated row is live again"
            if amount:
                assert owner == saga and status != "REFUNDED", "no row shows a charge"
        if status == "CHARGED":
            assert charged[str(owner)] == PRICE, "live, and not charged"
        entries = [
            (entry["M"]["saga_id"]["S"], entry["M"]["status"]["S"]) for entry in row.get("history", {"L": []})["L"]
        ]
        assert len(entries) == len(set(entries)), "a repeated call added to the history"

    def settle(self) -> None:
        """Deliver again what was killed: the action of every saga, then its compensation."""
        for saga in self.starts:
            if saga not in self.compensated:
                with contextlib.suppress(BusinessError):
                    charge(saga, at=self.starts[saga])
                    assert self.charged(saga) == PRICE
                self.check()
            self._compensate(saga)
            self.check()
        with pytest.raises(BusinessError):
            charge(next(iter(self.starts)), at=self.starts["s"])
        assert self.fake.balance("1") == 0


def run(race: Race, calls: Sequence[RunningCall], schedule: Iterator[int], killed: set[int]) -> None:
    """Let the calls take turns. A call begins with its first turn."""
    started: set[int] = set()
    try:
        for index in schedule:
            call = calls[index]
            if index not in started:
                started.add(index)
                call.begin()
            if not call.has_ended:
                call.step()
            race.check()
        for index in started - killed:
            while not calls[index].has_ended:
                calls[index].step()
                race.check()
    finally:
        for index in started:
            calls[index].kill()
    race.settle()


@pytest.mark.usefixtures("turns")
def test_an_action_and_its_compensation_in_every_order_of_their_writes_and_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An action takes 3 turns, a compensation 4.
    for of_action in itertools.combinations(range(7), 3):
        race = Race(monkeypatch, {"s": NOW})
        calls = [race.action("s"), race.compensation("s")]
        run(race, calls, iter([0 if turn in of_action else 1 for turn in range(7)]), set())


@pytest.mark.usefixtures("turns")
def test_two_sagas_at_once_with_each_call_twice_in_random_orders_and_killed_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(20_260_101)
    for _ in range(RACES):
        race = Race(monkeypatch, {"s": NOW, "t": chance.choice([LATER, EARLIER])})
        calls = [make(saga) for saga in "st" for make in (race.action, race.compensation) for _ in range(2)]
        schedule = chance.sample([index for index in range(len(calls)) for _ in range(4)], chance.randrange(8, 32))
        run(race, calls, iter(schedule), set(chance.sample(range(len(calls)), 3)))
