"""The steps of a saga as data, and the rules for a list of them.

Compensatable steps come first, then at most one pivot, then retriable steps (C. Richardson, Microservices Patterns,
2018, chapter 4; H. Garcia-Molina and K. Salem, Sagas, SIGMOD 1987).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from lambdas.saga_runtime.names import state_name

# An execution may run for a year (Step Functions Developer Guide, "Quotas").
LONGEST_WAIT = timedelta(days=365)
_SECOND = timedelta(seconds=1)
LONGEST_FUNCTION_SECONDS = 900  # AWS Lambda Developer Guide, "Lambda quotas"


class InvalidSagaError(ValueError):
    """The steps do not form a saga. The message names the step and says what to do."""


class InvalidContextError(InvalidSagaError):
    """A value of the CDK app's context is invalid, whatever the steps are. The message says what to do."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with a maximum delay and full jitter.

    The n-th wait is random between 0 and min(``interval`` * ``backoff_rate`` ** (n - 1), ``max_delay``) seconds.

    Args:
        interval: the first wait, in seconds.
        backoff_rate: the factor from one wait to the next.
        max_delay: the longest wait, in seconds.
        max_attempts: the number of retries.
    """

    interval: int
    backoff_rate: float
    max_delay: int
    max_attempts: int

    def longest_wait(self) -> float:
        """Return the sum of all waits in seconds if every wait is as long as it can be."""
        waits = (self.interval * self.backoff_rate**attempt for attempt in range(self.max_attempts))
        return sum(min(wait, self.max_delay) for wait in waits)


@dataclass(frozen=True, kw_only=True)
class Callback:
    """How long a step waits for the answer to the work that its action starts (lambdas/saga_runtime/callbacks.py).

    A timeout is an unknown outcome: a compensatable step is compensated, a saga with a retriable one is stuck. It is
    not retried, because every retry would wait as long again. The list of steps is rejected if the times do not fit.

    Args:
        timeout: how long the step waits at most, a second to a year. It replaces the task timeout of the action.
        heartbeat: how long it waits at most for the next sign of life; shorter than the timeout. Default: none is
            expected.
    """

    timeout: timedelta
    heartbeat: timedelta | None = None

    @property
    def shortest(self) -> timedelta:
        """The time after which the task fails if nobody answers at all."""
        return self.heartbeat or self.timeout


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all steps have in common.

    Args:
        action: the name of the function that performs the step. ``book_room`` becomes the state BookRoom.
        retry: the retry policy of the action. Default: the stage's.
        function_timeout: the timeout of each function of the step, in seconds. Default: the stage's.
        task_timeout: the timeout of each state of the step, in seconds; longer than the function's. Default: the
            stage's.
    """

    action: str
    retry: RetryPolicy | None = None
    function_timeout: int | None = None
    task_timeout: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step(Task):
    """A compensatable step.

    Args:
        compensation: the name of the function that compensates the action, whatever the outcome of the action was, and
            rejects the action from then on. The list of steps is rejected without it.
        callback: how long the step waits for an answer after its action. Default: none, the action performs the step.
    """

    compensation: str = ""
    callback: Callback | None = None


@dataclass(frozen=True, kw_only=True)
class Pivot(Task):
    """The point of no return: an action that is never compensated.

    It cannot call a provider, because between the two writes of such a step the row cannot tell whether it happened:
    authorize before the pivot, and capture after it.

    Args:
        resolution: the name of the function that is called if the action fails. It finds out whether the action
            happened, and rejects it from then on if it did not. If it happened, the saga continues; otherwise it is
            rolled back (docs/adr/0011). The list of steps is rejected without it.
    """

    resolution: str = ""


@dataclass(frozen=True, kw_only=True)
class Retriable(Task):
    """A step that must succeed: retried as long as a compensation, never caught.

    An earlier step must validate what it needs of the input. If the step rejects the input, the saga is stuck.

    Args:
        callback: how long the step waits for an answer after its action. Default: none, the action performs the step.
    """

    callback: Callback | None = None


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Steps that run at the same time: all compensatable, or all retriable.

    The group ends when every step has ended. If one has failed, all are compensated, at the same time too
    (docs/adr/0010).

    Args:
        name: the name of the group; it becomes the name of a state as the name of a function does.
        steps: the steps.
    """

    name: str
    steps: Sequence[Step] | Sequence[Retriable]


SingleStep: TypeAlias = Step | Pivot | Retriable
StepOrGroup: TypeAlias = SingleStep | Parallel


def single_steps(steps: Sequence[StepOrGroup]) -> Iterator[SingleStep]:
    """Return the steps one by one, including those in groups."""
    for step in steps:
        if isinstance(step, Parallel):
            yield from step.steps
        else:
            yield step


def functions_of(step: SingleStep) -> tuple[str, ...]:
    """Return the names of the step's functions, its action first."""
    match step:
        case Step():
            return (step.action, step.compensation)
        case Pivot():
            return (step.action, step.resolution)
    return (step.action,)


def fallible_actions(steps: Sequence[StepOrGroup]) -> Sequence[Sequence[str]]:
    """Return the actions that may be followed by a rollback, in order; those of a parallel group together."""
    groups = ([one.action for one in single_steps([step]) if not isinstance(one, Retriable)] for step in steps)
    return [actions for actions in groups if actions]


def function_seconds(step: Task, default: int) -> int:
    """Return the timeout of the step's functions. Raises InvalidSagaError if a function cannot have it."""
    seconds = default if step.function_timeout is None else step.function_timeout
    if not 0 < seconds <= LONGEST_FUNCTION_SECONDS:
        raise InvalidSagaError(
            f"{step.action} has the function_timeout {seconds:,} s: Lambda allows 1 to {LONGEST_FUNCTION_SECONDS}"
        )
    return seconds


