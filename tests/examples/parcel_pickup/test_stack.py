"""The stack of the parcel saga: its receiver and the time for an answer."""

from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as CdkTemplate
from constructs import Construct

from examples.parcel_pickup.app import expose
from examples.parcel_pickup.saga import SAGA
from saga_stack.construct.stack import FolderSagaStack, SagaStack
from saga_stack.construct.stages import STAGES, Stage
from tests.fixtures import synthesized
from tests.infrastructure.templates import of_type, plain
from tests.infrastructure.test_callbacks import permissions, tasks


def parcel_stack(scope: Construct, id_: str, *, stage: Stage) -> SagaStack:
    """Make the stack as the app does."""
    stack = FolderSagaStack(scope, id_, stage=stage, saga=SAGA)
    expose(stack)
    return stack


@pytest.fixture(scope="module")
def parcel() -> dict[str, Any]:
    return synthesized("dev", parcel_stack, "ParcelSaga")


def test_only_the_receiver_may_read_a_row_and_the_secret(parcel: dict[str, Any]) -> None:
    for prefix in ("dynamodb:GetItem", "secretsmanager:"):
        found = permissions(parcel, prefix)
        assert set(found) == {"receive_answer"}
        assert {action for action, _ in found["receive_answer"]} <= {
            "dynamodb:GetItem",
            "secretsmanager:GetSecretValue",
        }


def test_only_the_receiver_has_a_url(parcel: dict[str, Any]) -> None:
    (url,) = of_type(parcel, "AWS::Lambda::Url").values()
    assert "receiveanswer" in plain(url["TargetFunctionArn"])
    assert url["AuthType"] == "NONE"


def test_the_time_for_an_answer_can_be_set_in_the_context() -> None:
    context = {"aws:cdk:bundling-stacks": [], "answer_within": "60"}
    stack = parcel_stack(App(context=context), "ParcelSaga-dev", stage=STAGES["dev"])
    assert tasks(dict(CdkTemplate.from_stack(stack).to_json()))["RequestPickup"]["TimeoutSeconds"] == 60
