"""``python -m ops`` on the local cloud: how orders ended, and which sagas the stack itself reports as stuck."""

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from local.executions import path, start, start_and_wait, wait
from tests.e2e.conftest import Faults
from tests.e2e.operator_commands import CARD, Operator
from tests.e2e.orders import valid, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


@pytest.fixture(scope="module")
def ops(faulty_stack: Faults) -> Operator:
    return Operator(faulty_stack)


@pytest.fixture(scope="module")
def stuck(ops: Operator) -> tuple[str, dict[str, Any]]:
    """Return a saga that is stuck in RefundPayment, and its order."""
    order = valid(order_id=f"[bold]{uuid.uuid4()}[/bold]")
    faults = {"process_shipment": "crash after", "refund_payment": "crash before"}
    ops.faults.set(faults, order_id=order["order_id"])
    return start_and_wait(ops.deployment, order, within_seconds=120).arn, order


def aborted(ops: Operator) -> str:
    """Start an execution and stop it in ProcessPayment; return its ARN."""
    order = valid()
    ops.faults.set({"process_payment": "sleep before"}, order_id=order["order_id"])
    arn = start(ops.deployment, order)
    wait_until(lambda: "ProcessPayment" in path(ops.deployment, arn), "the payment is in progress")
    ops.deployment.stepfunctions.stop_execution(executionArn=arn, error="Operator", cause="stopped by hand")
    return arn


def test_the_stack_reports_stuck_and_aborted_sagas_and_no_clean_failure(
    ops: Operator, stuck: tuple[str, dict[str, Any]]
) -> None:
    clean = start(ops.deployment, valid(total=None))
    wait(ops.deployment, clean)
    (stuck_arn, order), aborted_arn = stuck, aborted(ops)

    def reported() -> set[str]:
        return {saga.execution.arn for saga in ops.deployment.client.stuck().sagas}

    wait_until(lambda: {stuck_arn, aborted_arn} <= reported(), "both stuck sagas have an entry")
    found = ops.stuck()
    assert clean not in found
    saga = found[stuck_arn]
    assert (saga["state"], saga["status"], saga["error"]) == ("RefundPayment", "FAILED", "RuntimeError")
    assert (saga["cause"], saga["order_id"]) == ("injected", order["order_id"])
    saga = found[aborted_arn]
    assert (saga["state"], saga["status"], saga["error"]) == ("ProcessPayment", "ABORTED", "Operator")
    assert saga["cause"] == "stopped by hand"
    assert list(found).index(aborted_arn) < list(found).index(stuck_arn), "newest first"

    scanned = ops.stuck("--scan")
    assert {stuck_arn, aborted_arn} <= set(scanned)
    assert clean not in scanned

    messages = ops.messages()
    reports = {report["executionArn"]: report for report in map(json.loads, messages)}
    assert clean not in reports
    report = reports[stuck_arn]
    assert (report["state"], report["error"], report["cause"]) == ("RefundPayment", "RuntimeError", "injected")
    assert not any(secret in message for message in messages for secret in (CARD, "card_no", order["address"]))


def test_list_and_show_describe_a_stuck_saga(ops: Operator, stuck: tuple[str, dict[str, Any]]) -> None:
    arn, order = stuck
    listed = {execution["execution_arn"]: execution for execution in ops.document("list")["executions"]}
    assert (listed[arn]["outcome"], listed[arn]["order_id"]) == ("stuck", order["order_id"])

    shown = ops.document("show", order["order_id"])
    assert {row["entity"]: row["status"] for row in shown["rows"]} == {
        "ORDER": "PENDING",
        "PAYMENT": "CHARGED",
        "SHIPMENT": "CANCELLED",
    }
    (saga,) = shown["sagas"]
    assert [step["state"] for step in saga["path"]] == [
        *("CreateOrder", "ProcessPayment", "ProcessShipment", "CancelShipment", "RefundPayment")
    ]
    assert [attempt["error"] for attempt in saga["path"][-1]["attempts"]] == ["RuntimeError"] * 3
    assert all(step["seconds"] >= 0 for step in saga["path"])

    out = ops("show", order["order_id"]).stdout
    assert out.startswith(f"order {order['order_id']}\n")
    assert "3 times RuntimeError: injected" in out
    assert "\x1b[" not in out, "no colour without a terminal"


