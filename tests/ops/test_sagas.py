"""What an operator is told of orders, executions and stuck sagas, and what resuming does."""

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


def test_an_order_is_shown_with_the_history_of_its_rows(world: World) -> None:
    ended = world.run("1", address=None)
    order = world.sagas.order("1")
    assert {row.entity: [change.status for change in row.history] for row in order.rows} == {
        "ORDER": ["PENDING", "DELETED"],
        "PAYMENT": ["CHARGED", "REFUNDED"],
        "SHIPMENT": ["CANCELLED"],
    }
    assert [row.entity for row in order.rows] == ["ORDER", "PAYMENT", "SHIPMENT"], "as they came"
    assert {change.saga_id for row in order.rows for change in row.history} == {ended.arn}


def test_the_path_has_each_state_with_its_attempts_and_errors_in_words(world: World) -> None:
    world.run_into_a_stop("1")
    (saga,) = world.sagas.order("1").sagas
    assert [step.state for step in saga.path] == [
        *("CreateOrder", "ProcessPayment", "ProcessShipment", "CancelShipment", "RefundPayment")
    ]
    refused, stuck = saga.path[2], saga.path[-1]
    assert [attempt.error for attempt in refused.attempts] == ["InvalidOrder"]
    assert (refused.attempts[0].cause or "").startswith("address is missing"), "no JSON, no stack trace"
    assert len(stuck.attempts) > 30
    assert {(attempt.error, attempt.cause) for attempt in stuck.attempts} == {("RuntimeError", "no network")}
    assert all(step.took is not None and step.took >= timedelta() for step in saga.path)


@each_saga
def test_how_an_execution_ended_is_told_by_status_and_error(world: World) -> None:
    fulfilled, undone, stuck = world.run("1"), world.run_into_a_failure("2"), world.run_into_a_stop("3")
    outcomes = [world.sagas.execution(one.arn).outcome for one in (fulfilled, undone, stuck)]
    assert outcomes == [Outcome.FULFILLED, Outcome.ROLLED_BACK, Outcome.STUCK]


@each_saga
def test_any_saga_is_found_by_its_own_key(world: World) -> None:
    for ended in (world.run("1"), world.run_into_a_failure("2")):
        found = world.sagas.order(ended.order[world.machine.shape.key])
        assert {row.entity for row in found.rows} == set(world.machine.example.entities)
        assert [saga.saga_id for saga in found.sagas] == [ended.arn]
        assert world.sagas.execution(ended.arn).order_id == found.order_id


@each_saga
def test_a_saga_that_is_rolled_back_is_not_stuck_whatever_its_fail_state_is_called(world: World) -> None:
    for ended in (world.run_into_a_failure("1"), stuck := world.run_into_a_stop("2")):
        world.report(ended.arn)
    found = world.sagas.stuck()
    assert ([saga.execution.arn for saga in found.sagas], found.removed) == ([stuck.arn], 1)
    assert [saga.execution.arn for saga in world.sagas.stuck_by_scan().sagas] == [stuck.arn]
    with pytest.raises(NotResumable, match=f"start a new execution for the {world.machine.example.noun}"):
        world.sagas.stuck_saga("execution-1")


@each_saga
def test_an_execution_is_told_by_one_request(world: World) -> None:
    arns = [ended.arn for ended in (world.run("1"), world.run_into_a_failure("2"), world.run_into_a_stop("3"))]
    world.refuse("GetExecutionHistory", "ThrottlingException")
    assert [world.sagas.execution(arn).order_id for arn in arns] == ["1", "2", "3"]


def test_a_saga_of_an_older_definition_is_judged_by_that_one(world: World) -> None:
    before = world.run_into_a_failure("1")
    then = world.sagas.definition()
    now = then.replace('"Error": "OrderFailed"', '"Error": "OrderRejected"')
    world.stepfunctions.update_state_machine(stateMachineArn=world.machine._machine, definition=now)
    after = world.run_into_a_failure("2")
    assert (before.error, after.error) == ("OrderFailed", "OrderRejected")
    # moto keeps one definition only; AWS answers with the execution's own.
    world.answer("DescribeStateMachineForExecution", {"definition": then}, about=before.arn)
    outcomes = [world.sagas.execution(ended.arn).outcome for ended in (before, after)]
    assert outcomes == [Outcome.ROLLED_BACK] * 2


