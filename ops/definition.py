"""Reads a definition in Amazon States Language as a graph of states, including groups (Parallel, Map)."""

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
    """A transition. ``label`` is the condition or the errors that lead to it; ``caught`` says that a Catch does."""

    before: str
    after: str
    label: str = ""
    caught: bool = False


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition. ``top`` is its outermost level, with ``StartAt`` and ``States``."""

    top: Mapping[str, Any]

    @cached_property
    def states(self) -> States:
        """All states by name, including those in groups. A name is unique in a definition."""
        return dict(_all_states(self.top))

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The transitions of all levels, those of a Catch first."""
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
        """The errors of a clean failure: those of the Fail states on the outermost level.

        A Fail state in a group fails the group, which may have a Catch.
        """
        ends = (state for state in self.top["States"].values() if state["Type"] == "Fail")
        return frozenset(state["Error"] for state in ends if "Error" in state)

    @cached_property
    def compensations(self) -> frozenset[str]:
        """The states that follow a Catch, except Fail states."""
        reached = {edge.after for edge in self.edges if edge.caught}
        while more := {edge.after for edge in self.edges if edge.before in reached} - reached:
            reached |= more
        inside = {name for group in reached for name, _ in _inner_states(self.states[group])}
        return frozenset((reached | inside) - self.failing)


def read_definition(text: str, *, where: str) -> Definition:
    """Return the definition in a JSON text. Raises OpsError with ``where``, the source of the text."""
    try:
        definition = Definition(top=json.loads(text))
        targets = {definition.top["StartAt"], *(edge.after for edge in definition.edges)}
        missing = targets - definition.states.keys()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise OpsError(f"invalid definition in {where}: expected Amazon States Language as JSON") from None
    if missing:
        raise OpsError(f"invalid definition in {where}: it names missing states: {', '.join(sorted(missing))}")
    return definition


def branches_of(state: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the inner state machines of a group, in order; none for other states."""
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
