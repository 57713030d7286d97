"""Reads the path of an execution through its states from its history.

The branches of a Parallel or Map state run at the same time, and their events are mixed. Each event has the id of the
event that led to it (``previousEventId``: Step Functions API Reference, HistoryEvent), and these links say which state
an event belongs to. AWS does not document where the links lead. The following is from histories recorded on AWS
(LocalStack's snapshots, tests/aws/services/stepfunctions/v2: test_base_scenarios, test_callback, test_error_output,
test_timeouts, test_sfn_api):

- The entrance of the first state and ExecutionAborted link to 0. Every other event in a state leads back to its
  entrance.
- ParallelStateStarted links to the entrance of the group, and the entrance of each branch's first state to that. A
  group that is retried starts again, linked to the failure.
- ParallelStateFailed links to the failure in the branch; ExecutionFailed or the exit of the group links to it. The
  TaskStateAborted events of all branches link there too, so this module ignores them.
- ParallelStateSucceeded and the exit of the group link to the exit of the branch that ended last.

RedriveExecution continues in the states without an exit (API Reference, RedriveExecution). Their events then link to
the old entrance, or they are entered again; this module reads both. Without links, as in MiniStack, an event belongs to
the state that was entered last.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lambdas.saga_runtime.redaction import message_in

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

_STARTS = ("TaskScheduled", "LambdaFunctionScheduled")
_SUCCEEDS = ("TaskSucceeded", "LambdaFunctionSucceeded")
_FAILS = (
    "TaskFailed",
    "TaskTimedOut",
    "TaskStartFailed",
    "TaskSubmitFailed",
    "LambdaFunctionFailed",
    "LambdaFunctionTimedOut",
    "LambdaFunctionScheduleFailed",
    "LambdaFunctionStartFailed",
)
_ENDS = ("ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
_GROUPS = ("Parallel", "Map")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of a state's task. ``ended_at`` is None while it runs, or if the execution ended first."""

    started_at: datetime
    ended_at: datetime | None
    error: str | None
    cause: str | None


class End(StrEnum):
    """How an execution left a state."""

    LEFT = "left"  # to the next state, perhaps by a Catch
    HELD = "held"  # not at all: it failed without a Catch, or the execution ended during it
    STOPPED = "stopped"  # another branch of its group failed


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """A state on the path of an execution. A Fail state makes no attempt.

    Args:
        state: its name.
        entered_at: when the execution entered it.
        left_at: when it ended in any way; None while it runs.
        attempts: the attempts of its task.
        end: how it ended; None while it runs.
        within: the group (Parallel, Map) that contains it; None if none does.
        after: the state that led to it; None if none did.
    """

    state: str
    entered_at: datetime
    left_at: datetime | None
    attempts: tuple[Attempt, ...]
    end: End | None
    within: str | None
    after: str | None

    @property
    def took(self) -> timedelta | None:
        """The time from its entrance to its end, with all retries and waits."""
        return None if self.left_at is None else self.left_at - self.entered_at


def path_of(events: "Iterable[HistoryEventTypeDef]", *, redact: Callable[[str], str] = str) -> tuple[PathStep, ...]:
    """Return the states that were entered, in order, each with the attempts of its task and their errors.

    Events after a redrive belong to the state that continues, whether it is entered again or not. The attempts of a
    group are its starts; an attempt fails with the error of the branch that failed.

    Args:
        events: the whole history, oldest first; the data of the events may be missing.
        redact: removes sensitive values from a cause. Default: causes stay as they are.
    """
    reader = _Reader(redact)
    for event in events:
        reader.read(event)
    return tuple(stay.path_step() for stay in reader.stays)


def stopped_in(path: Iterable[PathStep]) -> tuple[str, ...]:
    """Return the states in which an execution stopped: the one that failed, or all that ran.

    A group that contains such a state is left out.
    """
    path = tuple(path)
    unfinished = [step for step in path if step.end in (None, End.HELD)] or path[-1:]
    groups = {step.within for step in unfinished}
    return tuple(dict.fromkeys(step.state for step in unfinished if step.state not in groups))


@dataclass(kw_only=True, eq=False)
class _Stay:
    """A state from its entrance on; ``group`` is the stay in the group that contains it."""

    state: str
    is_group: bool
    entered_at: datetime
    group: "_Stay | None"
    after: str | None
    left_at: datetime | None = None
    end: End | None = None
    attempts: list[Attempt] = field(default_factory=list)

    def around(self) -> "Iterator[_Stay]":
        """Return the stay and the groups that contain it, the innermost first."""
        stay: _Stay | None = self
        while stay:
            yield stay
            stay = stay.group

    def finish(self, end: End, at: datetime) -> None:
        """Record the end, unless it has ended before."""
        if self.end is None:
            self.end, self.left_at = end, at

    def reopen(self) -> None:
        """Remove an end other than an exit, from the groups around it too: it was redriven."""
        for stay in self.around():
            if stay.end is not End.LEFT:
                stay.end = stay.left_at = None

    def begin(self, at: datetime) -> None:
        """Record a further attempt."""
        self.reopen()
        self.attempts.append(Attempt(started_at=at, ended_at=None, error=None, cause=None))

    def answer(self, at: datetime, *, error: str | None = None, cause: str | None = None) -> None:
        """Record how the last attempt ended. An attempt without a start event began with the state."""
        self.reopen()
        if not self.attempts:
            self.begin(self.entered_at)
        self.attempts[-1] = replace(self.attempts[-1], ended_at=at, error=error, cause=cause)

    def path_step(self) -> PathStep:
        """Return the stay as a step of the path."""
        return PathStep(
            state=self.state,
            entered_at=self.entered_at,
            left_at=self.left_at,
            attempts=tuple(self.attempts),
            end=self.end,
            within=self.group.state if self.group else None,
            after=self.after,
        )


