"""Each function of the order saga by itself, on a table in memory."""

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lambdas import order_steps
from lambdas.saga_runtime.errors import BUSINESS_ERRORS, InvalidInput, SagaConflict, StepCompensated
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.steps import StepSpec
from local.order_demo import ORDER_DEMO
from saga_stack.construct.steps import Step
from saga_stack.order_saga import STEPS
from tests.fixtures import ORDER_STEPS, TABLE, order_function, stored_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORDER = ORDER_DEMO.input("1-success")
LATER = "2026-01-02T00:00:00.000Z"
each_step = pytest.mark.parametrize(("step", "spec"), ORDER_STEPS, ids=[step.action for step in STEPS])

pytestmark = pytest.mark.usefixtures("table")


def call(name: str, event: object) -> Any:
    return order_function(name)(event, None)


def by_saga(saga_id: str, order: object = ORDER, *, at: str = "2026-01-01T00:00:00.000Z", **more: object) -> object:
    return {"saga": {"id": saga_id, "started_at": at}, "input": order, **more}


def row(spec: StepSpec) -> dict[str, Any]:
    return stored_item("1", spec.entity) or {}


def history(spec: StepSpec) -> list[str]:
    return [entry["M"]["status"]["S"] for entry in row(spec)["history"]["L"]]


@each_step
def test_an_action_makes_its_row_live_and_answers_with_key_and_status(step: Step, spec: StepSpec) -> None:
    assert call(step.action, by_saga("s")) == {"order_id": "1", "status": spec.live}
    stored = row(spec)
    assert (stored["status"], stored["saga_id"]) == ({"S": spec.live}, {"S": "s"})
    assert stored["fence"] == {"S": "2026-01-01T00:00:00.000Z"}
    assert history(spec) == [spec.live]


@each_step
def test_a_compensation_compensates_its_action(step: Step, spec: StepSpec) -> None:
    call(step.action, by_saga("s"))
    assert call(step.compensation, by_saga("s")) == {"order_id": "1", "status": spec.compensated}
    assert row(spec)["status"] == {"S": spec.compensated}
    assert history(spec) == [spec.live, spec.compensated]


@each_step
def test_a_compensation_without_a_row_leaves_a_tombstone_that_rejects_the_late_action(
    step: Step, spec: StepSpec
) -> None:
    assert call(step.compensation, by_saga("s")) == {"order_id": "1", "status": spec.compensated}
    with pytest.raises(StepCompensated):
        call(step.action, by_saga("s"))
    assert row(spec)["status"] == {"S": spec.compensated}


@each_step
def test_a_repeated_delivery_changes_nothing_and_gives_the_same_answer(step: Step, spec: StepSpec) -> None:
    for name in (step.action, step.compensation):
        answer, stored = call(name, by_saga("s")), row(spec)
        assert (call(name, by_saga("s")), row(spec)) == (answer, stored)


@each_step
def test_a_saga_changes_nothing_but_the_fence_of_a_row_that_another_one_owns(step: Step, spec: StepSpec) -> None:
    call(step.action, by_saga("first"))
    stored = row(spec)
    with pytest.raises(SagaConflict, match="another saga"):
        call(step.action, by_saga("second", at=LATER))
    call(step.compensation, by_saga("second", at=LATER))
    fenced = row(spec)
    (by,) = fenced.pop("fenced_by")["L"]
    assert by["M"]["saga_id"] == {"S": "second"}
    assert fenced == stored | {"fence": {"S": LATER}}


@each_step
def test_a_later_saga_can_claim_a_compensated_row(step: Step, spec: StepSpec) -> None:
    call(step.action, by_saga("first"))
    call(step.compensation, by_saga("first"))
    assert call(step.action, by_saga("second", at=LATER))["status"] == spec.live
    assert row(spec)["saga_id"] == {"S": "second"}


@each_step
def test_a_late_action_of_an_older_saga_does_not_claim_a_compensated_row(step: Step, spec: StepSpec) -> None:
    call(step.compensation, by_saga("older"))
    call(step.action, by_saga("newer", at=LATER))
    call(step.compensation, by_saga("newer", at=LATER))
    with pytest.raises(SagaConflict):
        call(step.action, by_saga("older"))
    assert row(spec)["status"] == {"S": spec.compensated}


@each_step
def test_a_function_that_is_called_directly_takes_the_bare_order(step: Step, spec: StepSpec) -> None:
    answer = call(step.action, ORDER)
    saga = {"id": "direct", "started_at": row(spec)["saga_started_at"]["S"]}
    assert answer == {"order_id": "1", "status": spec.live, "saga": saga}
    compensated = call(step.compensation, {"saga": saga, "input": ORDER})
    assert compensated == {"order_id": "1", "status": spec.compensated, "saga": saga}
    assert row(spec)["status"] == {"S": spec.compensated}


@each_step
@pytest.mark.parametrize("order", [None, [], "text", 5, {}, {"order_id": None}, {"order_id": ["1"]}])
def test_a_compensation_of_an_order_without_a_valid_key_succeeds_and_writes_nothing(
    table: "DynamoDBClient", step: Step, spec: StepSpec, order: object
) -> None:
    with pytest.raises(InvalidInput):
        call(step.action, by_saga("s", order))
    assert call(step.compensation, by_saga("s", order)) == {"order_id": None, "status": spec.compensated}
    assert table.scan(TableName=TABLE)["Items"] == []


