"""The write barrier against every order in which actions and compensations can arrive.

``make chaos`` walks the same orders for all rows and without leaving out what is known already.
"""

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.orderings import Call, Exploration, count, starts

BOTH_TWICE = [Call(saga, compensates) for saga in "AB" for compensates in (False, True) for _ in range(2)]
THREE_SAGAS = [*BOTH_TWICE[:4], *(Call(saga, compensates) for saga in "BC" for compensates in (False, True))]


@pytest.fixture(autouse=True)
def _aws() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.mark.parametrize("row", ["PAYMENT", "PIVOT"])
@pytest.mark.parametrize("begun", starts("AB"), ids=str)
def test_two_sagas_with_every_call_twice_in_every_order(row: str, begun: dict[str, str]) -> None:
    exploration = Exploration(row, begun, every_step=False)
    exploration.walk(BOTH_TWICE)
    assert exploration.orders == count(BOTH_TWICE) == 2_520
    assert not exploration.broken


# The six in which no two start at once, and the one in which all do; `make chaos` takes all thirteen.
SEVEN = [begun for begun in starts("ABC") if len(set(begun.values())) != 2]


@pytest.mark.parametrize("begun", SEVEN, ids=str)
def test_eight_calls_of_three_sagas_in_every_order(begun: dict[str, str]) -> None:
    exploration = Exploration("PAYMENT", begun, every_step=False)
    exploration.walk(THREE_SAGAS)
    assert exploration.orders == count(THREE_SAGAS) == 10_080
    assert not exploration.broken
