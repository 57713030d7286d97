"""Random walks over whole sagas: two orders, started, struck, repeated, delayed and resumed in any order.

After every step of a walk the invariants hold for both, whatever is still to be delivered: an order is never
half done for good, and no saga ever undoes what another one holds.
"""

import contextlib
import io
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
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
from local.demo import EXPECTED, scenario
from tests.invariants import Rows, is_stuck
from tests.saga.faults import Fault, Faults, Injector
from tests.saga.interpreter import Deliver, Execution, TaskFailed, Through, interpreter
from tests.saga.trial import KEPT, check
from tests.shape import Shape

COMPLETE = "1-success"

# Always the same walks, so that a change of the code is all that can make them fail.
WALKS = settings(max_examples=6, stateful_step_count=12, deadline=None, derandomize=True, database=None)


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

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._open = contextlib.ExitStack()
        self._open.enter_context(contextlib.redirect_stdout(io.StringIO()))
        self._open.callback(logging.disable, logging.NOTSET)
        logging.disable()
        self.machine = self._open.enter_context(interpreter(shape))
        self.executions: dict[str, Execution] = {}
        self.calls: dict[Call, Made] = {}
        self.late: list[tuple[str, Deliver]] = []
        self._numbers = itertools.count(1)

    def teardown(self) -> None:
        self._open.close()

    # What can be drawn depends on how far the walk has come.

    def held(self, order_id: str) -> bool:
        """Whether some saga has the order: of all its rows the first is made first and undone last."""
        row = self.machine.rows(order_id).get(KEPT[0].entity)
        return row is not None and row["status"] in KEPT[0].live

    def those(self, *, held: bool) -> list[str]:
        """The orders begun already that a saga has, or that none has."""
        begun = {execution.order["order_id"] for execution in self.executions.values()}
        return sorted(order_id for order_id in begun if self.held(order_id) == held)

    def stuck(self) -> list[str]:
        """The executions to resume."""
        return [name for name, ended in self.executions.items() if is_stuck(self.machine.shape, ended)]

    order_ids = st.sampled_from(("first", "second"))
    names = st.sampled_from(tuple(EXPECTED))
    tasks = st.runner().flatmap(lambda walk: st.sampled_from(walk.machine.shape.tasks))
    faults = st.lists(st.tuples(tasks, st.sampled_from(Fault)), max_size=2, unique=True).map(
        lambda places: {task: tuple(fault for at, fault in places if at == task) for task, _ in places}
    )

    @initialize(order_id=order_ids, name=names, faults=faults)
    def begin(self, order_id: str, name: str, faults: Faults) -> None:
        self._start(order_id, name, faults)

    @rule(order_id=order_ids, name=names, faults=faults)
    def start(self, order_id: str, name: str, faults: Faults) -> None:
        self._start(order_id, name, faults)

    @rule(order_id=order_ids, name=names, faults=faults, at=tasks, another=names, others=faults)
    def start_two_at_once(
        self, order_id: str, name: str, faults: Faults, at: str, another: str, others: Faults
    ) -> None:
        """The second begins, and ends, when the first comes to the state ``at``."""
        self._start(order_id, name, faults, before={at: lambda: self._start(order_id, another, others)})

    @precondition(lambda self: self.those(held=True))
    @rule(order_id=st.runner().flatmap(lambda walk: st.sampled_from(walk.those(held=True))))
    def start_an_order_that_is_held(self, order_id: str) -> None:
        before = self.machine.rows(order_id)
        ended = self._start(order_id, COMPLETE)
        assert (ended.status, ended.error) == ("FAILED", self.machine.shape.failed)
        assert OrderConflict.__name__ in str(ended.cause)
        assert _but_the_fences(self.machine.rows(order_id)) == _but_the_fences(before)

    @precondition(lambda self: self.those(held=False))
    @rule(order_id=st.runner().flatmap(lambda walk: st.sampled_from(walk.those(held=False))))
    def start_an_order_that_was_compensated(self, order_id: str) -> None:
        assert self._start(order_id, COMPLETE).status == "SUCCEEDED"

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
        before = self.machine.rows(execution.order["order_id"])
        try:
            self._made(call, made.payload, lambda: self.machine.call(call.state, made.payload))
        except TaskFailed as refusal:
            assert refusal.name in BUSINESS_ERRORS, refusal.cause
            assert call.state in self.machine.shape.actions
            assert execution.status != "SUCCEEDED"
        if made.done:
            assert self.machine.rows(execution.order["order_id"]) == before

    @precondition(lambda self: self.stuck())
    @rule(saga=st.runner().flatmap(lambda walk: st.sampled_from(walk.stuck())), faults=faults)
    def resume(self, saga: str, faults: Faults) -> None:
        """It ends cleanly, unless it is struck once more."""
        self.machine.through = self._through(saga, faults, {})
        self.executions[saga] = self.machine.resume(self.executions[saga])
        assert faults or saga not in self.stuck()

    @invariant()
    def nothing_is_half_done(self) -> None:
        orders: dict[str, list[Execution]] = {}
        for execution in self.executions.values():
            orders.setdefault(execution.order["order_id"], []).append(execution)
        for executions in orders.values():
            assert not check(self.machine, executions)

    def _start(
        self,
        order_id: str,
        name: str,
        faults: Faults | None = None,
        before: Mapping[str, Callable[[], object]] | None = None,
    ) -> Execution:
        saga = f"{order_id}-{next(self._numbers)}"
        around, self.machine.through = self.machine.through, self._through(saga, faults or {}, before or {})
        try:
            ended = self.machine.run({**scenario(name), "order_id": order_id}, name=saga)
        finally:
            self.machine.through = around
        self.executions[saga] = ended
        return ended

    def _through(self, saga: str, faults: Faults, before: Mapping[str, Callable[[], object]]) -> Through:
        injector = Patient(self.machine, faults, late=self.late)
        first = dict(before)

        def through(state: str, payload: Any, deliver: Deliver) -> Any:
            first.pop(state, lambda: None)()
            return injector(state, payload, lambda: self._made(Call(saga, state), payload, deliver))

        return through

    def _made(self, call: Call, payload: Any, deliver: Deliver) -> Any:
        known = self.calls.get(call)
        self.calls[call] = Made(payload=payload, done=known is not None and known.done)
        answer = deliver()
        self.calls[call] = Made(payload=payload, done=True)
        return answer


def _but_the_fences(rows: Rows) -> dict[str, dict[str, Any]]:
    return {entity: {key: value for key, value in row.items() if key != "fence"} for entity, row in rows.items()}


def test_no_random_walk_breaks_an_invariant(shape: Shape) -> None:
    run_state_machine_as_test(lambda: Walk(shape), settings=WALKS)