def test_definitions_are_asked_for_once_for_each_name_of_an_error(world: World) -> None:
    for number in range(3):
        world.run_into_a_failure(f"undone {number}")
        world.run_into_a_stop(f"stuck {number}")
    world.run("fulfilled")
    asked: list[object] = []
    more = threading.Event()

    def note(**given: object) -> None:
        asked.append(given)
        if len(asked) > 2:
            more.set()
        # Time for the others to ask as well, if they do.
        more.wait(0.1)

    world.stepfunctions.meta.events.register("before-call.stepfunctions.DescribeStateMachineForExecution", note)
    for _ in range(2):
        assert len(world.sagas.newest(status=None, count=9)) == 7
    assert len(asked) == 2, "OrderFailed and RuntimeError, though several are asked for at once"


def test_an_aborted_execution_is_stuck_whatever_error_was_given_for_it(world: World) -> None:
    ended = world.run("1")
    world.describe_with({"status": "ABORTED", "error": "OrderFailed"})
    assert world.sagas.execution(ended.arn).outcome is Outcome.STUCK


def test_a_card_number_that_an_error_quotes_is_not_told(world: World) -> None:
    quoting = TaskFailed("RuntimeError", json.dumps({"errorMessage": f"the bank does not know {CARD}"}))
    world.run("1", failing={"RefundPayment": quoting}, address=None)
    assert CARD not in repr(world.sagas.order("1"))
    assert "the bank does not know (card number)" in repr(world.sagas.order("1"))
    assert CARD not in repr(world.sagas.stuck_by_scan())


def test_all_sagas_of_an_order_are_shown_in_the_order_in_which_they_came(world: World) -> None:
    first = world.run("1", address=None)
    second = world.run("1")
    assert [saga.saga_id for saga in world.sagas.order("1").sagas] == [first.arn, second.arn]


def test_the_execution_that_is_named_like_the_order_belongs_to_it_though_it_wrote_nothing(world: World) -> None:
    first = world.run("1")
    refused = world.run("1", name="1")
    assert [saga.saga_id for saga in world.sagas.order("1").sagas] == [first.arn, refused.arn]


def test_an_execution_that_is_named_like_another_order_does_not_belong_to_that(world: World) -> None:
    own = world.run("2")
    world.run("1", name="2")
    assert [saga.saga_id for saga in world.sagas.order("2").sagas] == [own.arn]


def test_a_direct_call_and_an_execution_that_was_forgotten_are_named_all_the_same(world: World) -> None:
    world.machine.call("CreateOrder", {"order_id": "1", "total": 100})
    (saga,) = world.sagas.order("1").sagas
    assert (saga.saga_id, saga.execution) == ("direct", None)
    ended = world.run("2")
    world.refuse("DescribeExecution", "ExecutionDoesNotExist")
    (saga,) = world.sagas.order("2").sagas
    assert (saga.saga_id, saga.execution, saga.path) == (ended.arn, None, ())


@pytest.mark.parametrize("order_id", ["none", "1 ", "\udc80", "a" * 128, "[bold]", "a:b"])
def test_an_order_that_nobody_knows_is_unknown(world: World, order_id: str) -> None:
    world.run("1")
    with pytest.raises(UnknownOrder):
        world.sagas.order(order_id)


@pytest.mark.parametrize("order_id", ["order 7", "é" * 128])
def test_an_execution_tells_its_order(world: World, order_id: str) -> None:
    lost = {"CreateOrder": TaskFailed("RuntimeError"), "DeleteOrder": TaskFailed("RuntimeError")}
    for name, failing in (("good", None), ("lost", lost)):
        assert world.sagas.execution(world.run(order_id, name=name, failing=failing).arn).order_id == order_id


