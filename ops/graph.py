"""The graph of a state machine as a Mermaid flowchart, on its own or with what became of an execution.

Forward is one way and compensations are laid out the other way: between the compensations of states that follow each
other stand links that are not drawn, which make Mermaid place the undoing of a later state behind that of an earlier.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ops.definition import ANY_ERROR, Definition, Edge, branches_of
from ops.model import Outcome
from ops.progress import ICONS, Progress, Status

END = "SUCCEEDED"
# Names that Mermaid would read as words of its own begin with a small letter.
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9_]*")
# One class a status; the words beside the icons say the same.
CLASSES: Mapping[Status, str] = {
    Status.WAITING: "waiting",
    Status.RUNNING: "running",
    Status.RETRYING: "retrying",
    Status.DONE: "done",
    Status.UNDONE: "undone",
    Status.FAILED: "failed",
    Status.STUCK: "stuck",
    Status.STOPPED: "stopped",
    Status.SKIPPED: "skipped",
}
# Dark text on light colours, at a contrast of 7 to 1 or more, whatever the theme of the page is.
_COLOURS = {
    "waiting": "fill:#f4f4f5,stroke:#71717a,color:#3f3f46,stroke-dasharray:4 3",
    "running": "fill:#dbeafe,stroke:#1d4ed8,color:#172554,stroke-width:3px",
    "retrying": "fill:#fef3c7,stroke:#b45309,color:#451a03,stroke-width:3px",
    "done": "fill:#dcfce7,stroke:#15803d,color:#052e16",
    "undone": "fill:#fef3c7,stroke:#b45309,color:#451a03",
    "failed": "fill:#fee2e2,stroke:#b91c1c,color:#450a0a",
    "stuck": "fill:#7f1d1d,stroke:#450a0a,color:#ffffff,stroke-width:3px",
    "stopped": "fill:#f4f4f5,stroke:#3f3f46,color:#3f3f46,stroke-width:2px",
    "skipped": "fill:#f4f4f5,stroke:#a1a1aa,color:#52525b,stroke-dasharray:4 3",
}


def mermaid(
    definition: Definition, *, progress: Progress | None = None, direction: str = "LR", coloured: bool = True
) -> str:
    """The flowchart's text. ``coloured`` writes the colours of an execution's states into it; classes it has always."""
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
            used = {CLASSES[visit.status] for visit in progress.visits.values()} | {"done"}
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
        """The nodes of a level, groups with what is in them."""
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
        """Links that are not drawn. They stand first, since Mermaid follows what is named first."""
        yield from (f"    {self._ids[before]} ~~~ {self._ids[after]}" for before, after in _backwards(self._definition))

    def links(self) -> Iterator[str]:
        """The arrows, those that an execution has gone along thick."""
        for edge in self._definition.edges:
            yield f"    {self._ids[edge.before]} {self._arrow(edge)} {self._ids[edge.after]}"
        fulfilled = self._progress is not None and self._progress.outcome is Outcome.FULFILLED
        for name in self._ends:
            visited = self._progress is not None and self._progress.visits[name].number
            yield f"    {self._ids[name]} {'==>' if fulfilled and visited else '-->'} {END}"

    def classes(self) -> Iterator[str]:
        """The class of each state's status."""
        visits = self._progress.visits if self._progress else {}
        for name, visit in visits.items():
            if name in self._ids:
                yield f"    class {self._ids[name]} {CLASSES[visit.status]}"
        if self._ends and self._progress:
            yield f"    class {END} {CLASSES[self._end_status()]}"

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
        return f"{END}<br/>{ICONS[self._end_status()]} {self._end_status()}" if self._progress else END

    def _end_status(self) -> Status:
        outcome = self._progress.outcome if self._progress else Outcome.RUNNING
        return {Outcome.FULFILLED: Status.DONE, Outcome.RUNNING: Status.WAITING}.get(outcome, Status.SKIPPED)

    def _arrow(self, edge: Edge) -> str:
        taken = self._progress is not None and (edge.before, edge.after) in self._progress.taken
        # Down a phone there is no room for what the dotted arrow says already.
        shown = edge.label and (self._labelled or edge.label != ANY_ERROR)
        label = f'|"{_text(edge.label)}"|' if shown else ""
        return ("==>" if taken else "-.->" if edge.caught else "-->") + label


def _backwards(definition: Definition) -> Iterator[tuple[str, str]]:
    """Pairs of states that follow each other in the undoing, the later one first: their layout is turned round."""
    caught: dict[str, str] = {}
    for edge in definition.edges:
        if edge.caught:
            caught.setdefault(edge.before, edge.after)
    follows = {edge.before: edge.after for edge in definition.edges if not edge.caught and not edge.label}
    undoing = [(undo, caught.get(follows.get(before, ""))) for before, undo in caught.items()]
    turned = [(undo, after) for undo, after in undoing if after and after != undo and follows.get(after) == undo]
    for undo, _ in turned[:1]:
        if (failed := follows.get(undo)) in definition.failing:
            yield failed, undo
    yield from turned


def _ends_well(state: Mapping[str, Any]) -> bool:
    return bool(state.get("End")) or state["Type"] == "Succeed"


def _text(name: str) -> str:
    """A name as text in a Mermaid label, where quotes, brackets and marks would mean something."""
    return re.sub(r"[^A-Za-z0-9 ,.;:_/()-]", lambda found: f"#{ord(found[0])};", name)
