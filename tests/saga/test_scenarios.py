"""The four orders of the demo, on the synthesized definition with the real handlers."""

import pytest

from local.demo import EXPECTED, scenario
from tests.saga.interpreter import Interpreter


@pytest.mark.parametrize("name", EXPECTED)
def test_a_scenario_ends_as_the_contract_says(machine: Interpreter, name: str) -> None:
    expected = EXPECTED[name]
    execution = machine.run(scenario(name))
    assert (execution.status, execution.error, execution.states) == (expected.status, expected.error, expected.states)
    assert {
        entity: row["status"] for entity, row in machine.rows(execution.order["order_id"]).items()
    } == expected.statuses