def callback_of(step: Task) -> Callback | None:
    """Return how long the step waits for an answer; None if its action performs it."""
    return step.callback if isinstance(step, Step | Retriable) else None


def answered_within(steps: Sequence[StepOrGroup], seconds: str | None) -> Sequence[StepOrGroup]:
    """Return the steps, of which each that waits for an answer waits so long instead. None changes nothing.

    Raises InvalidContextError if the text is not a number of seconds that a step can wait.
    """
    if seconds is None:
        return steps
    longest = int(LONGEST_WAIT.total_seconds())
    if not seconds.isdecimal() or not 1 <= int(seconds) <= longest:
        waiting = " and ".join(step.action for step in single_steps(steps) if callback_of(step)) or "a step"
        raise InvalidContextError(f"invalid answer_within {seconds!r}: {waiting} can wait 1 to {longest:,} seconds")
    callback = Callback(timeout=timedelta(seconds=int(seconds)))
    return [_answered_within(step, callback) for step in steps]


def _answered_within(step: StepOrGroup, callback: Callback) -> StepOrGroup:
    match step:
        case Parallel():
            members = [_answered_within(member, callback) for member in step.steps]
            return replace(step, steps=members)  # type: ignore[arg-type]  # no member changes its kind
        case Step(callback=Callback()) | Retriable(callback=Callback()):
            return replace(step, callback=callback)
    return step


def longest_wait(steps: Sequence[StepOrGroup]) -> timedelta:
    """Return how long a saga can wait for answers; the steps of a group wait at the same time."""
    waits = (
        max((callback.timeout for one in single_steps([step]) if (callback := callback_of(one))), default=timedelta(0))
        for step in steps
    )
    return sum(waits, timedelta(0))


def undo_state(group: Parallel) -> str:
    """Return the name of the state that compensates the group."""
    return state_name(f"undo_{group.name}")


def complete_state(group: Parallel) -> str:
    """Return the name of the state that checks whether every step of the group has succeeded."""
    return state_name(f"{group.name}_complete")


def failed_state(step: Task) -> str:
    """Return the name of the state that records, in a group, that the step has failed."""
    return state_name(f"{step.action}_failed")


def committed_state(pivot: Pivot) -> str:
    """Return the name of the state that checks whether the pivot happened after all."""
    return state_name(f"{pivot.action}_committed")


def require_saga(steps: Sequence[StepOrGroup], *, ends: Sequence[str] = ()) -> None:
    """Raise InvalidSagaError unless the steps are compensatable ones, then at most one pivot, then retriable ones.

    Args:
        steps: the steps in order.
        ends: the names of the states that the saga ends with. Default: not known.
    """
    if not steps:
        raise InvalidSagaError("a saga needs at least one step")
    point_of_no_return: Pivot | Retriable | None = None
    for step_or_group in steps:
        if isinstance(step_or_group, Parallel):
            _require_group(step_or_group)
        for step in single_steps([step_or_group]):
            _require_complete(step)
            if point_of_no_return is not None and not isinstance(step, Retriable):
                kind = "pivot" if isinstance(point_of_no_return, Pivot) else "retriable step"
                raise InvalidSagaError(
                    f"{step.action} comes after the {kind} {point_of_no_return.action}, after which nothing is "
                    "compensated: make it Retriable or put it before"
                )
            if not isinstance(step, Step):
                point_of_no_return = point_of_no_return or step
    _require_different_names((*ends, *_state_names(steps)))


def _require_complete(step: SingleStep) -> None:
    if isinstance(step, Step) and not step.compensation:
        raise InvalidSagaError(
            f"{step.action} has no compensation: name its function, or make it a Pivot or Retriable at the end"
        )
    if isinstance(step, Pivot) and not step.resolution:
        raise InvalidSagaError(f"{step.action} has no resolution: name its function")
    if callback := callback_of(step):
        _require_times(step.action, callback)


def _require_times(action: str, callback: Callback) -> None:
    timeout, heartbeat = callback.timeout, callback.heartbeat
    if not _SECOND <= timeout <= LONGEST_WAIT:
        raise InvalidSagaError(f"{action} has a callback with the timeout {timeout}: must be a second to a year")
    if heartbeat is not None and not _SECOND <= heartbeat < timeout:
        raise InvalidSagaError(
            f"{action} has a callback with the heartbeat {heartbeat}: must be at least a second and below its timeout, "
            f"{timeout}"
        )


def _require_group(group: Parallel) -> None:
    if not group.steps:
        raise InvalidSagaError(f"the parallel group {group.name} has no steps: add some or remove the group")
    kind = type(group.steps[0])
    for step in group.steps:
        if not isinstance(step, Step | Retriable):
            name = getattr(step, "action", None) or getattr(step, "name", step)
            raise InvalidSagaError(
                f"{name} in the parallel group {group.name} is a {type(step).__name__}: "
                "a group takes Step or Retriable; put it before or after the group"
            )
        if type(step) is not kind:
            raise InvalidSagaError(
                f"{step.action} in the parallel group {group.name} is a {type(step).__name__}, "
                f"{group.steps[0].action} a {kind.__name__}: make two groups"
            )


def _require_different_names(states: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in states:
        if name in seen:
            raise InvalidSagaError(
                f"two states are named {name}: give every function and every group a name of its own, "
                "different from the states that the saga adds for them"
            )
        seen.add(name)


def _state_names(steps: Sequence[StepOrGroup]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, Parallel):
            yield from (state_name(step.name), undo_state(step), complete_state(step))
            yield from map(failed_state, step.steps)
        if isinstance(step, Pivot):
            yield committed_state(step)
    for single in single_steps(steps):
        yield from map(state_name, functions_of(single))
