"""The findings of a part as data, and the document that they make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Table:
    """``rows`` holds what is shown; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture of numbers: ``series`` maps each line or colour to its values over ``x``; ``limit`` is a goal's."""

    name: str
    title: str
    kind: Literal["bars", "stacked", "lines"]
    x: Sequence[str]
    series: Mapping[str, Sequence[float]]
    unit: str
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A limit that was set beforehand, and what was measured. ``beyond`` says what takes the rest if it is not met."""

    what: str
    value: float
    limit: float
    beyond: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is on the right side of the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one benchmark found. ``figures`` are the raw numbers, for the JSON file."""

    name: str
    title: str
    text: Sequence[str]
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    goals: Sequence[Goal] = ()
    figures: Mapping[str, object]


def markdown(part: Part, *, plots_in: str | None = None) -> str:
    """The part as a section. ``plots_in`` is the folder of the pictures, as seen from the document."""
    blocks = [f"## {part.title}", *part.text]
    for table in part.tables:
        blocks += [f"**{table.title}**", markdown_table(table.columns, table.rows)]
    if plots_in is not None:
        blocks += [f"![{plot.title}]({plots_in}/{plot.name}.svg)" for plot in part.plots]
    return "\n\n".join(blocks)


def document(parts: Sequence[Part], *, taken: Mapping[str, str], plots_in: str) -> str:
    """The whole document; ``taken`` says when, where and with what the figures were measured."""
    goals = [goal for part in parts for goal in part.goals]
    blocks = [
        "# Performance",
        (
            "Written by `make bench`. Every figure of time is a ratio to a baseline that was measured in the same"
            " run, side by side with it: the median of repeated runs, with the quartiles in brackets. Absolute"
            " times are those of the machine named here, and say little about AWS."
        ),
        markdown_table(["", ""], list(taken.items())),
        "## Goals",
        markdown_table(["goal", "limit", "measured", ""], [_goal_row(goal) for goal in goals]),
        *(markdown(part, plots_in=plots_in) for part in parts),
    ]
    return "\n\n".join(blocks) + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; a `|` in a cell is escaped, and all columns but the first are set to the right."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _goal_row(goal: Goal) -> list[str]:
    bound = "at least" if goal.at_least else "at most"
    told = "met" if goal.met else f"**not met**: {goal.beyond}" if goal.beyond else "**not met**"
    return [goal.what, f"{bound} {goal.limit:g}", f"{goal.value:.2f}", told]
