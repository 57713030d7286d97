"""Cancelling: a saga is cancelled or confirmed, never both and never neither, whenever the request arrives.

``ops cancel`` and the HTTP API follow one rule.
"""

import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest

from lambdas.saga_runtime import api, barrier, cancellation
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.callbacks import receiver
from lambdas.saga_runtime.errors import BusinessError
from lambdas.saga_runtime.names import state_name
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import idempotency_key
from lambdas.saga_runtime.steps import Schema, StepSpec
from local.order_demo import ORDER_DEMO
from ops.__main__ import main
from ops.cancel import cancel, cancellable
from ops.saga_steps import read_steps
from tests.fixtures import ORDER_STEPS, create_table, local_aws, order_function, store_item, stored_item
from tests.ops.conftest import CARD, World
from tests.saga.interpreter import RECEIVER, Execution, TaskFailed
from tests.saga.trial import check, late_actions_accepted
from tests.sagas import SAGAS, on_example

Call = tuple[str, str]
Ops = Callable[..., tuple[int, str, str]]
STARTS = {"S": "2026-01-01T00:00:00.001Z", "T": "2026-01-01T00:00:00.002Z"}


def never(_answer: Mapping[str, str]) -> str | None:
    """Fail: no step waits."""
    raise AssertionError


class LastStep:
    """The row of the last step, and calls to it by several sagas."""

    def __init__(self, starts: Mapping[str, str]) -> None:
        step, self.spec = ORDER_STEPS[-1]
        self.handlers = {"act": order_function(step.action), "compensate": order_function(step.compensation)}
        self.starts = starts
        self.results: dict[Any, tuple[str, Any]] = {}
        self.explored: set[Any] = set()
        self.problems: set[str] = set()
        self.answers: set[str] = set()
        create_table()

    def call(self, item: Any, call: Call) -> tuple[str, Any]:
        """Return the answer to a call, and the row after it."""
        key = (_without_history(item), call)
        if key not in self.results:
            store_item("1", self.spec.entity, item)
            self.results[key] = (self._answer(*call), stored_item("1", self.spec.entity))
        return self.results[key]

    def _answer(self, kind: str, saga: str) -> str:
        identity = SagaIdentity(id=saga, started_at=self.starts[saga])
        if kind == "cancel":
            row = Row(step=self.spec, key=("order_id", "1"), saga=identity, table=OWN_TABLE)
            return "cancelled" if cancellation.cancel([[row]], never).is_accepted else "too late"
        event = {"saga": {"id": saga, "started_at": self.starts[saga]}, "input": ORDER_DEMO.input("1-success")}
        try:
            self.handlers[kind](event, None)
        except BusinessError:
            return "rejected"
        return "done"

    def explore(self, item: Any, left: Counter[Call], done: frozenset[tuple[str, str, str]]) -> None:
        """Make the calls in every order, each state once."""
        state = (_without_history(item), tuple(sorted(left.items())), done)
        if state in self.explored:
            return
        self.explored.add(state)
        for call in sorted(left):
            answer, after = self.call(item, call)
            self.answers.add(answer)
            now = (*call, answer)
            self._check(item, after, now, done)
            self.explore(after, left - Counter([call]), done | {now})

    def _check(self, before: Any, after: Any, now: tuple[str, str, str], done: frozenset[tuple[str, str, str]]) -> None:
        kind, saga, answer = now
        if answer == "cancelled" and ("act", saga, "done") in done and ("compensate", saga, "done") not in done:
            self.problems.add(f"cancelled {saga} though its action was done")
        if answer == "too late" and ("act", saga, "done") not in done:
            self.problems.add(f"too late for {saga} though its action was never done")
        if now == ("act", saga, "done") and ("cancel", saga, "cancelled") in done:
            self.problems.add(f"the action of {saga} was done after it was cancelled")
        owner = before and before["saga_id"]["S"]
        is_live = before and before["status"]["S"] == self.spec.live
        if kind == "cancel" and is_live and _without_fence(before) != _without_fence(after):
            self.problems.add(f"cancelling {saga} changed the live row of {owner}")


def _without_history(item: Any) -> str:
    return str(sorted((name, value) for name, value in (item or {}).items() if name != "history"))


def _without_fence(item: Any) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("fence", "fenced_by")}