@pytest.mark.parametrize("order_id", ["", " ", "a" * 129, "a\nb", "\ud800", 7, None])
def test_what_no_order_may_be_called_is_no_order(world: World, order_id: Any) -> None:
    assert world.sagas.execution(world.run(order_id).arn).order_id is None


def test_executions_come_newest_first_and_page_by_page(world: World) -> None:
    arns = [world.run(str(i)).arn for i in range(5)][::-1]
    first = world.sagas.executions(limit=2)
    second = world.sagas.executions(limit=2, token=first.next_token)
    last = world.sagas.executions(limit=2, token=second.next_token)
    assert [one.arn for page in (first, second, last) for one in page.executions] == arns
    assert last.next_token is None
    assert [one.arn for one in world.sagas.newest(status=None, count=3)] == arns[:3]


def test_executions_of_one_status_can_be_asked_for(world: World) -> None:
    failed = world.run("1", total=None)
    world.run("2")
    assert [one.arn for one in world.sagas.newest(status="FAILED", count=9)] == [failed.arn]


@pytest.mark.parametrize("name", ["none", "arn:aws:states:us-east-1:123456789012:execution:another:1", "a b", "\x1b"])
def test_an_execution_that_nobody_knows_is_unknown(world: World, name: str) -> None:
    with pytest.raises(UnknownExecution):
        world.sagas.execution(name)


def test_a_stuck_saga_is_told_once_however_many_messages_there_are(world: World) -> None:
    ended = world.run_into_a_stop("1")
    for _ in range(3):
        world.report(ended.arn)
    found = world.sagas.stuck()
    (saga,) = found.sagas
    assert (saga.execution.arn, saga.execution.order_id, saga.state) == (ended.arn, "1", "RefundPayment")
    assert (saga.execution.error, saga.execution.cause) == ("RuntimeError", "no network")
    stopped = saga.execution.stopped_at
    assert stopped is not None
    assert saga.execution.redrivable_until == stopped + timedelta(days=14)


def test_looking_takes_nothing_away(world: World) -> None:
    arns = [world.run_into_a_stop(str(i)).arn for i in range(12)]
    for arn in arns:
        world.report(arn)
    told = [[saga.execution.arn for saga in world.sagas.stuck().sagas] for _ in range(2)]
    assert told == [arns, arns], "oldest first, and all of them again"
    assert sorted(world.messages()) == sorted(arns)


def test_looking_that_is_broken_off_takes_nothing_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    received = mock.Mock(side_effect=[world.sagas._queue._receive(), KeyboardInterrupt])
    monkeypatch.setattr(world.sagas._queue, "_receive", received)
    with pytest.raises(KeyboardInterrupt):
        world.sagas.stuck()
    assert world.messages() == [ended.arn]


def test_messages_of_sagas_that_ended_cleanly_are_removed_so_that_the_alarm_is_silent(world: World) -> None:
    for ended in (world.run("1"), world.run("2", total=None)):
        world.report(ended.arn)
    found = world.sagas.stuck()
    assert (found.sagas, found.removed, found.outdated) == ((), 2, 0)
    assert world.messages() == []


def test_messages_are_kept_for_whoever_wants_to_keep_them(world: World) -> None:
    ended = world.run("1")
    world.report(ended.arn)
    found = world.sagas.stuck(keep=True)
    assert (found.removed, found.outdated) == (0, 1)
    assert world.messages() == [ended.arn]


