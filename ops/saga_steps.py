"""The steps of a deployed saga: what its definition calls, together with the rows and statuses of its functions.

A definition says which functions a saga calls and in which order, but not which rows they write. That is in the module
of the project that defines the steps.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from lambdas.saga_runtime.steps import StepSpec
from ops.arguments import ArgumentParser
from ops.client import SagaClient
from ops.definition import Definition, branches_of, read_definition
from ops.errors import OpsError
from ops.waits import wait_of

DEFAULT_MODULE = "lambdas.order_steps"


class Kind(StrEnum):
    """What happens to a step if the saga fails."""

    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function that a state calls."""

    state: str
    name: str


@dataclass(frozen=True, kw_only=True)
class DeployedStep:
    """A step of the definition.

    Args:
        part: its place in the saga, from 0. The members of a parallel group have the same place.
        kind: what happens to it if the saga fails.
        action: its action.
        compensation: its compensation, or its resolution if it is a pivot; None if it is retriable.
        spec: its row; None if it is retriable and has no row of its own.
        waits_for: how long its action waits for an answer at most; zero if it does not wait.
    """

    part: int
    kind: Kind
    action: Function
    compensation: Function | None
    spec: StepSpec | None
    waits_for: timedelta


def longest_wait(steps: Iterable[DeployedStep]) -> timedelta:
    """Return how long a saga can wait for answers; the steps of a group wait at the same time."""
    parts: dict[int, timedelta] = {}
    for step in steps:
        parts[step.part] = max(step.waits_for, parts.get(step.part, timedelta(0)))
    return sum(parts.values(), timedelta(0))


def add_steps_argument(parser: ArgumentParser) -> None:
    """Add ``--steps``."""
    parser.add_argument(
        "--steps",
        default=DEFAULT_MODULE,
        metavar="MODULE",
        help="the module whose STEPS are those of the saga's functions (default: %(default)s)",
    )


def read_steps(client: SagaClient, module: str, *, execution: str | None = None) -> tuple[DeployedStep, ...]:
    """Return the steps in order. Raises OpsError if the module has none, or others than the definition.

    Args:
        client: the client of the stack.
        module: the module that contains the ``STEPS``.
        execution: the execution whose definition counts. Default: the state machine's definition now.
    """
    specs = _specs_in(module)
    definition = read_definition(client.definition(execution), where=client.stack.name)
    actions = {spec.name: spec for spec in specs.values()}
    steps = tuple(_steps(definition, actions))
    strange = [step.action.state for step in steps if step.spec is None and step.kind is not Kind.RETRIABLE]
    keys = {spec.schema.key for spec in specs.values()}
    if strange or keys != {client.stack.key} or sum(step.spec is not None for step in steps) != len(specs):
        raise OpsError(
            f"the steps in {module} are not those of {client.stack.name}: name their module with --steps, such as "
            "examples.trip_booking.lambdas.trip_steps"
        )
    return steps


def known_rows(client: SagaClient, module: str) -> Mapping[str, StepSpec]:
    """Return the rows of the steps by entity; none if the default module is that of another saga.

    Raises OpsError as ``read_steps`` does for any other module.
    """
    try:
        steps = read_steps(client, module)
    except OpsError:
        if module != DEFAULT_MODULE:
            raise
        return {}
    return {step.spec.entity: step.spec for step in steps if step.spec}


def _specs_in(module: str) -> Mapping[str, StepSpec]:
    try:
        specs = importlib.import_module(module).STEPS
        if specs and all(isinstance(spec, StepSpec) for spec in specs.values()):
            return dict(specs)
    except (ImportError, AttributeError, TypeError, ValueError):
        pass
    raise OpsError(f"invalid steps {module!r}: name a module whose STEPS are StepSpecs, such as {DEFAULT_MODULE}")


def _steps(definition: Definition, actions: Mapping[str, StepSpec]) -> Iterator[DeployedStep]:
    """Follow the path of an execution without failures."""
    states = definition.states
    name: str | None = definition.top["StartAt"]
    part = 0
    while name is not None:
        state = states[name]
        following = state.get("Next")
        decision = states[following] if following and states[following]["Type"] == "Choice" else None
        for kind, action, compensation in _tasks(states, name, decision):
            if function := _function(action, states):
                undo = _function(compensation, states) if compensation else None
                yield DeployedStep(
                    part=part,
                    kind=kind,
                    action=function,
                    compensation=undo,
                    spec=actions.get(action),
                    waits_for=wait_of(states[action]),
                )
        name = decision["Default"] if decision else following
        part += 1


def _tasks(
    states: Mapping[str, Mapping[str, Any]], name: str, decision: Mapping[str, Any] | None
) -> Sequence[tuple[Kind, str, str | None]]:
    """Return the actions of a state or its group, each with its kind and its compensation."""
    state = states[name]
    members = [branch["StartAt"] for branch in branches_of(state)]
    if members and decision:
        undo = states[decision["Choices"][0]["Next"]]
        compensations = [branch["StartAt"] for branch in branches_of(undo)]
        return [(Kind.COMPENSATABLE, *pair) for pair in zip(members, compensations, strict=True)]
    if members or "Catch" not in state:
        return [(Kind.RETRIABLE, member, None) for member in members or [name]]
    caught = state["Catch"][0]["Next"]
    is_pivot = states[states[caught]["Next"]]["Type"] == "Choice"
    return [(Kind.PIVOT if is_pivot else Kind.COMPENSATABLE, name, caught)]


def _function(state: str, states: Mapping[str, Mapping[str, Any]]) -> Function | None:
    """Return the function that a state calls; None if it calls none, as a completion does."""
    name = states[state].get("Parameters", {}).get("FunctionName")
    return Function(state=state, name=name) if name else None
