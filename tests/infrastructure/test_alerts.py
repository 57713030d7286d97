"""Alerts: a queue receives stuck sagas, and alarms publish to a topic."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as Assertions

from lambdas.saga_runtime import observability, report_stuck_saga
from lambdas.saga_runtime.steps import StepSpec
from local.order_demo import ORDER_DEMO
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import Step
from saga_stack.order_saga import STEPS, OrderSagaStack
from tests.fixtures import ORDER_STEPS, order_function, synthesized
from tests.infrastructure.templates import (
    FUNCTIONS,
    REPORTER,
    REPORTER_HANDLER,
    Template,
    functions,
    of_type,
    only,
    plain,
    resources,
    stuck_table,
)


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """Return the alarms by name, without the name of the stack."""
    return {
        alarm["AlarmName"].removeprefix("OrderSaga-dev-"): alarm
        for alarm in of_type(template, "AWS::CloudWatch::Alarm").values()
    }


def dimensions(alarm: dict[str, Any]) -> dict[str, str]:
    return {dimension["Name"]: plain(dimension["Value"]) for dimension in alarm["Dimensions"]}


def test_every_execution_that_did_not_end_cleanly_calls_the_reporter(template: Template) -> None:
    rules = of_type(template, "AWS::Events::Rule").values()
    details = [rule["EventPattern"]["detail"] for rule in rules]
    (machine,) = resources(template, "AWS::StepFunctions::StateMachine")
    for rule in rules:
        assert rule["EventPattern"]["source"] == ["aws.states"]
        assert rule["EventPattern"]["detail-type"] == ["Step Functions Execution Status Change"]
        assert [plain(arn) for arn in rule["EventPattern"]["detail"]["stateMachineArn"]] == [f"<{machine}>"]
    assert sorted([(detail["status"], detail.get("error")) for detail in details], key=str) == [
        (["FAILED"], [{"anything-but": "OrderFailed"}, {"exists": False}]),
        (["TIMED_OUT", "ABORTED"], None),
    ]
    (reporter,) = (
        logical_id
        for logical_id, function in of_type(template, "AWS::Lambda::Function").items()
        if function["Handler"] == REPORTER_HANDLER
    )
    for rule in rules:
        (target,) = rule["Targets"]
        assert plain(target["Arn"]) == f"<{reporter}>"


def test_the_rules_do_not_pass_on_the_input_of_an_execution(template: Template) -> None:
    """It has the card number."""
    for rule in of_type(template, "AWS::Events::Rule").values():
        (target,) = rule["Targets"]
        assert set(target["InputTransformer"]["InputPathsMap"].values()) == {
            f"$.detail.{field}" for field in ("executionArn", "name", "status", "startDate", "stopDate")
        }


def test_the_requests_of_the_reporter_end_before_its_timeout(template: Template) -> None:
    """It asks for the execution and for its history, stores an entry and sends a message."""
    config: Any = report_stuck_saga.CLIENT_CONFIG  # its options are attributes that its stubs do not know
    attempts = config.retries["total_max_attempts"]
    # botocore waits up to a second between two attempts.
    request = attempts * (config.connect_timeout + config.read_timeout) + attempts - 1
    assert 4 * request < functions(template)[REPORTER]["Timeout"]


def test_what_the_reporter_could_not_report_goes_to_the_other_queue(template: Template) -> None:
    queue = functions(template)[REPORTER]["DeadLetterConfig"]["TargetArn"]
    assert plain(alarms(template)["UndeliveredReports"]["Dimensions"][0]["Value"]) == plain(queue)


def test_the_reporter_sends_to_the_queue_whose_messages_fire_the_alarm(template: Template) -> None:
    queue = functions(template)[REPORTER]["Environment"]["Variables"]["QUEUE_URL"]
    assert plain(queue) == dimensions(alarms(template)["StuckSagas"])["QueueName"]


def test_a_message_may_be_received_as_often_as_sqs_allows_before_it_moves(template: Template) -> None:
    """Removing a message receives others too."""
    found = of_type(template, "AWS::SQS::Queue")
    (policy,) = (queue["RedrivePolicy"] for queue in found.values() if "RedrivePolicy" in queue)
    assert policy["maxReceiveCount"] == 1000
    undelivered = dimensions(alarms(template)["UndeliveredReports"])["QueueName"]
    assert plain(policy["deadLetterTargetArn"]) == undelivered


def test_an_event_that_eventbridge_cannot_deliver_is_counted_and_not_stored(template: Template) -> None:
    """A dead-letter queue of a rule receives the whole event, which has the input and so the card number."""
    rules = of_type(template, "AWS::Events::Rule")
    assert all("DeadLetterConfig" not in target for rule in rules.values() for target in rule["Targets"])
    failed = [alarm for name, alarm in alarms(template).items() if name.startswith("FailedInvocations-")]
    assert {(alarm["Namespace"], alarm["MetricName"]) for alarm in failed} == {("AWS/Events", "FailedInvocations")}
    assert {dimensions(alarm)["RuleName"] for alarm in failed} == {f"<{rule}>" for rule in rules}


@pytest.mark.parametrize("stage", STAGES)
def test_the_reports_and_alerts_do_not_depend_on_the_key_of_the_stage(stage: str) -> None:
    """If the key is disabled, sagas get stuck; this must be reported all the same."""
    template = synthesized(stage)
    assert all(queue["SqsManagedSseEnabled"] for queue in of_type(template, "AWS::SQS::Queue").values())
    assert "KmsMasterKeyId" not in str(resources(template, "AWS::SNS::Topic"))
    # DynamoDB then encrypts with a key that AWS owns and nobody can disable.
    assert stuck_table(template)[1]["SSESpecification"] == {"SSEEnabled": False}
    assert "EncryptionConfiguration" not in only(template, "AWS::StepFunctions::StateMachine")
    (log,) = (
        group for group in of_type(template, "AWS::Logs::LogGroup").values() if group["LogGroupName"].endswith(REPORTER)
    )
    assert "KmsKeyId" not in log


def test_an_alarm_on_a_metric_of_dynamodb_takes_missing_data_for_0(template: Template) -> None:
    """Such an alarm may ignore ``TreatMissingData``, and would then never clear."""
    for name in ("TableThrottles", "TableSystemErrors"):
        math, metric = alarms(template)[name]["Metrics"]
        assert (math["Expression"], metric["Id"], metric["ReturnData"]) == ("FILL(metric, 0)", "metric", False)
        assert metric["MetricStat"]["Metric"]["Namespace"] == "AWS/DynamoDB"


def test_a_reported_stuck_saga_fires_an_alarm_on_the_metric_that_the_reporter_counts(
    template: Template, capsys: pytest.CaptureFixture[str]
) -> None:
    observability.count("StuckSaga")
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    ((metric,),) = (line["_aws"]["CloudWatchMetrics"],)
    alarm = alarms(template)["StuckSagaReports"]
    assert [one["Name"] for one in metric["Metrics"]] == [alarm["MetricName"]]
    assert (metric["Dimensions"], alarm.get("Dimensions", [])) == ([[]], [])


def test_the_queues_reject_plain_http_and_retain_messages_for_14_days(template: Template) -> None:
    queues = of_type(template, "AWS::SQS::Queue")
    for queue in queues.values():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    denying = [
        policy["Queues"][0]["Ref"]
        for policy in of_type(template, "AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert sorted(denying) == sorted(queues)


def test_every_alarm_publishes_to_the_topic_when_it_fires_and_when_it_clears(template: Template) -> None:
    (topic,) = resources(template, "AWS::SNS::Topic")
    for alarm in alarms(template).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]
        assert alarm["TreatMissingData"] == "notBreaching"


def test_the_topic_allows_the_alarms_of_the_stack_to_publish_and_denies_plain_http(template: Template) -> None:
    """A policy on the topic replaces the default one, so without the first statement no alarm could publish."""
    allowed, denied = sorted(
        only(template, "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"], key=lambda s: str(s["Effect"])
    )
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    alarms_of_the_stack = "arn:<AWS::Partition>:cloudwatch:<AWS::Region>:<AWS::AccountId>:alarm:OrderSaga-dev-*"
    assert plain(allowed["Condition"]["ArnLike"]["aws:SourceArn"]) == alarms_of_the_stack
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_there_is_an_alarm_for_everything_that_an_operator_must_know(template: Template) -> None:
    assert set(alarms(template)) == {
        *("StuckSagaReports", "FailedInvocations-Failed", "FailedInvocations-CutOff"),
        *(
            "StuckSagas",
            "StuckSagasByLog",
            "UndeliveredReports",
            "ExecutionsTimedOut",
            "ExecutionsAborted",
            "SlowExecutions",
        ),
        *(f"Faults-{step.action}" for step in STEPS),
        *(f"Errors-{step.compensation}" for step in STEPS),
        *(f"Throttles-{name}" for name in FUNCTIONS),
        *(f"Errors-{REPORTER}", "TableThrottles", "TableSystemErrors"),
    }


def test_prod_has_alarms_for_its_automatic_redrives(template: Template) -> None:
    prod = {name.removeprefix("OrderSaga-prod-") for name in alarms(synthesized("prod"))}
    assert prod - set(alarms(template)) == {
        *("RedrivesExhausted", "Errors-redrive_stuck_sagas", "FailedInvocations-Schedule")
    }


def test_a_stuck_saga_whose_event_does_not_arrive_fires_an_alarm_by_the_log(template: Template) -> None:
    """The state machine logs both events of a clean failure, and only the first one of a stuck saga."""
    alarm = alarms(template)["StuckSagasByLog"]
    expression, *metrics = alarm["Metrics"]
    assert expression["Expression"] == "FILL(failed, 0) - FILL(clean, 0)"
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
    counted = {metric["Id"]: metric["MetricStat"]["Metric"] for metric in metrics}
    filters = of_type(template, "AWS::Logs::MetricFilter").values()
    patterns = {
        (target["MetricNamespace"], target["MetricName"]): found["FilterPattern"]
        for found in filters
        for target in found["MetricTransformations"]
    }
    assert {id_: patterns[metric["Namespace"], metric["MetricName"]] for id_, metric in counted.items()} == {
        "failed": '{ $.type = "ExecutionFailed" }',
        "clean": '{ $.type = "FailStateEntered" }',
    }
    logging = only(template, "AWS::StepFunctions::StateMachine")["LoggingConfiguration"]
    (destination,) = logging["Destinations"]
    log = plain(destination["CloudWatchLogsLogGroup"]["LogGroupArn"])
    assert {plain(found["LogGroupName"]) for found in filters} == {log}
    assert logging["Level"] == "ALL"


def test_one_stuck_saga_fires_an_alarm(template: Template) -> None:
    alarm = alarms(template)["StuckSagas"]
    assert (alarm["ComparisonOperator"], alarm["Threshold"], alarm["EvaluationPeriods"]) == (
        "GreaterThanThreshold",
        0,
        1,
    )
    assert (alarm["MetricName"], alarm["Statistic"]) == ("ApproximateNumberOfMessagesVisible", "Maximum")


@pytest.mark.parametrize(("step", "spec"), ORDER_STEPS, ids=[step.action for step in STEPS])
def test_a_fault_alarm_watches_the_metric_that_the_functions_count(
    template: Template,
    table: object,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
    spec: StepSpec,
) -> None:
    """An alarm on a metric that nobody sends, by one letter or one dimension, never fires."""
    namespace = functions(template)[step.compensation]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
    monkeypatch.setattr(observability, "NAMESPACE", namespace)
    event = {
        "saga": {"id": "s", "started_at": "2026-01-01T00:00:00.000Z"},
        "input": ORDER_DEMO.input("1-success"),
        "failure": {"Error": "States.Timeout", "Cause": ""},
    }
    order_function(step.compensation)(event, None)
    counted = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "StepCompensated" in line]
    ((metric, line),) = ((metric, line) for line in counted for metric in line["_aws"]["CloudWatchMetrics"])
    alarm = alarms(template)[f"Faults-{step.action}"]
    assert metric["Namespace"] == alarm["Namespace"]
    assert [one["Name"] for one in metric["Metrics"]] == [alarm["MetricName"]]
    assert {name: line[name] for name in metric["Dimensions"][0]} == dimensions(alarm)
    assert dimensions(alarm) == {"step": spec.name, "kind": "fault"}


def test_the_handbook_has_a_section_for_every_alarm() -> None:
    handbook = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    headings = [name for line in handbook.splitlines() if line.startswith("### ") for name in line[4:].split(", ")]
    assert sorted(headings) == sorted(name.removeprefix("OrderSaga-prod-") for name in alarms(synthesized("prod")))


def test_the_dashboard_shows_the_alarms_and_every_function(template: Template) -> None:
    body = json.dumps(only(template, "AWS::CloudWatch::Dashboard")["DashboardBody"])
    for logical_id, function in of_type(template, "AWS::Lambda::Function").items():
        assert logical_id in body or REPORTER in function["Handler"]
    for logical_id in resources(template, "AWS::CloudWatch::Alarm"):
        assert logical_id in body


def test_only_a_configured_e_mail_address_is_subscribed(template: Template) -> None:
    assert not resources(template, "AWS::SNS::Subscription")
    app = App(context={"aws:cdk:bundling-stacks": []})
    stage = replace(STAGES["dev"], alert_email="saga@example.com")
    stack = OrderSagaStack(app, "OrderSaga-dev", stage=stage)
    subscription = only(dict(Assertions.from_stack(stack).to_json()), "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "saga@example.com")


def test_the_entries_of_stuck_sagas_can_be_restored_and_closed_ones_expire(template: Template) -> None:
    table = stuck_table(template)[1]
    assert table["KeySchema"] == [{"AttributeName": "execution_arn", "KeyType": "HASH"}]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
