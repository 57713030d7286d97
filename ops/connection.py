"""Connects to a stack: its session, its clients and its outputs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ops.client import SagaClient
from ops.errors import OpsError, UnknownStack
from ops.executions import DeployedStack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef
    from mypy_boto3_dynamodb import DynamoDBClient

# The first request shows whether the service responds: fail early.
_FIRST = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
# Step Functions throttles early (DescribeExecution: 10 a second in most regions), so attempts are many.
_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 6})
# A function may run for a minute. Repeating a call is harmless.
_FUNCTIONS = Config(connect_timeout=5, read_timeout=70, retries={"mode": "standard", "total_max_attempts": 3})


@dataclass(frozen=True, kw_only=True)
class Target:
    """The stack to operate. AWS's usual sources (environment, profile, instance) supply what is None."""

    stack: str
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None


def connect(target: Target) -> SagaClient:
    """Return a client of the stack. Raises UnknownStack, OpsError for an invalid endpoint, and botocore's errors."""
    session = boto3.Session(profile_name=target.profile, region_name=target.region)
    try:
        cloudformation = session.client("cloudformation", endpoint_url=target.endpoint_url, config=_FIRST)
        dynamodb = session.client("dynamodb", endpoint_url=target.endpoint_url, config=_CONFIG)
        return SagaClient(
            stack=read_stack(cloudformation, dynamodb, target.stack),
            stepfunctions=session.client("stepfunctions", endpoint_url=target.endpoint_url, config=_CONFIG),
            dynamodb=dynamodb,
            sqs=session.client("sqs", endpoint_url=target.endpoint_url, config=_CONFIG),
            functions=lambda: session.client("lambda", endpoint_url=target.endpoint_url, config=_FUNCTIONS),
        )
    except ValueError as error:  # botocore's error for an invalid URL
        raise OpsError(f"{error}: check --endpoint-url and AWS_ENDPOINT_URL") from None


def read_stack(cloudformation: "CloudFormationClient", dynamodb: "DynamoDBClient", name: str) -> DeployedStack:
    """Return the stack by its outputs and its table's key. Raises UnknownStack, and botocore's errors."""
    region = cloudformation.meta.region_name
    try:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        details = error.response.get("Error", {})
        if details.get("Code") != "ValidationError" or "does not exist" not in details.get("Message", ""):
            raise
        raise UnknownStack(
            f"no stack {name} in {region}: name another with --stage or --stack, "
            "another region with --region, another account with --profile"
        ) from None
    outputs = outputs_of(stack)
    try:
        return DeployedStack(
            name=name,
            state_machine_arn=outputs["StateMachineArn"],
            table=outputs["TableName"],
            # From the table itself: the outputs of the contract do not name the key.
            key=_partition_key(dynamodb, outputs["TableName"]),
            stuck_sagas_queue_url=outputs["StuckSagasQueueUrl"],
            stuck_sagas_table=outputs["StuckSagasTableName"],
            receiver=outputs.get("ReceiverName"),
        )
    except KeyError as missing:
        raise UnknownStack(
            f"the stack {name} in {region} ({stack['StackStatus']}) has no output {missing.args[0]}: "
            "it is not a saga's, its deployment has not finished, or it must be deployed again"
        ) from None


def outputs_of(stack: "StackTypeDef") -> dict[str, str]:
    """Return the outputs of a described stack by name."""
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _partition_key(dynamodb: "DynamoDBClient", table: str) -> str:
    schema = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
    return next(part["AttributeName"] for part in schema if part["KeyType"] == "HASH")
