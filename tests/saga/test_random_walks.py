"""Random walks over whole sagas: two keys, whose executions are started, fail, repeat, delay and resume in any order.

After each step of a walk the invariants hold for both keys, whatever is still to be delivered.
"""

import contextlib
import io
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lambdas.saga_runtime.errors import BUSINESS_ERRORS, SagaConflict
from ops.invariants import ExpectedRow, Rows
from tests.invariants import is_stuck, violations
from tests.saga.faults import Fault, Faults, Injector
from tests.saga.interpreter import Deliver, Execution, Intercept, TaskFailed, interpreter
from tests.saga.trial import expected_rows, ledger_violations
from tests.sagas import SagaUnderTest, each_saga
from tests.shape import Shape

# The walks are always the same, so that only a change of the code can make them fail. A walk is short enough to read;
# to shrink it would take five minutes.
WALKS = settings(
    max_examples=10,
    stateful_step_count=12,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
)
# A walk with a provider is slow.
FEWER = settings(WALKS, max_examples=3)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The start of an execution: the name of its scenario, and its faults."""

    scenario: str
    faults: Faults = field(default_factory=dict)


COMPLETE = Start(scenario="1-success")


@dataclass(frozen=True, order=True)
class TaskOf:
    """A task of an execution."""

    execution: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Called:
    """A call that reached its function: its payload, and whether it has ever succeeded."""

    payload: Any
    succeeded: bool


class PatientInjector(Injector):
    """Keeps late calls until the walk delivers them."""

    def deliver_late(self, states: Iterable[str] | None = None) -> None:
        pass


class Walk(RuleBasedStateMachine):
    """One walk. Its rules are what can happen, each with what must be true right after it."""

    def __init__(self, saga: SagaUnderTest, shape: Shape) -> None:
        super().__init__()
        self.saga = saga
        self.expected = expected_rows(shape)
        # The rows of the first part are claimed first and compensated last.
        self.first = [row for row in self.expected if row.action in dict(shape.parts[0].tasks)]
        self._open = contextlib.ExitStack()
        self._open.enter_context(contextlib.redirect_stdout(io.StringIO()))
        self._open.callback(logging.disable, logging.NOTSET)
        logging.disable()
        self.machine = self._open.enter_context(interpreter(shape, saga.demo))
        self.executions: dict[str, Execution] = {}
        self.rows: dict[str, Rows] = {}
        self.calls: dict[TaskOf, Called] = {}
        self.late: list[tuple[str, Deliver]] = []
        self._numbers = itertools.count(1)

    def teardown(self) -> None:
        self._open.close()

    @invariant()
    def nothing_is_half_done(self) -> None:
        executions: dict[str, list[Execution]] = {}
        for execution in self.executions.values():
            executions.setdefault(self.key_of(execution), []).append(execution)
        self.rows = {key: self.machine.rows(key) for key in executions}
        for key, rows in self.rows.items():
            problems = violations(self.machine.shape, self.expected, executions[key], rows)
            problems += ledger_violations(self.machine, executions[key])
            assert not problems, problems

    # What can be drawn depends on the walk so far.

    def owned(self) -> list[str]:
        """Return the keys that a saga owns."""
        return [key for key in self.rows if any(self.is_owned(key, row) for row in self.first)]

    def is_owned(self, key: str, row: ExpectedRow) -> bool:
        return self.rows[key].get(row.entity, {}).get("status") in row.live

    def key_of(self, execution: Execution) -> str:
        key: str = execution.input[self.machine.shape.key]
        return key

    def free(self) -> list[str]:
        """Return the keys that were used and that no saga owns."""
        return [key for key in self.rows if key not in self.owned()]

    def stuck(self) -> list[str]:
        """Return the executions to resume."""
        return [name for name, ended in self.executions.items() if is_stuck(self.machine.shape, ended)]

    keys = st.sampled_from(("first", "second"))
    tasks = st.runner().flatmap(lambda walk: st.sampled_from(walk.machine.shape.tasks))
    fault = st.sampled_from(Fault)
    faults = st.dictionaries(tasks, st.tuples(fault), max_size=2) | st.dictionaries(
        tasks, st.tuples(fault, fault), max_size=1
    )
    scenarios = st.runner().flatmap(lambda walk: st.sampled_from(tuple(walk.saga.demo.scenarios)))
    starts = st.builds(Start, scenario=scenarios, faults=faults)

    @initialize(key=keys, start=starts)
    def begin(self, key: str, start: Start) -> None:
        self._run(key, start)

    @rule(key=keys, start=starts)
    def start(self, key: str, start: Start) -> None:
        self._run(key, start)

    @rule(key=keys, first=starts, state=tasks, second=starts)
    def start_two_at_once(self, key: str, first: Start, state: str, second: Start) -> None:
        """Start and end the second one when the first one enters the state."""
        self._run(key, first, at={state: lambda: self._run(key, second)})

    @precondition(lambda self: self.owned())
    @rule(key=st.runner().flatmap(lambda walk: st.sampled_from(walk.owned())))
    def start_with_a_key_that_is_owned(self, key: str) -> None:
        ended = self._run(key, COMPLETE)
        assert (ended.status, ended.error) == ("FAILED", self.machine.shape.failed)
        assert SagaConflict.__name__ in str(ended.cause)
        # In a group, the free rows of the other steps are claimed and compensated.
        free = {row.entity for row in self.first if not self.is_owned(key, row)}
        assert _without_fences(self.machine.rows(key), free) == _without_fences(self.rows[key], free)

    @precondition(lambda self: self.free())
    @rule(key=st.runner().flatmap(lambda walk: st.sampled_from(walk.free())))
    def start_with_a_key_that_is_free(self, key: str) -> None:
        assert self._run(key, COMPLETE).status == "SUCCEEDED"

    @precondition(lambda self: self.late)
    @rule(index=st.runner().flatmap(lambda walk: st.integers(0, len(walk.late) - 1)))
    def deliver_a_late_call(self, index: int) -> None:
        _, deliver = self.late.pop(index)
        with contextlib.suppress(TaskFailed):
            deliver()

    @precondition(lambda self: self.late)
    @rule()
    def deliver_all_late_calls(self) -> None:
        while self.late:
            self.deliver_a_late_call(0)

    @precondition(lambda self: self.calls)
    @rule(task=st.runner().flatmap(lambda walk: st.sampled_from(sorted(walk.calls))))
    def deliver_again(self, task: TaskOf) -> None:
        """Repeat a call: if it succeeded, this changes nothing; if it was rejected, the row may be free now."""
        called, execution = self.calls[task], self.executions[task.execution]
        error = self._call(task, called.payload)
        if error is not None:
            # A silent provider is silent again: the call has not succeeded, nor is it rejected.
            assert error in BUSINESS_ERRORS or (error == "StripeFault" and not called.succeeded)
            assert task.state in self.machine.shape.actions
            assert execution.status != "SUCCEEDED"
        if called.succeeded:
            key = self.key_of(execution)
            assert self.machine.rows(key) == self.rows[key]

    @precondition(lambda self: self.stuck())
    @rule(name=st.runner().flatmap(lambda walk: st.sampled_from(walk.stuck())), faults=faults)
    def resume(self, name: str, faults: Faults) -> None:
        """Resume a stuck execution: it ends cleanly, unless there are faults again."""
        self.machine.intercept = self._intercept(name, faults, {})
        self.executions[name] = self.machine.resume(self.executions[name])
        assert faults or name not in self.stuck()

    def _run(self, key: str, start: Start, at: Mapping[str, Callable[[], object]] | None = None) -> Execution:
        name = f"{key}-{next(self._numbers)}"
        outer, self.machine.intercept = self.machine.intercept, self._intercept(name, start.faults, at or {})
        try:
            ended = self.machine.run({**self.saga.demo.input(start.scenario), self.machine.shape.key: key}, name=name)
        finally:
            self.machine.intercept = outer
        self.executions[name] = ended
        return ended

    def _intercept(self, name: str, faults: Faults, at: Mapping[str, Callable[[], object]]) -> Intercept:
        injector = PatientInjector(self.machine, faults, late=self.late)
        once = dict(at)

        def intercept(state: str, payload: Any, deliver: Deliver) -> Any:
            once.pop(state, lambda: None)()
            return injector(state, payload, lambda: self._record(TaskOf(name, state), payload, deliver))

        return intercept

    def _record(self, task: TaskOf, payload: Any, deliver: Deliver) -> Any:
        known = self.calls.get(task)
        self.calls[task] = Called(payload=payload, succeeded=known is not None and known.succeeded)
        answer = deliver()
        self.calls[task] = Called(payload=payload, succeeded=True)
        return answer

    def _call(self, task: TaskOf, payload: Any) -> str | None:
        """Make the call; return the name of its error, if it fails."""
        try:
            self._record(task, payload, lambda: self.machine.call(task.state, payload))
        except TaskFailed as error:
            return error.name
        return None


def _without_fences(rows: Rows, free: AbstractSet[str]) -> dict[str, dict[str, Any]]:
    return {
        entity: {name: value for name, value in row.items() if name not in ("fence", "fenced_by")}
        for entity, row in rows.items()
        if entity not in free
    }


@each_saga
def test_no_random_walk_violates_an_invariant(saga: SagaUnderTest, shape: Shape) -> None:
    class WalkOfThisSaga(Walk):
        def __init__(self) -> None:
            super().__init__(saga, shape)

    run_state_machine_as_test(WalkOfThisSaga, settings=FEWER if saga.demo.amount else WALKS)
