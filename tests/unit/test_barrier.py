"""The write barrier in every order in which actions and compensations can arrive.

``make chaos`` explores the same orders for all rows, and every order to its end.
"""

from collections.abc import Iterator

import pytest

from tests.fixtures import local_aws
from tests.orderings import Delivery, Exploration, count, start_orders

BOTH_TWICE = [Delivery(saga, compensates) for saga in "AB" for compensates in (False, True) for _ in range(2)]
THREE_SAGAS = [*BOTH_TWICE[:4], *(Delivery(saga, compensates) for saga in "BC" for compensates in (False, True))]


@pytest.fixture(autouse=True)
def _aws() -> Iterator[None]:
    with local_aws():
        yield


@pytest.mark.parametrize("row", ["PAYMENT", "PIVOT"])
@pytest.mark.parametrize("starts", start_orders("AB"), ids=str)
def test_two_sagas_with_each_call_twice_in_every_order(row: str, starts: dict[str, str]) -> None:
    exploration = Exploration(row, starts, every_step=False)
    exploration.explore(BOTH_TWICE)
    assert exploration.orders == count(BOTH_TWICE) == 2_520
    assert not exploration.violations


@pytest.mark.parametrize("starts", start_orders("ABC"), ids=str)
def test_eight_calls_of_three_sagas_in_every_order(starts: dict[str, str]) -> None:
    exploration = Exploration("PAYMENT", starts, every_step=False)
    exploration.explore(THREE_SAGAS)
    assert exploration.orders == count(THREE_SAGAS) == 10_080
    assert not exploration.violations
