"""How far an execution has come: what became of each state of its definition."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ops.definition import Definition
from ops.model import End, Execution, Outcome, PathStep, Saga


class Status(StrEnum):
    """What became of a state. A state that a Catch leads to is a compensation, and says ``undone`` when it is done.

    What is stopped was under way in a group when another of its branches failed.
    """

    WAITING = "not yet"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    UNDONE = "undone"
    FAILED = "failed"
    STUCK = "stuck"
    STOPPED = "stopped"
    SKIPPED = "skipped"


# What a state shows beside its colour, so that nobody needs to see colours.
ICONS: Mapping[Status, str] = {
    Status.WAITING: "○",
    Status.RUNNING: "▶",
    Status.RETRYING: "↻",
    Status.DONE: "✓",
    Status.UNDONE: "↶",
    Status.FAILED: "✗",
    Status.STUCK: "⚠",
    Status.STOPPED: "■",
    Status.SKIPPED: "∅",
}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What became of one state; ``number`` is its place on the path from 1 on, None if it was not entered."""

    status: Status
    number: int | None = None
    took: timedelta | None = None
    failures: int = 0

    @property
    def words(self) -> str:
        """In one line, for instance ``4 ↻ retrying, 2 failed``."""
        number = f"{self.number} " if self.number else ""
        failed = f", {self.failures} failed" if self.failures > 1 or self.status is Status.RETRYING else ""
        return f"{number}{ICONS[self.status]} {self.status}{failed}"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What became of the states, by name, and the pairs of states that followed each other."""

    visits: Mapping[str, Visit]
    taken: frozenset[tuple[str, str]]
    outcome: Outcome


def progress_of(definition: Definition, saga: Saga) -> Progress:
    """What became of each state of the definition. ``saga`` must have an execution."""
    execution = _known(saga.execution)
    unseen = Status.WAITING if execution.outcome is Outcome.RUNNING else Status.SKIPPED
    visits = {name: Visit(status=unseen) for name in definition.states}
    for number, step in enumerate(saga.path, start=1):
        visits[step.state] = _visit(definition, step, number, execution)
    return Progress(
        visits=visits,
        taken=frozenset((step.after, step.state) for step in saga.path if step.after),
        outcome=execution.outcome,
    )


def _visit(definition: Definition, step: PathStep, number: int, execution: Execution) -> Visit:
    failures = sum(1 for attempt in step.attempts if attempt.error or attempt.cause)
    return Visit(
        status=_status(definition, step, execution, failures=failures),
        number=number,
        took=step.took,
        failures=failures,
    )


def _status(definition: Definition, step: PathStep, execution: Execution, *, failures: int) -> Status:
    if step.end is End.STOPPED:
        return Status.STOPPED
    if step.end is not End.LEFT and execution.outcome is Outcome.STUCK:
        return Status.STUCK
    if step.end is None and execution.outcome is Outcome.RUNNING:
        return Status.RETRYING if failures else Status.RUNNING
    last = step.attempts[-1] if step.attempts else None
    if step.state in definition.failing or (last and (last.error or last.cause)):
        return Status.FAILED
    return Status.UNDONE if step.state in definition.compensations else Status.DONE


def _known(execution: Execution | None) -> Execution:
    if execution is None:
        raise ValueError("Step Functions does not know the saga's execution")
    return execution
