"""The functions of the plain saga, as first versions are often written: a client and one write in each call."""

import os
from typing import Any

import boto3

Event = dict[str, Any]


def create_order(event: Event, _context: object) -> dict[str, str]:
    """Put ORDER. Raises KeyError without a total."""
    return _put(event, "ORDER", "PENDING", total={"N": str(event["total"])})


def process_payment(event: Event, _context: object) -> dict[str, str]:
    """Put PAYMENT. Raises KeyError without a card."""
    card = {"S": event["card_no"][-4:]}
    return _put(event, "PAYMENT", "CHARGED", amount={"N": str(event["total"])}, card_last4=card)


def process_shipment(event: Event, _context: object) -> dict[str, str]:
    """Put SHIPMENT. Raises KeyError without an address."""
    return _put(event, "SHIPMENT", "BOOKED", address={"S": event["address"]})


def delete_order(event: Event, _context: object) -> dict[str, str]:
    """Delete ORDER."""
    return _delete(event, "ORDER")


def refund_payment(event: Event, _context: object) -> dict[str, str]:
    """Delete PAYMENT."""
    return _delete(event, "PAYMENT")


def cancel_shipment(event: Event, _context: object) -> dict[str, str]:
    """Delete SHIPMENT."""
    return _delete(event, "SHIPMENT")


def report(event: Event, _context: object) -> None:
    """Send the end of an execution to the operators' queue."""
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=str(event["detail"]))


def _put(event: Event, entity: str, status: str, **stored: dict[str, str]) -> dict[str, str]:
    item = {"order_id": {"S": event["order_id"]}, "entity": {"S": entity}, "status": {"S": status}, **stored}
    boto3.client("dynamodb").put_item(TableName=os.environ["TABLE_NAME"], Item=item)
    print(f"{entity} {event['order_id']} {status}", flush=True)
    return {"order_id": event["order_id"], "status": status}


def _delete(event: Event, entity: str) -> dict[str, str]:
    key = {"order_id": {"S": event["order_id"]}, "entity": {"S": entity}}
    boto3.client("dynamodb").delete_item(TableName=os.environ["TABLE_NAME"], Key=key)
    print(f"{entity} {event['order_id']} deleted", flush=True)
    return {"order_id": event["order_id"], "status": "DELETED"}
