"""The client of a stack: executions, orders, stuck sagas, and how to resume them."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from ops.errors import NotResumable, UnknownExecution, UnknownOrder
from ops.model import Outcome
from tests.histories import ABORTED_GROUP, FAILED_GROUP, history
from tests.ops.conftest import CARD, World
from tests.saga.interpreter import TaskFailed
from tests.sagas import each_saga

REDRIVEN_AT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def test_an_order_has_its_rows_with_their_history(world: World) -> None:
    ended = world.run("1", address=None)
    rows = world.client.order("1").rows
    assert [(row.entity, [entry.status for entry in row.history]) for row in rows] == [
        ("ORDER", ["PENDING", "DELETED"]),
        ("PAYMENT", ["CHARGED", "REFUNDED"]),
        ("SHIPMENT", ["CANCELLED"]),
    ]
    assert {entry.saga_id for row in rows for entry in row.history} == {ended.arn}


def test_a_path_has_the_attempts_of_each_state_with_their_errors(world: World) -> None:
    world.run_into_a_stop("1")
    (saga,) = world.client.order("1").sagas
    assert [step.state for step in saga.path] == [
        *("CreateOrder", "ProcessPayment", "ProcessShipment", "CancelShipment", "RefundPayment")
    ]
    rejected, stuck = saga.path[2], saga.path[-1]
    assert [attempt.error for attempt in rejected.attempts] == ["InvalidInput"]
    assert (rejected.attempts[0].cause or "").startswith("address is missing"), "no JSON, no stack trace"
    assert len(stuck.attempts) > 30
    assert {(attempt.error, attempt.cause) for attempt in stuck.attempts} == {("RuntimeError", "no network")}
    assert all(step.took is not None and step.took >= timedelta() for step in saga.path)


@each_saga
def test_status_and_error_say_how_an_execution_ended(world: World) -> None:
    fulfilled, rolled_back, stuck = world.run("1"), world.run_into_a_failure("2"), world.run_into_a_stop("3")
    outcomes = [world.client.execution(ended.arn).outcome for ended in (fulfilled, rolled_back, stuck)]
    assert outcomes == [Outcome.FULFILLED, Outcome.ROLLED_BACK, Outcome.STUCK]

    for ended in (rolled_back, stuck):
        world.report(ended.arn)
    found = world.client.stuck()
    assert ([saga.execution.arn for saga in found.sagas], found.removed) == ([stuck.arn], 1)
    assert [saga.execution.arn for saga in world.client.stuck_by_scan().sagas] == [stuck.arn]
    with pytest.raises(NotResumable, match=f"start a new execution for the {world.machine.demo.noun}"):
        world.client.stuck_saga("execution-2")

    world.reject("GetExecutionHistory", "ThrottlingException")
    order_ids = [world.client.execution(ended.arn).order_id for ended in (fulfilled, rolled_back, stuck)]
    assert order_ids == ["1", "2", "3"], "one request describes an execution"


@each_saga
def test_any_saga_is_found_by_its_own_key(world: World) -> None:
    complete = world.run("1")
    for ended in (complete, world.run_into_a_failure("2")):
        found = world.client.order(ended.input[world.machine.demo.key])
        entities = {row.entity for row in found.rows}
        # A failed one has no rows of the steps that it did not reach.
        assert entities == set(world.machine.demo.specs) if ended is complete else entities
        assert [saga.saga_id for saga in found.sagas] == [ended.arn]
        assert world.client.execution(ended.arn).order_id == found.order_id


def test_the_definition_of_an_execution_says_whether_it_failed_cleanly(world: World) -> None:
    before = world.run_into_a_failure("1")
    old = world.client.definition()
    new = old.replace('"Error": "OrderFailed"', '"Error": "OrderRejected"')
    world.stepfunctions.update_state_machine(stateMachineArn=world.machine.arn, definition=new)
    after = world.run_into_a_failure("2")
    assert (before.error, after.error) == ("OrderFailed", "OrderRejected")
    # moto keeps one definition only; AWS answers with the execution's own.
    world.answer("DescribeStateMachineForExecution", {"definition": old}, about=before.arn)
    outcomes = [world.client.execution(ended.arn).outcome for ended in (before, after)]
    assert outcomes == [Outcome.ROLLED_BACK] * 2


def test_definitions_are_requested_once_for_each_error(world: World) -> None:
    for number in range(2):
        world.run_into_a_failure(f"rolled back {number}")
        world.run_into_a_stop(f"stuck {number}")
    world.run("fulfilled")
    requests: list[object] = []
    too_many = threading.Event()

    def record(**request: object) -> None:
        requests.append(request)
        if len(requests) > 2:
            too_many.set()
        # Gives the other threads time for requests of their own.
        too_many.wait(0.1)

    world.stepfunctions.meta.events.register("before-call.stepfunctions.DescribeStateMachineForExecution", record)
    for _ in range(2):
        assert len(world.client.newest(status=None, count=9)) == 5
    assert len(requests) == 2, "for OrderFailed and RuntimeError"


def test_an_aborted_execution_is_stuck_whatever_its_error(world: World) -> None:
    ended = world.run("1")
    world.describe_with({"status": "ABORTED", "error": "OrderFailed"})
    assert world.client.execution(ended.arn).outcome is Outcome.STUCK


def test_causes_hide_every_value_of_the_input_except_its_key(world: World) -> None:
    message = f"order-1: card {CARD.replace('-', ' ')} of 12 Main St in 90210, x, 4567"
    failing = {"DeleteOrder": TaskFailed("RuntimeError", json.dumps({"errorMessage": message}))}
    more = {"to": ["12 Main St", {"zip": 90210}], "short": "x"}
    # A total and an address that are parts of other values.
    world.run("order-1", name="order-1", failing=failing, total=1234, address="Main", more=more)
    order = world.client.order("order-1")
    shown = "order-1: card (hidden) of (hidden) in (hidden), x, 4567"
    (saga,) = order.sagas
    assert {attempt.cause for attempt in saga.path[-1].attempts} == {shown}
    assert [saga.execution.cause for saga in world.client.stuck_by_scan().sagas] == [shown]
    assert CARD not in repr(order)


def test_an_order_has_all_its_sagas_in_their_order(world: World) -> None:
    first = world.run("1", address=None)
    second = world.run("1")
    assert [saga.saga_id for saga in world.client.order("1").sagas] == [first.arn, second.arn]


def test_the_execution_named_like_the_order_belongs_to_it_even_if_it_wrote_nothing(world: World) -> None:
    first = world.run("1")
    rejected = world.run("1", name="1")
    assert [saga.saga_id for saga in world.client.order("1").sagas] == [first.arn, rejected.arn]
    own = world.run("2")
    world.run("3", name="2")
    assert [saga.saga_id for saga in world.client.order("2").sagas] == [own.arn], "the other one is of order 3"


def test_a_direct_call_and_a_forgotten_execution_are_listed_too(world: World) -> None:
    world.machine.call("CreateOrder", {"order_id": "1", "total": 100})
    (saga,) = world.client.order("1").sagas
    assert (saga.saga_id, saga.execution) == ("direct", None)
    ended = world.run("2")
    world.reject("DescribeExecution", "ExecutionDoesNotExist")
    (saga,) = world.client.order("2").sagas
    assert (saga.saga_id, saga.execution, saga.path) == (ended.arn, None, ())


def test_what_does_not_exist_is_unknown(world: World) -> None:
    world.run("1")
    for order_id in ("none", "1 ", "\udc80", "a" * 128, "[bold]", "a:b"):
        with pytest.raises(UnknownOrder):
            world.client.order(order_id)
    for name in ("none", "arn:aws:states:us-east-1:123456789012:execution:another:1", "a b", "\x1b"):
        with pytest.raises(UnknownExecution):
            world.client.execution(name)


def test_an_execution_names_its_order_if_its_input_has_a_valid_key(world: World) -> None:
    lost = {"CreateOrder": TaskFailed("RuntimeError"), "DeleteOrder": TaskFailed("RuntimeError")}
    for valid in ("order 7", "é" * 128):
        for failing in (None, lost):
            assert world.client.execution(world.run(valid, failing=failing).arn).order_id == valid
    for invalid in ("", " ", "a" * 129, "a\nb", "\ud800", 7, None):
        assert world.client.execution(world.run(invalid).arn).order_id is None


def test_executions_come_newest_first_in_pages(world: World) -> None:
    arns = [world.run(str(i)).arn for i in range(4)][::-1]
    failed = world.run("failed", total=None).arn
    first = world.client.executions(limit=2)
    second = world.client.executions(limit=2, token=first.next_token)
    last = world.client.executions(limit=2, token=second.next_token)
    assert [one.arn for page in (first, second, last) for one in page.executions] == [failed, *arns]
    assert last.next_token is None
    assert [one.arn for one in world.client.newest(status=None, count=3)] == [failed, *arns[:2]]
    assert [one.arn for one in world.client.newest(status="FAILED", count=9)] == [failed]


def test_a_stuck_saga_is_listed_once_for_all_its_messages_which_stay(world: World) -> None:
    first, second = (world.run_into_a_stop(str(i)).arn for i in (1, 2))
    reports = [first, second] * 6  # more than one batch
    for arn in reports:
        world.report(arn)
    for _ in range(2):
        assert [saga.execution.arn for saga in world.client.stuck().sagas] == [first, second], "oldest first"
    assert sorted(world.messages()) == sorted(reports)


def test_a_stuck_saga_has_its_state_cause_and_deadline(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    (saga,) = world.client.stuck().sagas
    assert (saga.execution.arn, saga.execution.order_id, saga.state) == (ended.arn, "1", "RefundPayment")
    assert (saga.execution.error, saga.execution.cause) == ("RuntimeError", "no network")
    stopped = saga.execution.stopped_at
    assert stopped is not None
    assert saga.execution.redrivable_until == stopped + timedelta(days=14)


def test_interrupted_reading_leaves_all_messages_visible(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.report("arn")
    received = mock.Mock(side_effect=[world.client._queue._receive(), KeyboardInterrupt])
    monkeypatch.setattr(world.client._queue, "_receive", received)
    with pytest.raises(KeyboardInterrupt):
        world.client.stuck()
    assert world.messages() == ["arn"]


def test_messages_of_sagas_that_have_ended_cleanly_are_removed_unless_kept(world: World) -> None:
    for ended in (world.run("1"), world.run("2", total=None)):
        world.report(ended.arn)
    kept = world.client.stuck(keep=True)
    assert (kept.sagas, kept.removed, kept.outdated) == ((), 0, 2)
    found = world.client.stuck()
    assert (found.sagas, found.removed, found.outdated) == ((), 2, 0)
    assert world.messages() == []


def test_the_message_of_a_saga_that_runs_again_stays_but_the_saga_is_not_stuck(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    world.describe_with({"status": "RUNNING"})
    found = world.client.stuck()
    assert (found.sagas, found.removed, found.outdated) == ((), 0, 1)
    assert world.messages() == [ended.arn]


def test_the_message_of_an_earlier_stop_is_removed(world: World) -> None:
    ended = world.run_into_a_stop("1")
    stopped = world.client.execution(ended.arn).stopped_at
    assert stopped is not None
    now = int(stopped.timestamp() * 1000)
    world.report(ended.arn, stopped=now - 60_000)
    world.report(ended.arn, stopped=now)
    found = world.client.stuck()
    assert (len(found.sagas), found.removed) == (1, 1)
    assert world.messages() == [ended.arn]


def test_messages_that_are_no_reports_of_this_stack_are_counted_and_stay(world: World) -> None:
    world.sqs.send_message(QueueUrl=world.queue, MessageBody="nonsense")
    world.sqs.send_message(QueueUrl=world.queue, MessageBody='{"executionArn": 5}')
    world.report("arn:aws:states:us-east-1:123456789012:execution:another:1")
    for _ in range(2):
        found = world.client.stuck()
        assert (found.sagas, found.removed, found.unreadable) == ((), 0, 3)


def test_in_a_group_a_saga_is_stuck_in_the_branch_that_failed_or_was_entered_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = world.run_into_a_stop("1")
    for events, state in ((FAILED_GROUP, "CancelFlight"), (ABORTED_GROUP, "ReserveHotel")):
        monkeypatch.setattr(world.client, "_history", lambda _arn, events=events: history(events))
        assert world.client.stuck_saga(ended.arn).state == state


def test_a_scan_finds_stuck_sagas_without_a_message(world: World) -> None:
    world.run("1")
    world.run("2", total=None)
    arns = [world.run_into_a_stop(str(i)).arn for i in (3, 4)]
    assert world.client.stuck().sagas == ()
    assert [saga.execution.arn for saga in world.client.stuck_by_scan().sagas] == arns


def test_resuming_a_saga_removes_its_messages(world: World) -> None:
    resumed, other = world.run_into_a_stop("1"), world.run_into_a_stop("2")
    for ended in (resumed, resumed, other):
        world.report(ended.arn)
    world.answer("RedriveExecution", {"redriveDate": REDRIVEN_AT})
    name = resumed.arn.rsplit(":", 1)[-1]
    assert world.client.resume(world.client.stuck_saga(name)) == REDRIVEN_AT
    assert world.messages() == [other.arn]


UNRESUMABLE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"status": "RUNNING"}, "is still running"),
    ({"status": "SUCCEEDED"}, "has succeeded"),
    ({"status": "FAILED", "error": "OrderFailed"}, "has failed cleanly"),
    (
        {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": "Execution redrivable period exceeded."},
        "can no longer be resumed: Execution redrivable period exceeded: ",
    ),
    ({"stopDate": datetime.now(UTC) - timedelta(days=14, minutes=1)}, "it ended over 14 days ago"),
)


def test_only_stuck_sagas_of_the_last_14_days_can_be_resumed(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.describe_with(*(change for change, _ in UNRESUMABLE))
    for _, reason in UNRESUMABLE:
        with pytest.raises(NotResumable, match=reason):
            world.client.stuck_saga(ended.arn)


def test_a_rejected_redrive_says_why_and_the_message_stays(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    saga = world.client.stuck_saga(ended.arn)
    with pytest.raises(NotResumable, match="has no RedriveExecution"):
        world.client.resume(saga)  # moto has none
    for code, reason in (
        ("InvalidAction", "has no RedriveExecution"),
        ("ExecutionNotRedrivable", "can no longer be resumed"),
    ):
        world.reject("RedriveExecution", code)
        with pytest.raises(NotResumable, match=reason):
            world.client.resume(saga)
    assert world.messages() == [ended.arn]


def test_a_started_saga_is_an_execution_of_the_stack(world: World) -> None:
    arn = world.client.start(world.machine.demo.input("1-success"), name="mine")
    assert world.client.execution("mine").arn == arn
