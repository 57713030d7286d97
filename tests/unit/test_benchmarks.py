"""The pure parts of the benchmarks: prices, quotas, counting, and the document. Nothing here is timed."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command_line
from benchmarks import billing, scale
from benchmarks.asset import reasons
from benchmarks.billing import Used
from benchmarks.cold_start import by_package
from benchmarks.cost import path_of
from benchmarks.developer_loop import profile, steps_of
from benchmarks.document import Goal, Part, Plot, Table, document, markdown_table
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import ratio, spread

PRICES: dict[str, dict[str, Any]] = {
    "step_functions": {"state_transition": 2.0, "read": dt.date(2026, 1, 2)},
    "lambda": {"request": 3.0, "gb_second_arm64": 5.0, "read": dt.date(2026, 1, 1)},
    "dynamodb": {"write_request_unit": 7.0, "read_request_unit": 11.0, "read": dt.date(2026, 1, 3)},
    "logs": {"gb_ingested": 13.0, "read": dt.date(2026, 1, 3)},
}
USED = Used(state_transitions=4, requests=3, gb_seconds=0.5, write_units=4, read_units=1, log_bytes=2 * 1024**3)
ORDER = scale.Order(used=USED, busy_seconds=0.05)


def test_a_bill_is_counts_times_prices_by_service() -> None:
    found = billing.bill(USED, PRICES, orders=10)
    assert (found.step_functions, found.functions, found.dynamodb, found.logs) == (80, 115, 390, 260)
    assert found.total == 845


def test_a_call_is_billed_by_the_millisecond_for_its_share_of_a_cpu_and_for_waiting() -> None:
    assert billing.billed_milliseconds(0.001, memory_mb=1769, requests=0) == 1
    assert billing.billed_milliseconds(0.0011, memory_mb=1769, requests=0) == 2
    assert billing.billed_milliseconds(0.001, memory_mb=256, requests=2) == 17
    assert billing.gb_seconds(4000, memory_mb=256) == 1


@pytest.mark.parametrize(("before", "after", "units"), [(0, 0, 1), (0, 1024, 1), (0, 1025, 2), (2049, 10, 3)])
def test_a_write_costs_a_unit_for_each_kib_of_the_larger_row(before: int, after: int, units: int) -> None:
    assert billing.write_units(before, after) == units


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "é"}, 2),
        ({"N": "100"}, 2),
        ({"N": "-12.34"}, 4),
        ({"BOOL": True}, 1),
        ({"L": [{"S": "abc"}]}, 3 + 1 + 3),
        ({"M": {"ab": {"S": "c"}}}, 3 + 1 + 2 + 1),
    ],
)
def test_the_size_of_a_row_is_its_names_and_values(value: dict[str, Any], size: int) -> None:
    assert billing.row_size({"name": value}) == 4 + size


def test_a_value_of_an_unknown_kind_has_no_size() -> None:
    with pytest.raises(ValueError, match="type XX: expected"):
        billing.row_size({"name": {"XX": "?"}})


def test_every_price_and_every_quota_names_its_page_and_the_day_it_was_read() -> None:
    for entry in (*billing.prices().values(), *scale.quotas().values()):
        assert entry["source"].startswith(("https://aws.amazon.com/", "https://docs.aws.amazon.com/"))
        assert isinstance(entry["read"], dt.date)
    assert billing.oldest(PRICES) == dt.date(2026, 1, 1)


def entered(name: str, kind: str = "TaskStateEntered") -> dict[str, Any]:
    return {"type": kind, "stateEnteredEventDetails": {"name": name}}


def scheduled(resource: str = "lambda") -> dict[str, Any]:
    return {"type": "TaskScheduled", "taskScheduledEventDetails": {"resourceType": resource}}


def test_states_entered_and_retries_are_transitions_and_only_calls_of_functions_are_calls() -> None:
    failed = {"type": "TaskFailed"}
    found = path_of(
        [
            {"type": "ExecutionStarted"},
            *(entered("CreateOrder"), scheduled(), failed, scheduled(), failed, scheduled()),
            *(entered("ConfirmOrder"), scheduled("dynamodb")),
            entered("OrderFailed", "FailStateEntered"),
        ]
    )
    assert found.transitions == 3 + 2
    assert found.functions == ["create_order"] * 3
    assert found.writes_of_its_own == 1
    assert found.events["TaskFailed"] == 2


def test_the_tightest_quota_comes_first_and_says_what_a_rate_needs() -> None:
    found = scale.limits(1_000, ORDER, scale.quotas())
    assert [(limit.name, limit.orders_per_second) for limit in found[:2]] == [
        ("start_execution", 300),
        ("new_table_writes", 1_000),
    ]
    assert not found[0].sufficient
    assert found[0].needed == 1_000
    assert found[1].sufficient


def test_a_month_is_thirty_days_of_the_rate() -> None:
    assert scale.dollars_a_month(2, ORDER, PRICES) == pytest.approx(billing.bill(USED, PRICES).total * 2 * 2_592_000)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "many", "1000001"])
def test_a_rate_that_is_none_is_refused_in_one_line(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        scale.main([f"--orders-per-second={rate}"])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_the_calculator_prints_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "counted", lambda: ORDER)
    assert scale.main(["--orders-per-second=1000", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["first_limit"], told["sustained_by_default"]) == ("start_execution", 300)


@pytest.mark.parametrize("content", [None, "", "[]", '{"parts": {}}', '{"parts": {"cost": {"figures": {"used": 1}}}}'])
def test_without_the_counts_the_calculator_says_how_to_get_them(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "performance.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BenchmarkError, match="run `make bench`"):
        scale.counted(file)
    counted = scale.counted
    monkeypatch.setattr(scale, "counted", lambda: counted(file))
    assert scale.main(["--orders-per-second=1"]) == 2
    assert capsys.readouterr().err.startswith("error: performance.json")


def test_an_unknown_part_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["warm"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: argument PART: there is no part 'warm'")


def test_a_ratio_is_of_runs_side_by_side_so_that_what_slowed_both_does_not_count() -> None:
    assert ratio([2, 20, 9], [1, 10, 3]).median == 2
    assert f"{spread([1, 2, 3, 4, 5]):.1f}" == "3.0 (2.0 to 4.0)"
    assert spread([7]).median == 7


def test_an_import_profile_is_added_up_by_package() -> None:
    told = """import time: self [us] | cumulative | imported package
