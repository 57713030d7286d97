"""A demo stops at the first execution that cannot end as it should, and shows why."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from local import demo
from local.cloud import LOOPBACK
from local.executions import path, wait
from local.faults import FaultError
from local.order_demo import ORDER_DEMO
from tests.e2e.conftest import Faults
from tests.e2e.orders import valid

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def problems_of_a_demo(faults: Faults, folder: Path) -> str:
    """Run a demo of two orders that must succeed; return what it says."""
    names = ("first", "second")
    for name in names:
        (folder / f"{name}.json").write_text(json.dumps(valid()))
    orders = replace(ORDER_DEMO, folder=folder, scenarios=dict.fromkeys(names, demo.Scenario(title="")))
    (problem,) = demo.run(faults.deployment, Console(file=io.StringIO()), orders, orders.expected_ends())
    return problem


@contextmanager
def without_variable(faults: Faults, variable: str, function: str) -> Iterator[None]:
    """Remove an environment variable of the function while the block runs."""
    cloud, name = faults.deployment.cloud, f"{faults.deployment.stack.name}-{function}"
    functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    others = {key: value for key, value in variables.items() if key != variable}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": others})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


@contextmanager
def real_waits(faults: Faults) -> Iterator[None]:
    """Wait between retries while the block runs, as a demo does."""
    url = f"{faults.deployment.cloud.endpoint}/_ministack/config"
    for scale in (1, 0):
        with LOOPBACK.open(url, data=json.dumps({"stepfunctions._SFN_WAIT_SCALE": scale}).encode(), timeout=10):
            pass
        if scale:
            yield


def test_a_function_that_cannot_be_imported_stops_the_demo_before_its_retries_end(
    faults: Faults, tmp_path: Path
) -> None:
    deployment = faults.deployment
    with without_variable(faults, "REAL_HANDLER", "create_order"), real_waits(faults):
        problem = problems_of_a_demo(faults, tmp_path)
        running = deployment.stepfunctions.list_executions(
            stateMachineArn=deployment.stack.state_machine_arn, statusFilter="RUNNING"
        )["executions"][0]["executionArn"]
        with pytest.raises(FaultError, match=r"has not ended within 0 s: CreateOrder failed: KeyError: 'REAL_HANDLER'"):
            wait(deployment, running, within_seconds=0)
        assert path(deployment, running) == ("CreateOrder",)
        deployment.stepfunctions.stop_execution(executionArn=running)
    first, *log = problem.splitlines()
    assert first == (
        "first: CreateOrder failed: KeyError: 'REAL_HANDLER': fix it in OrderSaga-faults-create_order, "
        "whose log ends with the lines below, and run this again"
    )
    assert any(line.endswith('REAL_HANDLER = os.environ["REAL_HANDLER"]') for line in log), log


def test_a_function_that_crashes_stops_the_demo_with_the_end_of_its_log(faults: Faults, tmp_path: Path) -> None:
    faults.set({"process_payment": "kill before"})
    first, *log = problems_of_a_demo(faults, tmp_path).splitlines()
    assert first.startswith("first: ProcessPayment failed: Runtime.ExitError: ")
    assert "fix it in OrderSaga-faults-process_payment" in first
    assert "  killed before the call" in log
