"""Reads the shape of a saga from its template. It knows no step by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from tests.fixtures import definition_in


@dataclass(frozen=True, kw_only=True)
class ShapePart:
    """A step or a parallel group, by its states. States in a group are in ``tasks`` only.

    Args:
        forward: the states that are entered if all goes well.
        decision: the states that decide, after a pivot has failed, whether it happened.
        rollback: the states that compensate it.
        tasks: the pairs (action, its compensation or resolution; None if it is retriable).
    """

    forward: tuple[str, ...]
    decision: tuple[str, ...] = ()
    rollback: tuple[str, ...] = ()
    tasks: tuple[tuple[str, str | None], ...]

    @property
    def is_pivot(self) -> bool:
        """True if it is never compensated, and may have happened although it failed."""
        return bool(self.decision)

    @property
    def is_retriable(self) -> bool:
        """True if it must succeed: nothing is compensated from here on."""
        return not self.decision and not self.rollback


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """The parts of a saga in order, and the functions that its states call.

    Args:
        definition: the definition of the state machine.
        parts: the parts.
        failed: the Fail state.
        end: the Succeed state; None if the last part ends the execution.
        completion: the state that writes to the table itself; None if no state does.
        key: the partition key of the table.
        functions: the handler path of each state that calls a function.
        state_of: the state of each function, by its name in the definition.
        receiver: the handler path of the function that receives answers; None if no step waits.
    """

    definition: Mapping[str, Any]
    parts: tuple[ShapePart, ...]
    failed: str
    end: str | None
    completion: str | None
    key: str
    functions: Mapping[str, str]
    state_of: Mapping[str, str]
    receiver: str | None

    @cached_property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """The actions that can fail for good, each with its compensation or resolution, in order."""
        return tuple(
            (action, compensation) for part in self.parts for action, compensation in part.tasks if compensation
        )

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """The actions that can fail for good, in order."""
        return tuple(action for action, _ in self.steps)

    @cached_property
    def compensations(self) -> tuple[str, ...]:
        """The compensations and resolutions, in the order of their actions."""
        return tuple(compensation for _, compensation in self.steps)

    @cached_property
    def retriables(self) -> tuple[str, ...]:
        """The actions that must succeed, in order."""
        return tuple(action for part in self.parts for action, compensation in part.tasks if compensation is None)

    @cached_property
    def waiting(self) -> tuple[str, ...]:
        """The states that wait for an answer."""
        every = self.definition["States"] | _in_groups(self.definition["States"])
        return tuple(state for state, body in every.items() if body.get("Resource", "").endswith(".waitForTaskToken"))

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """All states that call a function or write."""
        return (*self.actions, *self.retriables, *self.compensations)

    @cached_property
    def groups(self) -> tuple[ShapePart, ...]:
        """The parallel groups."""
        return tuple(part for part in self.parts if len(part.tasks) > 1)

    @cached_property
    def must_succeed(self) -> frozenset[str]:
        """The states, without those in groups, in which a saga may be stuck."""
        return frozenset(
            state
            for part in self.parts
            for state in (*part.rollback, *part.decision[:1], *(part.forward[:1] if part.is_retriable else ()))
        )

    @cached_property
    def complete(self) -> frozenset[tuple[str, ...]]:
        """The paths of an execution that succeeds: straight, or through a pivot that failed but had happened."""
        paths: list[tuple[str, ...]] = [()]
        for part in self.parts:
            ways = [part.forward, (*part.forward, *part.decision)] if part.is_pivot else [part.forward]
            paths = [(*path, *way) for path in paths for way in ways]
        return frozenset((*path, *([self.end] if self.end else [])) for path in paths)

    @cached_property
    def rolled_back(self) -> frozenset[tuple[str, ...]]:
        """The paths of an execution that is rolled back."""
        return frozenset(map(self.rolled_back_from, self.actions))

    def rolled_back_from(self, action: str) -> tuple[str, ...]:
        """Return the path of an execution in which the action failed for good, without the states in groups."""
        failed_at = next(index for index, part in enumerate(self.parts) if action in dict(part.tasks))
        reached = self.parts[: failed_at + 1]
        forward = chain.from_iterable(part.forward for part in reached)
        rollback = chain.from_iterable(part.rollback for part in reversed(reached))
        return (*forward, *self.parts[failed_at].decision, *rollback, self.failed)

    def path(self, states: tuple[str, ...]) -> tuple[str, ...]:
        """Return the states without those in groups, which some local clouds do not record."""
        return tuple(state for state in states if state in self.definition["States"])


def shape_of(template: Mapping[str, Any]) -> Shape:
    """Follow the definition from its start along the path of an execution without failures."""
    resources = template["Resources"]
    functions = {
        f"<{logical_id}>": resource["Properties"]
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    definition = _with_names(definition_in(template), {name: one["FunctionName"] for name, one in functions.items()})
    states = definition["States"]
    parts: list[ShapePart] = []
    name = definition["StartAt"]
    while name and states[name]["Type"] != "Succeed":
        part = _part(states, name)
        parts.append(part)
        last = states[part.forward[-1]]
        name = last.get("Default", last.get("Next"))
    parameters = {state: body.get("Parameters", {}) for state, body in (states | _in_groups(states)).items()}
    called = {state: body["FunctionName"] for state, body in parameters.items() if "FunctionName" in body}
    handlers = {one["FunctionName"]: one["Handler"] for one in functions.values()}
    receiver = template["Outputs"].get("ReceiverName")
    (failed,) = (state for state, body in states.items() if body["Type"] == "Fail")
    tables = (r["Properties"]["KeySchema"] for r in resources.values() if r["Type"] == "AWS::DynamoDB::Table")
    ((key, _),) = (schema for schema in tables if len(schema) > 1)  # that of stuck sagas has no sort key
    return Shape(
        definition=definition,
        parts=tuple(parts),
        failed=failed,
        end=name,
        completion=next((state for state, body in parameters.items() if "TableName" in body), None),
        key=key["AttributeName"],
        functions={state: handlers[function] for state, function in called.items()},
        state_of={function: state for state, function in called.items()},
        receiver=functions[f"<{receiver['Value']['Ref']}>"]["Handler"] if receiver else None,
    )


def _with_names(definition: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the definition with the names of the functions in place of references, as Step Functions has it."""
    text = json.dumps(definition)
    for reference, name in names.items():
        text = text.replace(f'"{reference}"', f'"{name}"')
    found: dict[str, Any] = json.loads(text)
    return found


def _part(states: Mapping[str, Any], name: str) -> ShapePart:
    body = states[name]
    following = body.get("Next")
    if body["Type"] == "Parallel":
        members = [branch["StartAt"] for branch in body["Branches"]]
        if following is None or states[following]["Type"] != "Choice":
            return ShapePart(forward=(name,), tasks=tuple((member, None) for member in members))
        (undo,) = (choice["Next"] for choice in states[following]["Choices"])
        compensations = [branch["StartAt"] for branch in states[undo]["Branches"]]
        tasks = tuple(zip(members, compensations, strict=True))
        return ShapePart(forward=(name, following), rollback=(undo,), tasks=tasks)
    if "Catch" not in body:
        return ShapePart(forward=(name,), tasks=((name, None),))
    caught = body["Catch"][0]["Next"]
    decision = states[caught]["Next"]
    if states[decision]["Type"] == "Choice":
        return ShapePart(forward=(name,), decision=(caught, decision), tasks=((name, caught),))
    return ShapePart(forward=(name,), rollback=(caught,), tasks=((name, caught),))


def _in_groups(states: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: body
        for state in states.values()
        for branch in state.get("Branches", ())
        for name, body in branch["States"].items()
    }
