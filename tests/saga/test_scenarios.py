"""The inputs of the demos, on the synthesized definition with the real handlers."""

import pytest

from tests.saga.interpreter import Interpreter
from tests.sagas import SCENARIOS, SagaUnderTest


@pytest.mark.parametrize(("saga", "name"), SCENARIOS, indirect=["saga"])
def test_a_scenario_ends_as_the_contract_says(saga: SagaUnderTest, machine: Interpreter, name: str) -> None:
    expected = saga.demo.expected_ends()[name]
    execution = machine.run(saga.demo.input(name))
    path = machine.shape.path(execution.states)
    assert (execution.status, execution.error, path) == (expected.status, expected.error, expected.states)
    rows = machine.rows(execution.input[machine.shape.key])
    assert {entity: row["status"] for entity, row in rows.items()} == expected.statuses
