"""One trial: an order run under faults, everything late delivered, whatever is stuck resumed, all of it checked."""

import inspect
import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lambdas.shared.errors import BUSINESS_ERRORS
from tests.invariants import Kept, broken, is_stuck, unbalanced
from tests.saga.faults import Faults, Injector
from tests.saga.interpreter import Execution, Interpreter, TaskFailed, function
from tests.shape import Shape

if TYPE_CHECKING:
    from lambdas.shared.steps import Step

_numbers = itertools.count(1)


def kept(shape: Shape) -> tuple[Kept, ...]:
    """The rows of a saga in the order of its steps, from the steps that its functions are made of."""
    called = [task for task in (*shape.actions, *shape.retriables) if task in shape.functions]
    rows = [_kept(shape, action) for action in called]
    # What confirms a row has the row of its action.
    return tuple(
        {row.entity: row for row in reversed(rows)}[entity] for entity in dict.fromkeys(r.entity for r in rows)
    )


def _kept(shape: Shape, action: str) -> Kept:
    step: Step = inspect.getclosurevars(function(shape, action)).nonlocals["step"]
    confirmed = (step.entity.confirmed,) if step.entity.confirmed else ()
    doing = (step.entity.doing,) if step.entity.doing else ()
    return Kept(
        action=action,
        entity=step.entity.name,
        live=(*doing, step.entity.live, *confirmed),
        undoing=step.entity.undoing,
        undone=step.entity.undone,
    )


def fresh(order: Mapping[str, Any], key: str = "order_id") -> dict[str, Any]:
    """The same order under an id that no other trial has used."""
    return {**order, key: f"trial-{next(_numbers)}"}


def trial(
    machine: Interpreter, order: Mapping[str, Any], faults: Faults, *, backwards: bool = False
) -> tuple[Execution, list[str]]:
    """Run it and return how it ended at first, and every invariant broken by then or after it was resumed.

    ``backwards`` runs the branches of parallel groups in the other order.
    """
    injector = Injector(machine, faults)
    machine.through = injector
    machine.backwards = backwards
    execution = machine.run(order)
    problems = check(machine, [execution])
    injector.land()
    problems += check(machine, [execution])
    machine.through = lambda _state, _payload, deliver: deliver()
    if is_stuck(machine.shape, execution):
        resumed = machine.resume(execution)
        if is_stuck(machine.shape, resumed):
            problems.append(f"3: resumed, it ended {resumed.status} with {resumed.error} in {resumed.states[-1]}")
        problems += check(machine, [resumed])
        problems += refused_for_ever(machine, resumed)
    else:
        problems += refused_for_ever(machine, execution)
    return execution, problems


def check(machine: Interpreter, executions: list[Execution]) -> list[str]:
    """The invariants of one order's executions."""
    rows = machine.rows(executions[0].order[machine.shape.key])
    return broken(machine.shape, kept(machine.shape), executions, rows) + books(machine, executions)


def books(machine: Interpreter, executions: Sequence[Execution]) -> list[str]:
    """The invariants of the books of the service outside, if the saga has one."""
    if machine.service is None:
        return []
    prices = [Decimal(str(execution.order[machine.example.price])) for execution in executions]
    net = machine.service.net(executions[0].order[machine.shape.key])
    return unbalanced(machine.shape, list(zip(executions, prices, strict=True)), net)


def refused_for_ever(machine: Interpreter, execution: Execution) -> list[str]:
    """Invariant 6: deliver every action that was undone once more; each is refused and changes nothing."""
    order_id = execution.order[machine.shape.key]
    before = machine.rows(order_id)
    payload = {"saga": {"id": execution.arn, "started_at": execution.started_at}, "order": execution.order}
    problems = []
    for action, compensation in machine.shape.steps:
        if compensation not in execution.states or execution.status == "SUCCEEDED":
            continue
        try:
            machine.call(action, payload)
            problems.append(f"6: {action} after {compensation} was not refused")
        except TaskFailed as refusal:
            if refusal.name not in BUSINESS_ERRORS:
                problems.append(f"6: {action} after {compensation} ended in {refusal.name}")
    if machine.rows(order_id) != before:
        problems.append("6: a late action changed a row")
    return problems
