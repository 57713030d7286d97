"""Faults that a test injects between Step Functions and a task. None of this is in the deployed code."""

import contextlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from lambdas.saga_runtime.errors import AnswerTooEarly, BusinessError
from tests.saga.interpreter import Deliver, Interpreter, TaskFailed, function_of
from tests.shape import Shape, ShapePart


class Fault(Enum):
    """A fault of a task. "Once" and "three times" mean the first attempts."""

    ERROR_BEFORE = "fails once before its write"
    ERROR_AFTER = "fails once after its write"
    KILLED = "is killed once during the call, after its write"
    SERVICE_ERROR = "is not called once: Lambda has an error"
    THROTTLED = "is throttled three times"
    TWICE = "is delivered twice each time"
    SLOW = "always writes, and always times out"
    LATE = "always times out, and writes after the saga has ended or compensated it"
    BROKEN = "always fails before its write"
    BROKEN_AFTER = "always fails after its write"
    LONG_CAUSE = "always fails before its write, with the longest cause that a function can have"


class AnswerFault(Enum):
    """What can be wrong with the answer to a task that waits."""

    EARLY = "comes before the row is written, and again if it was rejected"
    DURING = "comes before the action returns"
    REPEATED = "comes twice"
    REJECTED = "rejects the work"
    CONTRADICTED = "is followed by the opposite"
    CRASHED = "ends no task the first time, and is sent again"
    LOST = "ends no task, and is not sent again"
    TOO_LATE = "comes after the saga has ended or compensated the step"
    FOREIGN = "is for another saga"
    NEVER = "never comes"


_ONCE_BEFORE = {Fault.ERROR_BEFORE: "RuntimeError", Fault.SERVICE_ERROR: "Lambda.ServiceException"}
_ONCE_AFTER = {Fault.ERROR_AFTER: "RuntimeError", Fault.KILLED: "Runtime.ExitError"}
_THROTTLED_TIMES = 3
# Step Functions truncates a cause to 32,768 characters (API Reference, HistoryEvent). Escaped again, this one doubles.
_LONGEST_CAUSE = json.dumps({"errorMessage": '"' * 16_350, "errorType": "RuntimeError"})

ACCEPTANCE: Mapping[str, object] = {"result": "accepted", "details": {"driver": "Ada"}}
REJECTION: Mapping[str, object] = {"result": "rejected", "reason": "no van"}

AnyFault: TypeAlias = Fault | AnswerFault
# By name; no two faults have the same.
FAULTS: Mapping[str, AnyFault] = {fault.name: fault for fault in (*Fault, *AnswerFault)}
Faults = Mapping[str, tuple[AnyFault, ...]]


