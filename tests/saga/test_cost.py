"""The cost of an execution in requests to DynamoDB."""

from collections import Counter
from collections.abc import Iterable

import pytest

from lambdas.saga_runtime import clock
from lambdas.saga_runtime.steps import StepSpec
from ops.invariants import ExpectedRow
from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import Interpreter
from tests.saga.trial import expected_row, expected_rows
from tests.sagas import FAILING, SAGAS, SagaUnderTest, each_saga, on_example


@each_saga
def test_a_success_costs_one_write_a_step_and_one_more_for_a_response_of_a_provider_or_an_answer(
    saga: SagaUnderTest, machine: Interpreter
) -> None:
    """Only the receiver of an answer reads: once before its write, and once after it."""
    machine.run(saga.demo.input("1-success"))
    calling = [row for row in expected_rows(machine.shape) if row.compensating]
    # The calls of an authorization store the provider's reference at once, and its capture calls too.
    further = sum((1 if step.references else 0) + (1 if step.confirmed else 0) for step in specs_of(saga, calling))
    steps = len(machine.shape.actions) + len(machine.shape.retriables)
    waiting = len(machine.shape.waiting)
    writes = steps + len(calling) + further + waiting
    assert Counter(machine.requests) == Counter(UpdateItem=writes, GetItem=2 * waiting)


def specs_of(saga: SagaUnderTest, rows: Iterable[ExpectedRow]) -> list[StepSpec]:
    return [saga.demo.specs[row.entity] for row in rows]


@pytest.mark.parametrize(
    ("saga", "name"),
    # Of sagas whose steps neither call a provider nor wait.
    [(saga, name) for saga, name in FAILING if not any(spec.in_progress for spec in SAGAS[saga].demo.specs.values())],
    indirect=["saga"],
)
def test_a_compensation_costs_one_write(saga: SagaUnderTest, machine: Interpreter, name: str) -> None:
    execution = machine.run(saga.demo.input(name))
    actions = sum(state in machine.shape.actions for state in execution.states) - 1  # the rejected one writes nothing
    compensations = sum(state in machine.shape.compensations for state in execution.states)
    assert machine.requests == ["UpdateItem"] * (actions + compensations)


@on_example("ticket_sale")
def test_a_compensation_that_calls_a_provider_costs_two_writes_and_a_rejected_one(
    saga: SagaUnderTest, machine: Interpreter
) -> None:
    machine.run(saga.demo.input("5-failed-ticket"))
    assert machine.requests == ["UpdateItem"] * (1 + 3 + 1 + 3 + 1)


@each_saga
def test_a_full_rollback_in_which_another_saga_owns_every_row_costs_two_writes_a_step(
    saga: SagaUnderTest, machine: Interpreter
) -> None:
    machine.run(saga.demo.input("1-success"))
    payload = {
        "saga": {"id": "another", "started_at": clock.now()},
        "input": saga.demo.input("1-success"),
        "failure": {"Error": "Any", "Cause": ""},
    }
    machine.requests.clear()
    for compensation in machine.shape.compensations:
        machine.call(compensation, payload)
    assert machine.requests == ["UpdateItem"] * 2 * len(machine.shape.compensations)


@each_saga
def test_a_repeated_retriable_step_changes_nothing(saga: SagaUnderTest, machine: Interpreter) -> None:
    machine.intercept = Injector(machine, dict.fromkeys(machine.shape.retriables, (Fault.TWICE,)))
    execution = machine.run(saga.demo.input("1-success"))
    assert execution.status == "SUCCEEDED"
    rows = machine.rows("1")
    for row in expected_rows(machine.shape):
        assert tuple(row.history(rows, execution.arn)) == row.live


@each_saga
def test_the_output_has_the_key_and_the_status_only(saga: SagaUnderTest, machine: Interpreter) -> None:
    output = machine.run(saga.demo.input("1-success")).output
    # Without a write of its own at the end, the last answer is that of the last step, or of a group's first one.
    shape = machine.shape
    last = shape.actions[0] if shape.completion else shape.parts[-1].tasks[0][0]
    assert output == {machine.shape.key: "1", "status": expected_row(shape, last).live[-1]}
