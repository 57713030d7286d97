"""What tests of several folders share."""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_cdk import App
from aws_cdk.assertions import Template
from moto import mock_aws

from saga_stack.settings import STAGES
from saga_stack.stack import OrderSagaStack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "orders"


@pytest.fixture
def table() -> Iterator["DynamoDBClient"]:
    """An empty table, under the name that the functions read from their environment."""
    with mock_aws():
        yield create_table()


def create_table() -> "DynamoDBClient":
    """Create the table with the keys of the contract; returns a client."""
    client: DynamoDBClient = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": "order_id", "KeyType": "HASH"},
            {"AttributeName": "entity", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "order_id", "AttributeType": "S"},
            {"AttributeName": "entity", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


@functools.cache
def synthesized(stage: str = "dev") -> dict[str, Any]:
    """The stack's template, without its assets bundled."""
    app = App(context={"aws:cdk:bundling-stacks": []})
    stack = OrderSagaStack(app, f"OrderSaga-{stage}", settings=STAGES[stage])
    return dict(Template.from_stack(stack).to_json())


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """The template of the stage dev."""
    return synthesized()


@pytest.fixture(scope="session")
def definition(template: dict[str, Any]) -> dict[str, Any]:
    """The state machine's definition as synthesized; every reference stands as ``<LogicalId>``."""
    return definition_in(template)


def definition_in(template: Mapping[str, Any]) -> dict[str, Any]:
    """The definition of the one state machine in a template."""
    (machine,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::StepFunctions::StateMachine")
    parts = machine["Properties"]["DefinitionString"]["Fn::Join"][1]
    found: dict[str, Any] = json.loads("".join(part if isinstance(part, str) else _reference(part) for part in parts))
    return found


def _reference(token: Mapping[str, Any]) -> str:
    match token:
        case {"Ref": "AWS::Partition"}:
            return "aws"
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            return f"<{name}>"
    raise AssertionError(f"a token of an unknown kind in the definition: {token}")
