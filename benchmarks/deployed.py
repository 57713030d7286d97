"""The saga and the plain one, deployed side by side on one local cloud, and orders run through either."""

import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.baseline.app import STAGE as PLAIN
from benchmarks.errors import BenchmarkError
from local.cloud import free_port, local_cloud
from local.demo import scenario
from local.deployment import Deployment, bootstrap, deploy
from local.orders import Orders

POLL_SECONDS = 0.01
GIVEN_UP_AFTER_SECONDS = 120
WARM_UP_ORDERS = 32
WARM_UP_AT_A_TIME = 16


@dataclass(frozen=True, kw_only=True)
class Sagas:
    """Clients of the two stacks, and how much memory their functions have."""

    order: Orders
    plain: Orders
    table: str
    memory_mb: int

    def named(self, name: str) -> Orders:
        """``order`` or ``plain``."""
        return self.order if name == "order" else self.plain


@contextlib.contextmanager
def deployed(progress: Callable[[str], None]) -> Iterator[Sagas]:
    """Start a cloud, deploy both stacks, and stop it afterwards. Raises LocalError if that fails."""
    progress("starting the local cloud")
    with local_cloud(free_port()) as cloud:
        progress("cdk bootstrap")
        bootstrap(cloud)
        progress("cdk deploy, the saga")
        order = deploy(cloud)
        progress("cdk deploy, the plain saga")
        plain = deploy(cloud, stage=PLAIN, app=f"{sys.executable} -m benchmarks.baseline.app")
        sagas = Sagas(order=Orders(order), plain=Orders(plain), table=order.table, memory_mb=_memory(order))
        progress("warming up")
        for orders in (sagas.order, sagas.plain):
            run_many(orders, WARM_UP_ORDERS, at_a_time=WARM_UP_AT_A_TIME)
        yield sagas


def _memory(deployment: Deployment) -> int:
    functions = deployment.cloud.session().client("lambda", endpoint_url=deployment.cloud.endpoint)
    size: int = functions.get_function_configuration(FunctionName=f"{deployment.stack}-create_order")["MemorySize"]
    return size


def fresh() -> dict[str, object]:
    """A complete order under a new id."""
    return scenario("1-success") | {"order_id": str(uuid.uuid4())}


def run_one(orders: Orders, order: Mapping[str, object], *, poll_seconds: float = POLL_SECONDS) -> dict[str, Any]:
    """Run an order to its end; returns the description of its execution. Raises BenchmarkError if it does not end."""
    arn = orders.start(order)
    deadline = time.monotonic() + GIVEN_UP_AFTER_SECONDS
    while (execution := orders.stepfunctions.describe_execution(executionArn=arn))["status"] == "RUNNING":
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the execution {arn} has not ended within {GIVEN_UP_AFTER_SECONDS} s")
        time.sleep(poll_seconds)
    return dict(execution)


def seconds_of_one(orders: Orders, order: Mapping[str, object]) -> float:
    """How long a complete order takes from its start to its end. Raises BenchmarkError if it does not succeed."""
    began = time.monotonic()
    _require_success(run_one(orders, order))
    return time.monotonic() - began


def run_many(orders: Orders, count: int, *, at_a_time: int) -> float:
    """Run so many complete orders, so many at a time; returns orders a second. Raises BenchmarkError if one fails."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_a_time) as pool:
        # However many wait, the cloud is asked as often.
        ended = pool.map(lambda order: run_one(orders, order, poll_seconds=POLL_SECONDS * at_a_time), _orders(count))
        for execution in ended:
            _require_success(execution)
    return count / (time.monotonic() - began)


def _orders(count: int) -> list[dict[str, object]]:
    return [fresh() for _ in range(count)]


def _require_success(execution: Mapping[str, Any]) -> None:
    if execution["status"] != "SUCCEEDED":
        raise BenchmarkError(
            f"a complete order ended {execution['status']}: {execution.get('error')}: {execution.get('cause')}"
        )
