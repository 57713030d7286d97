"""Draws a state machine as a Mermaid flowchart, with or without the progress of an execution.

Actions run in one direction, compensations in the other: invisible links between the compensations make Mermaid place
that of a later state behind that of an earlier one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ops.definition import ANY_ERROR, Definition, Edge, branches_of
from ops.progress import ICONS, Progress, Status

END = "SUCCEEDED"
# Mermaid's keywords begin with a small letter.
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9_]*")
CLASSES: Mapping[Status, str] = {status: status.name.lower() for status in Status}
# A contrast of 7 to 1 or more, whatever the theme of the page.
_COLOURS = {
    "waiting": "fill:#f4f4f5,stroke:#71717a,color:#3f3f46,stroke-dasharray:4 3",
    "running": "fill:#dbeafe,stroke:#1d4ed8,color:#172554,stroke-width:3px",
    "retrying": "fill:#fef3c7,stroke:#b45309,color:#451a03,stroke-width:3px",
    "done": "fill:#dcfce7,stroke:#15803d,color:#052e16",
    "compensated": "fill:#fef3c7,stroke:#b45309,color:#451a03",
    "failed": "fill:#fee2e2,stroke:#b91c1c,color:#450a0a",
    "stuck": "fill:#7f1d1d,stroke:#450a0a,color:#ffffff,stroke-width:3px",
    "stopped": "fill:#f4f4f5,stroke:#3f3f46,color:#3f3f46,stroke-width:2px",
    "skipped": "fill:#f4f4f5,stroke:#a1a1aa,color:#52525b,stroke-dasharray:4 3",
    "not_reached": "fill:#f4f4f5,stroke:#71717a,color:#3f3f46,stroke-dasharray:4 3",
}


def mermaid(
    definition: Definition, *, progress: Progress | None = None, direction: str = "LR", coloured: bool = True
) -> str:
    """Return the text of the flowchart.

    Args:
        definition: the state machine.
        progress: of an execution, shown as labels, classes and thick arrows. Default: none.
        direction: ``LR`` or ``TD``. Default: left to right.
        coloured: include the colours of the classes. Default: true.
    """
    drawing = _Drawing(definition, progress, labelled=direction == "LR")
    lines = [
        f"flowchart {direction}",
        *drawing.guides(),
        *drawing.level(definition.top, indent="    "),
        *drawing.links(),
    ]
    if progress:
        lines += drawing.classes()
        if coloured:
            used = {CLASSES[visit.status] for visit in progress.visits.values()} | {CLASSES[progress.end]}
            lines += [f"    classDef {name} {colours}" for name, colours in _COLOURS.items() if name in used]
    return "\n".join(lines) + "\n"


class _Drawing:
    """The lines of one flowchart."""

    def __init__(self, definition: Definition, progress: Progress | None, *, labelled: bool) -> None:
        self._definition = definition
        self._labelled = labelled
        self._progress = progress
        names = list(definition.states)
        self._ids = {name: name if _PLAIN.fullmatch(name) else f"s{names.index(name)}" for name in names}
        self._ends = [name for name, state in definition.top["States"].items() if _ends_well(state)]

    def level(self, level: Mapping[str, Any], *, indent: str) -> Iterator[str]:
        """Yield the nodes of a level, with those in its groups."""
        for name, state in level["States"].items():
            branches = branches_of(state)
            if not branches:
                yield f"{indent}{self._ids[name]}{self._shape(name, state)}"
                continue
            yield f'{indent}subgraph {self._ids[name]}["{self._label(name, between=" ")}"]'
            for branch in branches:
                yield from self.level(branch, indent=indent + "    ")
            yield f"{indent}end"
        if level is self._definition.top and self._ends:
            yield f'{indent}{END}(["{self._end_label()}"])'

    def guides(self) -> Iterator[str]:
        """Yield the invisible links. They come first, because Mermaid arranges states in the order of their links."""
        yield from (f"    {self._ids[before]} ~~~ {self._ids[after]}" for before, after in _backwards(self._definition))

    def links(self) -> Iterator[str]:
        """Yield the arrows, thick if the execution took the transition."""
        for edge in self._definition.edges:
            yield f"    {self._ids[edge.before]} {self._arrow(edge)} {self._ids[edge.after]}"
        for name in self._ends:
            progress = self._progress
            is_taken = progress and progress.end is Status.DONE and progress.visits[name].number
            yield f"    {self._ids[name]} {'==>' if is_taken else '-->'} {END}"

    def classes(self) -> Iterator[str]:
        """Yield the class of each state."""
        for name, visit in self._progress.visits.items() if self._progress else ():
            if name in self._ids:
                yield f"    class {self._ids[name]} {CLASSES[visit.status]}"
        if self._ends and self._progress:
            yield f"    class {END} {CLASSES[self._progress.end]}"

    def _shape(self, name: str, state: Mapping[str, Any]) -> str:
        label = self._label(name)
        if label == self._ids[name] and state["Type"] != "Choice":
            return ""
        if state["Type"] == "Fail":
            return f'(["{label}"])'
        return f'{{"{label}"}}' if state["Type"] == "Choice" else f'["{label}"]'

    def _label(self, name: str, *, between: str = "<br/>") -> str:
        shown = f"{_text(name)}, FAILED" if name in self._definition.failing else _text(name)
        return f"{shown}{between}{self._progress.visits[name].words}" if self._progress else shown

    def _end_label(self) -> str:
        return f"{END}<br/>{ICONS[self._progress.end]} {self._progress.end}" if self._progress else END

    def _arrow(self, edge: Edge) -> str:
        is_taken = self._progress is not None and (edge.before, edge.after) in self._progress.transitions
        # A phone has no room for it, and a dotted arrow says the same.
        has_label = edge.label and (self._labelled or edge.label != ANY_ERROR)
        label = f'|"{_text(edge.label)}"|' if has_label else ""
        return ("==>" if is_taken else "-.->" if edge.caught else "-->") + label


def _backwards(definition: Definition) -> Iterator[tuple[str, str]]:
    """Yield pairs of successive compensations, the later one first: their layout is reversed."""
    compensation_of: dict[str, str] = {}
    for edge in definition.edges:
        if edge.caught:
            compensation_of.setdefault(edge.before, edge.after)
    next_of = {edge.before: edge.after for edge in definition.edges if not edge.caught and not edge.label}
    pairs = [(last, compensation_of.get(next_of.get(action, ""))) for action, last in compensation_of.items()]
    reversed_ = [(last, first) for last, first in pairs if first and first != last and next_of.get(first) == last]
    for last, _ in reversed_[:1]:
        if (failed := next_of.get(last)) in definition.failing:
            yield failed, last
    yield from reversed_


def _ends_well(state: Mapping[str, Any]) -> bool:
    return bool(state.get("End")) or state["Type"] == "Succeed"


def _text(name: str) -> str:
    """Escape what has a meaning in a Mermaid label."""
    return re.sub(r"[^A-Za-z0-9 ,.;:_/()-]", lambda match: f"#{ord(match[0])};", name)