class _Reader:
    """Reads events in the order of their ids."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self.stays: list[_Stay] = []
        self._redact = redact
        # By the ids of events.
        self._stay_of: dict[int, _Stay] = {}
        # Local clouds record events of a running task after the end of the execution.
        self._over = False

    def read(self, event: "HistoryEventTypeDef") -> None:
        """Record the event."""
        type_, at = event["type"], event["timestamp"]
        self._over = self._over and type_ != "ExecutionRedriven"
        if self._over:
            return
        stay = self._stay_of.get(event.get("previousEventId", 0)) or (self.stays[-1] if self.stays else None)
        if type_.endswith("StateEntered"):
            stay = self._entered(event, stay)
        if stay is None:
            return
        if type_.endswith("StateExited"):
            stay = self._named(event["stateExitedEventDetails"]["name"], stay)
            self._left(stay, at)
        elif type_.startswith(_GROUPS) and not type_.endswith("StateEntered"):
            stay = self._group_event(type_, at, stay)
        elif type_ in _ENDS or type_ == "ExecutionSucceeded":
            self._over = True
            for one in self.stays:
                one.finish(End.HELD if type_ in _ENDS else End.LEFT, at)
        else:
            self._attempt_event(event, stay)
        self._stay_of[event["id"]] = stay

    def _attempt_event(self, event: "HistoryEventTypeDef", stay: _Stay) -> None:
        type_, at = event["type"], event["timestamp"]
        if type_ in _STARTS:
            stay.begin(at)
        elif type_ in _SUCCEEDS:
            stay.answer(at)
        elif type_ in _FAILS:
            failure = _details(event)
            cause = message_in(failure.get("cause"))
            stay.answer(at, error=failure.get("error"), cause=cause and self._redact(cause))

    def _entered(self, event: "HistoryEventTypeDef", before: _Stay | None) -> _Stay:
        name, at = event["stateEnteredEventDetails"]["name"], event["timestamp"]
        group = before if before and before.is_group and before.end is None else before.group if before else None
        if again := self._unfinished(name):
            # It was redriven, or its group is retried.
            again.end = End.LEFT if again.end is End.HELD else again.end
            group = again.group
        if group:
            group.reopen()
        if before and before is not group:
            # Its exit event is missing.
            before.finish(End.LEFT, at)
        is_group = event["type"].startswith(_GROUPS)
        after = before.state if before else None
        self.stays.append(_Stay(state=name, is_group=is_group, entered_at=at, group=group, after=after))
        return self.stays[-1]

    def _unfinished(self, name: str) -> _Stay | None:
        """Return the last stay in the state if neither it nor a group around it has an exit."""
        stay = next((stay for stay in reversed(self.stays) if stay.state == name), None)
        is_it = stay and stay.end in (End.HELD, End.STOPPED) and all(one.end is not End.LEFT for one in stay.around())
        return stay if is_it else None

    def _named(self, name: str, near: _Stay) -> _Stay:
        """Return the stay in a state of this name: one around ``near``, else the last one."""
        known = (*near.around(), *reversed(self.stays))
        return next((stay for stay in known if stay.state == name), near)

    def _left(self, stay: _Stay, at: datetime) -> None:
        stay.reopen()
        stay.finish(End.LEFT, at)
        for one in self._within(stay):
            # The group has caught the failure.
            one.end = End.LEFT if one.end is End.HELD else one.end
            one.finish(End.STOPPED, at)

    def _group_event(self, type_: str, at: datetime, stay: _Stay) -> _Stay:
        """Record an event of a group, which links to ``stay``: the group itself or a state within it."""
        group = next((one for one in stay.around() if one.is_group and one.end is not End.LEFT), stay)
        failure = stay.attempts[-1] if stay is not group and stay.attempts else None
        failed = {"error": failure.error, "cause": failure.cause} if failure else {}
        if type_.endswith("StateStarted"):
            if group.attempts and group.attempts[-1].ended_at is None:
                group.answer(at, **failed)
                self._end_within(group, stay, End.LEFT, at)
            group.begin(at)
        elif type_.endswith("StateSucceeded"):
            group.answer(at)
        elif type_.endswith("StateFailed"):
            group.answer(at, **failed)
            self._end_within(group, stay, End.HELD, at)
            group.finish(End.HELD, at)
        return group

    def _end_within(self, group: _Stay, failed: _Stay, end: End, at: datetime) -> None:
        """End what runs in a group: ``end`` for the state that failed, STOPPED for the others."""
        for one in self._within(group):
            one.finish(end if one in failed.around() else End.STOPPED, at)

    def _within(self, group: _Stay) -> Iterator[_Stay]:
        return (stay for stay in self.stays if stay is not group and group in stay.around())


def _details(event: "HistoryEventTypeDef") -> Mapping[str, Any]:
    """Return the details of the event. Their field is named after its type; without data they are missing."""
    type_ = event["type"]
    fields: Mapping[str, Any] = event
    found: Mapping[str, Any] = fields.get(f"{type_[0].lower()}{type_[1:]}EventDetails", {})
    return found
