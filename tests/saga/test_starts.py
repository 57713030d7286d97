"""Several executions for one input, and inputs of every kind."""

import pytest

from tests.saga.interpreter import Interpreter
from tests.saga.trial import check
from tests.sagas import FAILING, SagaUnderTest, each_saga


@each_saga
def test_a_second_execution_of_a_live_order_fails_and_leaves_the_rows_of_the_first_one_alone(
    saga: SagaUnderTest, machine: Interpreter
) -> None:
    first_action = machine.shape.actions[0]
    first = machine.run(saga.demo.input("1-success"))
    before = machine.rows("1")
    second = machine.run(saga.demo.input("1-success"))
    assert (second.status, second.error) == ("FAILED", machine.shape.failed)
    assert (second.cause or "").startswith(f"{first_action} failed: SagaConflict: another saga")
    assert machine.shape.path(second.states) == machine.shape.rolled_back_from(first_action)
    fence = {"fence": None, "fenced_by": None}
    after = machine.rows("1")
    assert {entity: {**row, **fence} for entity, row in after.items()} == {
        entity: {**row, **fence} for entity, row in before.items()
    }
    assert not check(machine, [first, second])


@pytest.mark.parametrize(("saga", "name"), FAILING, indirect=["saga"])
def test_a_compensated_order_can_be_tried_again_and_succeed(
    saga: SagaUnderTest, machine: Interpreter, name: str
) -> None:
    input_ = saga.demo.input(name)
    first = machine.run(input_)
    second = machine.run({**saga.demo.input("1-success"), machine.shape.key: input_[machine.shape.key]})
    assert second.status == "SUCCEEDED"
    assert not check(machine, [first, second])


@each_saga
@pytest.mark.parametrize("input_", [None, [1], "text", 5, {"KEY": 1}, {"KEY": "1", "total": float("nan")}])
def test_an_invalid_input_of_any_kind_fails_cleanly(machine: Interpreter, input_: object) -> None:
    if isinstance(input_, dict):
        input_ = {machine.shape.key if name == "KEY" else name: value for name, value in input_.items()}
    first_action = machine.shape.actions[0]
    execution = machine.run(input_)
    assert (execution.status, execution.error) == ("FAILED", machine.shape.failed)
    assert machine.shape.path(execution.states) == machine.shape.rolled_back_from(first_action)
    assert (execution.cause or "").startswith(f"{first_action} failed: InvalidInput: ")
