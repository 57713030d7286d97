"""What an order costs in requests to DynamoDB."""

import pytest

from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import Interpreter
from tests.saga.trial import kept
from tests.sagas import FAILING, Saga, each_saga


@each_saga
def test_a_happy_order_costs_one_write_a_step_and_no_read_and_one_more_where_a_service_is_called(
    saga: Saga, machine: Interpreter
) -> None:
    machine.run(saga.example.scenario("1-success"))
    calling = [row for row in kept(machine.shape) if row.undoing]
    steps = len(machine.shape.actions) + len(machine.shape.retriables)
    assert machine.requests == ["UpdateItem"] * (steps + len(calling))


@pytest.mark.parametrize(
    ("saga", "name"), [(saga, name) for saga, name in FAILING if saga != "ticket"], indirect=["saga"]
)
def test_undoing_a_step_costs_one_write(saga: Saga, machine: Interpreter, name: str) -> None:
    execution = machine.run(saga.example.scenario(name))
    done = sum(state in machine.shape.actions for state in execution.states) - 1  # the failed one is refused unwritten
    undone = sum(state in machine.shape.compensations for state in execution.states)
    assert machine.requests == ["UpdateItem"] * (done + undone)


@pytest.mark.parametrize("saga", ["ticket"], indirect=True)
def test_undoing_a_step_that_has_called_a_service_costs_two_writes_and_a_refused_one(
    saga: Saga, machine: Interpreter
) -> None:
    machine.run(saga.example.scenario("4-failed-ticket"))
    assert machine.requests == ["UpdateItem"] * (1 + 2 + 1 + 3 + 1)


@each_saga
def test_a_full_rollback_in_which_another_saga_holds_every_row_costs_two_writes_a_step(
    saga: Saga, machine: Interpreter
) -> None:
    machine.run(saga.example.scenario("1-success"))
    payload = {
        "saga": {"id": "another", "started_at": "2999-01-01T00:00:00.000Z"},
        "order": saga.example.scenario("1-success"),
        "failure": {"Error": "Any", "Cause": ""},
    }
    machine.requests.clear()
    for compensation in machine.shape.compensations:
        machine.call(compensation, payload)
    assert machine.requests == ["UpdateItem"] * 2 * len(machine.shape.compensations)


@each_saga
def test_a_retriable_step_made_twice_changes_nothing(saga: Saga, machine: Interpreter) -> None:
    machine.through = Injector(machine, dict.fromkeys(machine.shape.retriables, (Fault.TWICE,)))
    execution = machine.run(saga.example.scenario("1-success"))
    assert execution.status == "SUCCEEDED"
    rows = machine.rows("1")
    for row in kept(machine.shape):
        assert tuple(event["status"] for event in rows[row.entity]["history"]) == row.live


@each_saga
def test_the_output_names_order_and_status_alone(saga: Saga, machine: Interpreter) -> None:
    output = machine.run(saga.example.scenario("1-success")).output
    assert output == {machine.shape.key: "1", "status": "ISSUED" if saga.name == "ticket" else "CONFIRMED"}
