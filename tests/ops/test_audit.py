"""``ops audit``: each damage to a table is found, and a table without damage has no finding."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambdas.saga_runtime.clock import moment
from ops import audit as ops_audit
from ops.__main__ import main
from ops.saga_steps import DeployedStep, read_steps
from tests.fixtures import store_item, stored_item
from tests.ops.conftest import CARD, World
from tests.saga.interpreter import Execution
from tests.sagas import each_saga

TRIP_STEPS = "tests.trips"
Item = dict[str, Any]
Audit = Callable[..., tuple[int, Any]]


@pytest.fixture
def audit(world: World, capsys: pytest.CaptureFixture[str]) -> Audit:
    """Return a function that audits the world; it returns the exit status and the document."""

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        module = world.machine.demo.specs_module.__name__
        status = main(["audit", "--json", "--steps", module, *arguments], connect=lambda _: world.client)
        out, err = capsys.readouterr()
        assert CARD not in out + err
        return status, json.loads(out)

    return run


def change(entity: str, changed: Callable[[Item], object], order_id: str = "1") -> None:
    """Change a row as something other than the saga would."""
    item = json.loads(json.dumps(stored_item(order_id, entity)))
    changed(item)
    store_item(order_id, entity, item)


def remove(entity: str, order_id: str = "1") -> None:
    store_item(order_id, entity, None)


@each_saga
def test_a_table_without_damage_has_no_finding(world: World, audit: Audit) -> None:
    for number in range(3):
        world.run(f"fulfilled {number}")
        world.run_into_a_failure(f"rolled back {number}")
        world.run_into_a_failure(f"tried again {number}")
        world.run(f"tried again {number}")
        world.run(f"tried again {number}")
    status, document = audit()
    assert (status, document["findings"]) == (0, [])
    assert (document["orders"], document["executions"]) == (9, 15)
    demo = world.machine.demo
    # Those that are rolled back did not reach retriable steps.
    rolled_back = max(len(end.statuses) for end in demo.expected_ends().values() if end.error)
    assert document["rows"] == 6 * len(demo.specs) + 3 * rolled_back


@each_saga
def test_a_stuck_saga_with_live_rows_is_found(world: World, audit: Audit) -> None:
    world.run("fulfilled")
    stuck = world.run_into_a_stop("1")
    status, document = audit()
    (finding,) = document["findings"]
    assert (status, finding["kind"], finding["order_id"], finding["saga_id"]) == (1, "stuck", "1", stuck.arn)
    assert finding["remedy"].endswith(f"python -m ops resume {stuck.arn.rsplit(':', 1)[-1]}")


def test_a_saga_that_is_too_old_to_resume_is_to_be_settled(world: World, audit: Audit) -> None:
    stuck = world.run_into_a_stop("1")
    world.describe_with({"stopDate": datetime.now(UTC) - timedelta(days=15)})
    (finding,) = audit()[1]["findings"]
    assert (finding["kind"], finding["remedy"]) == ("live", f"python -m ops settle {stuck.arn.rsplit(':', 1)[-1]}")


@pytest.mark.parametrize(("days", "kinds"), [(1, ["stuck"]), (15, [])])
def test_a_complete_saga_is_a_finding_only_while_it_can_be_resumed(
    world: World, audit: Audit, days: int, kinds: list[str]
) -> None:
    """Its last write was made, but its response was lost. Later, nothing is left to settle."""
    confirmed = world.run("1")
    listed = {"executionArn": confirmed.arn, "status": "FAILED", "startDate": datetime.now(UTC)}
    world.answer("ListExecutions", {"executions": [listed]})
    stopped = datetime.now(UTC) - timedelta(days=days)
    world.describe_with({"status": "FAILED", "redriveStatus": "REDRIVABLE", "stopDate": stopped})
    assert [finding["kind"] for finding in audit()[1]["findings"]] == kinds


def set_to(name: str, value: Mapping[str, Any]) -> Callable[[Item], object]:
    return lambda item: item.__setitem__(name, value)


def add_entry(status: str, saga_id: str | None = None) -> Callable[[Item], object]:
    def changed(item: Item) -> None:
        entry = json.loads(json.dumps(item["history"]["L"][-1]))
        entry["M"]["status"] = {"S": status}
        if saga_id:
            entry["M"]["saga_id"] = {"S": saga_id}
        item["history"]["L"].append(entry)

    return changed


def add_late_action(item: Item) -> None:
    """Let the action follow the compensation of the same saga."""
    add_entry("REFUNDED")(item)
    add_entry("CHARGED")(item)
    item["history"]["L"].pop(0)


@pytest.mark.parametrize(
    ("entity", "changed", "kind", "problem"),
    [
        ("PAYMENT", None, "incomplete", "it succeeded, but PAYMENT is missing"),
        (
            "SHIPMENT",
            set_to("saga_id", {"S": "arn:other"}),
            "incomplete",
            "it succeeded, but SHIPMENT is another saga's",
        ),
        ("PAYMENT", set_to("status", {"S": "REFUNDED"}), "incomplete", "it succeeded, but PAYMENT is REFUNDED"),
        ("PAYMENT", set_to("status", {"S": "REFUNDED"}), "row", "PAYMENT is REFUNDED, its history ends with CHARGED"),
        ("PAYMENT", set_to("status", {"S": "GONE"}), "row", "PAYMENT has the unknown status GONE"),
        ("PAYMENT", lambda item: item.pop("history"), "row", "PAYMENT lacks what every row has: "),
        ("ORDER", set_to("saga_started_at", {"S": "noon"}), "row", "ORDER lacks what every row has: "),
        ("PAYMENT", set_to("entity", {"S": "GIFT"}), "row", "GIFT is not a row of this saga"),
        ("PAYMENT", add_entry("CHARGED"), "row", "PAYMENT was 2 times CHARGED"),
        ("PAYMENT", add_late_action, "row", "PAYMENT was CHARGED after REFUNDED"),
        ("PAYMENT", add_entry("CHARGED", "arn:other"), "row", "was made CHARGED by arn:other"),
        ("PAYMENT", set_to("history", {"L": []}), "row", "PAYMENT is CHARGED, its history ends with missing"),
    ],
)
def test_damage_to_a_confirmed_order_is_found(
    world: World, audit: Audit, entity: str, changed: Callable[[Item], object] | None, kind: str, problem: str
) -> None:
    world.run("1")
    world.run("2")
    if changed:
        change(entity, changed)
    else:
        remove(entity)
    status, document = audit()
    assert status == 1
    assert {finding["order_id"] for finding in document["findings"]} == {"1"}
    found = [finding for finding in document["findings"] if problem in finding["problem"]]
    assert [finding["kind"] for finding in found] == [kind], document["findings"]
    assert found[0]["remedy"]


def test_an_order_whose_rows_were_deleted_is_found(world: World, audit: Audit) -> None:
    confirmed = world.run("1")
    for entity in ("ORDER", "PAYMENT", "SHIPMENT"):
        remove(entity)
    _, document = audit()
    (finding,) = document["findings"]
    assert (finding["kind"], finding["saga_id"]) == ("incomplete", confirmed.arn)
    assert finding["problem"] == "it succeeded, but ORDER is missing, PAYMENT is missing, SHIPMENT is missing"


def let_run(world: World, execution: Execution, *, since: datetime) -> None:
    """Let Step Functions answer that an execution runs, as the only one."""
    world.answer(
        "ListExecutions",
        {"executions": [{"executionArn": execution.arn, "status": "RUNNING", "startDate": since}]},
    )
    world.describe_with({"status": "RUNNING"})


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda: remove("PAYMENT"), "PAYMENT is missing"),
        (lambda: change("PAYMENT", set_to("saga_id", {"S": "arn:other"})), "PAYMENT is another saga's"),
    ],
)
def test_a_saga_that_confirms_an_order_without_all_rows_is_found(
    world: World, audit: Audit, damage: Callable[[], object], problem: str
) -> None:
    confirmed = world.run("1")
    let_run(world, confirmed, since=datetime.now(UTC))
    assert audit()[1]["findings"] == []
    damage()
    found = [finding for finding in audit()[1]["findings"] if finding["saga_id"] == confirmed.arn]
    assert [(finding["kind"], finding["problem"]) for finding in found] == [
        ("incomplete", f"it confirms the order, but {problem}")
    ]


@pytest.mark.parametrize("saga", ["parcel_pickup"], indirect=True)
@pytest.mark.parametrize(("entity", "kinds"), [("LABEL", []), ("PICKUP", ["incomplete"])])
def test_only_a_retriable_step_may_write_its_row_after_a_confirmation(
    world: World, entity: str, kinds: list[str]
) -> None:
    let_run(world, world.run("1"), since=datetime.now(UTC))
    remove(entity)

    def with_confirmation(step: DeployedStep) -> DeployedStep:
        """Let the goods be confirmed, of a saga that confirms them before it prints the label."""
        if step.spec is None or step.spec.entity != "GOODS":
            return step
        return replace(step, spec=replace(step.spec, live="CLAIMED", confirmed=step.spec.live))

    steps = [with_confirmation(step) for step in read_steps(world.client, world.machine.demo.specs_module.__name__)]
    result = ops_audit.Audit(world.client, steps, limit=timedelta(days=1)).run(progress=lambda _rows: None)
    assert [finding.kind for finding in result.findings] == kinds


def test_a_live_row_of_a_saga_that_was_rolled_back_is_found(world: World, audit: Audit) -> None:
    ended = world.run_into_a_failure("1")

    def revive(item: Item) -> None:
        item["status"] = {"S": "CHARGED"}
        item["history"]["L"].pop()

    change("PAYMENT", revive)
    _, document = audit()
    (finding,) = document["findings"]
    assert (finding["kind"], finding["problem"]) == ("live", "it failed cleanly, but PAYMENT is CHARGED")
    assert finding["remedy"] == f"python -m ops settle {ended.arn.rsplit(':', 1)[-1]}"


@each_saga
def test_a_live_row_of_a_saga_that_nobody_knows_is_found(world: World, audit: Audit) -> None:
    stuck = world.run_into_a_stop("1")
    confirmed = world.run("2")
    for arn in (stuck.arn, confirmed.arn):
        world.reject("DescribeExecution", "ExecutionDoesNotExist")
        world.answer("ListExecutions", {"executions": []})
        for entity in world.machine.demo.specs:
            key = "1" if arn == stuck.arn else "2"
            if stored_item(key, entity):
                change(entity, set_to("saga_started_at", {"S": "2026-01-01T00:00:00.000Z"}), key)
    _, document = audit()
    (finding,) = document["findings"]
    assert (finding["kind"], finding["remedy"]) == ("live", "python -m ops settle 1")
    assert finding["problem"].startswith("Step Functions does not know it, but ")


def test_the_execution_of_the_same_name_is_another_saga_if_it_started_at_another_time(
    world: World, audit: Audit
) -> None:
    """AWS allows the name of an execution again after 90 days."""
    world.run("1")
    for entity in world.machine.demo.specs:
        change(entity, set_to("saga_started_at", {"S": "2026-01-01T00:00:00.000Z"}))
    change("ORDER", set_to("status", {"S": "PENDING"}))
    change("ORDER", lambda item: item.pop("confirmed_at"))
    _, document = audit()
    assert [finding["problem"] for finding in document["findings"]] == [
        "Step Functions does not know it, but ORDER is PENDING, PAYMENT is CHARGED, SHIPMENT is BOOKED"
    ]


def test_a_live_row_of_a_direct_call_is_found(world: World, audit: Audit) -> None:
    world.machine.call("CreateOrder", world.machine.demo.input("1-success") | {"order_id": "Ada's 1"})
    _, document = audit()
    (finding,) = document["findings"]
    assert (finding["kind"], finding["saga_id"]) == ("live", "direct")
    # As a shell reads it.
    assert shlex.split(finding["remedy"]) == ["python", "-m", "ops", "settle", "Ada's 1"]


@pytest.mark.parametrize(("limit", "kinds"), [("20", ["slow"]), ("40", [])])
def test_a_saga_that_runs_for_longer_than_the_limit_is_found(
    world: World, audit: Audit, limit: str, kinds: list[str]
) -> None:
    let_run(world, world.run_into_a_stop("1"), since=datetime.now(UTC) - timedelta(minutes=30))
    _, document = audit("--limit", limit)
    assert [finding["kind"] for finding in document["findings"]] == kinds


@pytest.mark.parametrize("saga", ["parcel_pickup"], indirect=True)
@pytest.mark.parametrize(
    ("hours", "arguments", "kinds"),
    [(2, (), []), (48.5, (), []), (49.5, (), ["slow"]), (2, ("--limit", "60"), ["slow"])],
)
def test_the_time_in_which_an_answer_may_come_is_not_slow(
    *, world: World, audit: Audit, hours: float, arguments: tuple[str, ...], kinds: list[str]
) -> None:
    """A pickup may be confirmed within two days."""
    started = datetime.now(UTC) - timedelta(hours=hours)

    def look() -> list[str]:
        def start_earlier(parsed: dict[str, Any], **_: Any) -> None:
            for one in parsed["executions"]:
                one["startDate"] = started

        world.stepfunctions.meta.events.register("after-call.stepfunctions.ListExecutions", start_earlier)
        return [finding["kind"] for finding in audit(*arguments)[1]["findings"]]

    assert world.run_waiting(look)[1] == kinds


def test_a_redrive_begins_a_new_time_limit(world: World, audit: Audit) -> None:
    stuck = world.run_into_a_stop("1")
    now = datetime.now(UTC)
    listed = {"executionArn": stuck.arn, "status": "RUNNING", "startDate": now - timedelta(days=1), "redriveDate": now}
    world.answer("ListExecutions", {"executions": [listed]})
    world.describe_with({"status": "RUNNING"})
    assert audit()[1]["findings"] == []


def test_what_was_read_too_early_is_no_finding(world: World, audit: Audit) -> None:
    """A scan is eventually consistent, and the list of executions is older than the rows."""
    world.run("1")
    world.run("2")
    world.answer("ListExecutions", {"executions": []})

    def forget(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Items"] = [item for item in parsed["Items"] if item["entity"]["S"] != "PAYMENT"]

    world.client.dynamodb.meta.events.register("after-call.dynamodb.Scan", forget)
    status, document = audit()
    assert (status, document["findings"], document["rows"]) == (
        *(0, []),
        2 * (len(world.machine.demo.specs) - 1),
    )


LONG_AGO, RECENTLY = (datetime.now(UTC) - timedelta(hours=hours) for hours in (48, 1))


def move_in_time(world: World, stuck: Execution, *, changed: datetime, ended: datetime) -> None:
    """Let a saga have started long ago, its rows have changed, and its execution have ended at these times."""

    def move_row(item: Item) -> None:
        item["fence"] = item["saga_started_at"] = {"S": moment(LONG_AGO)}
        for entry in item["history"]["L"]:
            entry["M"]["at"] = {"S": moment(changed)}

    def move_execution(parsed: dict[str, Any], **_: Any) -> None:
        for one in (parsed, *parsed.get("executions", ())):
            if one.get("executionArn") == stuck.arn:
                one |= {"startDate": LONG_AGO, "stopDate": ended}

    for entity in world.machine.rows(stuck.input["order_id"]):
        change(entity, move_row, stuck.input["order_id"])
    for operation in ("ListExecutions", "DescribeExecution"):
        world.stepfunctions.meta.events.register(f"after-call.stepfunctions.{operation}", move_execution)


@pytest.mark.parametrize(
    ("changed", "ended", "found"),
    [(LONG_AGO, LONG_AGO, []), (RECENTLY, LONG_AGO, ["1"]), (LONG_AGO, RECENTLY, ["1"])],
)
def test_since_ignores_orders_without_a_change_or_the_end_of_a_saga_since(
    *, world: World, audit: Audit, monkeypatch: pytest.MonkeyPatch, changed: datetime, ended: datetime, found: list[str]
) -> None:
    move_in_time(world, world.run_into_a_stop("1"), changed=changed, ended=ended)
    for order_id in ("2", "3"):
        move_in_time(world, world.run_into_a_stop(order_id), changed=LONG_AGO, ended=LONG_AGO)
    monkeypatch.setattr(ops_audit, "MAX_PAGE", 1)
    assert [finding["order_id"] for finding in audit("--since", "36h")[1]["findings"]] == found
    assert [finding["order_id"] for finding in audit()[1]["findings"]] == ["1", "2", "3"]


def test_since_ignores_no_saga_that_still_runs(world: World, audit: Audit) -> None:
    let_run(world, world.run_into_a_stop("1"), since=LONG_AGO)
    assert [finding["kind"] for finding in audit("--since", "36h")[1]["findings"]] == ["slow"]


def test_findings_and_estimate_are_shown_to_people(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stuck = world.run_into_a_stop("1")
    capsys.readouterr()
    assert main(["audit"], connect=lambda _: world.client) == 1
    out, err = capsys.readouterr()
    assert "OrderSaga-dev: about 3 rows, " in err
    assert out.startswith(f"order 1: stuck\n  {stuck.arn}\n  it is stuck, and ORDER is PENDING, PAYMENT is CHARGED\n")
    assert out.endswith("1 finding in 3 rows of 1 order and 1 execution\n")


def test_a_saga_that_an_operator_has_closed_is_not_counted(
    world: World, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its row may stay as it is, such as a payment that somebody ended at the provider."""
    closed, other = world.run_into_a_stop("1"), world.run_into_a_stop("2")
    world.client.close(world.client.closable(closed.arn), "ended at the provider")
    status, document = audit()
    assert (status, [finding["saga_id"] for finding in document["findings"]]) == (1, [other.arn])
    assert {finding["saga_id"] for finding in document["closed"]} == {closed.arn}
    world.client.close(world.client.closable(other.arn), "ended at the provider")
    capsys.readouterr()
    assert main(["audit"], connect=lambda _: world.client) == 0
    out = capsys.readouterr().out
    assert out.startswith("0 findings in 6 rows of 2 orders and 2 executions\nnot counted: 2 findings of closed sagas")


