"""One trial: an order run under faults, everything late delivered, whatever is stuck resumed, all of it checked."""

import itertools
from collections.abc import Mapping
from typing import Any

from lambdas.shared.errors import BUSINESS_ERRORS
from lambdas.shared.orders import ORDER, PAYMENT, SHIPMENT
from tests.invariants import Kept, broken, is_stuck
from tests.saga.faults import Faults, Injector
from tests.saga.interpreter import Execution, Interpreter, TaskFailed

# CONFIRMED is written by the state machine itself, so no function's step knows it.
_THEN = {ORDER.entity.name: ("CONFIRMED",)}
KEPT = tuple(
    Kept(
        entity=step.entity.name,
        live=(step.entity.live, *_THEN.get(step.entity.name, ())),
        undone=step.entity.undone,
    )
    for step in (ORDER, PAYMENT, SHIPMENT)
)

_numbers = itertools.count(1)


def fresh(order: Mapping[str, Any]) -> dict[str, Any]:
    """The same order under an id that no other trial has used."""
    return {**order, "order_id": f"trial-{next(_numbers)}"}


def trial(machine: Interpreter, order: Mapping[str, Any], faults: Faults) -> tuple[Execution, list[str]]:
    """Run it and return how it ended at first, and every invariant broken by then or after it was resumed."""
    injector = Injector(machine, faults)
    machine.through = injector
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
    return broken(machine.shape, KEPT, executions, machine.rows(executions[0].order["order_id"]))


def refused_for_ever(machine: Interpreter, execution: Execution) -> list[str]:
    """Invariant 6: deliver every compensated action once more; each is refused and changes nothing."""
    order_id = execution.order["order_id"]
    before = machine.rows(order_id)
    payload = {"saga": {"id": execution.arn, "started_at": execution.started_at}, "order": execution.order}
    problems = []
    for action, compensation in machine.shape.steps:
        if compensation not in execution.states:
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
