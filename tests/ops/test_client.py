"""The client of a stack: executions, orders, stuck sagas, and how to resume them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from lambdas.saga_runtime import report_stuck_saga
from ops.errors import ClosedSaga, NotResumable, OpsError, UnknownExecution, UnknownOrder
from ops.model import Outcome
from ops.selection import Selection
from tests.fixtures import STUCK_TABLE, TABLE, store_item
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

    world.report(rolled_back.arn, has_recovered=True)
    world.report(stuck.arn)
    found = world.client.stuck()
    assert ([saga.execution.arn for saga in found.sagas], found.recovered) == ([stuck.arn], (rolled_back.arn,))
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


def test_an_order_has_all_its_sagas_newest_first(world: World) -> None:
    first = world.run("1", address=None)
    second = world.run("1")
    assert [saga.saga_id for saga in world.client.order("1").sagas] == [second.arn, first.arn]


def test_the_execution_named_like_the_order_belongs_to_it_even_if_it_wrote_nothing(world: World) -> None:
    first = world.run("1")
    rejected = world.run("1", name="1")
    assert [saga.saga_id for saga in world.client.order("1").sagas] == [rejected.arn, first.arn]
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


def test_any_number_of_looks_hides_and_changes_nothing(world: World) -> None:
    arns = [world.run_into_a_stop(str(i)).arn for i in (1, 2)]
    for arn in arns:
        world.report(arn)
    before, requests = world.entries(), world.requests()
    with ThreadPoolExecutor() as looks:
        found = [look.result() for look in [looks.submit(world.client.stuck) for _ in range(8)]]
    assert [[saga.execution.arn for saga in one.sagas] for one in found] == [arns[::-1]] * 8, "newest first"
    assert requests.keys() == {"Scan", "ListExecutions", "GetQueueAttributes", "GetQueueUrl"}
    assert (world.entries(), sorted(world.messages())) == (before, sorted(arns))


def test_a_lost_message_hides_no_saga(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    world.sqs.purge_queue(QueueUrl=world.queue)
    assert [saga.execution.arn for saga in world.client.stuck().sagas] == [ended.arn]


def test_what_the_stack_reports_is_what_is_listed(world: World) -> None:
    ended = world.run_into_a_stop("1")
    described = world.stepfunctions.describe_execution(executionArn=ended.arn)
    times = {"startDate": described["startDate"], "stopDate": described["stopDate"]}
    detail = {name: int(time.timestamp() * 1000) for name, time in times.items()}
    names = {"executionArn": ended.arn, "name": described["name"], "status": "FAILED"}
    assert report_stuck_saga.handler({"detail": detail | names}, None) == {"stuck": True}
    requests = world.requests()
    (saga,) = world.client.stuck().sagas
    assert "DescribeExecution" not in requests
    assert (saga.state, saga.execution.order_id, saga.execution.cause) == ("RefundPayment", "1", "no network")
    (scanned,) = world.client.stuck_by_scan().sagas
    assert scanned.state == saga.state
    assert scanned.execution.outcome is saga.execution.outcome is Outcome.STUCK


def test_a_listing_takes_no_request_for_each_saga(world: World) -> None:
    for number in range(12):
        world.report(world.run_into_a_stop(str(number)).arn)
    requests = world.requests()
    assert len(world.client.stuck().sagas) == 12
    assert requests["ListExecutions"] == 3, "one a status"
    assert requests.total() == 3 + 1 + 3, "one scan, and three requests for the undelivered reports"


def test_undelivered_reports_are_counted_or_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sqs.send_message(QueueUrl=world.undelivered, MessageBody="{}")
    assert world.client.stuck().undelivered == 1
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueUrl")
    monkeypatch.setattr(world.sqs, "get_queue_url", mock.Mock(side_effect=denied))
    assert world.client.stuck().undelivered is None


def test_a_stuck_saga_has_its_state_cause_and_deadline(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    (saga,) = world.client.stuck().sagas
    assert (saga.execution.arn, saga.execution.order_id, saga.state) == (ended.arn, "1", "RefundPayment")
    assert (saga.execution.error, saga.execution.cause) == ("RuntimeError", "no network")
    stopped = saga.execution.stopped_at
    assert stopped is not None
    assert saga.execution.redrivable_until == stopped + timedelta(days=14)


def test_interrupted_reading_of_the_queue_leaves_all_messages_visible(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    received = mock.Mock(side_effect=[world.client._queue._receive(), KeyboardInterrupt])
    monkeypatch.setattr(world.client._queue, "_receive", received)
    with pytest.raises(KeyboardInterrupt):
        world.client.forget((ended.arn,))
    assert world.messages() == [ended.arn]


def test_sagas_that_have_recovered_are_not_stuck_and_their_entries_can_be_removed(world: World) -> None:
    stuck = world.run_into_a_stop("0")
    world.report(stuck.arn)
    for ended in (world.run("1"), world.run("2", total=None)):
        world.report(ended.arn, has_recovered=True)
    found = world.client.stuck()
    assert ([saga.execution.arn for saga in found.sagas], len(found.recovered)) == ([stuck.arn], 2)
    assert len(world.entries()) == 3, "a look removes nothing"
    world.client.forget(found.recovered)
    assert (list(world.entries()), world.messages()) == ([stuck.arn], [stuck.arn])


def test_a_saga_that_runs_again_is_not_stuck_and_its_entry_stays(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    world.answer("ListExecutions", {"executions": []})
    world.describe_with({"status": "RUNNING"})
    found = world.client.stuck()
    assert (found.sagas, found.recovered, found.resumed) == ((), (), 1)
    assert list(world.entries()) == [ended.arn]


def test_a_saga_that_got_stuck_again_is_listed_as_it_is_now(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn, state="CancelShipment")
    later = datetime.now(UTC) + timedelta(hours=1)
    world.answer("ListExecutions", {"executions": []})
    world.describe_with({"stopDate": later})
    (saga,) = world.client.stuck().sagas
    assert (saga.state, saga.execution.stopped_at) == ("RefundPayment", later)


def test_a_stuck_saga_that_step_functions_has_forgotten_is_still_listed(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    world.answer("ListExecutions", {"executions": []})
    world.reject("DescribeExecution", "ExecutionDoesNotExist")
    assert [saga.execution.arn for saga in world.client.stuck().sagas] == [ended.arn]


def test_a_message_is_removed_only_if_the_stop_it_reports_is_over(world: World) -> None:
    stuck, unreported, clean = world.run_into_a_stop("1"), world.run_into_a_stop("2"), world.run("3")
    world.report(stuck.arn)
    world.send(stuck.arn, stopped=0)
    for ended in (unreported, clean):
        world.send(ended.arn, stopped=0)
    other = "arn:aws:states:us-east-1:123456789012:execution:another:1"
    world.send(other, stopped=0)
    world.sqs.send_message(QueueUrl=world.queue, MessageBody="nonsense")
    world.client.forget(())
    received = world.sqs.receive_message(QueueUrl=world.queue, MaxNumberOfMessages=10)["Messages"]
    bodies = [message["Body"] for message in received if message["Body"] != "nonsense"]
    assert sorted(json.loads(body)["executionArn"] for body in bodies) == sorted([stuck.arn, unreported.arn, other])
    assert len(received) == 4


def test_a_closed_saga_is_listed_no_more_and_keeps_its_reason(world: World) -> None:
    ended, other = world.run_into_a_stop("1"), world.run_into_a_stop("2")
    for one in (ended, other):
        world.report(one.arn)
    saga = world.client.closable("1")
    world.client.close(saga, "refunded by hand")
    for found in (world.client.stuck(), world.client.stuck_by_scan()):
        assert ([one.execution.arn for one in found.sagas], found.closed) == ([other.arn], 1)
    assert world.messages() == [other.arn]
    (run,) = world.client.order("1").sagas
    assert run.closure is not None
    assert run.closure.reason == "refunded by hand"
    expires = datetime.fromtimestamp(int(world.entries()[ended.arn]["expires_at"]), UTC)
    assert expires - run.closure.at > timedelta(days=364)
    with pytest.raises(OpsError, match="is closed already"):
        world.client.close(saga, "again")


def test_a_closed_saga_is_not_resumed_and_its_entry_is_not_removed(world: World) -> None:
    saga = world.client.stuck_saga(world.run_into_a_stop("1", name="mine").arn)
    arn = saga.execution.arn
    world.client.close(saga, "refunded by hand")
    redriven = world.redrive_to(lambda _arn: {"status": "SUCCEEDED"})
    with pytest.raises(ClosedSaga, match=r"mine was closed at 2.*: refunded by hand: to resume it anyway, call "):
        world.client.resume(saga)
    world.client.forget((arn,))
    assert (redriven, world.entries()[arn]["closed_because"]) == ([], "refunded by hand")


def test_a_saga_that_stopped_again_after_it_was_closed_is_resumed(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.client.close(world.client.closable(ended.arn), "refunded by hand")
    world.describe_as(ended.arn, {"stopDate": datetime.now(UTC) + timedelta(minutes=5)})
    redriven = world.redrive_to(lambda _arn: {"status": "RUNNING"})
    world.client.resume(world.client.stuck_saga(ended.arn))
    assert redriven == [ended.arn]


def test_a_saga_that_was_never_reported_can_be_closed(world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.client.close(world.client.closable(ended.arn), "settled")
    assert world.client.stuck_by_scan().sagas == ()


@pytest.mark.parametrize("by", ["name", "order", "ARN"])
def test_the_entry_of_an_execution_that_is_gone_can_be_closed(world: World, by: str) -> None:
    ended = world.run_into_a_stop("1", name="mine")
    world.report(ended.arn)
    world.lose(ended.arn)
    world.client.close(world.client.closable({"name": "mine", "order": "1", "ARN": ended.arn}[by]), "settled")
    found = world.client.stuck()
    assert (found.sagas, found.closed, world.messages()) == ((), 1, [])
    assert world.entries()[ended.arn]["closed_because"] == "settled"
    with pytest.raises(UnknownExecution, match="no execution mine"):
        world.client.closable("mine")


def test_of_several_entries_of_an_order_whose_executions_are_gone_one_is_named(world: World) -> None:
    for name in ("first", "second"):
        ended = world.run_into_a_stop("1", name=name)
        world.report(ended.arn)
        world.lose(ended.arn)
    with pytest.raises(NotResumable, match="order 1 has 2 stuck sagas: name one of "):
        world.client.closable("1")
    assert world.client.closable("second").execution.name == "second"


def test_only_a_stuck_saga_can_be_closed(world: World) -> None:
    world.run("1", name="mine")
    with pytest.raises(NotResumable, match="mine is not stuck"):
        world.client.closable("mine")


def test_rejected_sagas_and_those_that_stopped_before_their_first_state_belong_to_their_order(world: World) -> None:
    owner = world.run("1")
    rejected = [world.run("1").arn for _ in range(2)]
    world.run("2", total=None)
    world.run("3")
    stopped = world.run_into_a_stop("4")
    world.report(stopped.arn, state=None)
    for row in world.client.rows("4"):
        world.dynamodb.delete_item(TableName=TABLE, Key={"order_id": {"S": "4"}, "entity": {"S": row.entity}})
    found = world.client.order("1", search=None)
    assert [saga.saga_id for saga in found.sagas] == [*rejected[::-1], owner.arn]
    assert found.searched_since is None
    assert [saga.saga_id for saga in world.client.order("4").sagas] == [stopped.arn], "by its entry"
    partly = world.client.order("1", search=3)
    assert [saga.saga_id for saga in partly.sagas] == [rejected[1], owner.arn]
    assert partly.searched_since is not None


def test_an_execution_names_its_order_and_an_order_its_stuck_execution(world: World) -> None:
    stuck = world.run_into_a_stop("1", name="first")
    assert world.client.order("first").order_id == "1"
    assert world.client.order(stuck.arn).order_id == "1"
    assert world.client.find("1").arn == world.client.find("first").arn == stuck.arn
    again = world.run("1", name="rejected")
    world.report(again.arn, state=None)
    assert world.client.find("1").arn == stuck.arn, "the stuck one, not the newest"
    second = world.run_into_a_stop("2", name="another")
    world.report(second.arn)
    name_order_in_entry(world, second.arn, "1")
    with pytest.raises(NotResumable, match="order 1 has 2 stuck sagas: name one of another, first"):
        world.client.find("1")
    with pytest.raises(UnknownExecution):
        world.client.find("none of these")


def test_a_name_that_is_also_an_order_means_its_stuck_saga_unless_the_named_one_is_active(world: World) -> None:
    named = world.run_into_a_failure("7", name="7")
    assert world.client.find("7").arn == named.arn
    stuck = world.run_into_a_stop("7", name="7-2")
    assert world.client.find("7").arn == stuck.arn
    assert world.client.stuck_saga("7").execution.arn == world.client.closable("7").execution.arn == stuck.arn
    assert world.client.find(named.arn).arn == named.arn
    second = world.run_into_a_stop("8", name="7-3")
    world.report(second.arn)
    name_order_in_entry(world, second.arn, "7")
    with pytest.raises(NotResumable, match="order 7 has 2 stuck sagas: name one of 7-3, 7-2"):
        world.client.find("7")
    world.describe_as(named.arn, {"status": "RUNNING"})
    assert world.client.find("7").arn == named.arn


def name_order_in_entry(world: World, arn: str, order_id: str) -> None:
    """Let the entry of an execution name another order."""
    world.dynamodb.update_item(
        TableName=STUCK_TABLE,
        Key={"execution_arn": {"S": arn}},
        UpdateExpression="SET saga_key = :key",
        ExpressionAttributeValues={":key": {"S": order_id}},
    )


def test_two_executions_without_rows_named_like_the_order_of_the_other_are_shown(world: World) -> None:
    for name, order_id in (("A", "B"), ("B", "A")):
        world.run(order_id, name=name, total=None)
        store_item(order_id, "ORDER", None)
    order = world.client.order("A")
    assert (order.order_id, [saga.saga_id.rsplit(":", 1)[-1] for saga in order.sagas]) == ("B", ["A"])


def test_the_newest_executions_can_be_selected(world: World) -> None:
    stuck = world.run_into_a_stop("1")
    rolled_back = [world.run(str(i), total=None).arn for i in range(2, 12)]
    middle = world.client.execution(rolled_back[4]).started_at
    world.run("12")

    def arns(**options: Any) -> list[str]:
        return [one.arn for one in world.client.newest(count=100, **options)]

    assert arns(outcome=Outcome.STUCK) == [stuck.arn]
    assert arns(outcome=Outcome.ROLLED_BACK) == rolled_back[::-1]
    assert arns(selection=Selection(error="OrderFailed")) == rolled_back[::-1]
    assert arns(selection=Selection(state="RefundPayment")) == [stuck.arn]
    assert arns(selection=Selection(state="DeleteOrder")) == []
    assert arns(selection=Selection(state="RefundPayment"), outcome=Outcome.FULFILLED) == []
    assert arns(selection=Selection(since=middle), outcome=Outcome.ROLLED_BACK) == rolled_back[:3:-1]
    assert arns(selection=Selection(until=middle), outcome=Outcome.ROLLED_BACK) == rolled_back[4::-1]


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
    assert [saga.execution.arn for saga in world.client.stuck_by_scan().sagas] == arns[::-1]


def test_the_messages_of_a_resumed_saga_are_removed_and_its_entry_stays(world: World) -> None:
    resumed, other = world.run_into_a_stop("1"), world.run_into_a_stop("2")
    for ended in (resumed, resumed, other):
        world.report(ended.arn)
    world.answer("RedriveExecution", {"redriveDate": REDRIVEN_AT})
    name = resumed.arn.rsplit(":", 1)[-1]
    saga = world.client.stuck_saga(name)
    assert world.client.resume(saga) == REDRIVEN_AT
    later = int(datetime.now(UTC).timestamp() * 1000) + 60_000
    world.send(resumed.arn, stopped=later)
    world.client.forget((), running=(saga.execution,))
    assert sorted(world.messages()) == sorted([other.arn, resumed.arn]), "the message of a later stop stays"
    assert set(world.entries()) == {resumed.arn, other.arn}


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
        ("ExecutionNotRedrivable", "was not resumed: no$"),
    ):
        world.reject("RedriveExecution", code)
        with pytest.raises(NotResumable, match=reason):
            world.client.resume(saga)
    assert world.messages() == [ended.arn]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "RUNNING"}, "is still running: wait for its end"),
        ({"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": "too often."}, "no longer be resumed: too often: "),
        ({"stopDate": datetime.now(UTC) - timedelta(days=15)}, "no longer be resumed: it ended over 14 days ago: "),
        ({"redriveStatus": "REDRIVABLE"}, "was not resumed: Execution is RUNNING"),
    ],
)
def test_the_description_says_what_to_do_about_a_rejected_redrive(
    world: World, change: dict[str, Any], message: str
) -> None:
    saga = world.client.stuck_saga(world.run_into_a_stop("1").arn)
    world.reject("RedriveExecution", "ExecutionNotRedrivable", "Execution is RUNNING and cannot be redriven.")
    world.describe_with(change)
    with pytest.raises(NotResumable, match=message):
        world.client.resume(saga)


def test_a_started_saga_is_an_execution_of_the_stack(world: World) -> None:
    arn = world.client.start(world.machine.demo.input("1-success"), name="mine")
    assert world.client.execution("mine").arn == arn
