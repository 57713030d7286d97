"""From what a user says to a stack: the session, the clients, and the stack's outputs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ops.errors import OpsError, UnknownStack
from ops.sagas import Sagas, Stack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient

# The first question tells whether anybody answers at all; nobody wants to wait long for a no.
_FIRST = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
# Step Functions throttles early (DescribeExecution: 15 a second in most regions), so tries are many and spaced.
_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 6})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the stack is. What is None comes from AWS's usual places: environment, profile, instance."""

    stack: str
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None


def connect(settings: Settings) -> Sagas:
    """The sagas of the stack. Raises UnknownStack, OpsError for an endpoint that is none, and botocore's errors."""
    session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
    try:
        cloudformation = session.client("cloudformation", endpoint_url=settings.endpoint_url, config=_FIRST)
        dynamodb = session.client("dynamodb", endpoint_url=settings.endpoint_url, config=_CONFIG)
        return Sagas(
            stack=read_stack(cloudformation, dynamodb, settings.stack),
            stepfunctions=session.client("stepfunctions", endpoint_url=settings.endpoint_url, config=_CONFIG),
            dynamodb=dynamodb,
            sqs=session.client("sqs", endpoint_url=settings.endpoint_url, config=_CONFIG),
        )
    except ValueError as error:  # what botocore makes of a URL that it cannot read
        raise OpsError(f"{error}: check --endpoint-url and AWS_ENDPOINT_URL") from None


def read_stack(cloudformation: "CloudFormationClient", dynamodb: "DynamoDBClient", name: str) -> Stack:
    """What the stack's outputs name, and its table's key. Raises UnknownStack, and botocore's errors.

    The key is asked of the table rather than of a further output, which stacks that are deployed already would lack.
    """
    region = cloudformation.meta.region_name
    try:
        (found,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        told = error.response.get("Error", {})
        if told.get("Code") != "ValidationError" or "does not exist" not in told.get("Message", ""):
            raise
        raise UnknownStack(
            f"there is no stack {name} in {region}: name another with --stage or --stack, "
            "another region with --region, another account with --profile"
        ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    try:
        return Stack(
            name=name,
            state_machine_arn=outputs["StateMachineArn"],
            table=outputs["TableName"],
            key=_partition_key(dynamodb, outputs["TableName"]),
            stuck_sagas_queue_url=outputs["StuckSagasQueueUrl"],
        )
    except KeyError as missing:
        raise UnknownStack(
            f"the stack {name} in {region} ({found['StackStatus']}) has no output {missing.args[0]}: "
            "it is none of a saga, or not deployed to its end"
        ) from None


def _partition_key(dynamodb: "DynamoDBClient", table: str) -> str:
    schema = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
    return next(part["AttributeName"] for part in schema if part["KeyType"] == "HASH")
