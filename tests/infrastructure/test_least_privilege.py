"""The permissions of each role: exactly those listed here, on exactly these resources."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from saga_stack.construct.stages import STAGES
from tests.fixtures import synthesized
from tests.infrastructure.templates import (
    FUNCTIONS,
    REDRIVER,
    REPORTER,
    Template,
    as_list,
    functions,
    of_type,
    plain,
    resources,
    saga_table,
    stuck_table,
)

Permissions = dict[str, set[str]]

TRACE = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
WRITE_LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
DELIVER_LOGS_AND_TRACE = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    *TRACE,
}
USE_KEY = {
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
}
READ_KEY = {"kms:Decrypt", "kms:DescribeKey"}
each_stage = pytest.mark.parametrize("stage", STAGES)


def statements(template: Template) -> dict[str, list[dict[str, Any]]]:
    """Return the statements of every role by its logical id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for policy in of_type(template, "AWS::IAM::Policy").values():
        for role in policy["Roles"]:
            found.setdefault(role["Ref"], []).extend(policy["PolicyDocument"]["Statement"])
    return found


def permissions(template: Template, role: str) -> Permissions:
    """Return the actions that a role may perform, by resource."""
    found: Permissions = {}
    for statement in statements(template)[role]:
        assert statement["Effect"] == "Allow"
        for resource in as_list(statement["Resource"]):
            found.setdefault(plain(resource), set()).update(as_list(statement["Action"]))
    return found


def role_of(function: Mapping[str, Any]) -> str:
    return str(function["Role"]["Fn::GetAtt"][0])


def log_of(function: Mapping[str, Any]) -> str:
    return plain(function["LoggingConfig"]["LogGroup"])


def with_key(template: Template, expected: Permissions, actions: set[str]) -> Permissions:
    """Add the use of the stage's key, if it has one."""
    return expected | {f"<{key}>": actions for key in resources(template, "AWS::KMS::Key")}


@each_stage
def test_every_function_has_a_role_of_its_own(stage: str) -> None:
    template = synthesized(stage)
    roles = [role_of(function) for function in functions(template).values()]
    assert len(set(roles)) == len(functions(template))
    assert not any("ManagedPolicyArns" in role for role in of_type(template, "AWS::IAM::Role").values())


@each_stage
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_update_items_of_the_table_and_write_its_own_log(stage: str, name: str) -> None:
    template = synthesized(stage)
    function = functions(template)[name]
    expected = {f"<{saga_table(template)[0]}>": {"dynamodb:UpdateItem"}, log_of(function): WRITE_LOG, "*": TRACE}
    assert permissions(template, role_of(function)) == with_key(template, expected, USE_KEY)


@each_stage
def test_the_reporter_may_read_executions_and_write_its_table_and_queues(stage: str) -> None:
    template = synthesized(stage)
    function = functions(template)[REPORTER]
    executions = (
        f"arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:OrderSaga-{stage}-OrderFulfilment:*"
    )
    expected = {
        log_of(function): WRITE_LOG,
        f"<{stuck_table(template)[0]}>": {"dynamodb:UpdateItem"},
        executions: {"states:DescribeExecution", "states:GetExecutionHistory"},
        "*": TRACE,
        **{f"<{queue}>": {"sqs:SendMessage"} for queue in resources(template, "AWS::SQS::Queue")},
    }
    assert permissions(template, role_of(function)) == expected


def test_the_function_that_redrives_may_redrive_executions_of_this_machine_only() -> None:
    template = synthesized("prod")
    function = functions(template)[REDRIVER]
    executions = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:OrderSaga-prod-OrderFulfilment:*"
    assert permissions(template, role_of(function)) == {
        log_of(function): WRITE_LOG,
        f"<{stuck_table(template)[0]}>": {"dynamodb:Scan", "dynamodb:GetItem", "dynamodb:DeleteItem"},
        executions: {"states:DescribeExecution", "states:RedriveExecution"},
        plain(function["Environment"]["Variables"]["QUEUE_URL"]): {
            *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
        },
        "*": TRACE,
    }


@each_stage
def test_the_role_of_the_state_machine_serves_state_machines_of_this_account_only(stage: str) -> None:
    """Otherwise a state machine of another account could have Step Functions act with it."""
    template = synthesized(stage)
    (role,) = (
        role["AssumeRolePolicyDocument"]["Statement"][0]
        for role in of_type(template, "AWS::IAM::Role").values()
        if "states" in str(role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"])
    )
    assert plain(role["Condition"]["StringEquals"]["aws:SourceAccount"]) == "<AWS::AccountId>"
    machines = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:stateMachine:*"
    assert plain(role["Condition"]["ArnLike"]["aws:SourceArn"]) == machines


@each_stage
def test_the_state_machine_may_invoke_the_functions_and_update_items_of_the_table(stage: str) -> None:
    template = synthesized(stage)
    machine = of_type(template, "AWS::StepFunctions::StateMachine")
    (role,) = (machine["RoleArn"]["Fn::GetAtt"][0] for machine in machine.values())
    invoked = {
        f"<{logical_id}>": {"lambda:InvokeFunction"}
        for logical_id, function in of_type(template, "AWS::Lambda::Function").items()
        if not function["Handler"].startswith("lambdas.saga_runtime.")
    }
    assert len(invoked) == len(FUNCTIONS)
    expected = {f"<{saga_table(template)[0]}>": {"dynamodb:UpdateItem"}, "*": DELIVER_LOGS_AND_TRACE, **invoked}
    assert permissions(template, role) == with_key(template, expected, USE_KEY)


@each_stage
def test_a_role_may_use_the_key_only_through_dynamodb(stage: str) -> None:
    for role in statements(synthesized(stage)).values():
        for statement in role:
            if any(action.startswith("kms:") for action in as_list(statement["Action"])):
                assert set(statement["Condition"]) == {"StringEquals"}
                through = {name: plain(value) for name, value in statement["Condition"]["StringEquals"].items()}
                assert through == {"kms:ViaService": "dynamodb.<AWS::Region>.amazonaws.com"}


@each_stage
def test_no_policy_has_a_wildcard_action_except_for_the_account_that_owns_the_key(stage: str) -> None:
    template = synthesized(stage)
    allowed = [statement for role in statements(template).values() for statement in role]
    for key in of_type(template, "AWS::KMS::Key").values():
        owner, *services = key["KeyPolicy"]["Statement"]
        # AWS gives this statement to every new key: without it, nobody could change the policy again.
        assert (owner["Action"], plain(owner["Principal"]["AWS"])) == (
            "kms:*",
            "arn:<AWS::Partition>:iam::<AWS::AccountId>:root",
        )
        allowed += services
    assert not [statement for statement in allowed if "*" in json.dumps(statement["Action"])]
