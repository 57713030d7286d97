"""The functions under measurement, and what each is called with: as the state machines call them."""

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from local.demo import scenario

ACTIONS = ("create_order", "process_payment", "process_shipment")
COMPENSATIONS = ("delete_order", "refund_payment", "cancel_shipment")
SAGA = (*ACTIONS, *COMPENSATIONS)
REPORTER = "report_stuck_saga"

EXECUTION = (
    "arn:aws:states:us-east-1:000000000000:execution:OrderSaga-dev-OrderFulfilment:00000000-0000-0000-0000-000000000001"
)
STARTED_AT = "2026-01-31T09:30:00.123Z"
CAUSE = json.dumps(
    {"errorMessage": "address is missing", "errorType": "InvalidOrder", "stackTrace": ["  File ..."] * 3}
)

Handler = Callable[[Any, object], Any]


def handler(saga: str, function: str) -> Handler:
    """The function's handler, of the saga ``order`` or of the ``plain`` one; imports its module."""
    if saga == "plain":
        found: Handler = getattr(importlib.import_module("benchmarks.baseline.functions"), function)
    else:
        found = importlib.import_module(f"lambdas.{function}").handler
    return found


def event(saga: str, function: str, order: Mapping[str, object] | None = None) -> dict[str, Any]:
    """What the state machine gives to the function for this order, or for a complete one."""
    order = dict(scenario("1-success") if order is None else order)
    if function == REPORTER:
        return {"detail": {"executionArn": EXECUTION, "name": "1", "status": "FAILED", "startDate": 1, "stopDate": 2}}
    if saga == "plain":
        return order
    request: dict[str, Any] = {"saga": {"id": EXECUTION, "started_at": STARTED_AT}, "order": order}
    return request | ({"failure": {"Error": "InvalidOrder", "Cause": CAUSE}} if function in COMPENSATIONS else {})
