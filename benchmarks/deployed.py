"""The order saga and the plain one, deployed side by side on one local cloud."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from benchmarks.measuring import LONGEST_SECONDS, BenchmarkError
from local.cloud import free_port, local_cloud
from local.deployment import Deployment, bootstrap, deploy
from local.order_demo import ORDER_DEMO

POLL_SECONDS = 0.01

# The deployments ``order`` and ``plain``.
Sagas: TypeAlias = Mapping[str, Deployment]


@contextlib.contextmanager
def deployed(progress: Callable[[str], None]) -> Iterator[Sagas]:
    """Deploy both stacks to a local cloud of their own and warm them up. Raises LocalError if that fails."""
    progress("starting the local cloud")
    with local_cloud(free_port()) as cloud:
        bootstrap(cloud)
        progress("cdk deploy, both sagas")
        sagas = {"order": deploy(cloud), "plain": deploy(cloud, stage="plain", app="benchmarks.baseline.app")}
        progress("warming up")
        for deployment in sagas.values():
            orders_a_second(deployment, 32, at_a_time=16)
        yield sagas


def new_order(scenario: str = "1-success") -> dict[str, object]:
    """Return the order of a scenario under a new id."""
    return ORDER_DEMO.input(scenario) | {"order_id": str(uuid.uuid4())}


def run_order(deployment: Deployment, order: object, poll_seconds: float = POLL_SECONDS) -> tuple[str, str]:
    """Run an order to its end; return the ARN and the status. Raises BenchmarkError if it does not end in time."""
    arn = deployment.client.start(order)
    deadline = time.monotonic() + LONGEST_SECONDS
    while (status := deployment.stepfunctions.describe_execution(executionArn=arn)["status"]) == "RUNNING":
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the execution {arn} did not end within {LONGEST_SECONDS} s")
        time.sleep(poll_seconds)
    return arn, status


def orders_a_second(deployment: Deployment, count: int, *, at_a_time: int) -> float:
    """Run so many complete orders, so many at a time. Raises BenchmarkError if one does not succeed."""
    orders = [new_order() for _ in range(count)]
    began = time.monotonic()
    with ThreadPoolExecutor(at_a_time) as pool:
        # The load of the polls is the same, however many wait.
        ends = [*pool.map(lambda order: run_order(deployment, order, POLL_SECONDS * at_a_time), orders)]
    seconds = time.monotonic() - began
    if failed := [arn for arn, status in ends if status != "SUCCEEDED"]:
        raise BenchmarkError(f"complete orders failed: {', '.join(failed)}")
    return count / seconds
