"""The shape of a saga, read from the template: nothing in here knows the names of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tests.fixtures import definition_in


@dataclass(frozen=True, kw_only=True)
class Part:
    """A step or a parallel group, by its states; those within a group are in ``tasks`` alone.

    ``does`` are entered when all goes well, ``decides`` when it failed, before anything is undone, and ``undoes``
    to undo it. ``tasks`` are the pairs (action, what undoes or resolves it, if anything does).
    """

    does: tuple[str, ...]
    decides: tuple[str, ...] = ()
    undoes: tuple[str, ...] = ()
    tasks: tuple[tuple[str, str | None], ...]

    @property
    def is_pivot(self) -> bool:
        """Whether it may be done though it failed, and is never undone."""
        return bool(self.decides)

    @property
    def is_retriable(self) -> bool:
        """Whether nothing is undone any more from here on."""
        return not self.decides and not self.undoes


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The parts of a saga in order, how it ends, and what its states call.

    ``written`` is the state that writes to the table by itself, if one does; ``end`` the Succeed state, if there is
    one; ``key`` the table's partition key; ``functions`` maps states to handlers, such as ``lambdas.a.handler``.
    """

    definition: Mapping[str, Any]
    parts: tuple[Part, ...]
    failed: str
    end: str | None
    written: str | None
    key: str
    functions: Mapping[str, str]
    state_of: Mapping[str, str]

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """Each action that can fail for good, with what undoes or resolves it, in order."""
        return tuple((action, undo) for part in self.parts for action, undo in part.tasks if undo is not None)

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that can fail for good, in order."""
        return tuple(action for action, _ in self.steps)

    @property
    def compensations(self) -> tuple[str, ...]:
        """What undoes or resolves the actions, in their order."""
        return tuple(compensation for _, compensation in self.steps)

    @property
    def retriables(self) -> tuple[str, ...]:
        """The tasks from which nothing is undone any more."""
        return tuple(action for part in self.parts for action, undo in part.tasks if undo is None)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every state that does something."""
        return (*self.actions, *self.retriables, *self.compensations)

    @property
    def groups(self) -> tuple[Part, ...]:
        """The parallel groups."""
        return tuple(part for part in self.parts if len(part.tasks) > 1)

    @property
    def must_succeed(self) -> frozenset[str]:
        """The states, not those within groups, that an execution may be stuck in."""
        return frozenset(
            state
            for part in self.parts
            for state in (*part.undoes, *part.decides[:1], *(part.does[:1] if part.is_retriable else ()))
        )

    @property
    def complete(self) -> frozenset[tuple[str, ...]]:
        """The paths of an execution that succeeds: straight on, or by way of a pivot that was done after all."""
        paths: list[tuple[str, ...]] = [()]
        for part in self.parts:
            ways = [part.does, (*part.does, *part.decides)] if part.is_pivot else [part.does]
            paths = [(*path, *way) for path in paths for way in ways]
        return frozenset((*path, *([self.end] if self.end else [])) for path in paths)

    @property
    def rolled_back(self) -> frozenset[tuple[str, ...]]:
        """The paths of an execution that is rolled back."""
        return frozenset(map(self.rolled_back_from, self.actions))

    def rolled_back_from(self, action: str) -> tuple[str, ...]:
        """The path of an execution in which this action failed for good, without the states within groups."""
        at = next(index for index, part in enumerate(self.parts) if action in dict(part.tasks))
        through = self.parts[: at + 1]
        done = chain.from_iterable(part.does for part in through)
        failing = self.parts[at]
        undone = chain.from_iterable(part.undoes for part in reversed(through))
        return (*done, *failing.decides, *undone, self.failed)

    def path(self, states: tuple[str, ...]) -> tuple[str, ...]:
        """The states without those within groups, which not every history tells of."""
        return tuple(state for state in states if state in self.definition["States"])


def shape_of(template: Mapping[str, Any]) -> Shape:
    """Follow the definition from its start along the way of an execution in which nothing fails."""
    definition = definition_in(template)
    states = definition["States"]
    parts: list[Part] = []
    name = definition["StartAt"]
    while name and states[name]["Type"] != "Succeed":
        part = _part(states, name)
        parts.append(part)
        last = states[part.does[-1]]
        name = last.get("Default", last.get("Next"))
    every = {**states, **_within_groups(states)}
    called = {
        state: body["Parameters"]["FunctionName"]
        for state, body in every.items()
        if "FunctionName" in body.get("Parameters", {})
    }
    resources = template["Resources"]
    handlers = {
        f"<{logical_id}>": resource["Properties"]["Handler"]
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    (failed,) = (state for state, body in states.items() if body["Type"] == "Fail")
    (table,) = (r["Properties"] for r in resources.values() if r["Type"] == "AWS::DynamoDB::Table")
    return Shape(
        definition=definition,
        parts=tuple(parts),
        failed=failed,
        end=name,
        written=next((state for state, body in every.items() if "TableName" in body.get("Parameters", {})), None),
        key=table["KeySchema"][0]["AttributeName"],
        functions={state: handlers[function] for state, function in called.items()},
        state_of={function: state for state, function in called.items()},
    )


def _part(states: Mapping[str, Any], name: str) -> Part:
    body = states[name]
    following = body.get("Next")
    if body["Type"] == "Parallel":
        members = [branch["StartAt"] for branch in body["Branches"]]
        if following is None or states[following]["Type"] != "Choice":
            return Part(does=(name,), tasks=tuple((member, None) for member in members))
        (undo,) = (choice["Next"] for choice in states[following]["Choices"])
        undoing = [branch["StartAt"] for branch in states[undo]["Branches"]]
        return Part(does=(name, following), undoes=(undo,), tasks=tuple(zip(members, undoing, strict=True)))
    if "Catch" not in body:
        return Part(does=(name,), tasks=((name, None),))
    caught = body["Catch"][0]["Next"]
    decision = states[caught]["Next"]
    if states[decision]["Type"] == "Choice":
        return Part(does=(name,), decides=(caught, decision), tasks=((name, caught),))
    return Part(does=(name,), undoes=(caught,), tasks=((name, caught),))


def _within_groups(states: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: body
        for state in states.values()
        for branch in state.get("Branches", ())
        for name, body in branch["States"].items()
    }
