"""What an order costs in requests to DynamoDB."""

import pytest

from local.demo import scenario
from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import Interpreter


def test_a_happy_order_costs_four_writes_and_no_read(machine: Interpreter) -> None:
    machine.run(scenario("1-success"))
    assert machine.requests == ["UpdateItem"] * 4


@pytest.mark.parametrize("name", ["2-failed-order", "3-failed-payment", "5-failed-shipment"])
def test_undoing_a_step_costs_one_write(machine: Interpreter, name: str) -> None:
    execution = machine.run(scenario(name))
    done = sum(state in machine.shape.actions for state in execution.states) - 1  # the failed one is refused unwritten
    undone = sum(state in machine.shape.compensations for state in execution.states)
    assert machine.requests == ["UpdateItem"] * (done + undone)


def test_a_full_rollback_in_which_another_saga_holds_every_row_costs_six_writes(machine: Interpreter) -> None:
    machine.run(scenario("1-success"))
    payload = {
        "saga": {"id": "another", "started_at": "2999-01-01T00:00:00.000Z"},
        "order": scenario("1-success"),
        "failure": {"Error": "Any", "Cause": ""},
    }
    machine.requests.clear()
    for compensation in machine.shape.compensations:
        machine.call(compensation, payload)
    assert machine.requests == ["UpdateItem"] * 6


def test_confirming_an_order_twice_changes_nothing(machine: Interpreter) -> None:
    machine.through = Injector(machine, {"ConfirmOrder": (Fault.TWICE,)})
    execution = machine.run(scenario("1-success"))
    assert execution.status == "SUCCEEDED"
    history = machine.rows("1")["ORDER"]["history"]
    assert [event["status"] for event in history] == ["PENDING", "CONFIRMED"]


def test_the_output_names_order_and_status_alone(machine: Interpreter) -> None:
    assert machine.run(scenario("1-success")).output == {"order_id": "1", "status": "CONFIRMED"}
