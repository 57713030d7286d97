"""``ops settle``: a saga that can no longer be resumed is compensated or completed, and nothing else is touched."""

import io
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.__main__ import main
from tests.ops.conftest import CARD, World
from tests.ops.test_audit import change, remove, set_to
from tests.saga import waiting_saga
from tests.saga.faults import ACCEPTANCE
from tests.saga.interpreter import Execution, TaskFailed, deliver_at_once
from tests.saga.trial import ledger_violations
from tests.sagas import SagaUnderTest, each_saga, on_example

# Its last step, SignReceipt, is retriable and waits for an answer.
MOVE = SagaUnderTest(name="move", stack=waiting_saga.MoveSagaStack, demo=waiting_saga.DEMO)
OLD = datetime.now(UTC) - timedelta(days=15)
Ops = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ops(world: World, capsys: pytest.CaptureFixture[str]) -> Ops:
    """Return a function that runs a command; it returns the exit status, the output and the errors."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        steps = world.machine.demo.specs_module.__name__
        # The functions run in this process, and would log to the same output.
        logging.disable()
        try:
            status = main([command, "--steps", steps, *arguments], connect=lambda _: world.client)
        finally:
            logging.disable(logging.NOTSET)
        out, err = capsys.readouterr()
        assert CARD not in out + err
        # They also print their metrics.
        lines = [line for line in out.splitlines(keepends=True) if not line.startswith('{"_aws"')]
        return status, "".join(lines), err

    return run


def name_of(execution: Execution) -> str:
    return execution.arn.rsplit(":", 1)[-1]


def make_old(world: World) -> None:
    """Let all stuck executions have ended 15 days ago. The functions work again."""
    world.machine.intercept = deliver_at_once
    world.describe_with({"stopDate": OLD})


def forget(world: World) -> None:
    """Let Step Functions know no execution. The functions work again."""
    world.machine.intercept = deliver_at_once
    world.reject("DescribeExecution", "ExecutionDoesNotExist")
    world.answer("ListExecutions", {"executions": []})
    for entity in world.machine.demo.specs:
        if entity in world.machine.rows("1"):
            change(entity, set_to("saga_started_at", {"S": "2026-01-01T00:00:00.000Z"}))


@each_saga
def test_a_saga_that_is_too_old_to_resume_is_settled(world: World, ops: Ops) -> None:
    stuck = world.run_into_a_stop("1")
    make_old(world)
    status, out, _ = ops("settle", name_of(stuck), "--yes", "--json")
    document = json.loads(out)
    assert (status, document["left"], document["saga"]["id"]) == (0, [], stuck.arn)
    compensations = [state for state in world.machine.shape.compensations[::-1] if state in document["called"]]
    assert document["called"] == compensations, "last step first"
    assert stuck.states[-1] in compensations
    assert "CancelShipment" not in compensations, "what is compensated already is not called"
    rows = world.machine.rows("1")
    assert {row["saga_id"] for row in rows.values()} == {stuck.arn}
    live = {spec.live for spec in world.machine.demo.specs.values()}
    assert not live & {row["status"] for row in rows.values()}
    assert ops("audit", "--json")[0] == 0
    assert ledger_violations(world.machine, [stuck]) == []
    status, out, _ = ops("settle", name_of(stuck), "--yes", "--json")
    assert (status, json.loads(out)["called"]) == (0, []), "settling again changes nothing"
    assert world.machine.rows("1") == rows


@each_saga
def test_a_saga_whose_execution_is_gone_is_settled_by_its_order(world: World, ops: Ops) -> None:
    stuck = world.run_into_a_stop("1")
    forget(world)
    assert json.loads(ops("audit", "--json")[1])["findings"][0]["remedy"] == "python -m ops settle 1"
    status, out, _ = ops("settle", "1", "--yes", "--json")
    assert (status, json.loads(out)["saga"]) == (0, {"id": stuck.arn, "started_at": "2026-01-01T00:00:00.000Z"})
    assert ops("audit", "--json")[0] == 0


def test_the_input_of_an_execution_that_is_gone_comes_from_a_file(world: World, ops: Ops, tmp_path: Path) -> None:
    stuck = world.run_into_a_stop("1")
    forget(world)
    file = tmp_path / "input.json"
    file.write_text(json.dumps(stuck.input))
    payloads: list[Any] = []

    def intercept(_state: str, payload: Any, deliver: Callable[[], Any]) -> Any:
        payloads.append(payload)
        return deliver()

    world.machine.intercept = intercept
    assert ops("settle", stuck.arn, "--input", str(file), "--yes")[0] == 0
    assert [payload["input"] for payload in payloads] == [stuck.input] * 2
    assert {payload["saga"]["id"] for payload in payloads} == {stuck.arn}


@on_example("trip_booking")
def test_a_saga_whose_pivot_happened_is_completed(world: World, ops: Ops) -> None:
    stuck = world.run("1", failing={"ConfirmHotel": TaskFailed("Broken")})
    assert stuck.error == "Broken"
    make_old(world)
    status, out, _ = ops("settle", name_of(stuck), "--yes", "--json")
    assert (status, json.loads(out)["called"]) == (0, ["ConfirmFlight", "ConfirmHotel"])
    assert {row["status"] for row in world.machine.rows("1").values()} == {"CONFIRMED", "CHARGED"}
    nothing = f"nothing to settle: saga {stuck.arn} is complete or owns no live row of trip 1\n"
    assert ops("settle", name_of(stuck), "--yes")[1] == nothing
    assert ops("audit")[0] == 0


@on_example("ticket_sale")
def test_a_saga_that_may_have_captured_the_payment_is_completed(world: World, ops: Ops) -> None:
    """The capture was performed and its response lost: to roll back would void a ticket that is paid for."""

    def lose_the_response(state: str, _payload: Any, deliver: Callable[[], Any]) -> Any:
        answer = deliver()
        if state == "CapturePayment":
            change("PAYMENT", set_to("status", {"S": "AUTHORIZED"}))
            raise TaskFailed("Crash", "lost")
        return answer

    world.machine.intercept = lose_the_response
    stuck = world.machine.run({**world.machine.demo.input("1-success"), "sale_id": "1"})
    assert stuck.states[-1] == "CapturePayment"
    make_old(world)
    status, out, _ = ops("settle", name_of(stuck), "--yes", "--json")
    assert (status, json.loads(out)["called"]) == (0, ["CapturePayment"])
    statuses = {row["status"] for row in world.machine.rows("1").values()}
    assert statuses == {"RESERVED", "CAPTURED", "ISSUED"}


@pytest.mark.parametrize("saga", [MOVE])
def test_a_saga_whose_retriable_step_has_begun_is_completed_by_its_answer(world: World, ops: Ops) -> None:
    """To compensate it would leave the receipt live, and a later answer would be accepted."""
    requests: list[Any] = []

    def send(state: str, payload: Any) -> None:
        if state == "SignReceipt":
            requests.append(payload)
        else:
            world.machine.answer_in_time(state, payload)

    world.machine.sender = send
    stuck = world.machine.run(waiting_saga.MOVE)
    assert stuck.states[-1] == "SignReceipt"
    make_old(world)
    before = world.machine.rows("1")
    status, out, _ = ops("settle", "1", "--yes")
    assert (status, out.partition(": ")[0]) == (1, "move 1 is not settled after SignReceipt, RECEIPT is SENT")
    document = json.loads(ops("settle", "1", "--yes", "--json")[1])
    assert (document["left"], document["open_rows"]) == (["SignReceipt"], ["RECEIPT"])
    assert {name: row["status"] for name, row in world.machine.rows("1").items()} == {
        name: row["status"] for name, row in before.items()
    }
    world.machine.answer("SignReceipt", requests[0], ACCEPTANCE)
    nothing = f"nothing to settle: saga {stuck.arn} is complete or owns no live row of move 1\n"
    assert ops("settle", "1", "--yes")[:2] == (0, nothing)
    assert ops("audit")[0] == 0


def test_a_saga_that_no_function_can_complete_is_not_called_settled(world: World, ops: Ops) -> None:
    world.run("1")
    world.describe_with({"status": "FAILED", "stopDate": OLD})
    remove("PAYMENT")
    status, out, _ = ops("settle", "1", "--yes")
    assert (status, out) == (
        1,
        "order 1 is not settled, PAYMENT is not live: no function completes it: compare the rows with a backup\n",
    )


def test_a_direct_call_is_settled(world: World, ops: Ops) -> None:
    world.machine.call("CreateOrder", world.machine.demo.input("1-success"))
    assert ops("settle", "1", "--yes")[:2] == (0, "settled order 1: DeleteOrder\n")
    assert world.machine.rows("1")["ORDER"]["status"] == "DELETED"


def test_the_plan_is_shown_before_anything_is_called(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = world.run_into_a_stop("1")
    make_old(world)
    before = world.machine.rows("1")
    assert ops("settle", name_of(stuck))[2] == "error: not a terminal: pass --yes to settle without a prompt\n"
    terminal = io.StringIO("n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    status, out, err = ops("settle", name_of(stuck))
    assert (status, out) == (1, "")
    assert "ORDER is PENDING\n  PAYMENT is CHARGED\n" in err
    assert "  1. RefundPayment\n  2. DeleteOrder\nCall them? [y/N] Nothing was done.\n" in err
    assert world.machine.rows("1") == before


def test_a_compensation_that_fails_stops_the_settling_which_can_be_repeated(world: World, ops: Ops) -> None:
    stuck = world.run_into_a_stop("1")
    make_old(world)
    broken = {"DeleteOrder"}

    def intercept(state: str, _payload: Any, deliver: Callable[[], Any]) -> Any:
        if state in broken:
            raise TaskFailed("RuntimeError", "no network")
        return deliver()

    world.machine.intercept = intercept
    status, out, err = ops("settle", name_of(stuck), "--yes")
    assert (status, out) == (2, "")
    assert err == "error: DeleteOrder failed: RuntimeError: no network: fix the cause, then settle again\n"
    broken.clear()
    assert ops("settle", name_of(stuck), "--yes")[:2] == (0, "settled order 1: DeleteOrder\n")


def test_a_later_saga_of_the_same_order_is_not_touched(world: World, ops: Ops) -> None:
    failed = world.run_into_a_failure("1")
    world.run("1")
    before = world.machine.rows("1")
    assert ops("settle", failed.arn, "--yes")[0] == 0
    assert world.machine.rows("1") == before


def test_a_name_that_is_also_an_order_means_the_saga_that_owns_its_live_rows(world: World, ops: Ops) -> None:
    clean = world.run_into_a_failure("7", name="7")
    world.run_into_a_stop("7", name="7-2")
    assert ops("settle", "7", "--yes")[2] == "error: 7-2 can be resumed: python -m ops resume 7-2\n"
    make_old(world)
    nothing = f"nothing to settle: saga {clean.arn} is complete or owns no live row of order 7\n"
    assert ops("settle", clean.arn, "--yes")[:2] == (0, nothing)
    assert ops("settle", "7", "--yes")[:2] == (0, "settled order 7: RefundPayment, DeleteOrder\n")
    assert ops("settle", "7", "--yes")[:2] == (0, nothing)


def test_a_row_of_another_saga_with_the_same_arn_is_not_touched(world: World, ops: Ops) -> None:
    """AWS allows the name of an execution again after 90 days, so the start time counts."""
    stuck = world.run_into_a_stop("1")
    make_old(world)
    change("PAYMENT", set_to("saga_started_at", {"S": "2026-01-01T00:00:00.000Z"}))
    before = world.machine.rows("1")["PAYMENT"]
    assert ops("settle", stuck.arn, "--yes")[:2] == (0, "settled order 1: DeleteOrder\n")
    assert world.machine.rows("1")["PAYMENT"] == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "execution-1 can be resumed: python -m ops resume execution-1"),
        ({"status": "RUNNING"}, "execution-1 still runs: wait for its end, or cancel it: python -m ops cancel"),
        ({"status": "SUCCEEDED"}, "execution-1 has succeeded: the order is confirmed, nothing to settle"),
        ({"stopDate": OLD, "input": "[]"}, "the input of execution-1 has no valid order_id: no row is its"),
    ],
)
def test_a_saga_that_needs_no_settling_is_rejected_in_one_line(
    world: World, ops: Ops, changes: dict[str, Any], message: str
) -> None:
    world.run_into_a_stop("1")
    world.describe_with(changes)
    before = world.machine.rows("1")
    assert ops("settle", "execution-1", "--yes") == (2, "", f"error: {message}\n")
    assert world.machine.rows("1") == before


def test_an_execution_that_has_just_started_is_not_settled(world: World, ops: Ops) -> None:
    stuck = world.run_into_a_stop("1")
    world.reject("DescribeExecution", "ExecutionDoesNotExist")
    assert ops("settle", "1", "--yes")[2] == f"error: {stuck.arn} has just started: try again in 5 minutes\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "invalid input in FILE: expected an object with order_id"),
        ("[", "cannot read FILE (JSONDecodeError): name a file with the input as JSON"),
        (None, "cannot read FILE (FileNotFoundError): name a file with the input as JSON"),
        ('{"order_id": "1"}', "Step Functions knows the input of execution-1: omit --input"),
    ],
)
def test_a_bad_input_is_one_line(world: World, ops: Ops, tmp_path: Path, text: str | None, message: str) -> None:
    world.run_into_a_stop("1")
    make_old(world)
    file = tmp_path / "input.json"
    if text is not None:
        file.write_text(text)
    expected = f"error: {message.replace('FILE', str(file))}\n"
    assert ops("settle", "execution-1", "--input", str(file), "--yes") == (2, "", expected)


def test_what_does_not_exist_and_what_two_sagas_own_is_one_line(world: World, ops: Ops) -> None:
    assert ops("settle", "missing", "--yes")[2].startswith("error: no execution and no order missing: name the order")
    world.run_into_a_stop("1")
    forget(world)
    change("ORDER", set_to("saga_id", {"S": "another"}))
    assert ops("settle", "1", "--yes")[2].startswith("error: several sagas own rows of 1: name one of another, arn:aws")
    remove("ORDER")
    assert ops("settle", "1", "--yes")[0] == 0
