"""The steps of a saga as data, and what a list of them must be. Nothing in here knows what they do.

Steps are compensatable, then at most one is the pivot, and what follows is retriable (C. Richardson,
Microservices Patterns, 2018, chapter 4; H. Garcia-Molina and K. Salem, Sagas, SIGMOD 1987).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from saga_stack.settings import RetryPolicy


class InvalidSagaError(ValueError):
    """A list of steps that is no saga; the message names the step and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step by the names of its functions: ``book_room`` becomes the state BookRoom.

    What is None is as the settings say. The timeouts are in seconds and hold for all functions of the step;
    ``retry`` holds for its action.
    """

    action: str
    retry: RetryPolicy | None = None
    function_timeout: int | None = None
    task_timeout: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step(Task):
    """A compensatable step: whatever became of its action, ``compensation`` undoes it and bars it for ever."""

    compensation: str


@dataclass(frozen=True, kw_only=True)
class Pivot(Task):
    """The point of no return: an action that is never undone.

    If it fails, ``resolution`` finds out whether it was done all the same, and bars it for ever if it was not:
    the saga goes on in the first case and is rolled back in the second (docs/adr/0011).
    """

    resolution: str


@dataclass(frozen=True, kw_only=True)
class Retriable(Task):
    """A step that must succeed in the end: retried like a compensation, never caught.

    What it needs of the input must have been checked by a step before it; a refusal here leaves the saga stuck.
    """


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Steps of one kind, compensatable or retriable, that run at once; ``name`` is made into a state's name.

    It ends when every one of them has ended. If one has failed, all of them are compensated, at once too
    (docs/adr/0010).
    """

    name: str
    steps: Sequence[Step] | Sequence[Retriable]


Part: TypeAlias = Step | Pivot | Retriable | Parallel


def tasks_of(steps: Sequence[Part]) -> Iterator[Step | Pivot | Retriable]:
    """The steps one by one, those of groups included."""
    for part in steps:
        if isinstance(part, Parallel):
            yield from part.steps
        else:
            yield part


def functions_of(step: Step | Pivot | Retriable) -> tuple[str, ...]:
    """The names of the step's functions, its action first."""
    match step:
        case Step():
            return (step.action, step.compensation)
        case Pivot():
            return (step.action, step.resolution)
    return (step.action,)


def undoable(steps: Sequence[Part]) -> list[Step]:
    """The steps that a saga is rolled back from, the pivot as one whose compensation is its resolution."""
    found = (step for step in tasks_of(steps) if not isinstance(step, Retriable))
    return [
        step if isinstance(step, Step) else Step(action=step.action, compensation=step.resolution) for step in found
    ]


def state_name(function: str) -> str:
    """``create_order`` -> ``CreateOrder``."""
    return "".join(word.capitalize() for word in function.split("_"))


def undo_name(group: Parallel) -> str:
    """The state that compensates the group, as ``state_name`` takes it."""
    return f"undo_{group.name}"


def complete_name(group: Parallel) -> str:
    """The state that asks whether every step of the group was done."""
    return f"{group.name}_complete"


def failed_name(step: Task) -> str:
    """The state that notes, in a group, that the step has failed."""
    return f"{step.action}_failed"


def committed_name(pivot: Pivot) -> str:
    """The state that asks whether the pivot was done after all."""
    return f"{pivot.action}_committed"


def require_saga(steps: Sequence[Part]) -> None:
    """Raise InvalidSagaError unless the steps are compensatable ones, then at most one pivot, then retriable ones."""
    if not steps:
        raise InvalidSagaError("a saga without steps: list at least one")
    barrier: Pivot | Retriable | None = None
    for part in steps:
        if isinstance(part, Parallel):
            _require_group(part)
        for step in tasks_of([part]):
            if barrier is not None and not isinstance(step, Retriable):
                kind = "pivot" if isinstance(barrier, Pivot) else "retriable step"
                raise InvalidSagaError(
                    f"{step.action} comes after the {kind} {barrier.action}, "
                    "from where nothing is undone: make it Retriable or put it before"
                )
            barrier = barrier or (None if isinstance(step, Step) else step)
    _require_different_names(steps)


def _require_group(group: Parallel) -> None:
    if not group.steps:
        raise InvalidSagaError(f"the parallel group {group.name} has no steps: list some or leave it out")
    kind = type(group.steps[0])
    for step in group.steps:
        if not isinstance(step, Step | Retriable):
            told = getattr(step, "action", None) or getattr(step, "name", step)
            raise InvalidSagaError(
                f"{told} in the parallel group {group.name} is a {type(step).__name__}: "
                "a group holds Step or Retriable; put it before or after the group"
            )
        if type(step) is not kind:
            raise InvalidSagaError(
                f"{step.action} in the parallel group {group.name} is a {type(step).__name__}, "
                f"{group.steps[0].action} a {kind.__name__}: make two groups of them"
            )


def _require_different_names(steps: Sequence[Part]) -> None:
    seen: set[str] = set()
    for name in _names(steps):
        if state_name(name) in seen:
            raise InvalidSagaError(
                f"{name} is there twice: every function and every group needs a name of its own, "
                "and so do the states that the saga adds for them"
            )
        seen.add(state_name(name))


def _names(steps: Sequence[Part]) -> Iterator[str]:
    for part in steps:
        if isinstance(part, Parallel):
            yield from (part.name, undo_name(part), complete_name(part))
            yield from (failed_name(step) for step in part.steps)
        if isinstance(part, Pivot):
            yield committed_name(part)
        for step in tasks_of([part]):
            yield from functions_of(step)
