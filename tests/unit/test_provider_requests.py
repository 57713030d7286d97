"""What a call of a provider receives and may store: its key, which expires, and the provider's references."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambdas.saga_runtime import barrier, clock
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import BusinessError, KeyExpired, SagaConflict, StepCompensated
from lambdas.saga_runtime.handlers import action, compensation, confirmation
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import ProviderRequest, idempotency_key
from lambdas.saga_runtime.steps import KEY_MARGIN, Attributes, Schema, StepSpec
from lambdas.saga_runtime.validation import line
from tests.fixtures import create_table, local_aws, store_item, stored_item

DAY = timedelta(hours=24)
STARTED, LATER = "2026-01-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"
HOTEL = StepSpec(
    action="hold_room",
    schema=Schema(noun="trip", key="trip_id", fields=("trip_id", "room", "code"), sensitive=("code",)),
    entity="HOTEL",
    in_progress="HOLDING",
    live="HELD",
    confirmed="BOOKED",
    compensating="FREEING",
    compensated="FREED",
    stores={"room": line("room", longest=100)},
    references=("hold_id",),
    key_lifetime=DAY,
)
TRIP = {"trip_id": "7", "room": "12", "code": "open sesame"}


class Clock:
    """The clock of the functions, which a test sets."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def present(self) -> datetime:
        return self.time


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    time = Clock()
    monkeypatch.setattr(clock, "present", time.present)
    with local_aws():
        create_table("trip_id")
        yield time


def by_saga(saga_id: str = "s", at: str = STARTED) -> object:
    return {"saga": {"id": saga_id, "started_at": at}, "input": TRIP}


def row() -> dict[str, Any]:
    return stored_item("7", "HOTEL") or {}


def key_of(*, confirms: bool = False) -> str:
    saga = SagaIdentity(id="s", started_at=STARTED)
    return idempotency_key(Row(step=HOTEL, key=("trip_id", "7"), saga=saga, table=OWN_TABLE), confirms=confirms)


def nothing(_request: ProviderRequest) -> Attributes:
    return {}


def crash(_request: ProviderRequest) -> Attributes:
    raise ConnectionError("no response")


def hold(request: ProviderRequest) -> Attributes:
    request.store({"hold_id": f"hold-{request.row.saga.id}"})
    return {}


def store_and_crash(request: ProviderRequest) -> Attributes:
    hold(request)
    return crash(request)


class Recorder:
    """A call that records its requests."""

    def __init__(self) -> None:
        self.requests: list[ProviderRequest] = []

    def __call__(self, request: ProviderRequest) -> Attributes:
        self.requests.append(request)
        return {}

    @property
    def stored(self) -> list[dict[str, str]]:
        return [dict(request.stored) for request in self.requests]


def fail(handler: Callable[[object, object], object], saga_id: str = "s", at: str = STARTED) -> None:
    with pytest.raises(ConnectionError):
        handler(by_saga(saga_id, at), None)


# References.


def test_a_reference_is_in_the_row_before_the_call_goes_on_and_every_later_call_receives_it() -> None:
    fail(action(HOTEL, call=store_and_crash))
    assert (row()["status"], row()["hold_id"]) == ({"S": "HOLDING"}, {"S": "hold-s"})
    repeated, freeing = Recorder(), Recorder()
    action(HOTEL, call=repeated)(by_saga(), None)
    compensation(HOTEL, call=freeing)(by_saga(), None)
    assert repeated.stored == freeing.stored == [{"hold_id": "hold-s"}]