def test_a_saga_that_stopped_again_after_it_was_closed_is_counted(world: World, audit: Audit) -> None:
    stuck = world.run_into_a_stop("1")
    world.client.close(world.client.closable(stuck.arn), "ended at the provider")
    world.describe_as(stuck.arn, {"stopDate": datetime.now(UTC) + timedelta(minutes=5)})
    status, document = audit()
    assert (status, [finding["saga_id"] for finding in document["findings"]]) == (1, [stuck.arn])
    assert document["closed"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--limit", "0"), "argument --limit: invalid limit '0': must be 1 to 525600"),
        (("--segments", "x"), "argument --segments: invalid number of segments 'x': must be 1 to 64"),
        (("--since", "2999-01-01"), "argument --since: invalid time '2999-01-01': must be in the past"),
        (("--since", "yesterday"), "argument --since: invalid time 'yesterday': use one such as 2026-01-31T09:30Z, "),
        (("--steps", "nothing.here"), "invalid steps 'nothing.here': name a module whose STEPS are StepSpecs, such as"),
        (("--steps", "json"), "invalid steps 'json': name a module whose STEPS are StepSpecs, such as"),
        (("--steps", TRIP_STEPS), f"the steps in {TRIP_STEPS} are not those of OrderSaga-dev: name"),
    ],
)
def test_bad_arguments_are_one_line(
    world: World, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    try:
        status: Any = main(["audit", *arguments], connect=lambda _: world.client)
    except SystemExit as exit_:
        status = exit_.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}")
