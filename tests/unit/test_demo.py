"""The demo: how an execution must end, and what differs from that."""

import contextlib
import io
import shutil
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from local import demo, stuck_saga
from local.__main__ import main
from local.demo import Scenario
from local.executions import EndedExecution
from local.expectations import ExpectedEnd
from local.order_demo import ORDER_DEMO

ENDED = EndedExecution(arn="arn", status="SUCCEEDED", error=None, cause=None, output=None, states=("A", "B"))
STUCK = replace(ENDED, status="FAILED", error="Broken")
DEMO = replace(ORDER_DEMO, amount="total")
EXPECTED = ExpectedEnd(status="SUCCEEDED", error=None, states=("A", "B"), statuses={"ROW": "LIVE"})


@pytest.mark.parametrize(
    ("ended", "statuses", "found"),
    [
        (ENDED, {"ROW": "LIVE"}, []),
        (replace(ENDED, status="FAILED"), {"ROW": "LIVE"}, ["status is FAILED, expected SUCCEEDED"]),
        (replace(ENDED, error="Odd"), {"ROW": "LIVE"}, ["error is Odd, expected None"]),
        (replace(ENDED, states=("A",)), {"ROW": "LIVE"}, ["path is A, expected A > B"]),
        (ENDED, {}, ["rows is {}, expected {'ROW': 'LIVE'}"]),
    ],
)
def test_a_demo_names_what_differs_from_the_contract(
    ended: EndedExecution, statuses: dict[str, str], found: list[str]
) -> None:
    assert demo.differences(EXPECTED, ended, statuses) == found


@pytest.mark.parametrize(
    ("status", "balance", "authorized", "found"),
    [
        ("SUCCEEDED", "100", "0", []),
        ("FAILED", "0", "0", []),
        ("SUCCEEDED", "200", "0", ["the provider's balance is 200, expected 100"]),
        ("SUCCEEDED", "0", "0", ["the provider's balance is 0, expected 100"]),
        ("SUCCEEDED", "100", "60", ["the provider still holds 60 for it, expected 0"]),
        ("FAILED", "60", "0", ["the provider's balance is 60, expected 0"]),
        ("FAILED", "0", "60", ["the provider still holds 60 for it, expected 0"]),
    ],
)
def test_a_demo_names_a_balance_other_than_the_price(
    monkeypatch: pytest.MonkeyPatch, status: str, balance: str, authorized: str, found: list[str]
) -> None:
    ended = replace(ENDED, status=status, states=())
    monkeypatch.setattr(demo, "start", lambda _deployment, _input: ended.arn)
    monkeypatch.setattr(demo, "wait", lambda _deployment, _arn, **_: ended)
    deployment: Any = SimpleNamespace(client=SimpleNamespace(rows=lambda _key: ()))
    provider: Any = SimpleNamespace(
        ledger=lambda _key: "its ledger",
        balance=lambda _key: Decimal(balance),
        authorized=lambda _key: Decimal(authorized),
    )
    expected = {"1-success": ExpectedEnd(status=status, error=None, states=(), statuses={})}
    shown = io.StringIO()
    differences = demo.run(deployment, Console(file=shown), DEMO, expected, provider)
    assert differences == [f"1-success: {problem}" for problem in found]
    assert "its ledger" in shown.getvalue()


@pytest.mark.parametrize(
    ("responses", "found"),
    [
        (["409 StepCompensated"], []),
        (["200 ACCEPTED"], ["the responses are ['200 ACCEPTED'], expected ['409 StepCompensated']"]),
        ([], ["the responses are [], expected ['409 StepCompensated']"]),
    ],
)
def test_a_demo_names_a_response_other_than_the_expected_one(
    monkeypatch: pytest.MonkeyPatch, responses: list[str], found: list[str]
) -> None:
    ended = replace(ENDED, states=())
    monkeypatch.setattr(demo, "start", lambda _deployment, _input: ended.arn)
    monkeypatch.setattr(demo, "wait", lambda _deployment, _arn, **_: ended)
    deployment: Any = SimpleNamespace(client=SimpleNamespace(rows=lambda _key: ()))
    late = Scenario(title="a late answer", responses=["409 StepCompensated"])
    waiting = replace(ORDER_DEMO, scenarios={"1-success": late}, answering=lambda *_: contextlib.nullcontext(responses))
    expected = {"1-success": ExpectedEnd(status=ended.status, error=ended.error, states=(), statuses={})}
    differences = demo.run(deployment, Console(file=io.StringIO()), waiting, expected)
    assert differences == [f"1-success: {problem}" for problem in found]


@pytest.mark.parametrize(
    ("ended", "alert", "found"),
    [
        (STUCK, {"executionArn": "arn", "state": "B"}, []),
        (replace(STUCK, status="SUCCEEDED"), {"executionArn": "arn", "state": "B"}, ["its end is SUCCEEDED"]),
        (replace(STUCK, states=("A",)), {"executionArn": "arn", "state": "B"}, ["its last state is A"]),
        (STUCK, {"executionArn": "other", "state": "B"}, ["the execution of the alert is other"]),
        (STUCK, {"executionArn": "arn", "state": "A"}, ["the state of the alert is A"]),
        (STUCK, {}, ["the execution of the alert is None", "the state of the alert is None"]),
    ],
)
def test_a_demo_names_a_saga_that_is_not_stuck_or_not_reported(
    ended: EndedExecution, alert: dict[str, str], found: list[str]
) -> None:
    problems = stuck_saga.wrong_stop(ended, alert, "B")
    assert [problem.partition(", expected ")[0] for problem in problems] == found


def test_the_expected_ends_of_the_orders_are_those_of_the_contract() -> None:
    ends = ORDER_DEMO.expected_ends()
    complete = ends["1-success"]
    assert complete.states == ("CreateOrder", "ProcessPayment", "ProcessShipment", "ConfirmOrder")
    assert complete.statuses == {"ORDER": "CONFIRMED", "PAYMENT": "CHARGED", "SHIPMENT": "BOOKED"}
    failed = ends["3-failed-payment"]
    assert (failed.status, failed.error) == ("FAILED", "OrderFailed")
    assert failed.states == ("CreateOrder", "ProcessPayment", "RefundPayment", "DeleteOrder", "OrderFailed")
    assert failed.statuses == {"ORDER": "DELETED", "PAYMENT": "REFUNDED"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the demo names this file, which does not exist: write it"),
        ("{", "this is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "the order must be a JSON object"),
        ("{}", "the order has no text order_id: add it"),
        ('{"order_id": 1}', "the order has no text order_id: add it"),
    ],
)
def test_an_input_that_no_saga_can_start_with_ends_the_demo_before_a_cloud_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    shutil.copytree(ORDER_DEMO.folder, tmp_path / "scenarios")
    file = tmp_path / "scenarios/2-failed-order.json"
    file.unlink() if text is None else file.write_text(text)
    monkeypatch.chdir(tmp_path)
    command_line = sys.modules[main.__module__]
    monkeypatch.setattr(command_line, "ORDER_DEMO", replace(ORDER_DEMO, folder=tmp_path / "scenarios"))
    monkeypatch.setattr(command_line, "local_cloud", lambda *_: pytest.fail("a cloud is started"))
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == f"error: scenarios/2-failed-order.json: {message}\n"
