"""A trial: one execution under faults, then all late calls, then a redrive if it is stuck. All of it is checked."""

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lambdas.saga_runtime.errors import BUSINESS_ERRORS, StepCompensated
from ops.invariants import ExpectedRow
from tests.invariants import imbalances, is_stuck, violations
from tests.saga.faults import ACCEPTANCE, REJECTION, Faults, Injector
from tests.saga.interpreter import Execution, Interpreter, TaskFailed, deliver_at_once, function_of
from tests.shape import Shape

if TYPE_CHECKING:
    from lambdas.saga_runtime.steps import Schema

_numbers = itertools.count(1)


@functools.cache
def expected_rows(shape: Shape) -> tuple[ExpectedRow, ...]:
    """Return the rows of a saga in the order of its steps, from the steps that its functions are made of."""
    rows: dict[str, ExpectedRow] = {}
    for action in (*shape.actions, *shape.retriables):
        if action in shape.functions:
            row = expected_row(shape, action)
            # A confirmation has the row of its action.
            rows.setdefault(row.entity, row)
    return tuple(rows.values())


def expected_row(shape: Shape, action: str) -> ExpectedRow:
    """Return the row of an action, from the step that its function is made of."""
    return ExpectedRow.of(function_of(shape, action).step)


def fresh(input_: Mapping[str, Any], key: str = "order_id") -> dict[str, Any]:
    """Return the same input under an id that no other trial uses."""
    return {**input_, key: f"trial-{next(_numbers)}"}


def padded(input_: Mapping[str, Any], schema: "Schema") -> dict[str, Any]:
    """Return the input made as large as its schema allows, by its last field."""
    field = schema.fields[-1]
    room = schema.max_size - len(json.dumps({**input_, field: ""}))
    return {**input_, field: '"' * (room // 2)}


def trial(
    machine: Interpreter, input_: Mapping[str, Any], faults: Faults, *, backwards: bool = False
) -> tuple[Execution, list[str]]:
    """Run a trial; return its first end, and every invariant that was violated then or after the redrive.

    Args:
        machine: the interpreter.
        input_: the input of the execution.
        faults: the faults of its tasks.
        backwards: whether the branches of parallel groups run in the other order.
    """
    injector = Injector(machine, faults)
    machine.intercept = injector
    machine.sender = injector.send
    machine.backwards = backwards
    execution = machine.run(input_)
    problems = check(machine, [execution])
    if injector.late:
        injector.deliver_late()
        problems += check(machine, [execution])
    machine.intercept = deliver_at_once
    machine.sender = machine.answer_in_time
    ended = execution
    if is_stuck(machine.shape, execution):
        ended = machine.resume(execution)
        if is_stuck(machine.shape, ended):
            problems.append(f"3: resumed, it ended {ended.status} with {ended.error} in {ended.states[-1]}")
        problems += check(machine, [ended])
    problems += [f"10: {problem}" for problem in machine.oversized]
    problems += injector.problems + late_answers_accepted(machine, ended)
    return execution, problems + late_actions_accepted(machine, ended)


def check(machine: Interpreter, executions: list[Execution]) -> list[str]:
    """Return the violations by the executions of one input."""
    rows = machine.rows(executions[0].input[machine.shape.key])
    found = violations(machine.shape, expected_rows(machine.shape), executions, rows)
    return found + ledger_violations(machine, executions)


def ledger_violations(machine: Interpreter, executions: Sequence[Execution]) -> list[str]:
    """Return the violations in the provider's ledger, if the saga calls a provider."""
    if machine.provider is None:
        return []
    amounts = [Decimal(str(execution.input[machine.demo.amount])) for execution in executions]
    key = executions[0].input[machine.shape.key]
    balance, authorized = machine.provider.balance(key), machine.provider.authorized(key)
    return imbalances(machine.shape, list(zip(executions, amounts, strict=True)), balance, authorized)


def late_answers_accepted(machine: Interpreter, execution: Execution) -> list[str]:
    """Answer every compensated step that waits. Return those whose answer was not rejected or changed a row."""
    key = execution.input[machine.shape.key]
    before = machine.rows(key)
    payload = {"saga": {"id": execution.arn, "started_at": execution.started_at}, "input": execution.input}
    problems = []
    for action, compensation in machine.shape.steps:
        if action not in machine.shape.waiting or compensation not in execution.states:
            continue
        for fields in (ACCEPTANCE, REJECTION):
            try:
                machine.answer(action, payload, fields)
                problems.append(f"11: an answer to {action} after {compensation} was not rejected")
            except StepCompensated:
                pass
    if machine.rows(key) != before:
        problems.append("11: a late answer changed a row")
    return problems


def late_actions_accepted(machine: Interpreter, execution: Execution) -> list[str]:
    """Call every compensated action once more. Return those that were not rejected or changed a row (invariant 6)."""
    if execution.status == "SUCCEEDED":
        return []
    key = execution.input[machine.shape.key]
    before = machine.rows(key)
    payload = {"saga": {"id": execution.arn, "started_at": execution.started_at}, "input": execution.input}
    problems = []
    for action, compensation in machine.shape.steps:
        if compensation not in execution.states:
            continue
        try:
            machine.call(action, payload)
            problems.append(f"6: {action} after {compensation} was not rejected")
        except TaskFailed as rejection:
            if rejection.name not in BUSINESS_ERRORS:
                problems.append(f"6: {action} after {compensation} ended in {rejection.name}")
    if machine.rows(key) != before:
        problems.append("6: a late action changed a row")
    return problems
