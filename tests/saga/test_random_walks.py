"""Random walks over whole sagas: two orders, started, struck, repeated, delayed and resumed in any order.

After every step of a walk the invariants hold for both, whatever is still to be delivered: an order is never
half done for good, and no saga ever undoes what another one holds.
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

from lambdas.shared.errors import BUSINESS_ERRORS, OrderConflict
from tests.invariants import Kept, Rows, broken, is_stuck
from tests.saga.faults import Fault, Faults, Injector
from tests.saga.interpreter import Deliver, Execution, TaskFailed, Through, interpreter
from tests.saga.trial import books, kept
from tests.sagas import Saga, each_saga
from tests.shape import Shape

# Always the same walks, so that a change of the code is all that can make them fail. A walk is short enough to be
# read as it is: to shrink it would take five minutes.
WALKS = settings(
    max_examples=10,
    stateful_step_count=12,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
)
# The graph of the ticket sale is that of the order saga; what it adds is the provider.
FEWER = {"ticket": settings(WALKS, max_examples=3)}


@dataclass(frozen=True, kw_only=True)
class Start:
    """What an execution is started with: the order, by the name of its scenario, and its faults."""

    scenario: str
    faults: Faults = field(default_factory=dict)


COMPLETE = Start(scenario="1-success")


@dataclass(frozen=True, order=True)
class Call:
    """What an execution asked of one of its tasks."""

    saga: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Made:
    """A call that reached its function: what it said, and whether it was ever done rather than refused."""

    payload: Any
    done: bool


class Patient(Injector):
    """Keeps what is late until the walk delivers it."""

    def land(self, states: Iterable[str] | None = None) -> None:
        pass


class Walk(RuleBasedStateMachine):
    """One walk; its rules are what can happen, and what has to be seen right after it has."""

    def __init__(self, saga: Saga, shape: Shape) -> None:
        super().__init__()
        self.saga = saga
        self.kept = kept(shape)
        # Of all rows, those of the first part are made first and undone last.
        self.first = [row for row in self.kept if row.action in dict(shape.parts[0].tasks)]
        self._open = contextlib.ExitStack()
        self._open.enter_context(contextlib.redirect_stdout(io.StringIO()))
        self._open.callback(logging.disable, logging.NOTSET)
        logging.disable()
        self.machine = self._open.enter_context(interpreter(shape, saga.example))
        self.executions: dict[str, Execution] = {}
        self.rows: dict[str, Rows] = {}
        self.calls: dict[Call, Made] = {}
        self.late: list[tuple[str, Deliver]] = []
        self._numbers = itertools.count(1)

    def teardown(self) -> None:
        self._open.close()

    @invariant()
    def nothing_is_half_done(self) -> None:
        executions: dict[str, list[Execution]] = {}
        for execution in self.executions.values():
            executions.setdefault(self.order_id(execution), []).append(execution)
        self.rows = {order_id: self.machine.rows(order_id) for order_id in executions}
        for order_id, rows in self.rows.items():
            problems = broken(self.machine.shape, self.kept, executions[order_id], rows)
            problems += books(self.machine, executions[order_id])
            assert not problems, problems

    # What can be drawn depends on how far the walk has come.

    def held(self) -> list[str]:
        """The orders that a saga has."""
        return [name for name in self.rows if any(self.is_held(name, row) for row in self.first)]

    def is_held(self, order_id: str, row: Kept) -> bool:
        return self.rows[order_id].get(row.entity, {}).get("status") in row.live

    def order_id(self, execution: Execution) -> str:
        order_id: str = execution.order[self.machine.shape.key]
        return order_id

    def free(self) -> list[str]:
        """The orders that were begun and that no saga has."""
        return [name for name in self.rows if name not in self.held()]

    def stuck(self) -> list[str]:
        """The executions to resume."""
        return [name for name, ended in self.executions.items() if is_stuck(self.machine.shape, ended)]

    order_ids = st.sampled_from(("first", "second"))
    tasks = st.runner().flatmap(lambda walk: st.sampled_from(walk.machine.shape.tasks))
    fault = st.sampled_from(Fault)
    faults = st.dictionaries(tasks, st.tuples(fault), max_size=2) | st.dictionaries(
        tasks, st.tuples(fault, fault), max_size=1
    )
    scenarios = st.runner().flatmap(lambda walk: st.sampled_from(tuple(walk.saga.example.expected)))
    starts = st.builds(Start, scenario=scenarios, faults=faults)

    @initialize(order_id=order_ids, start=starts)
    def begin(self, order_id: str, start: Start) -> None:
        self._run(order_id, start)

    @rule(order_id=order_ids, start=starts)
    def start(self, order_id: str, start: Start) -> None:
        self._run(order_id, start)

    @rule(order_id=order_ids, first=starts, state=tasks, second=starts)
    def start_two_at_once(self, order_id: str, first: Start, state: str, second: Start) -> None:
        """The second begins, and ends, when the first comes to the state."""
        self._run(order_id, first, at={state: lambda: self._run(order_id, second)})

    @precondition(lambda self: self.held())
    @rule(order_id=st.runner().flatmap(lambda walk: st.sampled_from(walk.held())))
    def start_an_order_that_is_held(self, order_id: str) -> None:
        ended = self._run(order_id, COMPLETE)
        assert (ended.status, ended.error) == ("FAILED", self.machine.shape.failed)
        assert OrderConflict.__name__ in str(ended.cause)
        # In a group, the free rows of its other steps are reserved and given back.
        free = {row.entity for row in self.first if not self.is_held(order_id, row)}
        assert _but_the_fences(self.machine.rows(order_id), free) == _but_the_fences(self.rows[order_id], free)

    @precondition(lambda self: self.free())
    @rule(order_id=st.runner().flatmap(lambda walk: st.sampled_from(walk.free())))
    def start_an_order_that_is_free(self, order_id: str) -> None:
        assert self._run(order_id, COMPLETE).status == "SUCCEEDED"

    @precondition(lambda self: self.late)
    @rule(index=st.runner().flatmap(lambda walk: st.integers(0, len(walk.late) - 1)))
    def deliver_what_is_late(self, index: int) -> None:
        _, deliver = self.late.pop(index)
        with contextlib.suppress(TaskFailed):
            deliver()

    @precondition(lambda self: self.late)
    @rule()
    def deliver_all_that_is_late(self) -> None:
        while self.late:
            self.deliver_what_is_late(0)

    @precondition(lambda self: self.calls)
    @rule(call=st.runner().flatmap(lambda walk: st.sampled_from(sorted(walk.calls))))
    def deliver_again(self, call: Call) -> None:
        """A call once done changes nothing. One that was refused may find the order free by now."""
        made, execution = self.calls[call], self.executions[call.saga]
        refusal = self._refusal(call, made.payload)
        if refusal is not None:
            # A provider that is silent is so again; the call is not over, nor is it done.
            assert refusal in BUSINESS_ERRORS or (refusal == "ProviderError" and not made.done)
            assert call.state in self.machine.shape.actions
            assert execution.status != "SUCCEEDED"
        if made.done:
            order_id = self.order_id(execution)
            assert self.machine.rows(order_id) == self.rows[order_id]

    @precondition(lambda self: self.stuck())
    @rule(saga=st.runner().flatmap(lambda walk: st.sampled_from(walk.stuck())), faults=faults)
    def resume(self, saga: str, faults: Faults) -> None:
        """It ends cleanly, unless it is struck once more."""
        self.machine.through = self._through(saga, faults, {})
        self.executions[saga] = self.machine.resume(self.executions[saga])
        assert faults or saga not in self.stuck()

    def _run(self, order_id: str, start: Start, at: Mapping[str, Callable[[], object]] | None = None) -> Execution:
        saga = f"{order_id}-{next(self._numbers)}"
        around, self.machine.through = self.machine.through, self._through(saga, start.faults, at or {})
        try:
            ended = self.machine.run(
                {**self.saga.example.scenario(start.scenario), self.machine.shape.key: order_id}, name=saga
            )
        finally:
            self.machine.through = around
        self.executions[saga] = ended
        return ended

    def _through(self, saga: str, faults: Faults, at: Mapping[str, Callable[[], object]]) -> Through:
        injector = Patient(self.machine, faults, late=self.late)
        once = dict(at)

        def through(state: str, payload: Any, deliver: Deliver) -> Any:
            once.pop(state, lambda: None)()
            return injector(state, payload, lambda: self._made(Call(saga, state), payload, deliver))

        return through

    def _made(self, call: Call, payload: Any, deliver: Deliver) -> Any:
        known = self.calls.get(call)
        self.calls[call] = Made(payload=payload, done=known is not None and known.done)
        answer = deliver()
        self.calls[call] = Made(payload=payload, done=True)
        return answer

    def _refusal(self, call: Call, payload: Any) -> str | None:
        """Make the call and return the name of the error that it was refused with, if it was."""
        try:
            self._made(call, payload, lambda: self.machine.call(call.state, payload))
        except TaskFailed as error:
            return error.name
        return None


def _but_the_fences(rows: Rows, free: AbstractSet[str]) -> dict[str, dict[str, Any]]:
    return {
        entity: {key: value for key, value in row.items() if key != "fence"}
        for entity, row in rows.items()
        if entity not in free
    }


@each_saga
def test_no_random_walk_breaks_an_invariant(saga: Saga, shape: Shape) -> None:
    class WalkOfThisSaga(Walk):
        def __init__(self) -> None:
            super().__init__(saga, shape)

    run_state_machine_as_test(WalkOfThisSaga, settings=FEWER.get(saga.name, WALKS))
