"""What is told to people: stuck sagas by a queue, and whatever is wrong by alarms."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as Assertions
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from lambdas.shared import observability
from saga_stack.settings import STAGES
from saga_stack.stack import OrderSagaStack
from tests.fixtures import TABLE
from tests.infrastructure.templates import FUNCTIONS, REPORTER, Template, functions, of_type, only, plain, resources

ORDER = {"order_id": "1", "total": 100, "card_no": "123-1234", "address": "123 st"}


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """The alarms by their names without the stack's."""
    return {
        alarm["AlarmName"].removeprefix("OrderSaga-dev-"): alarm
        for alarm in of_type(template, "AWS::CloudWatch::Alarm").values()
    }


def dimensions(alarm: dict[str, Any]) -> dict[str, str]:
    return {dimension["Name"]: plain(dimension["Value"]) for dimension in alarm["Dimensions"]}


def test_every_execution_that_did_not_end_cleanly_is_told_to_the_reporter(template: Template) -> None:
    rules = of_type(template, "AWS::Events::Rule").values()
    told = [(rule["EventPattern"]["detail"]["status"], rule["EventPattern"]["detail"].get("error")) for rule in rules]
    assert sorted(told, key=str) == [
        (["FAILED"], [{"anything-but": "OrderFailed"}, {"exists": False}]),
        (["TIMED_OUT", "ABORTED"], None),
    ]
    (reporter,) = (
        logical_id
        for logical_id, function in of_type(template, "AWS::Lambda::Function").items()
        if function["Handler"] == f"lambdas.{REPORTER}.handler"
    )
    for rule in rules:
        (target,) = rule["Targets"]
        assert plain(target["Arn"]) == f"<{reporter}>"


def test_of_an_event_only_these_fields_are_handed_on(template: Template) -> None:
    """The event's ``input`` holds the card."""
    for rule in of_type(template, "AWS::Events::Rule").values():
        (target,) = rule["Targets"]
        assert set(target["InputTransformer"]["InputPathsMap"].values()) == {
            f"$.detail.{field}" for field in ("executionArn", "name", "status", "startDate", "stopDate")
        }


def test_what_cannot_be_reported_is_kept_in_the_other_queue(template: Template) -> None:
    queue = functions(template)[REPORTER]["DeadLetterConfig"]["TargetArn"]
    for rule in of_type(template, "AWS::Events::Rule").values():
        assert rule["Targets"][0]["DeadLetterConfig"]["Arn"] == queue
    assert plain(alarms(template)["UndeliveredReports"]["Dimensions"][0]["Value"]) == plain(queue)


def test_the_queues_refuse_plain_http_and_keep_their_messages_for_14_days(template: Template) -> None:
    queues = of_type(template, "AWS::SQS::Queue")
    for queue in queues.values():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    refusing = [
        policy["Queues"][0]["Ref"]
        for policy in of_type(template, "AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert sorted(refusing) == sorted(queues)


def test_every_alarm_tells_the_topic_when_it_starts_and_when_it_is_over(template: Template) -> None:
    (topic,) = resources(template, "AWS::SNS::Topic")
    for alarm in alarms(template).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]
        assert alarm["TreatMissingData"] == "notBreaching"


def test_the_topic_lets_the_stacks_alarms_publish_and_nobody_by_plain_http(template: Template) -> None:
    """A topic with a policy of its own has lost the default one: without the first statement every alarm is mute."""
    allowed, refused = sorted(
        only(template, "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"], key=lambda s: str(s["Effect"])
    )
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    assert plain(allowed["Condition"]["ArnLike"]["aws:SourceArn"]).endswith(":alarm:OrderSaga-dev-*")
    assert (refused["Effect"], refused["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_there_is_an_alarm_for_everything_that_a_person_must_know(template: Template) -> None:
    assert set(alarms(template)) == {
        *("StuckSagas", "UndeliveredReports", "ExecutionsTimedOut", "ExecutionsAborted", "SlowOrders"),
        *("Faults-create_order", "Faults-process_payment", "Faults-process_shipment"),
        *("Errors-delete_order", "Errors-refund_payment", "Errors-cancel_shipment", f"Errors-{REPORTER}"),
        *(f"Throttles-{name}" for name in FUNCTIONS),
        *("TableThrottles", "TableSystemErrors"),
    }


def test_one_stuck_saga_is_enough_for_an_alarm(template: Template) -> None:
    alarm = alarms(template)["StuckSagas"]
    assert (alarm["ComparisonOperator"], alarm["Threshold"], alarm["EvaluationPeriods"]) == (
        "GreaterThanThreshold",
        0,
        1,
    )
    assert (alarm["MetricName"], alarm["Statistic"]) == ("ApproximateNumberOfMessagesVisible", "Maximum")


@pytest.mark.parametrize(
    ("action", "compensation", "step"),
    [
        ("create_order", "delete_order", "CreateOrder"),
        ("process_payment", "refund_payment", "ProcessPayment"),
        ("process_shipment", "cancel_shipment", "ProcessShipment"),
    ],
)
def test_a_fault_alarm_watches_what_the_functions_count(
    template: Template,
    table: object,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    compensation: str,
    step: str,
) -> None:
    """An alarm on a metric that nobody sends, by one letter or one dimension, stays silent for ever."""
    namespace = functions(template)[compensation]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
    monkeypatch.setattr(observability, "_metrics", AmazonCloudWatchEMFProvider(namespace=namespace))
    failed = {"Error": "States.Timeout", "Cause": ""}
    saga = {"id": "s", "started_at": "2026-01-01T00:00:00.000Z"}
    importlib.import_module(f"lambdas.{compensation}").handler({"saga": saga, "order": ORDER, "failure": failed}, None)
    counted = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "StepFailed" in line]
    (sent,) = ((metrics, line) for line in counted for metrics in line["_aws"]["CloudWatchMetrics"])
    alarm = alarms(template)[f"Faults-{action}"]
    assert sent[0]["Namespace"] == alarm["Namespace"]
    assert [metric["Name"] for metric in sent[0]["Metrics"]] == [alarm["MetricName"]]
    assert {name: sent[1][name] for name in sent[0]["Dimensions"][0]} == dimensions(alarm)
    assert dimensions(alarm) == {"step": step, "kind": "fault"}
    assert TABLE


def test_the_handbook_says_what_to_do_at_every_alarm(template: Template) -> None:
    handbook = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    headings = [name for line in handbook.splitlines() if line.startswith("### ") for name in line[4:].split(", ")]
    assert sorted(headings) == sorted(alarms(template))


def test_the_dashboard_shows_the_alarms_and_every_function(template: Template) -> None:
    body = json.dumps(only(template, "AWS::CloudWatch::Dashboard")["DashboardBody"])
    for logical_id, function in of_type(template, "AWS::Lambda::Function").items():
        assert logical_id in body or REPORTER in function["Handler"]
    for logical_id in resources(template, "AWS::CloudWatch::Alarm"):
        assert logical_id in body


def test_an_e_mail_address_is_told_only_if_one_is_given(template: Template) -> None:
    assert not resources(template, "AWS::SNS::Subscription")
    settings = replace(STAGES["dev"], alert_email="saga@example.com")
    app = App(context={"aws:cdk:bundling-stacks": []})
    stack = OrderSagaStack(app, "OrderSaga-dev", settings=settings)
    subscription = only(dict(Assertions.from_stack(stack).to_json()), "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "saga@example.com")
