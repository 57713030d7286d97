"""The findings of a part, and the document that they fill: performance.md in this folder has the placeholders."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TEMPLATE = Path(__file__).parent / "performance.md"


@dataclass(frozen=True)
class Goal:
    """A limit that was set before the measurement, and what was measured."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the value is on the right side of the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, kw_only=True)
class Part:
    """The findings of one part: the placeholders of the document with their values, raw numbers, and goals."""

    values: Mapping[str, str]
    figures: Mapping[str, object]
    goals: Sequence[Goal] = ()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. All columns but the first are aligned to the right."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (columns, *rows)]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(columns) - 1), *lines[1:]])


def goals(parts: Iterable[Part]) -> str:
    """Return the goals of all parts as a table."""
    rows = []
    for goal in (goal for part in parts for goal in part.goals):
        bound, met = "at least" if goal.at_least else "at most", "met" if goal.is_met else "**not met**"
        rows.append([goal.name, f"{bound} {goal.limit:g}", f"{goal.value:.2f}", met])
    return table(["goal", "limit", "measured", ""], rows)


def write(parts: Mapping[str, Part], circumstances: str, folder: Path, template: Path = TEMPLATE) -> None:
    """Write performance.md and performance.json into the folder."""
    values = {"circumstances": circumstances, "goals": goals(parts.values())}
    for part in parts.values():
        values |= part.values
    (folder / "performance.md").write_text(template.read_text().format_map(values))
    plain = {name: {"goals": [*map(asdict, part.goals)], "figures": part.figures} for name, part in parts.items()}
    # A line for each part, so that two runs can be compared.
    lines = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in plain.items()]
    (folder / "performance.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