def test_a_compensation_receives_what_the_action_stored_between_its_two_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The item that rejected the first write has no reference yet."""
    compensate_if = barrier._compensate_if

    def then_store(*arguments: Any) -> Any:
        rejected_by = compensate_if(*arguments)
        action(HOTEL, call=hold)(by_saga(), None)
        return rejected_by

    fail(action(HOTEL, call=crash))
    monkeypatch.setattr(barrier, "_compensate_if", then_store)
    freeing = Recorder()
    compensation(HOTEL, call=freeing)(by_saga(), None)
    assert freeing.stored == [{"hold_id": "hold-s"}]


def test_nothing_more_is_requested_once_the_compensation_has_begun() -> None:
    requested = []

    def compensated_before_it_stores(request: ProviderRequest) -> Attributes:
        fail(compensation(HOTEL, call=crash))
        request.store({"hold_id": "late"})
        requested.append("the second request")
        return {}

    with pytest.raises(StepCompensated):
        action(HOTEL, call=compensated_before_it_stores)(by_saga(), None)
    assert not requested
    assert "hold_id" not in row()


def test_a_compensation_stores_what_it_finds_for_its_next_delivery() -> None:
    fail(action(HOTEL, call=crash))
    fail(compensation(HOTEL, call=store_and_crash))
    freeing = Recorder()
    compensation(HOTEL, call=freeing)(by_saga(), None)
    assert freeing.stored == [{"hold_id": "hold-s"}]


@pytest.mark.parametrize("owner", [{"saga_id": {"S": "t"}}, {"saga_started_at": {"S": LATER}}], ids=["id", "start"])
@pytest.mark.parametrize("make", [action, compensation])
def test_no_reference_is_stored_in_the_row_of_another_saga(owner: dict[str, Any], make: Any) -> None:
    def claimed_by_another(request: ProviderRequest) -> Attributes:
        foreign.update(row() | owner)
        store_item("7", "HOTEL", foreign)
        return hold(request)

    foreign: dict[str, Any] = {}
    fail(action(HOTEL, call=crash))
    with pytest.raises(Exception, match="another saga"):
        make(HOTEL, call=claimed_by_another)(by_saga(), None)
    assert row() == foreign


def test_a_saga_that_claims_the_row_of_a_compensated_one_does_not_receive_its_references(time: Clock) -> None:
    action(HOTEL, call=hold)(by_saga(), None)
    confirmed = Recorder()
    compensation(HOTEL, call=nothing)(by_saga(), None)
    assert row()["hold_id"] == {"S": "hold-s"}
    time.time = clock._with_zone(LATER)
    fail(action(HOTEL, call=crash), "t", LATER)
    holding, freeing = Recorder(), Recorder()
    action(HOTEL, call=holding)(by_saga("t", LATER), None)
    confirmation(HOTEL, call=confirmed)(by_saga("t", LATER), None)
    assert holding.stored == confirmed.stored == [{}]
    assert "hold_id" not in row()
    assert not freeing.requests


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"price": "9"}, "HOTEL cannot store price: name it in references="),
        ({"hold_id": "x" * 10_000}, "HOTEL cannot store 10,007 bytes of references: at most 10,000"),
    ],
)
def test_a_call_stores_nothing_at_once_but_declared_and_short_references(stored: dict[str, str], message: str) -> None:
    def call(request: ProviderRequest) -> Attributes:
        request.store(stored)
        return {}

    with pytest.raises(ValueError, match=message):
        action(HOTEL, call=call)(by_saga(), None)
    assert row()["status"] == {"S": "HOLDING"}


# The lifetime of the key.


@pytest.mark.parametrize(
    ("age", "lifetime", "is_expired"),
    [
        (timedelta(0), DAY, False),
        (DAY - KEY_MARGIN, DAY, False),
        (DAY - KEY_MARGIN + timedelta(milliseconds=1), DAY, True),
        (14 * DAY, DAY, True),
        (365 * DAY, None, False),
    ],
)
@pytest.mark.parametrize("make", [action, compensation])
def test_a_key_is_not_used_after_its_lifetime(
    time: Clock, make: Any, age: timedelta, lifetime: timedelta | None, *, is_expired: bool
) -> None:
    """Its age counts from the first attempt, not from the start of the saga, nor from the last attempt."""
    time.time += 3 * DAY
    step = replace(HOTEL, key_lifetime=lifetime)
    keys = []

    def call(request: ProviderRequest) -> Attributes:
        assert request.key_expired is is_expired
        keys.append(request.key)
        return {}

    fail(action(step, call=crash))
    time.time += age
    fail(action(step, call=crash))
    if is_expired:
        with pytest.raises(KeyExpired):
            make(step, call=call)(by_saga(), None)
    else:
        make(step, call=call)(by_saga(), None)
    assert keys == ([] if is_expired else [key_of()])


def test_the_error_names_the_row_the_reference_and_what_to_do_and_no_value_of_the_input(time: Clock) -> None:
    def use_the_key(request: ProviderRequest) -> Attributes:
        return {"receipt": request.key}

    fail(action(HOTEL, call=store_and_crash))
    time.time += DAY
    with pytest.raises(KeyExpired) as raised:
        compensation(HOTEL, call=use_the_key)(by_saga(), None)
    message = str(raised.value)
    assert message == (
        f"HOTEL of trip_id 7: the provider may have forgotten the idempotency key {key_of()} of {STARTED}, so nothing "
        "was requested: close the saga with `ops close`, check with `ops show` that it does not run, then look up at "
        "the provider what this key, hold_id hold-s has done, and end it there"
    )
    assert not issubclass(KeyExpired, BusinessError)
    assert row()["status"] == {"S": "FREEING"}


def test_a_row_that_an_earlier_version_wrote_has_a_key_as_old_as_its_saga(time: Clock) -> None:
    fail(action(HOTEL, call=crash))
    store_item("7", "HOTEL", {name: value for name, value in row().items() if name != "requested_at"})
    recorder, found = Recorder(), []
    for age in (DAY - KEY_MARGIN, DAY):
        time.time = clock._with_zone(STARTED) + age
        fail(action(HOTEL, call=lambda request: recorder(request) or crash(request)))
        found.append(recorder.requests[-1].key_expired)
    assert found == [False, True]


def test_a_later_saga_has_a_new_key_with_a_lifetime_of_its_own(time: Clock) -> None:
    action(HOTEL, call=nothing)(by_saga(), None)
    compensation(HOTEL, call=nothing)(by_saga(), None)
    time.time = clock._with_zone(LATER)
    recorder = Recorder()
    action(HOTEL, call=recorder)(by_saga("t", LATER), None)
    assert not recorder.requests[0].key_expired
    assert recorder.requests[0].key != key_of()


# A confirmation that calls.


def test_a_confirmation_calls_once_and_stores_the_response_with_the_last_status() -> None:
    action(HOTEL, call=hold)(by_saga(), None)
    recorder, during = Recorder(), []

    def book(request: ProviderRequest) -> Attributes:
        during.append(row()["status"])
        recorder(request)
        return {"voucher": "V-1"}

    answers = [confirmation(HOTEL, call=book)(by_saga(), None) for _ in range(2)]
    assert answers == [{"trip_id": "7", "status": "BOOKED"}] * 2
    assert during == [{"S": "HELD"}]
    assert recorder.stored == [{"hold_id": "hold-s"}]
    assert row()["confirmation_response"] == {"M": {"voucher": {"S": "V-1"}}}
    assert [entry["M"]["status"]["S"] for entry in row()["history"]["L"]] == ["HOLDING", "HELD", "BOOKED"]


def test_after_an_unknown_outcome_the_confirmation_calls_again() -> None:
    action(HOTEL, call=hold)(by_saga(), None)
    fail(confirmation(HOTEL, call=crash))
    assert row()["status"] == {"S": "HELD"}
    recorder = Recorder()
    confirmation(HOTEL, call=recorder)(by_saga(), None)
    assert len(recorder.requests) == 1


def test_the_key_of_a_confirmation_is_its_own_and_its_age_counts_from_its_first_call(time: Clock) -> None:
    action(HOTEL, call=hold)(by_saga(), None)
    time.time += 3 * DAY
    fail(confirmation(HOTEL, call=crash))
    recorder = Recorder()
    time.time += DAY - KEY_MARGIN
    fail(confirmation(HOTEL, call=lambda request: recorder(request) or crash(request)))
    assert recorder.requests[0].key == key_of(confirms=True) != key_of()
    time.time += KEY_MARGIN
    with pytest.raises(KeyExpired):
        confirmation(HOTEL, call=lambda request: {"voucher": request.key})(by_saga(), None)


@pytest.mark.parametrize("state", ["no row", "in progress", "compensated", "another saga's"])
def test_a_row_that_is_not_own_and_live_is_not_confirmed_and_nothing_is_called(state: str) -> None:
    if state != "no row":
        fail(action(HOTEL, call=store_and_crash), "t" if state == "another saga's" else "s")
    if state == "another saga's":
        action(HOTEL, call=hold)(by_saga("t"), None)
    if state == "compensated":
        compensation(HOTEL, call=nothing)(by_saga(), None)
    before, recorder = row(), Recorder()
    with pytest.raises(SagaConflict, match="does not own HOTEL: nothing was confirmed"):
        confirmation(HOTEL, call=recorder)(by_saga(), None)
    assert (row(), recorder.requests) == (before, [])


# The declaration.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"references": ("room",)}, "hold_room has room twice: a reference needs a name of its own"),
        ({"references": ("requested_at",)}, "HOTEL cannot store requested_at: the write barrier uses the name"),
        ({"references": ("trip_id",)}, "HOTEL cannot store trip_id: the write barrier uses the name"),
        ({"key_lifetime": KEY_MARGIN}, "hold_room has the key_lifetime 0:30:00: must be above 0:30:00"),
    ],
)
def test_a_step_with_a_contradiction_is_rejected_when_it_is_loaded(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(HOTEL, **changes)
