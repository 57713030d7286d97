"""A saga that started in a whole second is one saga, whether its start time is written with milliseconds or not."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from lambdas.saga_runtime import cancellation, clock
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import SagaConflict, StepCompensated
from lambdas.saga_runtime.handlers import Handler, action, compensation
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import ProviderRequest
from lambdas.saga_runtime.steps import Attributes
from tests import trips
from tests.charges import STEPS
from tests.fixtures import create_table, local_aws, stored_item

SHORT, LONG, OTHER = "2026-01-01T00:00:06Z", "2026-01-01T00:00:06.000Z", "2026-01-01T00:00:06.001Z"
SALE = {"sale_id": "1", "seat": "12 C", "price": 60, "card_no": "987-650-432-1987", "buyer": "Ada"}
TRIP = {"trip_id": "1", "flight": "XY 100"}
either_form = pytest.mark.parametrize(("first", "second"), [(SHORT, LONG), (LONG, SHORT)])


@pytest.fixture(autouse=True)
def _aws() -> Iterator[None]:
    with local_aws():
        yield


def call(handler: Handler, started_at: str, input_: object = SALE) -> Any:
    return handler({"saga": {"id": "s", "started_at": started_at}, "input": input_}, None)


def history(key: str, entity: str) -> list[str]:
    return [entry["M"]["status"]["S"] for entry in (stored_item(key, entity) or {})["history"]["L"]]


@either_form
def test_a_repeated_action_and_its_compensation_find_the_row_in_either_form(first: str, second: str) -> None:
    create_table("sale_id")
    reserve, release = action(STEPS["SEAT"]), compensation(STEPS["SEAT"])
    assert call(reserve, first) == call(reserve, second)
    call(release, second)
    call(release, first)
    assert history("1", "SEAT") == [STEPS["SEAT"].live, STEPS["SEAT"].compensated]
    with pytest.raises(StepCompensated):
        call(reserve, first)


@either_form
def test_the_calls_of_a_provider_have_one_key_in_either_form(first: str, second: str) -> None:
    create_table("sale_id")
    keys = []

    def record(request: ProviderRequest) -> Attributes:
        keys.append(request.key)
        return {}

    def crash(request: ProviderRequest) -> Attributes:
        record(request)
        raise ConnectionError("no response")

    with pytest.raises(ConnectionError):
        call(action(STEPS["PAYMENT"], call=crash), first)
    call(action(STEPS["PAYMENT"], call=record), second)
    call(compensation(STEPS["PAYMENT"], call=record), second)
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert history("1", "PAYMENT") == ["CHARGING", "CHARGED", "REFUNDING", "REFUNDED"]


@either_form
def test_a_confirmation_finds_the_row_in_either_form(first: str, second: str) -> None:
    create_table("trip_id")
    call(trips.reserve_flight, first, TRIP)
    assert call(trips.confirm_flight, second, TRIP) == call(trips.confirm_flight, first, TRIP)


def test_a_cancellation_before_the_first_write_rejects_the_action_of_either_form() -> None:
    create_table("sale_id")
    saga = cancellation.identity_of("s", datetime.fromisoformat(SHORT), [])
    row = Row(step=STEPS["SEAT"], key=("sale_id", "1"), saga=saga, table=OWN_TABLE)
    assert cancellation.cancel([[row]], lambda _: None).is_accepted
    for form in (SHORT, LONG):
        with pytest.raises(StepCompensated):
            call(action(STEPS["SEAT"]), form)
        call(compensation(STEPS["SEAT"]), form)
    assert history("1", "SEAT") == [STEPS["SEAT"].compensated]


@either_form
def test_a_saga_that_started_a_millisecond_later_is_another_one(first: str, second: str) -> None:
    create_table("sale_id")
    call(action(STEPS["SEAT"]), first)
    with pytest.raises(SagaConflict):
        call(action(STEPS["SEAT"]), OTHER)
    call(compensation(STEPS["SEAT"]), OTHER)
    assert history("1", "SEAT") == [STEPS["SEAT"].live]
    assert SagaIdentity(id="s", started_at=first) != SagaIdentity(id="s", started_at=OTHER)
    assert len({SagaIdentity(id="s", started_at=start) for start in (first, second, OTHER)}) == 2


@pytest.mark.parametrize(
    ("time", "other"),
    [
        (SHORT, LONG),
        (LONG, SHORT),
        (OTHER, OTHER),
        ("2026-01-01T00:00:06.100Z", "2026-01-01T00:00:06.100Z"),
        ("2026-01-01T00:00:06+00:00", "2026-01-01T00:00:06+00:00"),
        ("", ""),
    ],
)
def test_only_a_time_in_a_whole_second_has_another_form(time: str, other: str) -> None:
    assert clock.other_form(time) == other