def reports_of(ops: Operator, arn: str) -> int:
    """Return the number of reports of a saga in the queue."""
    return sum(json.loads(message)["executionArn"] == arn for message in ops.messages())


def test_a_saga_is_reported_again_when_it_gets_stuck_again_and_rolled_back_once_its_cause_is_fixed(
    ops: Operator, stuck: tuple[str, dict[str, Any]]
) -> None:
    arn, order = stuck
    wait_until(lambda: reports_of(ops, arn) == 1, "it is in the queue")
    ops.deployment.stepfunctions.redrive_execution(executionArn=arn)
    wait_until(lambda: reports_of(ops, arn) == 2, "it is in the queue again")
    assert (ops.stuck()[arn]["redrive_count"], ops.stuck()[arn]["redrive_status"]) == (1, "REDRIVABLE")

    ops.faults.set({}, order_id=order["order_id"])
    document = ops.document("resume", arn, "--yes", "--wait")
    assert (document["resumed"]["state"], document["ended"]["outcome"]) == ("RefundPayment", "rolled_back")
    assert (document["ended"]["redrive_count"], document["ended"]["error"]) == (2, "OrderFailed")
    assert arn not in ops.stuck()
    assert (reports_of(ops, arn), arn in ops.stuck("--scan")) == (0, False)
    (saga,) = ops.document("show", order["order_id"])["sagas"]
    assert [step["state"] for step in saga["path"]][-3:] == ["RefundPayment", "DeleteOrder", "OrderFailed"]
    assert [attempt["error"] for attempt in saga["path"][-3]["attempts"]] == ["RuntimeError"] * 6 + [None]
    assert {row["status"] for row in ops.document("show", order["order_id"])["rows"]} == {
        *("DELETED", "REFUNDED", "CANCELLED")
    }
    assert "has failed cleanly" in ops("resume", arn, "--yes", status=2).stderr


def test_an_aborted_saga_is_fulfilled_when_it_is_resumed(ops: Operator) -> None:
    arn = aborted(ops)
    order_id = ops.document("list")["executions"][0]["order_id"]
    ops.faults.set({}, order_id=order_id)
    document = ops.document("resume", arn, "--yes", "--wait")
    assert (document["resumed"]["state"], document["ended"]["outcome"]) == ("ProcessPayment", "fulfilled")
    assert path(ops.deployment, arn) == ("CreateOrder", "ProcessPayment", "ProcessShipment", "ConfirmOrder")


def test_a_closed_saga_is_listed_no_more_and_its_message_is_removed(ops: Operator) -> None:
    arn = aborted(ops)
    wait_until(lambda: arn in ops.stuck() and arn in str(ops.messages()), "the saga is reported")
    assert ops.document("close", arn, "--reason", "settled by hand")["closed"]["execution_arn"] == arn
    assert arn not in ops.stuck()
    assert arn not in ops.stuck("--scan")
    assert arn not in str(ops.messages())
    (saga,) = ops.document("show", arn)["sagas"]
    assert saga["closed"]["reason"] == "settled by hand"


def test_show_finds_a_rejected_saga_of_an_order(ops: Operator) -> None:
    order = valid()
    owner = start_and_wait(ops.deployment, order).arn
    rejected = start_and_wait(ops.deployment, order).arn
    shown = ops.document("show", order["order_id"], "--all")
    assert [saga["saga_id"] for saga in shown["sagas"]] == [rejected, owner]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "missing"), "no order missing in OrderSaga-faults: "),
        (("resume", "missing", "--yes"), "no execution missing in OrderSaga-faults: "),
        (("list", "--stack", "OrderSaga-none"), "no stack OrderSaga-none in us-east-1"),
        (("list", "--region", "eu-west-1"), "in eu-west-1: "),
    ],
)
def test_what_does_not_exist_is_reported_in_one_line(ops: Operator, arguments: tuple[str, ...], message: str) -> None:
    done = ops(*arguments, status=2)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_a_closed_pipe_is_not_an_error(ops: Operator, tmp_path: Path) -> None:
    """As with ``| head``: the reader closes the pipe before anything is written."""
    for suffix in ("", " --json"):
        errors = tmp_path / "errors"
        with errors.open("wb") as stream:
            subprocess.run(
                ["/bin/sh", "-c", f"{' '.join(ops.command)} list{suffix} | true"],
                env=ops.environment,
                stderr=stream,
                timeout=60,
                check=True,
            )
        assert errors.read_text() == ""
