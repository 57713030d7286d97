"""The arithmetic of the benchmarks: prices, quotas, goals and the document. Nothing here is timed."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command_line
from benchmarks import billing, document, edges, scale
from benchmarks.billing import Usage
from benchmarks.cost import path_of
from benchmarks.document import Goal, Part
from benchmarks.measuring import ratios, shown

PRICES: dict[str, dict[str, Any]] = {
    "step_functions": {"state_transition": 2.0},
    "lambda": {"request": 3.0, "gb_second_arm64": 5.0},
    "dynamodb": {"write_request_unit": 7.0, "read_request_unit": 11.0},
    "logs": {"gb_ingested": 13.0},
    "api_gateway": {"http_request": 17.0},
    "eventbridge": {"custom_event": 19.0},
}
USAGE = Usage(transitions=4, calls=3, milliseconds=2000, write_units=4, log_bytes=2 * 1024**3)


def test_a_bill_is_counts_times_prices_by_service() -> None:
    # 2 s at 256 MB are half a GB-second.
    assert billing.bill(USAGE, PRICES) == {"Step Functions": 8, "Lambda": 9 + 2.5, "DynamoDB": 28, "logs": 26}


def test_a_request_is_billed_with_its_read_and_its_line_in_the_access_log_and_an_event_with_neither() -> None:
    request = edges.bill(PRICES, 2000, 1024**3 - edges.ACCESS_LOG, is_event=False)
    assert request == {"API Gateway": 17, "EventBridge": 0, "Lambda": 3 + 2.5, "DynamoDB": 11, "logs": 13}
    event = edges.bill(PRICES, 2000, 1024**3, is_event=True)
    assert event == {"API Gateway": 0, "EventBridge": 19, "Lambda": 3 + 2.5, "DynamoDB": 0, "logs": 13}


def test_a_call_is_billed_by_the_millisecond_for_its_share_of_a_cpu_and_its_request() -> None:
    # 256 MB get 1 / 6.91 of a CPU.
    assert [billing.billed_milliseconds(seconds) for seconds in (0, 0.001, 0.0015)] == [5, 12, 16]


@pytest.mark.parametrize(("size", "units"), [(0, 1), (1024, 1), (1025, 2), (2049, 3)])
def test_a_write_costs_a_unit_for_each_started_kb_of_the_row(size: int, units: int) -> None:
    assert billing.write_units(size) == units


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "é"}, 2),
        ({"N": "100"}, 2),
        ({"N": "12.34"}, 3),
        ({"L": [{"S": "abc"}]}, 3 + 1 + 3),
        ({"M": {"ab": {"S": "c"}}}, 3 + 1 + 2 + 1),
    ],
)
def test_the_size_of_a_row_is_that_of_its_names_and_values(value: dict[str, Any], size: int) -> None:
    assert billing.row_size({"name": value}) == 4 + size


def test_an_attribute_of_an_unknown_type_has_no_size() -> None:
    with pytest.raises(ValueError, match="type XX"):
        billing.row_size({"name": {"XX": "?"}})


@pytest.mark.parametrize("name", ["prices", "quotas"])
def test_every_price_and_every_quota_names_its_page_and_the_day_it_was_read(name: str) -> None:
    entries = billing.listed(name)
    for entry in entries.values():
        assert entry["source"].startswith(("https://aws.amazon.com/", "https://docs.aws.amazon.com/"))
        assert entry["read"] >= billing.oldest(entries) > dt.date(2026, 1, 1)


def test_a_history_has_a_transition_for_each_state_and_each_retry_and_a_write_for_each_success() -> None:
    def entered(name: str) -> dict[str, Any]:
        return {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": name}}

    scheduled, failed, succeeded = ({"type": f"Task{what}"} for what in ("Scheduled", "Failed", "Succeeded"))
    found = path_of(
        [
            {"type": "ExecutionStarted"},
            *(entered("CreateOrder"), scheduled, failed, scheduled, failed, scheduled, succeeded),
            *(entered("ConfirmOrder"), scheduled, succeeded),
            {"type": "SucceedStateEntered", "stateEnteredEventDetails": {"name": "Done"}},
        ]
    )
    assert found.transitions == 3 + 2
    assert found.functions == ["create_order"] * 3
    assert found.writes == 2


def test_the_tightest_quota_comes_first_and_a_rate_says_what_to_raise() -> None:
    found = scale.allowed(USAGE)
    assert list(found.items())[:2] == [("start_execution", 300), ("lambda_concurrency", 500)]
    rows = scale.needs(USAGE, [400]).splitlines()
    assert rows[2].startswith("| StartExecution, STANDARD | 300 | 300 | 400 |")
    assert rows[3].endswith("| 500 | enough |")


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "many"])
def test_an_invalid_rate_is_one_line(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        scale.main([f"--orders-per-second={rate}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"cost": {"figures": {"usage": 1}}}'])
def test_the_scale_of_a_rate_needs_the_figures_of_a_run(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale, "FIGURES", tmp_path / "performance.json")
    if content is not None:
        scale.FIGURES.write_text(content)
    assert scale.main(["--orders-per-second=1"]) == 2
    assert "run `make bench`" in capsys.readouterr().err


def test_an_unknown_part_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["warm"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: invalid part 'warm': use ")


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratios([2, 20, 9], [1, 10, 3]) == [2, 2, 3]
    assert shown([1, 2, 3, 4, 5]) == "3.00 (2.00 to 4.00)"


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(1.0, False, True), (1.1, False, False), (1.0, True, True), (0.9, True, False)]
)
def test_a_goal_is_met_on_its_side_of_the_limit(*, value: float, at_least: bool, met: bool) -> None:
    assert Goal("it", value, 1, at_least=at_least).is_met is met


def test_a_table_escapes_what_would_break_it() -> None:
    assert document.table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n|---|---:|\n| x\\|y | 1 |"


def test_the_document_is_the_template_with_goals_and_findings(tmp_path: Path) -> None:
    template = tmp_path / "template.md"
    template.write_text("{circumstances}\n{goals}\n{bills}\n")
    usage = {"usage": {"order": {"1-success": vars(USAGE)}}}
    part = Part(values={"bills": "a bill"}, figures=usage, goals=[Goal("speed", 2, 1)])
    document.write({"cost": part}, "today", tmp_path, template)
    text = (tmp_path / "performance.md").read_text()
    assert text.startswith("today\n")
    assert "| speed | at most 1 | 2.00 | **not met** |" in text
    assert text.endswith("\na bill\n")
    written = json.loads((tmp_path / "performance.json").read_text())["cost"]
    assert written["figures"] == usage
    assert written["goals"] == [{"name": "speed", "value": 2, "limit": 1, "at_least": False}]
