"""The path of an execution through its states, read from its history.

Branches of a Parallel or Map state run at once and their events are mixed, so the order of events does not tell whose
they are; their links do. AWS gives each event the id of the one that led to it (`previousEventId`: Step Functions API
Reference, HistoryEvent). How the links run is not documented. These are those of histories that were recorded on AWS
(LocalStack's snapshots, tests/aws/services/stepfunctions/v2: test_base_scenarios, test_callback, test_error_output,
test_timeouts, test_sfn_api):

- The first state's entrance and ExecutionAborted link to 0. All else within a state links back to its entrance.
- ParallelStateStarted links to the group's entrance; the entrance of each branch's first state to that. A group that is
  retried starts again, linked to the failure.
- ParallelStateFailed links to the failure in the branch, and ExecutionFailed or the group's exit to it. So do the
  TaskStateAborted of all branches, the other ones' among them: these cannot be told apart and say nothing here.
- ParallelStateSucceeded and the group's exit link to the exit of the branch that ended last.

A state without an exit is unsuccessful, and RedriveExecution goes on in it (Developer Guide, "Redriving Map Runs"; of a
group, in the branches that failed or were stopped: API Reference, RedriveExecution). Its events then link to its
entrance, or it is entered again; both are read. Where there are no links, as in MiniStack, an event belongs to the
state that was entered last.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ops.model import Attempt, End, PathStep
from ops.words import cause_in_words, without_card

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


def path_of(events: "Iterable[HistoryEventTypeDef]") -> tuple[PathStep, ...]:
    """The states that were entered, in order, each with the attempts of its task and their errors in words.

    What follows a redrive belongs to the state that it goes on in, whether that is entered again or not. The attempts
    of a group are its starts; one fails with the error of the branch that failed.
    """
    reader = _Reader()
    for event in events:
        reader.read(event)
    return tuple(stay.told() for stay in reader.stays)


def stopped_in(path: Iterable[PathStep]) -> tuple[str, ...]:
    """The states that an execution which has ended stopped in: the one that failed, or all that were under way.

    A group is none of them if a state within it is.
    """
    path = tuple(path)
    unfinished = [step for step in path if step.end in (None, End.HELD)] or path[-1:]
    groups = {step.within for step in unfinished}
    return tuple(dict.fromkeys(step.state for step in unfinished if step.state not in groups))


@dataclass(kw_only=True, eq=False)
class _Stay:
    """A state from its entrance on; ``group`` is the stay in the group that it is a part of."""

    state: str
    is_group: bool
    entered_at: datetime
    group: "_Stay | None"
    after: str | None
    left_at: datetime | None = None
    end: End | None = None
    attempts: list[Attempt] = field(default_factory=list)

    def around(self) -> "Iterator[_Stay]":
        """Itself and the groups that it is in, the innermost first."""
        stay: _Stay | None = self
        while stay:
            yield stay
            stay = stay.group

    def finish(self, end: End, at: datetime) -> None:
        """Note the end, unless it has ended before."""
        if self.end is None:
            self.end, self.left_at = end, at

    def go_on(self) -> None:
        """Take back an end that was no exit, of the groups around it too: it was redriven."""
        for stay in self.around():
            if stay.end is not End.LEFT:
                stay.end = stay.left_at = None

    def begin(self, at: datetime) -> None:
        """Note a further attempt."""
        self.go_on()
        self.attempts.append(Attempt(started_at=at, ended_at=None, error=None, cause=None))

    def answer(self, at: datetime, *, error: str | None = None, cause: str | None = None) -> None:
        """Note how the last attempt ended; one of which nobody told the start began with the state."""
        self.go_on()
        if not self.attempts:
            self.begin(self.entered_at)
        self.attempts[-1] = replace(self.attempts[-1], ended_at=at, error=error, cause=cause)

    def told(self) -> PathStep:
        """What is told of it."""
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

    def __init__(self) -> None:
        self.stays: list[_Stay] = []
        # By the ids of events.
        self._stay_of: dict[int, _Stay] = {}
        self._input: str | None = None
        # Local clouds let the task under way go on, and tell of it after the end.
        self._over = False

    def read(self, event: "HistoryEventTypeDef") -> None:
        """Note what the event tells."""
        type_, at = event["type"], event["timestamp"]
        self._over = self._over and type_ != "ExecutionRedriven"
        if self._over:
            return
        stay = self._stay_of.get(event.get("previousEventId", 0)) or (self.stays[-1] if self.stays else None)
        if type_ == "ExecutionStarted":
            self._input = _details(event).get("input")
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
            cause = without_card(cause_in_words(failure.get("cause")), self._input)
            stay.answer(at, error=failure.get("error"), cause=cause)

    def _entered(self, event: "HistoryEventTypeDef", before: _Stay | None) -> _Stay:
        name, at = event["stateEnteredEventDetails"]["name"], event["timestamp"]
        group = before if before and before.is_group and before.end is None else before.group if before else None
        if again := self._unfinished(name):
            # Redriven, or in a group that is retried.
            again.end = End.LEFT if again.end is End.HELD else again.end
            group = again.group
        if group:
            group.go_on()
        if before and before is not group:
            # Where no exit was told.
            before.finish(End.LEFT, at)
        is_group = event["type"].startswith(_GROUPS)
        after = before.state if before else None
        self.stays.append(_Stay(state=name, is_group=is_group, entered_at=at, group=group, after=after))
        return self.stays[-1]

    def _unfinished(self, name: str) -> _Stay | None:
        """The last stay in the state, if it ended without an exit and so did the groups that it was in."""
        stay = next((stay for stay in reversed(self.stays) if stay.state == name), None)
        is_it = stay and stay.end in (End.HELD, End.STOPPED) and all(one.end is not End.LEFT for one in stay.around())
        return stay if is_it else None

    def _named(self, name: str, near: _Stay) -> _Stay:
        """The stay in a state of this name: one around ``near``, else the last one."""
        known = (*near.around(), *reversed(self.stays))
        return next((stay for stay in known if stay.state == name), near)

    def _left(self, stay: _Stay, at: datetime) -> None:
        stay.go_on()
        stay.finish(End.LEFT, at)
        for one in self._within(stay):
            # A failure that the group has caught.
            one.end = End.LEFT if one.end is End.HELD else one.end
            one.finish(End.STOPPED, at)

    def _group_event(self, type_: str, at: datetime, stay: _Stay) -> _Stay:
        """What befalls a group, told by ``stay``: the group itself or a state within it."""
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
        """End what is under way in a group: ``end`` for the state that failed, the others were stopped."""
        for one in self._within(group):
            one.finish(end if one in failed.around() else End.STOPPED, at)

    def _within(self, group: _Stay) -> Iterator[_Stay]:
        return (stay for stay in self.stays if stay is not group and group in stay.around())


def _details(event: "HistoryEventTypeDef") -> Mapping[str, Any]:
    """What belongs to the event's type; the field is named after it, and missing without data."""
    type_ = event["type"]
    fields: Mapping[str, Any] = event
    found: Mapping[str, Any] = fields.get(f"{type_[0].lower()}{type_[1:]}EventDetails", {})
    return found
