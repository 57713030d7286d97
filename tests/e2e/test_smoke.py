"""``make smoke`` and the cases of ``make conformance``, against the local cloud."""

import subprocess
import sys

import boto3
import pytest
from botocore.config import Config

from local.cloud import PROJECT
from local.deployment import Deployment
from ops.executions import DeployedStack
from tests.conformance import differences, expected_cases
from tests.e2e.conftest import Faults

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def smoke(deployment: Deployment, stage: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.smoke", "--stage", stage],
        cwd=PROJECT,
        env=deployment.cloud.client_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def rows(deployment: Deployment, stack: DeployedStack) -> int:
    dynamodb = deployment.cloud.session().client("dynamodb", endpoint_url=deployment.cloud.endpoint)
    found = dynamodb.scan(
        TableName=stack.table,
        FilterExpression="begins_with(order_id, :prefix)",
        ExpressionAttributeValues={":prefix": {"S": "smoke-"}},
    )
    return len(found["Items"])


def test_a_stack_that_keeps_the_contract_passes_the_smoke_test_and_keeps_no_row_of_it(deployment: Deployment) -> None:
    done = smoke(deployment, "dev")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no checks failed" in done.stdout
    assert "FAILED  " not in done.stdout
    assert "ok      stopped execution: redriven to" in done.stdout
    assert rows(deployment, deployment.stack) == 0


def test_a_stack_whose_payment_fails_does_not_pass_the_smoke_test(faults: Faults) -> None:
    faults.set({"process_payment": "crash before"})
    done = smoke(faults.deployment, "faults")
    assert done.returncode == 1
    assert "FAILED  1-success: end\n        expected  ('SUCCEEDED', None)\n" in done.stdout
    assert rows(faults.deployment, faults.deployment.stack) == 0


def test_a_stack_that_does_not_exist_is_an_error_of_one_line(deployment: Deployment) -> None:
    done = smoke(deployment, "nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no stack OrderSaga-nosuch")
    assert done.stderr.count("\n") == 1


def test_ministack_runs_a_single_state_as_the_interpreter_does(deployment: Deployment) -> None:
    """As far as its TestState goes: it catches an error although retries are left, so faults are left out."""
    # On AWS, TestState has a host of its own.
    config = Config(inject_host_prefix=False)
    client = boto3.client("stepfunctions", endpoint_url=deployment.cloud.endpoint, config=config)
    cases = [case for case in expected_cases("order") if case["status"] != "RETRIABLE" and not case["retries"]]
    assert len(cases) > 20
    assert [found for case in cases for found in differences(case, client)] == []
