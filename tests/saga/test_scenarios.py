"""The orders of the demos, on the synthesized definition with the real handlers."""

import pytest

from tests.saga.interpreter import Interpreter
from tests.sagas import SCENARIOS, Saga


@pytest.mark.parametrize(("saga", "name"), SCENARIOS, indirect=["saga"])
def test_a_scenario_ends_as_the_contract_says(saga: Saga, machine: Interpreter, name: str) -> None:
    expected = saga.example.expected[name]
    execution = machine.run(saga.example.scenario(name))
    path = machine.shape.path(execution.states)
    assert (execution.status, execution.error, path) == (expected.status, expected.error, expected.states)
    rows = machine.rows(execution.order[machine.shape.key])
    assert {entity: row["status"] for entity, row in rows.items()} == expected.statuses
