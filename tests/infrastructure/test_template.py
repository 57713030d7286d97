"""What the template promises: least privilege, encryption, names, and the contract's outputs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from saga_stack.settings import STAGES, RetryPolicy
from tests.fixtures import synthesized

FUNCTIONS = ("create_order", "process_payment", "process_shipment", "delete_order", "refund_payment", "cancel_shipment")
ON_ANY_RESOURCE = {
    # X-Ray and the delivery of Step Functions' logs have no resource that could be named.
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}

Template = dict[str, Any]


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"] for name, resource in template["Resources"].items() if resource["Type"] == type_
    }


def only(template: Template, type_: str) -> dict[str, Any]:
    (properties,) = of_type(template, type_).values()
    return properties


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: Template) -> list[dict[str, Any]]:
    return [
        statement
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def test_the_table_has_the_contracts_keys_and_can_be_restored(template: Template) -> None:
    table = only(template, "AWS::DynamoDB::Table")
    assert table["KeySchema"] == [
        {"AttributeName": "order_id", "KeyType": "HASH"},
        {"AttributeName": "entity", "KeyType": "RANGE"},
    ]
    assert {attribute["AttributeType"] for attribute in table["AttributeDefinitions"]} == {"S"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert "TableName" not in table


def test_there_is_one_function_for_each_name_of_the_contract(template: Template) -> None:
    functions = of_type(template, "AWS::Lambda::Function").values()
    assert {function["FunctionName"] for function in functions} == {f"OrderSaga-dev-{name}" for name in FUNCTIONS}
    for function in functions:
        name = function["FunctionName"].removeprefix("OrderSaga-dev-")
        assert function["Handler"] == f"lambdas.{name}.handler"
        assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
        assert function["TracingConfig"] == {"Mode": "Active"}
        assert set(function["Environment"]["Variables"]) == {"TABLE_NAME"}


def test_the_functions_share_one_asset(template: Template) -> None:
    functions = of_type(template, "AWS::Lambda::Function").values()
    assert len({json.dumps(function["Code"], sort_keys=True) for function in functions}) == 1


def test_every_function_has_a_role_of_its_own_that_may_update_rows_and_write_its_log(template: Template) -> None:
    roles = [function["Role"]["Fn::GetAtt"][0] for function in of_type(template, "AWS::Lambda::Function").values()]
    assert len(set(roles)) == len(FUNCTIONS)
    assert not any("ManagedPolicyArns" in role for role in of_type(template, "AWS::IAM::Role").values())
    for policy in of_type(template, "AWS::IAM::Policy").values():
        if policy["Roles"][0]["Ref"] in roles:
            actions = {
                action for statement in policy["PolicyDocument"]["Statement"] for action in as_list(statement["Action"])
            }
            assert actions == {
                *("dynamodb:UpdateItem", "logs:CreateLogStream", "logs:PutLogEvents"),
                *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            }


def test_no_policy_has_a_wildcard_action_or_an_avoidable_wildcard_resource(template: Template) -> None:
    for statement in statements(template):
        actions = set(as_list(statement["Action"]))
        assert not any("*" in action for action in actions)
        if any("*" in json.dumps(resource) for resource in as_list(statement["Resource"])):
            assert actions <= ON_ANY_RESOURCE


def test_the_state_machine_may_invoke_the_six_functions_and_nothing_else(template: Template) -> None:
    (invoke,) = (s for s in statements(template) if s["Action"] == "lambda:InvokeFunction")
    assert {resource["Fn::GetAtt"][0] for resource in invoke["Resource"]} == set(
        of_type(template, "AWS::Lambda::Function")
    )


def test_the_state_machine_is_standard_traced_and_logged_without_execution_data(template: Template) -> None:
    machine = only(template, "AWS::StepFunctions::StateMachine")
    assert machine["StateMachineName"] == "OrderSaga-dev-OrderFulfilment"
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_the_queues_are_encrypted_refuse_plain_http_and_keep_their_messages_for_14_days(template: Template) -> None:
    queues = of_type(template, "AWS::SQS::Queue")
    for queue in queues.values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    refusing = [
        policy["Queues"][0]["Ref"]
        for policy in of_type(template, "AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert sorted(refusing) == sorted(queues)


def test_every_execution_that_did_not_end_cleanly_is_told_to_the_queue(template: Template) -> None:
    rules = of_type(template, "AWS::Events::Rule").values()
    told = [(rule["EventPattern"]["detail"]["status"], rule["EventPattern"]["detail"].get("error")) for rule in rules]
    assert sorted(told, key=str) == [
        (["FAILED"], [{"anything-but": "OrderFailed"}]),
        (["TIMED_OUT", "ABORTED"], None),
    ]
    for rule in rules:
        assert "$.detail.input" not in json.dumps(rule["Targets"])


@pytest.mark.parametrize("stage", STAGES)
def test_the_outputs_are_those_of_the_contract(stage: str) -> None:
    assert {"StateMachineArn", "TableName", "StuckSagasQueueUrl"} <= set(synthesized(stage)["Outputs"])


def test_prod_keeps_its_table_and_logs_and_dev_leaves_nothing_behind(template: Template) -> None:
    kept = ("AWS::DynamoDB::Table", "AWS::Logs::LogGroup")
    for found, policy in ((template, "Delete"), (synthesized("prod"), "Retain")):
        assert {r["DeletionPolicy"] for r in found["Resources"].values() if r["Type"] in kept} == {policy}


def test_a_task_that_could_time_out_before_its_function_is_refused() -> None:
    with pytest.raises(ValueError, match="function_timeout is 30 s and task_timeout 30 s"):
        replace(STAGES["dev"], function_timeout=30, task_timeout=30)


def test_the_longest_wait_of_a_retry_policy_is_the_sum_of_its_capped_waits() -> None:
    assert RetryPolicy(interval=1, backoff_rate=2, max_delay=5, max_attempts=5).longest_wait() == 1 + 2 + 4 + 5 + 5
