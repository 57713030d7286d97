"""Faults with real processes: functions that are killed, crash or hang, and executions that run at once."""

import collections
import concurrent.futures
import os
import random
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer

from local.orders import Ended, Orders
from tests.e2e.conftest import Faults
from tests.infrastructure.templates import FUNCTIONS
from tests.invariants import broken, is_stuck
from tests.saga.trial import kept
from tests.shape import Shape

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

# `make chaos` sets 200.
ORDERS = int(os.environ.get("ORDERS", "40"))
AT_A_TIME = 16
# Draws orders whose faults bring about every end.
SEED = 3


def good() -> dict[str, Any]:
    return {"order_id": str(uuid.uuid4()), "total": 100, "card_no": "123-1234", "address": "123 st"}


def rows(orders: Orders, order_id: str) -> dict[str, dict[str, Any]]:
    deserialize = TypeDeserializer().deserialize
    return {entity: deserialize({"M": row}) for entity, row in orders.rows(order_id).items()}


def run(orders: Orders, order: Mapping[str, Any]) -> Ended:
    return orders.end(orders.start(order), within_seconds=300)


@pytest.mark.parametrize("fault", ["kill before", "kill after", "crash before", "crash after"])
def test_an_action_that_always_dies_is_rolled_back(faults: Faults, shape: Shape, fault: str) -> None:
    faults.strike({"process_payment": fault})
    order = good()
    ended = run(faults.orders, order)
    assert (ended.status, ended.error) == ("FAILED", "OrderFailed"), ended
    assert (ended.cause or "").startswith("ProcessPayment failed: ")
    assert not broken(shape, kept(shape), [ended], rows(faults.orders, order["order_id"]))
    charged = [event["status"] for event in rows(faults.orders, order["order_id"])["PAYMENT"]["history"]]
    assert charged == (["CHARGED", "REFUNDED"] if fault.endswith("after") else ["REFUNDED"])


@pytest.mark.parametrize("fault", ["sleep before", "sleep after"])
def test_an_action_that_is_slower_than_its_timeout_is_rolled_back(faults: Faults, shape: Shape, fault: str) -> None:
    faults.strike({"process_shipment": fault})
    order = good()
    ended = run(faults.orders, order)
    assert (ended.status, ended.error) == ("FAILED", "OrderFailed"), ended
    assert (ended.cause or "").startswith("ProcessShipment failed: ")
    assert not broken(shape, kept(shape), [ended], rows(faults.orders, order["order_id"]))


def test_a_compensation_that_always_dies_leaves_the_saga_stuck_in_its_own_state(faults: Faults, shape: Shape) -> None:
    faults.strike({"process_shipment": "crash after", "refund_payment": "kill before"})
    order = good()
    ended = run(faults.orders, order)
    assert is_stuck(shape, ended)
    assert ended.states[-1] == "RefundPayment"
    assert not broken(shape, kept(shape), [ended], rows(faults.orders, order["order_id"]))


def test_of_two_executions_for_one_order_at_once_one_wins_and_the_other_changes_nothing(
    faults: Faults, shape: Shape
) -> None:
    order = good()
    arns = [faults.orders.start(order) for _ in range(2)]
    ended = [faults.orders.end(arn) for arn in arns]
    assert sorted(one.status for one in ended) == ["FAILED", "SUCCEEDED"]
    (lost,) = (one for one in ended if one.status == "FAILED")
    assert "CreateOrder failed: OrderConflict" in (lost.cause or "")
    assert not broken(shape, kept(shape), ended, rows(faults.orders, order["order_id"]))


def test_many_orders_at_once_with_random_faults_are_each_fulfilled_undone_or_stuck(
    faults: Faults, shape: Shape
) -> None:
    faults.strike(dict.fromkeys(FUNCTIONS, "random"))
    draw = random.Random(SEED)
    orders = [{**good(), "order_id": str(uuid.UUID(int=draw.getrandbits(128), version=4))} for _ in range(ORDERS)]
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        ended = list(pool.map(lambda order: run(faults.orders, order), orders))
    problems = [
        problem
        for order, one in zip(orders, ended, strict=True)
        for problem in broken(shape, kept(shape), [one], rows(faults.orders, order["order_id"]))
    ]
    assert not problems
    ends = collections.Counter("stuck" if is_stuck(shape, one) else one.error or one.status for one in ended)
    assert set(ends) == {"SUCCEEDED", "OrderFailed", "stuck"}, ends