@each_step
@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({**ORDER, "colour": "red"}, "unknown field 'colour'"),
        ({**ORDER, "address": "x" * 200_000}, "expected at most 190,000"),
        ([ORDER], "the order is a list"),
    ],
)
def test_every_action_rejects_an_order_that_a_compensation_may_not_be_able_to_receive(
    table: "DynamoDBClient", step: Step, spec: StepSpec, order: object, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        call(step.action, by_saga("s", order))
    assert table.scan(TableName=TABLE)["Items"] == []


@pytest.mark.parametrize("start", ["2026-01-01T00:00:00.000+00:00", "2026-01-01T01:00:00.000000+01:00"])
def test_a_start_time_is_stored_in_one_form(start: str) -> None:
    call("create_order", by_saga("s", at=start))
    assert row(order_steps.STEPS["ORDER"])["fence"] == {"S": "2026-01-01T00:00:00.000Z"}


@pytest.mark.parametrize(
    ("failure", "error", "reason"),
    [
        (
            {"Error": "InvalidInput", "Cause": '{"errorMessage": "no card", "stackTrace": []}'},
            "InvalidInput",
            "no card",
        ),
        ({"Error": "States.Timeout", "Cause": ""}, "States.Timeout", "no cause was given"),
        ({"Error": "States.Timeout"}, "States.Timeout", "no cause was given"),
        ({"Error": "Lambda.Unknown", "Cause": "it went away"}, "Lambda.Unknown", "it went away"),
        ({"Error": "Odd", "Cause": "[1]"}, "Odd", "[1]"),
        ({"Error": "Odd", "Cause": '{"errorMessage": 1}'}, "Odd", '{"errorMessage": 1}'),
        ({"Error": "Odd", "Cause": "the card 123-1234 bounced"}, "Odd", "the card (hidden) bounced"),
        ({"Error": "Odd", "Cause": "x" * 2_000}, "Odd", "x" * 1_000),
        ("nonsense", "Unknown", "the state machine did not say why"),
    ],
)
def test_the_first_compensation_says_why_it_runs_and_the_next_one_passes_it_on(
    failure: object, error: str, reason: str
) -> None:
    first = call("refund_payment", by_saga("s", failure=failure))["failure"]
    assert first == {"step": "ProcessPayment", "error": error, "reason": reason}
    assert call("delete_order", by_saga("s", failure=first))["failure"] == first


def test_logs_have_key_saga_and_step_and_never_the_card(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger.registered_handler, "stream", sys.stdout)
    order = {**ORDER, "card_no": "5555-0000-1111"}
    for step in STEPS:
        call(step.action, by_saga("saga-7", order))
        call(step.compensation, by_saga("saga-7", order, failure={"Error": "Odd", "Cause": "5555-0000-1111"}))
    with pytest.raises(InvalidInput):
        call("create_order", by_saga("saga-8", {**order, "5555-0000-1111": 1}))
    printed = capsys.readouterr().out
    assert "5555-0000" not in printed
    logs = [line for line in map(json.loads, printed.splitlines()) if "message" in line]
    assert {(line["step"], line["order_id"], line["saga_id"]) for line in logs[:2]} == {("CreateOrder", "1", "saga-7")}


def test_no_row_stores_more_of_the_card_than_its_last_four_digits(table: "DynamoDBClient") -> None:
    for step in STEPS:
        call(step.action, by_saga("s", {**ORDER, "card_no": "5555-0000-1111"}))
    stored = str(table.scan(TableName=TABLE)["Items"])
    assert "'card_last4': {'S': '1111'}" in stored
    assert "0000" not in stored.replace("00:00:00.000Z", "")


def counted(printed: str, name: str) -> list[tuple[str, ...]]:
    """Return the dimensions of each count of a metric."""
    metrics = [line for line in map(json.loads, printed.splitlines()) if name in line]
    assert all(metric[name] == [1.0] for metric in metrics)
    return [
        tuple(metric[name] for name in metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) for metric in metrics
    ]


def test_a_conflict_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    call("create_order", by_saga("first"))
    with pytest.raises(SagaConflict):
        call("create_order", by_saga("second"))
    assert counted(capsys.readouterr().out, "SagaConflict") == [("CreateOrder",)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [*((error, "rejected") for error in BUSINESS_ERRORS), ("States.Timeout", "fault"), ("Runtime.ExitError", "fault")],
)
def test_a_compensation_is_counted_by_its_reason(capsys: pytest.CaptureFixture[str], error: str, kind: str) -> None:
    failure = call("refund_payment", by_saga("s", failure={"Error": error, "Cause": ""}))["failure"]
    call("delete_order", by_saga("s", failure=failure))
    assert counted(capsys.readouterr().out, "StepCompensated") == [
        ("ProcessPayment", kind),
        ("CreateOrder", "rollback"),
    ]


def test_every_compensated_step_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    for step in STEPS:
        call(step.compensation, by_saga("s"))
    assert counted(capsys.readouterr().out, "StepCompensated") == [(spec.name, "rollback") for _, spec in ORDER_STEPS]
