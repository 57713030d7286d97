"""Orders as a client of the contract sees them: start one, wait for its end, look at its path and its rows."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.config import Config

from local.deployment import Deployment
from local.errors import LocalError

POLL_SECONDS = 0.1
# Clients of boto3 may be shared by threads; so many can ask at once.
MAX_CONNECTIONS = 20

Rows = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an execution ended. ``states`` is its path; ``rows`` maps entity to status."""

    arn: str
    status: str
    error: str | None
    cause: str | None
    output: str | None
    states: tuple[str, ...]


class Orders:
    """A client of one deployed stack; ``key`` is the partition key of its table."""

    def __init__(self, deployment: Deployment, *, key: str = "order_id") -> None:
        self._deployment = deployment
        self._key = key
        session, endpoint = deployment.cloud.session(), deployment.cloud.endpoint
        config = Config(max_pool_connections=MAX_CONNECTIONS)
        self.stepfunctions = session.client("stepfunctions", endpoint_url=endpoint, config=config)
        self.dynamodb = session.client("dynamodb", endpoint_url=endpoint, config=config)

    def start(self, order: object) -> str:
        """Start an execution with this input, valid or not; returns its ARN."""
        arn: str = self.stepfunctions.start_execution(
            stateMachineArn=self._deployment.state_machine_arn, input=json.dumps(order)
        )["executionArn"]
        return arn

    def end(self, arn: str, *, within_seconds: float = 60) -> Ended:
        """Wait until the execution has ended. Raises LocalError if it has not in time."""
        deadline = time.monotonic() + within_seconds
        while (execution := self.stepfunctions.describe_execution(executionArn=arn))["status"] == "RUNNING":
            if time.monotonic() > deadline:
                raise LocalError(f"the execution {arn} has not ended within {within_seconds:.0f} s")
            time.sleep(POLL_SECONDS)
        return Ended(
            arn=arn,
            status=execution["status"],
            error=execution.get("error"),
            cause=execution.get("cause"),
            output=execution.get("output"),
            states=self.path(arn),
        )

    def path(self, arn: str) -> tuple[str, ...]:
        """The names of the states that the execution entered, in order."""
        pages = self.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
        return tuple(
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if event["type"].endswith("StateEntered")
        )

    def rows(self, order_id: str) -> dict[str, dict[str, Any]]:
        """The order's rows by entity, as DynamoDB returns them."""
        found = self.dynamodb.query(
            TableName=self._deployment.table,
            KeyConditionExpression="#key = :order_id",
            ExpressionAttributeNames={"#key": self._key},
            ExpressionAttributeValues={":order_id": {"S": order_id}},
            ConsistentRead=True,
        )
        return {row["entity"]["S"]: row for row in found["Items"]}

    def statuses(self, order_id: str) -> dict[str, str]:
        """The statuses of the order's rows by entity."""
        return {entity: row["status"]["S"] for entity, row in self.rows(order_id).items()}
