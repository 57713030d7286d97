"""Orders, and what the tests of this folder do with them."""

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from local.deployment import Deployment
from local.order_demo import ORDER_DEMO


def valid(**fields: Any) -> dict[str, Any]:
    """Return a valid order with an id of its own, except for these fields."""
    return {**ORDER_DEMO.input("1-success"), "order_id": str(uuid.uuid4()), **fields}


def without(field: str, **fields: Any) -> dict[str, Any]:
    """Return such an order without a field."""
    return {name: value for name, value in valid(**fields).items() if name != field}


def rows(deployment: Deployment, order: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of an order by entity, as tests/invariants.py reads them."""
    return {row.entity: asdict(row) for row in deployment.client.rows(order["order_id"])}


def wait_until(condition: Callable[[], bool], name: str, within_seconds: float = 90) -> None:
    """Wait until the condition holds; ``name`` says what it is."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds} s: {name}"
        time.sleep(0.05)
