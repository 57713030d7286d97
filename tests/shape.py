"""The shape of a saga, read from the template: nothing in here knows the names of this one's steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fixtures import definition_in


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The steps of a saga as pairs of states (action, compensation), in order, and what its states call."""

    definition: Mapping[str, Any]
    steps: tuple[tuple[str, str], ...]
    completion: str
    failed: str
    functions: Mapping[str, str]
    state_of: Mapping[str, str]

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions in order."""
        return tuple(action for action, _ in self.steps)

    @property
    def compensations(self) -> tuple[str, ...]:
        """The compensations in the order of their actions."""
        return tuple(compensation for _, compensation in self.steps)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every state that does something."""
        return (*self.actions, self.completion, *self.compensations)

    def rolled_back_from(self, action: str) -> tuple[str, ...]:
        """The path of states of an execution in which this action failed for good."""
        count = self.actions.index(action) + 1
        return (*self.actions[:count], *reversed(self.compensations[:count]), self.failed)


def shape_of(template: Mapping[str, Any]) -> Shape:
    """Follow the definition from its start: states with a Catch are actions, the first without is the completion."""
    definition = definition_in(template)
    states = definition["States"]
    steps = []
    name = definition["StartAt"]
    while catch := states[name].get("Catch"):
        steps.append((name, catch[0]["Next"]))
        name = states[name]["Next"]
    called = {
        state: body["Parameters"]["FunctionName"]
        for state, body in states.items()
        if "FunctionName" in body.get("Parameters", {})
    }
    handlers = {
        f"<{logical_id}>": resource["Properties"]["Handler"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    (failed,) = (state for state, body in states.items() if body["Type"] == "Fail")
    return Shape(
        definition=definition,
        steps=tuple(steps),
        completion=name,
        failed=failed,
        functions={state: handlers[function].split(".")[1] for state, function in called.items()},
        state_of={function: state for state, function in called.items()},
    )
