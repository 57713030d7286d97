"""Several executions for one order."""

import pytest

from local.demo import scenario
from tests.saga.interpreter import Interpreter
from tests.saga.trial import check


def test_a_second_execution_of_a_live_order_fails_and_leaves_the_first_ones_rows_alone(machine: Interpreter) -> None:
    first = machine.run(scenario("1-success"))
    before = machine.rows("1")
    second = machine.run(scenario("1-success"))
    assert (second.status, second.error) == ("FAILED", "OrderFailed")
    assert (second.cause or "").startswith("CreateOrder failed: OrderConflict: another saga")
    assert second.states == machine.shape.rolled_back_from("CreateOrder")
    after = machine.rows("1")
    assert {entity: {**row, "fence": None} for entity, row in after.items()} == {
        entity: {**row, "fence": None} for entity, row in before.items()
    }
    assert not check(machine, [first, second])


@pytest.mark.parametrize("name", ["2-failed-order", "3-failed-payment", "5-failed-shipment"])
def test_a_compensated_order_can_be_tried_again_and_succeed(machine: Interpreter, name: str) -> None:
    order_id = str(scenario(name)["order_id"])
    first = machine.run(scenario(name))
    second = machine.run({**scenario("1-success"), "order_id": order_id})
    assert second.status == "SUCCEEDED"
    assert not check(machine, [first, second])


@pytest.mark.parametrize("order", [None, [1], "text", 5, {"order_id": 1}, {"order_id": "1", "total": float("nan")}])
def test_an_input_of_any_kind_fails_cleanly(machine: Interpreter, order: object) -> None:
    execution = machine.run(order)
    assert (execution.status, execution.error) == ("FAILED", "OrderFailed")
    assert execution.states == machine.shape.rolled_back_from("CreateOrder")
    assert (execution.cause or "").startswith("CreateOrder failed: InvalidOrder: ")