import time:       100 |        100 |   json
import time:       200 |        300 | botocore.session
import time:       100 |        100 | botocore
{}
"""
    assert by_package(told) == [("botocore", 2, 0.75), ("the standard library", 1, 0.25)]


def test_the_steps_of_the_demo_are_read_from_its_progress() -> None:
    told = "  0.0 s  starting\n  0.5 s  cdk deploy: a table\nended    SUCCEEDED\n 10.0 s  done: all\n"
    assert steps_of(told) == {"starting": 0.5, "cdk deploy": 9.5}


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(1.0, False, True), (1.1, False, False), (1.0, True, True), (0.9, True, False)]
)
def test_a_goal_is_met_on_its_right_side(*, value: float, at_least: bool, met: bool) -> None:
    assert Goal(what="it", value=value, limit=1, at_least=at_least).met is met


PART = Part(
    name="one",
    title="One",
    text=["Words."],
    tables=[Table(title="Numbers", columns=["a", "b"], rows=[["x|y", "1"]])],
    plots=[Plot(name="one", title="Picture", kind="bars", x=["x"], series={"a": [1.0], "b": [2.0]}, unit="s")],
    goals=[Goal(what="it", value=2, limit=1, beyond="the rest"), Goal(what="that", value=1, limit=1, beyond="none")],
    figures={"spread": spread([1.0, 2.0, 3.0])},
)


def test_what_is_in_the_asset_is_there_for_the_reason_that_its_line_gives() -> None:
    required = "# Packages\na-b==1.0  # for its sake\nc==2.0\n"
    assert reasons(required) == {"a_b": "for its sake"}


def test_a_table_escapes_what_would_break_it() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


def test_the_document_has_the_date_the_goals_the_tables_and_the_plots(tmp_path: Path) -> None:
    command_line.write([PART], taken={"date": "2026-01-01"}, folder=tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert text == document([PART], taken={"date": "2026-01-01"}, plots_in="performance")
    for expected in (
        "| date | 2026-01-01 |",
        "| it | at most 1 | 2.00 | **not met**: the rest |",
        "| 1.00 | met |",
        "x\\|y",
    ):
        assert expected in text
    assert "![Picture](performance/one.svg)" in text
    assert (tmp_path / "performance" / "one.svg").read_text().lstrip().startswith("<?xml")
    told = json.loads((tmp_path / "performance.json").read_text())
    assert told["parts"]["one"]["figures"]["spread"]["median"] == 2
    assert told["parts"]["one"]["goals"][0]["met"] is False


def test_the_same_numbers_make_the_same_picture_and_old_pictures_go(tmp_path: Path) -> None:
    pictures = []
    (tmp_path / "performance").mkdir()
    (tmp_path / "performance" / "old.svg").touch()
    for _ in range(2):
        command_line.write([PART], taken={}, folder=tmp_path)
        pictures.append((tmp_path / "performance" / "one.svg").read_bytes())
    assert pictures[0] == pictures[1]
    assert [path.name for path in (tmp_path / "performance").iterdir()] == ["one.svg"]


def test_the_profile_of_a_synthesis_adds_up_in_each_round() -> None:
    cpu = {
        "saga": [6.0, 8.0, 10.0],
        "saga, unchecked": [3.0, 4.0, 5.0],
        "empty": [3.0, 2.0, 5.0],
        "empty, unchecked": [1.5, 1.0, 2.5],
    }
    rows = [row[1:] for row in profile(cpu)]
    assert rows == [["0.50", "1.5"], ["0.50", "1.5"], ["0.50", "2.5"], ["0.50", "2.5"], ["2.00", "8.0"]]
