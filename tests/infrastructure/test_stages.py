"""The stages: prod retains, protects and encrypts with a key of its own; dev leaves nothing behind."""

from dataclasses import replace

import pytest
from aws_cdk import App

from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import InvalidSagaError, RetryPolicy
from saga_stack.order_saga import OrderSagaStack
from tests.fixtures import synthesized
from tests.infrastructure.templates import (
    REDRIVER,
    REPORTER,
    Template,
    functions,
    of_type,
    only,
    plain,
    resources,
    saga_table,
)

RETAINED = ("AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::KMS::Key")


@pytest.fixture(scope="module")
def prod() -> Template:
    return synthesized("prod")


def test_prod_retains_its_table_its_logs_and_its_key(prod: Template) -> None:
    for type_ in RETAINED:
        found = resources(prod, type_).values()
        assert found
        assert {(r["DeletionPolicy"], r["UpdateReplacePolicy"]) for r in found} == {("RetainExceptOnCreate", "Retain")}


def test_dev_leaves_nothing_behind(template: Template) -> None:
    assert not [name for name, r in template["Resources"].items() if r.get("DeletionPolicy", "Delete") != "Delete"]
    assert saga_table(template)[1].get("DeletionProtectionEnabled", False) is False


def test_prod_cannot_be_deleted_by_mistake(prod: Template) -> None:
    assert saga_table(prod)[1]["DeletionProtectionEnabled"] is True
    stacks = {
        name: OrderSagaStack(App(context={"aws:cdk:bundling-stacks": []}), "Stack", stage=stage)
        for name, stage in STAGES.items()
    }
    assert {name: stack.termination_protection for name, stack in stacks.items()} == {"dev": False, "prod": True}


def test_prod_encrypts_its_table_and_its_logs_with_its_own_key(prod: Template) -> None:
    ((key, properties),) = of_type(prod, "AWS::KMS::Key").items()
    assert properties["EnableKeyRotation"] is True
    keys = [
        saga_table(prod)[1]["SSESpecification"]["KMSMasterKeyId"],
        *(
            group["KmsKeyId"]
            for group in of_type(prod, "AWS::Logs::LogGroup").values()
            if not group["LogGroupName"].endswith((REPORTER, REDRIVER))
        ),
    ]
    assert {plain(value) for value in keys} == {f"<{key}>"}


def test_only_cloudwatch_logs_may_use_the_key_without_a_role_for_log_groups_of_the_stack(prod: Template) -> None:
    _, logs = only(prod, "AWS::KMS::Key")["KeyPolicy"]["Statement"]
    assert plain(logs["Principal"]["Service"]) == "logs.<AWS::Region>.amazonaws.com"
    groups = [plain(arn) for arn in logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]]
    prefix = "arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:"
    assert groups == [f"{prefix}/aws/lambda/OrderSaga-prod-*", f"{prefix}/aws/vendedlogs/states/OrderSaga-prod-*"]


def test_dev_encrypts_with_the_keys_that_aws_manages(template: Template) -> None:
    assert not resources(template, "AWS::KMS::Key")
    assert saga_table(template)[1]["SSESpecification"] == {"SSEEnabled": True}
    assert all(queue["SqsManagedSseEnabled"] for queue in of_type(template, "AWS::SQS::Queue").values())


def test_logs_are_retained_for_a_week_in_dev_and_for_a_year_in_prod(template: Template, prod: Template) -> None:
    for found, days in ((template, 7), (prod, 365)):
        groups = of_type(found, "AWS::Logs::LogGroup").values()
        assert len(groups) == len(functions(found)) + 1
        assert {group["RetentionInDays"] for group in groups} == {days}


@pytest.mark.parametrize("stage", STAGES)
def test_the_outputs_are_those_of_the_contract(stage: str) -> None:
    expected = {"StateMachineArn", "TableName", "StuckSagasQueueUrl", "StuckSagasTableName"}
    assert expected <= set(synthesized(stage)["Outputs"])


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (30, "the task timeout of delete_order is 30 s, its function's is 30 s: make the function's shorter"),
        (0, "create_order has the function_timeout 0 s: Lambda allows 1 to 900"),
        (901, "create_order has the function_timeout 901 s: Lambda allows 1 to 900"),
    ],
)
def test_a_stage_whose_timeouts_do_not_fit_is_rejected(seconds: int, message: str) -> None:
    stage = replace(STAGES["dev"], function_timeout=seconds)
    with pytest.raises(InvalidSagaError, match=f"^{message}$"):
        OrderSagaStack(App(context={"aws:cdk:bundling-stacks": []}), "OrderSaga-dev", stage=stage)


def test_the_longest_wait_of_a_retry_policy_is_the_sum_of_its_longest_waits() -> None:
    assert RetryPolicy(interval=1, backoff_rate=2, max_delay=5, max_attempts=5).longest_wait() == 1 + 2 + 4 + 5 + 5


def test_a_call_that_redrives_ends_before_the_next_one_begins(prod: Template) -> None:
    """Lambda would repeat a call that failed, twice."""
    function = functions(prod)[REDRIVER]
    (schedule,) = (rule for rule in of_type(prod, "AWS::Events::Rule").values() if "ScheduleExpression" in rule)
    assert (schedule["ScheduleExpression"], function["Timeout"]) == ("rate(15 minutes)", 600)
    repeated = only(prod, "AWS::Lambda::EventInvokeConfig")
    assert plain(repeated["FunctionName"]) == plain(schedule["Targets"][0]["Arn"])
    assert repeated["MaximumRetryAttempts"] == 0
