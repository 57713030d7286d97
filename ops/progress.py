"""The progress of an execution: the status of each state of its definition."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from lambdas.saga_runtime.execution_history import End, PathStep
from ops.definition import Definition
from ops.model import Execution, Outcome, SagaRun


class Status(StrEnum):
    """The status of a state."""

    WAITING = "not yet"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    COMPENSATED = "compensated"  # the same as done, for a state that a Catch leads to
    FAILED = "failed"
    STUCK = "stuck"
    STOPPED = "stopped"  # another branch of its group failed
    SKIPPED = "skipped"  # the execution ended cleanly without it
    NOT_REACHED = "not reached"  # the execution is stuck before it


# Shown beside the colour, which not everybody can see.
ICONS: Mapping[Status, str] = {
    Status.WAITING: "○",
    Status.RUNNING: "▶",
    Status.RETRYING: "↻",
    Status.DONE: "✓",
    Status.COMPENSATED: "↶",
    Status.FAILED: "✗",
    Status.STUCK: "⚠",
    Status.STOPPED: "■",
    Status.SKIPPED: "∅",
    Status.NOT_REACHED: "◌",
}
# The status of a state that an execution has not entered.
_WITHOUT_VISIT: Mapping[Outcome, Status] = {
    Outcome.RUNNING: Status.WAITING,
    Outcome.FULFILLED: Status.SKIPPED,
    Outcome.ROLLED_BACK: Status.SKIPPED,
    Outcome.STUCK: Status.NOT_REACHED,
}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """The status of one state. ``number`` is its place on the path, from 1; None if it was not entered."""

    status: Status
    number: int | None = None
    took: timedelta | None = None
    failures: int = 0

    @property
    def words(self) -> str:
        """The visit in one line, for instance ``4 ↻ retrying, 2 failed``."""
        number = f"{self.number} " if self.number else ""
        failed = f", {self.failures} failed" if self.failures > 1 or self.status is Status.RETRYING else ""
        return f"{number}{ICONS[self.status]} {self.status}{failed}"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The visits by state, the transitions as pairs of states, and the outcome so far."""

    visits: Mapping[str, Visit]
    transitions: frozenset[tuple[str, str]]
    outcome: Outcome

    @property
    def end(self) -> Status:
        """The status of the successful end."""
        return Status.DONE if self.outcome is Outcome.FULFILLED else _WITHOUT_VISIT[self.outcome]


def progress_of(definition: Definition, saga: SagaRun) -> Progress:
    """Return the progress of a saga in its definition. Raises ValueError if it has no execution."""
    if saga.execution is None:
        raise ValueError(f"Step Functions does not know the execution of {saga.saga_id}")
    outcome = saga.execution.outcome
    visits = {name: Visit(status=_WITHOUT_VISIT[outcome]) for name in definition.states}
    for number, step in enumerate(saga.path, start=1):
        visits[step.state] = _visit(definition, step, number, saga.execution)
    transitions = frozenset((step.after, step.state) for step in saga.path if step.after)
    return Progress(visits=visits, transitions=transitions, outcome=outcome)


def _visit(definition: Definition, step: PathStep, number: int, execution: Execution) -> Visit:
    failures = sum(1 for attempt in step.attempts if attempt.error or attempt.cause)
    status = _status(definition, step, execution, failures=failures)
    return Visit(status=status, number=number, took=step.took, failures=failures)


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
    return Status.COMPENSATED if step.state in definition.compensations else Status.DONE