def test_a_saga_that_runs_again_is_not_stuck_but_its_message_stays_until_it_ends(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    world.describe_with({"status": "RUNNING"})
    found = world.sagas.stuck()
    assert (found.sagas, found.removed, found.outdated) == ((), 0, 1)
    assert world.messages() == [ended.arn]


def test_of_a_saga_that_got_stuck_again_the_message_of_the_first_stop_is_removed(world: World) -> None:
    ended = world.run_into_a_stop("1")
    stopped = world.sagas.execution(ended.arn).stopped_at
    assert stopped is not None
    now = int(stopped.timestamp() * 1000)
    world.report(ended.arn, stopped=now - 60_000)
    world.report(ended.arn, stopped=now)
    found = world.sagas.stuck()
    assert (len(found.sagas), found.removed) == (1, 1)
    assert world.messages() == [ended.arn]


def test_what_is_no_report_of_this_stack_is_counted_and_left_alone(world: World) -> None:
    world.sqs.send_message(QueueUrl=world.queue, MessageBody="nonsense")
    world.sqs.send_message(QueueUrl=world.queue, MessageBody='{"executionArn": 5}')
    world.report("arn:aws:states:us-east-1:123456789012:execution:another:1")
    found = world.sagas.stuck()
    assert (found.sagas, found.removed, found.unreadable) == ((), 0, 3)


def test_a_saga_that_is_stuck_in_a_group_is_told_with_the_branch_that_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = world.run_into_a_stop("1")
    monkeypatch.setattr(world.sagas, "_history", lambda _arn: history(FAILED_GROUP))
    assert world.sagas.stuck_saga(ended.arn).state == "CancelFlight"


def test_of_several_states_that_were_stopped_at_once_the_last_one_entered_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = world.run_into_a_stop("1")
    monkeypatch.setattr(world.sagas, "_history", lambda _arn: history(ABORTED_GROUP))
    assert world.sagas.stuck_saga(ended.arn).state == "ReserveHotel"


def test_a_scan_finds_the_stuck_sagas_that_nobody_reported(world: World) -> None:
    world.run("1")
    world.run("2", total=None)
    arns = [world.run_into_a_stop(str(i)).arn for i in (3, 4)]
    assert world.sagas.stuck().sagas == ()
    assert [saga.execution.arn for saga in world.sagas.stuck_by_scan().sagas] == arns


def test_a_resumed_saga_leaves_the_queue(world: World) -> None:
    one, other = world.run_into_a_stop("1"), world.run_into_a_stop("2")
    for ended in (one, one, other):
        world.report(ended.arn)
    world.answer("RedriveExecution", {"redriveDate": REDRIVEN_AT})
    name = one.arn.rsplit(":", 1)[-1]
    assert world.sagas.resume(world.sagas.stuck_saga(name)) == REDRIVEN_AT
    assert world.messages() == [other.arn]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "RUNNING"}, "is still running"),
        ({"status": "SUCCEEDED"}, "has succeeded"),
        ({"status": "FAILED", "error": "OrderFailed"}, "has failed cleanly"),
        (
            {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": "Execution redrivable period exceeded."},
            "can no longer be resumed: Execution redrivable period exceeded: ",
        ),
        ({"stopDate": datetime.now(UTC) - timedelta(days=14, minutes=1)}, "it ended over 14 days ago"),
    ],
)
def test_what_cannot_be_resumed_is_refused_with_the_reason(world: World, answer: dict[str, Any], reason: str) -> None:
    ended = world.run_into_a_stop("1")
    world.describe_with(answer)
    with pytest.raises(NotResumable, match=reason):
        world.sagas.stuck_saga(ended.arn)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("ExecutionNotRedrivable", "can no longer be resumed"), ("InvalidAction", "has no RedriveExecution")],
)
def test_a_refused_resumption_says_why_and_its_message_stays(world: World, code: str, reason: str) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    world.refuse("RedriveExecution", code)
    with pytest.raises(NotResumable, match=reason):
        world.sagas.resume(world.sagas.stuck_saga(ended.arn))
    assert world.messages() == [ended.arn]


def test_moto_has_no_such_call(world: World) -> None:
    ended = world.run_into_a_stop("1")
    with pytest.raises(NotResumable, match="has no RedriveExecution"):
        world.sagas.resume(world.sagas.stuck_saga(ended.arn))


def test_a_saga_that_is_started_is_an_execution_of_the_stack(world: World) -> None:
    arn = world.sagas.start({"order_id": "1", "total": 100, "card_no": CARD, "address": "123 st"}, name="mine")
    assert world.sagas.execution("mine").arn == arn
