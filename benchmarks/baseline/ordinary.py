"""An ordinary function: it stores the same row as ProcessPayment, logs and counts, as the AWS documentation shows it.

It has no guarantees: its write has no condition, and its input is not validated.
"""

import os
from datetime import UTC, datetime
from typing import Any

import boto3
from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="orders")
dynamodb = boto3.client("dynamodb")


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Store the payment as CHARGED."""
    saga, order = event["saga"], event["input"]
    logger.append_keys(order_id=order["order_id"])
    entry = {"status": {"S": "CHARGED"}, "saga_id": {"S": saga["id"]}, "at": {"S": datetime.now(UTC).isoformat()}}
    dynamodb.update_item(
        TableName=os.environ["TABLE_NAME"],
        Key={"order_id": {"S": order["order_id"]}, "entity": {"S": "PAYMENT"}},
        UpdateExpression="SET #status = :status, saga_id = :saga_id, saga_started_at = :start, fence = :start,"
        " amount = :amount, card_last4 = :card, attempts = if_not_exists(attempts, :zero) + :one, history = :entry,"
        " previous_history = if_not_exists(history, :no_entries)",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":status": {"S": "CHARGED"},
            ":saga_id": {"S": saga["id"]},
            ":start": {"S": saga["started_at"]},
            ":amount": {"N": str(order["total"])},
            ":card": {"S": order["card_no"][-4:]},
            ":entry": {"L": [{"M": entry}]},
            ":no_entries": {"L": []},
            ":zero": {"N": "0"},
            ":one": {"N": "1"},
        },
    )
    logger.info("stored", extra={"status": "CHARGED"})
    with single_metric(namespace="orders", name="StepDone", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension(name="step", value="ProcessPayment")
    return {"order_id": order["order_id"], "status": "CHARGED"}