@pytest.mark.parametrize("starts", [STARTS, {"S": STARTS["T"], "T": STARTS["S"]}, dict.fromkeys(STARTS, STARTS["S"])])
def test_the_race_of_cancel_and_action_has_one_winner_in_every_order(starts: Mapping[str, str]) -> None:
    """Each saga acts twice, compensates and is cancelled twice; the row may be one that another saga compensated."""
    with local_aws():
        row = LastStep(starts)
        calls: dict[Call, int] = {}
        for saga in STARTS:
            calls |= {("act", saga): 2, ("compensate", saga): 1, ("cancel", saga): 2}
        row.explore(None, Counter(calls), frozenset())
    assert row.problems == set()
    assert row.answers == {"done", "rejected", "cancelled", "too late"}


PARCEL = Schema(noun="parcel", key="parcel_id", fields=("parcel_id",))
PICKUP = StepSpec(
    action="arrange_pickup",
    schema=PARCEL,
    entity="PICKUP",
    in_progress="ARRANGING",
    live="ARRANGED",
    rejected="REFUSED",
    compensating="CANCELLING",
    compensated="CANCELLED",
)
LABEL = StepSpec(action="print_label", schema=PARCEL, entity="LABEL", live="PRINTED", compensated="VOIDED")


@pytest.fixture
def _parcels() -> Iterator[None]:
    with local_aws():
        create_table(PARCEL.key)
        yield


def parcel_row(step: StepSpec, id_: str = "1") -> Row:
    """Return a row of a saga that has begun the pickup."""
    saga = SagaIdentity(id="S", started_at=STARTS["S"])
    row = Row(step=step, key=(PARCEL.key, id_), saga=saga, table=OWN_TABLE)
    if step is PICKUP:
        barrier.begin_waiting(row, {}, None)
    return row


def receive(answer: Mapping[str, str]) -> str | None:
    """Receive an answer as the function of a saga does."""
    try:
        receiver(PICKUP)(answer)
    except BusinessError as error:
        return type(error).__name__
    return None


@pytest.mark.usefixtures("_parcels")
@pytest.mark.parametrize("status", ["REFUSED", "CANCELLING", "CANCELLED"])
def test_a_last_step_that_has_failed_is_not_about_to_be_confirmed(status: str) -> None:
    """Its saga is rolling back, so a request to cancel it is accepted."""
    row = parcel_row(PICKUP)
    if status == "REFUSED":
        barrier.answer(row, "REFUSED", {})
    if status == "CANCELLING":
        barrier.begin_compensation(row)
    if status == "CANCELLED":
        barrier.compensate(row)
    before = barrier.read(OWN_TABLE, PICKUP, row.key)
    assert before["status"] == status
    assert cancellation.cancel([[row]], never).rejected == ("ArrangePickup",)
    assert barrier.read(OWN_TABLE, PICKUP, row.key) == before


@pytest.mark.usefixtures("_parcels")
def test_cancelling_rejects_the_work_of_a_step_that_waits() -> None:
    row = parcel_row(PICKUP)
    accepted = {PARCEL.key: "1", "step": PICKUP.action, "request": idempotency_key(row), "result": "accepted"}
    for _ in range(2):
        assert cancellation.cancel([[row]], receive).rejected == ("ArrangePickup",)
        item = barrier.read(OWN_TABLE, PICKUP, row.key)
        assert (item["status"], item["rejection"]) == ("REFUSED", "cancelled by request")
        assert receive(accepted) == "SagaConflict"


@pytest.mark.usefixtures("_parcels")
def test_a_step_that_was_accepted_is_too_late_to_cancel() -> None:
    row = parcel_row(PICKUP)
    barrier.answer(row, "ARRANGED", {})
    assert cancellation.cancel([[row]], receive).too_late == ("ArrangePickup",)
    assert barrier.read(OWN_TABLE, PICKUP, row.key)["status"] == "ARRANGED"


@pytest.mark.usefixtures("_parcels")
def test_cancelling_ends_a_wait_before_the_last_step() -> None:
    """Otherwise the saga would wait for days, and only then roll back."""
    parts = [[parcel_row(PICKUP)], [parcel_row(LABEL)]]
    assert cancellation.cancel(parts, receive).rejected == ("ArrangePickup", "PrintLabel")
    assert barrier.read(OWN_TABLE, PICKUP, (PARCEL.key, "1"))["status"] == "REFUSED"


def cancel_by_command(world: World) -> bool:
    """Cancel order 1 as the command does; return whether that is accepted."""
    steps = read_steps(world.client, world.machine.demo.specs_module.__name__)
    result = cancel(world.client, steps, cancellable(world.client, "1"))
    assert not result.is_accepted or world.machine.shape.actions[-1] in result.rejected
    return result.is_accepted


