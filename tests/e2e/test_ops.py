"""``python -m ops`` on the local cloud: what became of orders, and which sagas the stack itself reports as stuck."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import Faults

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

CARD = "123-1234"
REPORTED_WITHIN_SECONDS = 30


class Operator:
    """Runs commands on the stack with faults."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.cloud = faults.deployment.cloud
        self._stack = ("--stack", faults.deployment.stack)

    def __call__(self, *arguments: str, check: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "ops", *self._stack, *arguments],
            env=self.cloud.client_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == check, done.stdout + done.stderr
        assert CARD not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def document(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    def stuck(self, *arguments: str) -> dict[str, Any]:
        """The stuck sagas by their execution."""
        return {saga["execution_arn"]: saga for saga in self.document("stuck", *arguments)["stuck"]}

    def messages(self) -> list[str]:
        """What the queue holds, as it is."""
        sqs: SQSClient = self.cloud.session().client("sqs", endpoint_url=self.cloud.endpoint)
        url = self.faults.deployment.stuck_sagas_queue_url
        found: list[MessageTypeDef] = []
        while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found += got
        for message in found:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        return [message["Body"] for message in found]


@pytest.fixture
def ops(faults: Faults) -> Operator:
    return Operator(faults)


def good(**fields: Any) -> dict[str, Any]:
    return {"order_id": str(uuid.uuid4()), "total": 100, "card_no": CARD, "address": "123 st", **fields}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + REPORTED_WITHIN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {REPORTED_WITHIN_SECONDS} s: {what}"
        time.sleep(0.1)


def parked(faults: Faults, **fields: Any) -> tuple[str, dict[str, Any]]:
    """A saga that is stuck in RefundPayment, and its order."""
    faults.strike({"process_shipment": "crash after", "refund_payment": "crash before"})
    order = good(**fields)
    arn = faults.orders.start(order)
    faults.orders.end(arn, within_seconds=120)
    faults.strike({})
    return arn, order


def aborted(faults: Faults) -> str:
    """A saga that somebody has stopped in ProcessPayment."""
    faults.strike({"process_payment": "sleep before"})
    arn = faults.orders.start(good())
    wait_until(lambda: "ProcessPayment" in faults.orders.path(arn), "the payment is under way")
    faults.orders.stepfunctions.stop_execution(executionArn=arn, error="Operator", cause="stopped by hand")
    faults.strike({})
    return arn


def test_the_stack_reports_parked_and_aborted_sagas_and_no_clean_failure(ops: Operator) -> None:
    clean = ops.faults.orders.start(good(total=None))
    ops.faults.orders.end(clean)
    parked_arn, order = parked(ops.faults)
    aborted_arn = aborted(ops.faults)
    wait_until(lambda: {parked_arn, aborted_arn} <= set(ops.stuck()), "both stuck sagas are in the queue")

    found = ops.stuck()
    assert clean not in found
    told = found[parked_arn]
    assert (told["state"], told["status"], told["error"]) == ("RefundPayment", "FAILED", "RuntimeError")
    assert (told["cause"], told["order_id"]) == ("injected", order["order_id"])
    told = found[aborted_arn]
    assert (told["state"], told["status"], told["error"]) == ("ProcessPayment", "ABORTED", "Operator")
    assert told["cause"] == "stopped by hand"
    assert list(found).index(parked_arn) < list(found).index(aborted_arn), "oldest first"

    scanned = ops.stuck("--scan")
    assert {parked_arn, aborted_arn} <= set(scanned)
    assert clean not in scanned

    messages = ops.messages()
    reports = {report["executionArn"]: report for report in map(json.loads, messages)}
    assert clean not in reports
    assert {key: reports[parked_arn][key] for key in ("state", "error", "cause")} == {
        "state": "RefundPayment",
        "error": "RuntimeError",
        "cause": "injected",
    }
    assert not any(secret in message for message in messages for secret in (CARD, "card_no", "123 st"))


def test_list_and_show_tell_of_a_parked_saga(ops: Operator) -> None:
    arn, order = parked(ops.faults, order_id=f"[bold]{uuid.uuid4()}[/bold]")
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
    assert [attempt["error"] for attempt in saga["path"][-1]["attempts"]] == ["RuntimeError"] * 6
    assert all(step["seconds"] >= 0 for step in saga["path"])

    out = ops("show", order["order_id"]).stdout
    assert out.startswith(f"order {order['order_id']}\n")
    assert "6 times RuntimeError: injected" in out
    assert "\x1b[" not in out, "no colour where there is no terminal"


def test_resume_says_that_the_local_cloud_has_no_such_call(ops: Operator) -> None:
    arn, _ = parked(ops.faults)
    done = ops("resume", arn, "--yes", check=2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: the service that {ops.faults.deployment.stack} runs on has no Redrive")
    assert done.stderr.count("\n") == 1
    assert arn in ops.stuck("--scan")


def test_what_is_not_there_is_one_clear_line(ops: Operator) -> None:
    for arguments, says in {
        ("show", "no such order"): "knows no order no such order",
        ("resume", "none", "--yes"): "there is no execution none",
        ("list", "--stack", "OrderSaga-none"): "there is no stack OrderSaga-none in us-east-1",
        ("list", "--region", "eu-west-1"): "in eu-west-1: name another with --stage or --stack",
    }.items():
        done = ops(*arguments, check=2)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert done.stderr.startswith("error: ")
        assert says in done.stderr


def test_a_reader_that_has_had_enough_is_no_error(ops: Operator, tmp_path: Path) -> None:
    """What ``| head`` does: the reading end is closed before anything was written."""
    program = f"{sys.executable} -m ops --stack {ops.faults.deployment.stack} list | true"
    for suffix in ("", " --json"):
        errors = tmp_path / "errors"
        with errors.open("wb") as stream:
            subprocess.run(
                ["/bin/sh", "-c", program.replace(" |", f"{suffix} |")],
                env=ops.cloud.client_environment(),
                stderr=stream,
                timeout=60,
                check=True,
            )
        assert errors.read_text() == ""
