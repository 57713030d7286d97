"""Fixtures and helpers of several folders."""

import functools
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_cdk import App, Stack
from aws_cdk.assertions import Template
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.parsing.expressions import UpdateExpressionParser  # type: ignore[attr-defined]  # untyped

from lambdas import order_steps
from ops.model import history_of
from saga_stack.construct.stages import STAGES
from saga_stack.order_saga import STEPS, OrderSagaStack

if TYPE_CHECKING:
    from moto.core.models import MockAWS
    from mypy_boto3_dynamodb import DynamoDBClient

    from lambdas.saga_runtime.handlers import Handler

TABLE = "orders"
STUCK_TABLE = "stuck"
REGION = "us-east-1"

# The steps of the order saga, as its state machine and as its functions see them.
ORDER_STEPS = [(step, spec) for step in STEPS for spec in order_steps.STEPS.values() if spec.action == step.action]

# moto parses each expression three times, which takes a third of a request. It never changes a parsed one.
UpdateExpressionParser.make = functools.cache(UpdateExpressionParser.make)


def local_aws() -> "MockAWS":
    """Return moto's AWS, empty, with Step Functions executing its state machines."""
    # A session keeps the services' models, whose parsing takes most of the time of a client's creation.
    return mock_aws(config={"stepfunctions": {"execute_state_machine": True}, "core": {"reset_boto3_session": False}})


@pytest.fixture
def table() -> Iterator["DynamoDBClient"]:
    """Make an empty table, under the name that the functions read from their environment."""
    with local_aws():
        yield create_table()


def create_table(key: str = "order_id") -> "DynamoDBClient":
    """Create the table and return a client.

    Args:
        key: the partition key.
    """
    client: DynamoDBClient = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": key, "KeyType": "HASH"},
            {"AttributeName": "entity", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": key, "AttributeType": "S"},
            {"AttributeName": "entity", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def create_stuck_table() -> "DynamoDBClient":
    """Create the table of stuck sagas and return a client."""
    client: DynamoDBClient = boto3.client("dynamodb")
    client.create_table(
        TableName=STUCK_TABLE,
        KeySchema=[{"AttributeName": "execution_arn", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "execution_arn", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def order_function(name: str) -> "Handler":
    """Return the handler of a function of the order saga."""
    found: Handler = importlib.import_module(f"lambdas.{name}").handler
    return found


# These use moto's own store: as requests they would take most of the time of many tests.


def stored_rows(key: str = "1") -> dict[str, dict[str, Any]]:
    """Return the rows of a key by entity, each with its whole history."""
    items = [item.to_regular_json() for item in _store().items.get(DynamoType({"S": key}), {}).values()]
    return {item["entity"]: {**item, "history": list(map(asdict, history_of(item)))} for item in items}


def stored_item(key: str, entity: str) -> dict[str, Any] | None:
    """Return a row in DynamoDB's JSON; None if it does not exist."""
    item = _store().items[DynamoType({"S": key})].get(DynamoType({"S": entity}))
    return None if item is None else item.to_json()["Attributes"]


def store_item(key: str, entity: str, item: Mapping[str, Any] | None) -> None:
    """Replace a row by one in DynamoDB's JSON; None removes it."""
    _store().items[DynamoType({"S": key})].pop(DynamoType({"S": entity}), None)
    if item is not None:
        _store().put_item(dict(item))


def _store() -> Any:
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[TABLE]


def synthesized(
    stage: str = "dev", make: Callable[..., Stack] = OrderSagaStack, name: str = "OrderSaga"
) -> dict[str, Any]:
    """Return the template of a stack, without bundling its asset."""
    return _synthesized(stage, make, name)


@functools.cache
def _synthesized(stage: str, make: Callable[..., Stack], name: str) -> dict[str, Any]:
    app = App(context={"aws:cdk:bundling-stacks": []})
    stack = make(app, f"{name}-{stage}", stage=STAGES[stage])
    return dict(Template.from_stack(stack).to_json())


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """Return the template of the order saga's stage dev."""
    return synthesized()


@pytest.fixture(scope="session")
def definition(template: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of its state machine."""
    return definition_in(template)


def definition_in(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition of the one state machine in a template. A reference reads ``<LogicalId>``."""
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
    raise AssertionError(f"unknown token in the definition: {token}")
