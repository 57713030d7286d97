"""The deployed stack on the local cloud as its users meet it: by the AWS CLI, and by any input at all."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from local.demo import EXPECTED, SCENARIOS
from local.deployment import Deployment
from local.orders import Orders

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def aws(deployment: Deployment, *arguments: str) -> Any:
    """What the AWS CLI prints, as JSON."""
    done = subprocess.run(
        [Path(sys.executable).with_name("aws"), *arguments, "--output", "json"],
        env=deployment.cloud.client_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_aws_cli_runs_a_scenario_to_the_end_that_the_contract_says(deployment: Deployment, name: str) -> None:
    expected = EXPECTED[name]
    scenario = SCENARIOS / f"{name}.json"
    started = aws(
        deployment,
        *("stepfunctions", "start-execution", "--input", f"file://{scenario}"),
        *("--state-machine-arn", deployment.state_machine_arn),
    )
    arn = started["executionArn"]
    Orders(deployment).end(arn)
    ended = aws(deployment, "stepfunctions", "describe-execution", "--execution-arn", arn)
    assert (ended["status"], ended.get("error")) == (expected.status, expected.error)
    history = aws(
        deployment,
        *("stepfunctions", "get-execution-history", "--execution-arn", arn),
        *("--query", "events[].stateEnteredEventDetails.name"),
    )
    assert tuple(history) == expected.states
    order_id = json.loads(scenario.read_text())["order_id"]
    rows = aws(
        deployment,
        *("dynamodb", "query", "--table-name", deployment.table),
        *("--key-condition-expression", "order_id = :id"),
        *("--expression-attribute-values", json.dumps({":id": {"S": order_id}})),
    )
    assert {row["entity"]["S"]: row["status"]["S"] for row in rows["Items"]} == expected.statuses


def test_a_successful_execution_answers_with_order_and_status_alone(orders: Orders) -> None:
    ended = orders.end(orders.start(good()))
    assert set(json.loads(ended.output or "")) == {"order_id", "status"}


def test_the_aws_cli_invokes_one_function_directly(deployment: Deployment, tmp_path: Path) -> None:
    order, answer = tmp_path / "order.json", tmp_path / "answer.json"
    order.write_text('{"order_id":"direct-1","total":100}')
    told = aws(
        deployment,
        *("lambda", "invoke", "--function-name", "OrderSaga-dev-create_order"),
        *("--payload", f"fileb://{order}", str(answer)),
    )
    assert "FunctionError" not in told
    assert json.loads(answer.read_text()) == {"order_id": "direct-1", "status": "PENDING"}


def good(**fields: Any) -> dict[str, Any]:
    return {"order_id": str(uuid.uuid4()), "total": 100, "card_no": "123-1234", "address": "123 st", **fields}


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in good().items() if name != field}


NO_OBJECTS: tuple[Any, ...] = (None, [], "text", 5, True)
NO_IDS: tuple[Any, ...] = (1, "", None, "x" * 200, [], "\ud800")
BAD: list[tuple[Any, str, str]] = [
    *((value, "CreateOrder", "the order is") for value in NO_OBJECTS),
    *((good(order_id=value), "CreateOrder", "order_id") for value in NO_IDS),
    *((good(total=value), "CreateOrder", "total") for value in ("100", True, 0, -1, None, 0.001, 10**400)),
    *((good(card_no=value), "ProcessPayment", "card_no") for value in (1231234, "", "one", None, "１２３１２３４")),
    *((good(address=value), "ProcessShipment", "address") for value in (5, "", "x" * 100_000, None, "\0")),
    (without("order_id"), "CreateOrder", "order_id is missing"),
    (good(colour="red"), "CreateOrder", "unknown field 'colour'"),
]


def test_whatever_the_input_the_execution_fails_cleanly_and_names_step_and_field(orders: Orders) -> None:
    for order, step, names in BAD:
        ended = orders.end(orders.start(order))
        told = (order if len(str(order)) < 300 else "a long one", ended)
        assert (ended.status, ended.error) == ("FAILED", "OrderFailed"), told
        assert (ended.cause or "").startswith(f"{step} failed: InvalidOrder: "), told
        assert names in (ended.cause or ""), told
        assert "Traceback" not in (ended.cause or "")
        assert "CreateOrder" in ended.states and "DeleteOrder" in ended.states
    for order in (order for order, _, names in BAD if names not in ("the order is", "order_id")):
        live = {"PENDING", "CONFIRMED", "CHARGED", "BOOKED"} & set(orders.statuses(order.get("order_id", "-")).values())
        assert not live, order["order_id"]


def test_unicode_is_welcome_where_text_is(orders: Orders) -> None:
    order = good(order_id=f"Bestellung-{uuid.uuid4()}-東京", address="Straße 5\n東京 🚀")
    assert orders.end(orders.start(order)).status == "SUCCEEDED"
    assert orders.rows(order["order_id"])["SHIPMENT"]["address"] == {"S": "Straße 5\n東京 🚀"}
