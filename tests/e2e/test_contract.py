"""The deployed stack as its users see it: through the AWS CLI, and with any input."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from local.deployment import Deployment
from local.executions import start_and_wait, statuses, wait
from local.order_demo import ORDER_DEMO
from tests.e2e.orders import valid, without

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def aws(deployment: Deployment, *arguments: str) -> Any:
    """Run the AWS CLI; return what it prints."""
    done = subprocess.run(
        [Path(sys.executable).with_name("aws"), *arguments, "--output", "json"],
        env=deployment.cloud.client_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_with_the_aws_cli_an_execution_ends_as_the_contract_says(deployment: Deployment) -> None:
    name = "5-failed-shipment"
    expected = ORDER_DEMO.expected_ends()[name]
    scenario = ORDER_DEMO.folder / f"{name}.json"
    arn = aws(
        deployment,
        *("stepfunctions", "start-execution", "--input", f"file://{scenario}"),
        *("--state-machine-arn", deployment.stack.state_machine_arn),
    )["executionArn"]
    wait(deployment, arn)
    ended = aws(deployment, "stepfunctions", "describe-execution", "--execution-arn", arn)
    assert (ended["status"], ended.get("error")) == (expected.status, expected.error)
    history = aws(
        deployment,
        *("stepfunctions", "get-execution-history", "--execution-arn", arn),
        *("--query", "events[].stateEnteredEventDetails.name"),
    )
    assert tuple(history) == expected.states
    rows = aws(
        deployment,
        *("dynamodb", "query", "--table-name", deployment.stack.table),
        *("--key-condition-expression", "order_id = :id"),
        *("--expression-attribute-values", json.dumps({":id": {"S": json.loads(scenario.read_text())["order_id"]}})),
    )
    assert {row["entity"]["S"]: row["status"]["S"] for row in rows["Items"]} == expected.statuses


def test_the_output_of_an_execution_is_order_and_status_only(deployment: Deployment) -> None:
    ended = start_and_wait(deployment, valid())
    assert set(json.loads(ended.output or "")) == {"order_id", "status"}


def test_the_aws_cli_invokes_one_function_directly(deployment: Deployment, tmp_path: Path) -> None:
    order, answer = tmp_path / "order.json", tmp_path / "answer.json"
    order.write_text('{"order_id":"direct-1","total":100}')
    response = aws(
        deployment,
        *("lambda", "invoke", "--function-name", "OrderSaga-dev-create_order"),
        *("--payload", f"fileb://{order}", str(answer)),
    )
    assert "FunctionError" not in response
    answered = json.loads(answer.read_text())
    assert (answered["order_id"], answered["status"], answered["saga"]["id"]) == ("direct-1", "PENDING", "direct")


# tests/unit has more kinds. These are kinds that a service could also treat in a way of its own.
NOT_OBJECTS: tuple[Any, ...] = (None, [], "text", 5)
INVALID_IDS: tuple[Any, ...] = (1, "", None, "x" * 200, "\ud800")
INVALID: list[tuple[Any, str, str]] = [
    *((value, "CreateOrder", "the order is") for value in NOT_OBJECTS),
    *((valid(order_id=value), "CreateOrder", "order_id") for value in INVALID_IDS),
    *((valid(total=value), "CreateOrder", "total") for value in ("100", 0, None, 0.001, 10**400)),
    *((valid(card_no=value), "ProcessPayment", "card_no") for value in (1231234, None, "１２３１２３４")),
    *((valid(address=value), "ProcessShipment", "address") for value in ("x" * 100_000, None, "\0")),
    (without("order_id"), "CreateOrder", "order_id is missing"),
    (valid(colour="red"), "CreateOrder", "unknown field 'colour'"),
]


def test_an_execution_with_an_invalid_input_fails_cleanly_and_names_step_and_field(deployment: Deployment) -> None:
    for order, step, name in INVALID:
        ended = start_and_wait(deployment, order)
        case = (str(order)[:300], ended)
        cause = ended.cause or ""
        assert (ended.status, ended.error) == ("FAILED", "OrderFailed"), case
        assert cause.startswith(f"{step} failed: InvalidInput: "), case
        assert name in cause, case
        assert "Traceback" not in cause
        assert "CreateOrder" in ended.states and "DeleteOrder" in ended.states
        if name not in ("the order is", "order_id"):
            live = {"PENDING", "CONFIRMED", "CHARGED", "BOOKED"}
            assert not live & set(statuses(deployment, order.get("order_id", "-")).values()), case


def test_text_may_have_any_script(deployment: Deployment) -> None:
    order = valid(order_id=f"Bestellung-{uuid.uuid4()}-東京", address="Straße 5\n東京 🚀")
    assert start_and_wait(deployment, order).status == "SUCCEEDED"
    cloud, key = deployment.cloud, {"order_id": {"S": order["order_id"]}, "entity": {"S": "SHIPMENT"}}
    dynamodb = cloud.session().client("dynamodb", endpoint_url=cloud.endpoint)
    row = dynamodb.get_item(TableName=deployment.stack.table, Key=key)["Item"]
    assert row["address"] == {"S": "Straße 5\n東京 🚀"}
