"""Faults of real processes: functions that are killed, crash or hang, and executions at the same time."""

import collections
import concurrent.futures
import os
import random
import uuid

import pytest

from local.executions import start, start_and_wait, wait
from tests.e2e.conftest import Faults
from tests.e2e.orders import rows, valid
from tests.infrastructure.templates import FUNCTIONS
from tests.invariants import is_stuck, violations
from tests.saga.trial import expected_rows
from tests.shape import Shape

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

# `make chaos` sets ORDERS=200.
ORDERS = int(os.environ.get("ORDERS", "30"))
AT_A_TIME = 16 if "ORDERS" in os.environ else 8
# With this seed some orders always succeed, some are always rolled back, and some always stuck.
SEED = 0
SLEEPS = ("sleep before", "sleep after")


@pytest.fixture(scope="module", autouse=True)
def sleeping(faulty_stack: Faults) -> dict[str, tuple[dict[str, object], str]]:
    """Start orders that wait for the timeout of a function while the first tests run."""
    started = {}
    for fault in SLEEPS:
        order = valid()
        faulty_stack.set({"process_shipment": fault}, order_id=order["order_id"])
        started[fault] = (order, start(faulty_stack.deployment, order))
    return started


@pytest.mark.parametrize("fault", ["kill before", "kill after", "crash before", "crash after"])
def test_an_action_that_always_crashes_is_rolled_back(faults: Faults, shape: Shape, fault: str) -> None:
    faults.set({"process_payment": fault})
    order = valid()
    ended = start_and_wait(faults.deployment, order)
    assert (ended.status, ended.error) == ("FAILED", "OrderFailed"), ended
    assert (ended.cause or "").startswith("ProcessPayment failed: ")
    stored = rows(faults.deployment, order)
    assert not violations(shape, expected_rows(shape), [ended], stored)
    charged = [entry["status"] for entry in stored["PAYMENT"]["history"]]
    assert charged == (["CHARGED", "REFUNDED"] if fault.endswith("after") else ["REFUNDED"])


@pytest.mark.parametrize("fault", SLEEPS)
def test_an_action_that_exceeds_its_timeout_is_rolled_back(
    faults: Faults, shape: Shape, sleeping: dict[str, tuple[dict[str, object], str]], fault: str
) -> None:
    order, arn = sleeping[fault]
    ended = wait(faults.deployment, arn)
    assert (ended.status, ended.error) == ("FAILED", "OrderFailed"), ended
    assert (ended.cause or "").startswith("ProcessShipment failed: ")
    assert not violations(shape, expected_rows(shape), [ended], rows(faults.deployment, order))


def test_a_compensation_that_always_crashes_leaves_the_saga_stuck_in_its_own_state(
    faults: Faults, shape: Shape
) -> None:
    faults.set({"process_shipment": "crash after", "refund_payment": "kill before"})
    order = valid()
    ended = start_and_wait(faults.deployment, order)
    assert is_stuck(shape, ended)
    assert ended.states[-1] == "RefundPayment"
    assert not violations(shape, expected_rows(shape), [ended], rows(faults.deployment, order))


def test_of_two_executions_for_one_order_one_succeeds_and_the_other_changes_nothing(
    faults: Faults, shape: Shape
) -> None:
    order = valid()
    arns = [start(faults.deployment, order) for _ in range(2)]
    ended = [wait(faults.deployment, arn) for arn in arns]
    assert sorted(one.status for one in ended) == ["FAILED", "SUCCEEDED"]
    (failed,) = (one for one in ended if one.status == "FAILED")
    assert "CreateOrder failed: SagaConflict" in (failed.cause or "")
    assert not violations(shape, expected_rows(shape), ended, rows(faults.deployment, order))


def test_each_of_many_orders_with_random_faults_is_fulfilled_rolled_back_or_stuck(faults: Faults, shape: Shape) -> None:
    faults.set(dict.fromkeys(FUNCTIONS, "random"))
    draw = random.Random(SEED)
    orders = [valid(order_id=str(uuid.UUID(int=draw.getrandbits(128), version=4))) for _ in range(ORDERS)]
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        ended = list(pool.map(lambda order: start_and_wait(faults.deployment, order, within_seconds=300), orders))
    problems = [
        problem
        for order, one in zip(orders, ended, strict=True)
        for problem in violations(shape, expected_rows(shape), [one], rows(faults.deployment, order))
    ]
    assert not problems
    ends = collections.Counter("stuck" if is_stuck(shape, one) else one.error or one.status for one in ended)
    assert set(ends) == {"SUCCEEDED", "OrderFailed", "stuck"}, ends
