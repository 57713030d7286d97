"""A state machine's definition as a graph: its states, what follows what, and which states undo others.

It reads Amazon States Language as AWS stores it, groups (Parallel, Map) included.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from ops.errors import OpsError

ANY_ERROR = "any error"

States: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Edge:
    """``after`` follows ``before``: plainly, by a choice, or because of an error that is caught."""

    before: str
    after: str
    label: str = ""
    caught: bool = False


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition. ``top`` is what its outermost level says: ``StartAt`` and ``States``."""

    top: Mapping[str, Any]

    @cached_property
    def states(self) -> States:
        """All states by name, those within groups included; a name is used once in a definition."""
        return dict(_all_states(self.top))

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """What follows what, on all levels; errors that are caught first."""
        return tuple(
            sorted(
                (edge for name, state in self.states.items() for edge in _edges(name, state)),
                key=lambda edge: not edge.caught,
            )
        )

    @cached_property
    def failing(self) -> frozenset[str]:
        """The Fail states."""
        return frozenset(name for name, state in self.states.items() if state["Type"] == "Fail")

    @cached_property
    def clean_errors(self) -> frozenset[str]:
        """The errors that an execution fails with on purpose: those of the Fail states of the outermost level.

        A Fail state within a group fails the group, which may be caught or not.
        """
        ends = (state for state in self.top["States"].values() if state["Type"] == "Fail")
        return frozenset(state["Error"] for state in ends if "Error" in state)

    @cached_property
    def compensations(self) -> frozenset[str]:
        """The states that are entered only after an error was caught, Fail states aside."""
        reached = {edge.after for edge in self.edges if edge.caught}
        while more := {edge.after for edge in self.edges if edge.before in reached} - reached:
            reached |= more
        inside = {name for group in reached for name, _ in _inner_states(self.states[group])}
        return frozenset((reached | inside) - self.failing)


def read_definition(text: str, *, where: str) -> Definition:
    """The definition in a JSON text. Raises OpsError if it is none."""
    try:
        definition = Definition(top=json.loads(text))
        named = {definition.top["StartAt"], *(edge.after for edge in definition.edges)}
        lost = named - definition.states.keys()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise OpsError(f"{where} holds no definition of a state machine: expected Amazon States Language") from None
    if lost:
        raise OpsError(f"{where} names states that it has not: {', '.join(sorted(lost))}")
    return definition


def branches_of(state: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The inner state machines of a group, in order; none of a plain state."""
    if state["Type"] == "Parallel":
        return tuple(state["Branches"])
    if state["Type"] == "Map":
        return (state.get("ItemProcessor") or state["Iterator"],)
    return ()


def _all_states(level: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in level["States"].items():
        yield name, state
        yield from _inner_states(state)


def _inner_states(state: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for branch in branches_of(state):
        yield from _all_states(branch)


def _edges(name: str, state: Mapping[str, Any]) -> Iterator[Edge]:
    for catch in state.get("Catch", ()):
        errors = [ANY_ERROR if error == "States.ALL" else error for error in catch["ErrorEquals"]]
        yield Edge(before=name, after=catch["Next"], label=", ".join(errors), caught=True)
    if after := state.get("Next"):
        yield Edge(before=name, after=after)
    for choice in state.get("Choices", ()):
        yield Edge(before=name, after=choice["Next"], label="if")
    if otherwise := state.get("Default"):
        yield Edge(before=name, after=otherwise, label="else")