def cancel_by_api(world: World) -> bool:
    """Cancel order 1 by the HTTP API; return whether that is accepted."""
    steps = read_steps(world.client, world.machine.demo.specs_module.__name__)
    fallible = itertools.groupby((one for one in steps if one.compensation and one.spec), key=lambda one: one.part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_stepfunctions", world.stepfunctions)
        patch.setattr(api, "_EXECUTIONS", world.machine.arn.replace(":stateMachine:", ":execution:"))
        patch.setattr(api, "_RECEIVER", RECEIVER)
        patch.setattr(api, "_lambda", lambda: world.machine)
        patch.setattr(api, "_CLEAN_ERROR", world.machine.shape.failed)
        patch.setattr(api, "_FALLIBLE_ACTIONS", [[one.spec.action for one in part if one.spec] for _, part in fallible])
        # Only a saga whose first row is confirmed has an API.
        specs = world.machine.demo.specs
        entity, first = next(iter(specs.items()))
        confirmed = {**specs, entity: replace(first, confirmed=first.confirmed or "CONFIRMED")}
        function = api.SagaApi(steps=confirmed, path="/orders").cancel_function()
        event = {"routeKey": "POST /orders/{id+}", "pathParameters": {"id": "1/cancel"}}
        answers = [function(event, None) for _ in range(2)]
    assert answers[0] == answers[1], "it is idempotent"
    assert answers[0]["statusCode"] in (202, 409)
    return bool(answers[0]["statusCode"] == 202)


def run_and_cancel(
    world: World, state: str, cancel_now: Callable[[World], bool], *, after: bool, name: str | None = None
) -> tuple[bool, Execution]:
    """Run a saga that is cancelled before or after the call of a state; return whether that was accepted."""
    answers: list[bool] = []

    def intercept(called: str, _payload: Any, deliver: Callable[[], Any]) -> Any:
        if called == state and not after:
            answers.append(cancel_now(world))
        answer = deliver()
        if called == state and after:
            answers.append(cancel_now(world))
        return answer

    world.machine.intercept = intercept
    ended = world.machine.run({**world.machine.demo.input("1-success"), world.machine.shape.key: "1"}, name=name)
    (answer,) = answers
    return answer, ended


POINTS = [
    (saga, state, after)
    for saga in SAGAS
    for state in (*SAGAS[saga].shape().actions, *SAGAS[saga].shape().retriables)
    for after in (False, True)
]


@pytest.mark.parametrize("cancel_now", [cancel_by_command, cancel_by_api])
@pytest.mark.parametrize("tried_before", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(("saga", "state", "after"), POINTS, indirect=["saga"])
def test_a_cancelled_saga_rolls_back_cleanly_and_any_other_is_confirmed(
    world: World, state: str, cancel_now: Callable[[World], bool], *, after: bool, tried_before: bool
) -> None:
    """Also if an earlier saga has left compensated rows, which a tombstone cannot replace."""
    if tried_before:
        world.run_into_a_failure("1")
    name = api.execution_name("1", 2 if tried_before else 1)
    is_accepted, ended = run_and_cancel(world, state, cancel_now, after=after, name=name)
    shape = world.machine.shape
    assert ended.error == (shape.failed if is_accepted else None)
    assert (ended.status == "SUCCEEDED") is not is_accepted
    assert check(world.machine, [ended]) == []
    assert late_actions_accepted(world.machine, ended) == []
    deciding = shape.actions[-1]
    index = [*shape.actions, *shape.retriables].index(state)
    # A step that waits can still fail.
    waits = any(spec.name == deciding and spec.rejected for spec in world.machine.demo.specs.values())
    is_early = index < len(shape.actions) - 1 or (state == deciding and (waits or not after))
    assert is_accepted is is_early
    if is_accepted:
        assert ended.states[-1] == shape.failed


@on_example("parcel_pickup")
@pytest.mark.parametrize("cancel_now", [cancel_by_command, cancel_by_api])
@pytest.mark.parametrize("is_answered", [True, False])
def test_a_saga_that_waits_is_cancelled_unless_its_answer_came_before(
    world: World, cancel_now: Callable[[World], bool], *, is_answered: bool
) -> None:
    accepted: list[bool] = []

    def send(state: str, payload: Any) -> None:
        if is_answered:
            world.machine.answer_in_time(state, payload)
        accepted.append(cancel_now(world))

    world.machine.sender = send
    ended = world.machine.run({**world.machine.demo.input("1-success"), world.machine.shape.key: "1"}, name="1")
    assert accepted == [not is_answered]
    assert (ended.status == "SUCCEEDED") is is_answered
    if not is_answered:
        assert ended.cause == "RequestPickup failed: StepRejected: PICKUP was rejected: cancelled by request"
    assert check(world.machine, [ended]) == []


@pytest.fixture
def ops(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ops:
    """Return a function that runs the command; it returns the exit status, the output and the errors."""
    monkeypatch.setattr("ops.cancel.POLL_SECONDS", 0)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["cancel", *arguments], connect=lambda _: world.client)
        out, err = capsys.readouterr()
        assert CARD not in out + err
        return status, out, err

    return run


def test_a_saga_that_has_begun_its_last_step_is_not_cancelled(world: World, ops: Ops) -> None:
    world.run("1")
    world.describe_with({"status": "RUNNING"})
    before = world.machine.rows("1")
    status, out, _ = ops("1", "--yes")
    last = state_name(ORDER_STEPS[-1][0].action)
    assert (status, out) == (1, f"too late: the order is about to be confirmed, {last} has begun\n")
    assert world.machine.rows("1") == before
    status, out, _ = ops("1", "--yes", "--json")
    document = json.loads(out)
    assert (status, document["cancelled"], document["rejected"]) == (1, False, [])


def test_the_command_waits_for_the_clean_end(world: World, ops: Ops) -> None:
    """The execution is rolled back while the command looks at it again."""
    world.run_into_a_failure("1", name="rolled-back")
    world.describe_with({"status": "RUNNING"}, {"status": "RUNNING"}, {})
    status, out, _ = ops("rolled-back", "--yes", "--json")
    assert (status, json.loads(out)["outcome"]) == (0, "rolled_back")


def test_a_cancellation_is_reported_though_the_waiting_is_interrupted(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run_into_a_failure("1", name="rolled-back")
    world.describe_with({"status": "RUNNING"})
    monkeypatch.setattr("time.sleep", mock.Mock(side_effect=KeyboardInterrupt))
    status, out, _ = ops("rolled-back", "--yes")
    assert status == 130
    assert out.startswith("cancelled rolled-back: ")
    assert out.endswith("it rolls back: python -m ops show rolled-back shows how it ends\n")
    assert json.loads(ops("rolled-back", "--yes", "--json")[1])["outcome"] == "running"


def test_a_saga_that_somebody_stopped_rolls_back_when_it_is_resumed(world: World, ops: Ops) -> None:
    stopped = world.run(failing={"ProcessPayment": TaskFailed("Stopped"), "RefundPayment": TaskFailed("Stopped")})
    assert stopped.states[-1] == "RefundPayment"
    status, out, _ = ops("1", "--yes")
    assert (status, "python -m ops resume execution-1 rolls it back" in out) == (0, True)
    assert world.machine.rows("1")["SHIPMENT"]["status"] == "CANCELLED"


def test_without_a_terminal_the_command_needs_yes(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run_into_a_stop("1")
    before = world.machine.rows("1")
    assert ops("1") == (2, "", "error: not a terminal: pass --yes to cancel without a prompt\n")
    terminal = io.StringIO("n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    status, out, err = ops("1")
    assert (status, out) == (1, "")
    assert err.endswith("Roll it back? [y/N] Nothing was done.\n")
    assert world.machine.rows("1") == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1", "no saga of order 1 runs: execution-1 has ended (SUCCEEDED), see `python -m ops list --status RUNNING`"),
        ("missing", "no saga of order missing runs: see `python -m ops list --status RUNNING`"),
        ("\x1b", "no saga of order \\x1b runs: see `python -m ops list --status RUNNING`"),
        ("arn:aws:states:us-east-1:1:execution:other:1", "arn:aws:states:us-east-1:1:execution:other:1 is not an"),
    ],
)
def test_what_cannot_be_cancelled_is_one_line(world: World, ops: Ops, name: str, message: str) -> None:
    world.run("1")
    status, out, err = ops(name, "--yes")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}")


def test_several_running_sagas_of_one_order_are_named(world: World, ops: Ops) -> None:
    world.run("1")
    world.run("1")
    world.answer("ListExecutions", {"executions": []})
    world.describe_with({"status": "RUNNING"})
    assert ops("1", "--yes")[1].startswith("too late"), "the owner of the rows is meant"
    for entity in world.machine.demo.specs:
        store_item("1", entity, None)
    listed = [
        {
            "executionArn": f"{world.client.execution(name).arn}",
            "name": name,
            "status": "RUNNING",
            "startDate": datetime(2026, 1, 31, tzinfo=UTC),
        }
        for name in ("execution-1", "execution-2")
    ]
    world.answer("ListExecutions", {"executions": listed})
    assert "several sagas of order 1 run: name one of execution-1, execution-2" in ops("1", "--yes")[2]