@dataclass
class Injector:
    """Injects faults into the tasks of one execution, by state.

    Use it as ``intercept`` of an interpreter, and ``send`` as its ``sender``. ``accepted`` has the states whose answer
    was accepted, ``problems`` the answers with a wrong response.
    """

    machine: Interpreter
    faults: Faults
    attempts: dict[str, int] = field(default_factory=dict)
    late: list[tuple[str, Deliver]] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def __call__(self, state: str, payload: Any, deliver: Deliver) -> Any:
        self.attempts[state] = self.attempts.get(state, 0) + 1
        faults = self.faults.get(state, ())
        for fault in faults:
            if isinstance(fault, Fault):
                deliver = self._inject(fault, state, self.attempts[state], deliver)
        if AnswerFault.EARLY in faults:
            self._answer(state, payload, self._fields(state, payload))
        answer = deliver()
        if AnswerFault.DURING in faults:
            self.send(state, payload)
        # The worst moment for a late action is right after the compensation that must reject it.
        self.deliver_late([action for action, compensation in self.machine.shape.steps if compensation == state])
        return answer

    def send(self, state: str, payload: Any) -> None:
        """Send the answer to a task that waits, as the faults say; without a fault, as the demo's other party does."""
        faults = self.faults.get(state, ())
        if state in self.accepted:
            # Its sender sends it no more.
            self.problems.append(f"11: the answer to {state} was accepted, but its task waits")
            return
        if not any(isinstance(fault, AnswerFault) for fault in faults):
            self.machine.answer_in_time(state, payload)
            return
        if AnswerFault.NEVER in faults:
            return
        fields = self._fields(state, payload)
        if AnswerFault.TOO_LATE in faults:
            self.late.append((state, lambda: self._answer(state, payload, fields)))
            return
        if AnswerFault.FOREIGN in faults:
            another = {**payload, "saga": {**payload["saga"], "id": "another"}}
            if self._answer(state, another, fields) is None:
                self.problems.append(f"11: the answer of another saga to {state} was accepted")
            return
        self.machine.tasks.fails_next = AnswerFault.CRASHED in faults or AnswerFault.LOST in faults
        self._answer(state, payload, fields)
        if AnswerFault.CRASHED in faults or AnswerFault.REPEATED in faults:
            self._answer(state, payload, fields)
        if AnswerFault.CONTRADICTED in faults:
            self._answer(state, payload, REJECTION if fields["result"] == "accepted" else ACCEPTANCE)
        self.machine.tasks.fails_next = False

    def _fields(self, state: str, payload: Any) -> Mapping[str, object]:
        """Return the answer that the demo's other party gives in time, or else an acceptance."""
        if AnswerFault.REJECTED in self.faults[state]:
            return REJECTION
        return self.machine.demo.answer(payload["input"]) or ACCEPTANCE

    def _answer(self, state: str, payload: Any, fields: Mapping[str, object]) -> Exception | None:
        """Send one answer; return the error with which it was rejected.

        An answer changes the row if and only if it is accepted. If a service fails, its sender cannot know.
        """
        before = self._row(state, payload)
        try:
            status = self.machine.answer(state, payload, fields)["status"]
        except ConnectionError as error:
            return error
        except (BusinessError, AnswerTooEarly) as error:
            if self._row(state, payload) != before:
                self.problems.append(f"11: a rejected answer to {state} changed the row")
            return error
        self.accepted.add(state)
        if status not in [entry["status"] for entry in self._row(state, payload).get("history", ())]:
            self.problems.append(f"11: an answer to {state} was accepted as {status}, but the row does not have it")
        return None

    def _row(self, state: str, payload: Any) -> Mapping[str, Any]:
        entity = function_of(self.machine.shape, state).step.entity
        return self.machine.rows(payload["input"][self.machine.shape.key]).get(entity, {})

    def deliver_late(self, states: Iterable[str] | None = None) -> None:
        """Deliver the late calls of the states. Default: all late calls."""
        due = [(state, deliver) for state, deliver in self.late if states is None or state in states]
        self.late = [late for late in self.late if late not in due]
        for _, deliver in due:
            # Nobody receives the response; the invariants show whether the call did harm.
            with contextlib.suppress(TaskFailed):
                deliver()

    def _inject(self, fault: Fault, state: str, attempt: int, deliver: Deliver) -> Deliver:  # noqa: PLR0911 (a table)
        match fault:
            case Fault.ERROR_BEFORE | Fault.SERVICE_ERROR if attempt == 1:
                return _failing(_ONCE_BEFORE[fault])
            case Fault.ERROR_AFTER | Fault.KILLED if attempt == 1:
                return _failing(_ONCE_AFTER[fault], after=deliver)
            case Fault.THROTTLED if attempt <= _THROTTLED_TIMES:
                return _failing("Lambda.TooManyRequestsException")
            case Fault.TWICE:
                return lambda: (deliver(), deliver())[1]
            case Fault.SLOW:
                return _failing("States.Timeout", after=deliver)
            case Fault.LATE:
                return _failing("States.Timeout", after=lambda: self.late.append((state, deliver)))
            case Fault.BROKEN:
                return _failing("RuntimeError")
            case Fault.BROKEN_AFTER:
                return _failing("RuntimeError", after=deliver)
            case Fault.LONG_CAUSE:
                return _failing("RuntimeError", cause=_LONGEST_CAUSE)
        return deliver


def _failing(error: str, *, after: Deliver | None = None, cause: str = "injected") -> Deliver:
    def fail() -> Any:
        if after is not None:
            after()
        raise TaskFailed(error, cause)

    return fail


def faults_at(shape: Shape, task: str) -> Sequence[AnyFault]:
    """Return every fault of a task, and of its answer if it waits for one."""
    return (*Fault, *(AnswerFault if task in shape.waiting else ()))


def singles(shape: Shape) -> list[Faults]:
    """Return every fault at every task."""
    return [{task: (fault,)} for task in shape.tasks for fault in faults_at(shape, task)]


def pairs(shape: Shape) -> list[Faults]:
    """Return every pair of different faults, at two tasks or at the same one."""
    places = [(task, fault) for task in shape.tasks for fault in faults_at(shape, task)]
    found: list[Faults] = []
    for (task, fault), (other, another) in itertools.combinations(places, 2):
        found.append({task: (fault, another)} if task == other else {task: (fault,), other: (another,)})
    return found


def in_flight(shape: Shape) -> list[tuple[ShapePart, Faults]]:
    """Return for each group: one of its actions fails for good, while another one times out and writes later."""
    return [
        (group, {failing: (fault,), late: (Fault.LATE,)})
        for group in shape.groups
        if group.rollback
        for failing, late in itertools.permutations([action for action, _ in group.tasks], 2)
        for fault in (Fault.BROKEN, Fault.BROKEN_AFTER)
    ]
