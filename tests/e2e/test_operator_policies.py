"""The documented policies of operators: each allows its commands, and nothing that another policy is for."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.cloud import ACCOUNT, REGION
from local.executions import path, start, start_and_wait
from tests.e2e.conftest import Faults
from tests.e2e.orders import rows, valid, wait_until
from tests.e2e.test_least_privilege import KEY, error_code, not_denied

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

POLICIES = Path(__file__).parents[2] / "docs" / "policies"
READ, RESUME, RECOVER = "read-only", "resume", "cancel-and-settle"


class Operator:
    """A user of some of the documented policies."""

    def __init__(self, faults: Faults, *policies: str) -> None:
        self.deployment, cloud = faults.deployment, faults.deployment.cloud
        self.stack = faults.deployment.stack
        self._cloud = cloud
        iam = cloud.session().client("iam", endpoint_url=cloud.endpoint)
        self._name = f"operator-{uuid.uuid4()}"
        iam.create_user(UserName=self._name)
        for policy in policies:
            text = (POLICIES / f"{policy}.json").read_text()
            for placeholder, value in (("REGION", REGION), ("ACCOUNT", ACCOUNT), ("STACK", self.stack.name)):
                text = text.replace(placeholder, value)
            iam.put_user_policy(UserName=self._name, PolicyName=policy, PolicyDocument=text)
        key = iam.create_access_key(UserName=self._name)["AccessKey"]
        self._credentials = {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }

    def client(self, service: str) -> Any:
        return self._cloud.session().client(service, endpoint_url=self._cloud.endpoint, **self._credentials)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command with these credentials."""
        done = subprocess.run(
            [sys.executable, "-m", "ops", "--stack", self.stack.name, *arguments],
            env=self._cloud.client_environment() | {name.upper(): value for name, value in self._credentials.items()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    def document(self, *arguments: str, status: int = 0) -> Any:
        """Return the JSON that a command prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def findings(self, order_id: str) -> list[dict[str, Any]]:
        """Return what the audit finds in an order."""
        found = json.loads(self.run("audit", "--json").stdout)["findings"]
        return [finding for finding in found if finding["order_id"] == order_id]

    def forbidden(self) -> dict[str, Callable[[], object]]:
        """Return the calls that no operator may make."""
        own = self.stack
        dynamodb, states, functions = (self.client(name) for name in ("dynamodb", "stepfunctions", "lambda"))
        function = f"{own.name}-create_order"
        return {
            "put a row": lambda: dynamodb.put_item(TableName=own.table, Item={**KEY, "status": {"S": "CONFIRMED"}}),
            "delete a row": lambda: dynamodb.delete_item(TableName=own.table, Key=KEY),
            "delete the table": lambda: dynamodb.delete_table(TableName=own.table),
            "start an execution": lambda: states.start_execution(stateMachineArn=own.state_machine_arn, input="{}"),
            "change a function": lambda: functions.update_function_configuration(FunctionName=function, Timeout=3),
            "empty the queue": lambda: self.client("sqs").purge_queue(QueueUrl=own.stuck_sagas_queue_url),
            "create a user": lambda: self.client("iam").create_user(UserName="x"),
        }

    def redrive(self, arn: str) -> Callable[[], object]:
        return lambda: self.client("stepfunctions").redrive_execution(executionArn=arn)

    def update(self) -> object:
        return self.client("dynamodb").update_item(TableName=self.stack.table, Key=KEY)

    def invoke(self) -> object:
        function = f"{self.stack.name}-delete_order"
        return self.client("lambda").invoke(FunctionName=function, Payload=b'{"order_id": "least-privilege"}')


@pytest.fixture(scope="module")
def stuck(faulty_stack: Faults) -> tuple[str, dict[str, Any]]:
    """Return a saga that is stuck in RefundPayment, and its order."""
    order = valid()
    faulty_stack.set({"process_shipment": "crash after", "refund_payment": "crash before"}, order_id=order["order_id"])
    return start_and_wait(faulty_stack.deployment, order, within_seconds=120).arn, order


def test_a_reading_operator_sees_everything_and_changes_nothing(
    faulty_stack: Faults, stuck: tuple[str, dict[str, Any]]
) -> None:
    operator, (arn, order) = Operator(faulty_stack, READ), stuck
    before = rows(faulty_stack.deployment, order)
    assert arn in {one["execution_arn"] for one in operator.document("list", "--status", "FAILED")["executions"]}
    assert operator.document("show", order["order_id"])["sagas"][0]["saga_id"] == arn
    assert arn in {saga["execution_arn"] for saga in operator.document("stuck", "--scan")["stuck"]}
    assert operator.run("stuck").returncode == 0
    (finding,) = operator.findings(order["order_id"])
    assert (finding["kind"], finding["saga_id"]) == ("stuck", arn)
    assert not not_denied(
        operator.forbidden()
        | {"redrive": operator.redrive(arn), "update a row": operator.update, "invoke": operator.invoke}
    )
    cancelled = operator.run("cancel", arn, "--yes")
    assert (cancelled.returncode, cancelled.stdout, cancelled.stderr.count("\n")) == (2, "", 1)
    assert cancelled.stderr.startswith("error: UpdateItem is not allowed: ")
    assert rows(faulty_stack.deployment, order) == before


def test_a_resuming_operator_may_redrive_and_not_write(faulty_stack: Faults, stuck: tuple[str, dict[str, Any]]) -> None:
    operator, (_, order) = Operator(faulty_stack, READ, RESUME), stuck
    assert not not_denied(operator.forbidden() | {"update a row": operator.update, "invoke": operator.invoke})
    running = start(faulty_stack.deployment, valid())
    assert error_code(operator.redrive(running)) not in ("AccessDenied", "AccessDeniedException", "AccessDeniedError")
    assert operator.findings(order["order_id"])


def test_an_operator_who_may_cancel_and_settle(faulty_stack: Faults) -> None:
    operator = Operator(faulty_stack, READ, RECOVER)
    assert not not_denied(operator.forbidden())

    order = valid()
    faulty_stack.set({"process_payment": "sleep before"}, order_id=order["order_id"])
    arn = start(faulty_stack.deployment, order)
    wait_until(lambda: "ProcessPayment" in path(faulty_stack.deployment, arn), "the payment is in progress")
    document = operator.document("cancel", order["order_id"], "--yes")
    assert (document["execution_arn"], document["cancelled"], document["outcome"]) == (arn, True, "rolled_back")
    assert document["rejected"] == ["ProcessPayment", "ProcessShipment"]
    statuses = {entity: row["status"] for entity, row in rows(faulty_stack.deployment, order).items()}
    assert statuses == {"ORDER": "DELETED", "PAYMENT": "REFUNDED", "SHIPMENT": "CANCELLED"}
    assert operator.findings(order["order_id"]) == []


def test_a_row_that_a_direct_call_left_is_found_and_settled(faulty_stack: Faults) -> None:
    operator, order = Operator(faulty_stack, READ, RECOVER), valid()
    cloud = faulty_stack.deployment.cloud
    functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    functions.invoke(FunctionName=f"{operator.stack.name}-create_order", Payload=json.dumps(order).encode())
    (finding,) = operator.findings(order["order_id"])
    assert finding["remedy"] == f"python -m ops settle {order['order_id']}"
    document = operator.document("settle", order["order_id"], "--yes")
    assert (document["called"], document["left"]) == (["DeleteOrder"], [])
    assert operator.findings(order["order_id"]) == []
