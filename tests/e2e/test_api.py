"""The HTTP API and the events on the local cloud: what a shop sends, and what it and other systems learn.

Expired signatures are not tried: the local cloud accepts them, AWS does not.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local.api import Answer, ApiClient, Edges, commands_of, edges_of
from local.cloud import LocalCloud
from local.deployment import Deployment, deploy
from tests.e2e.conftest import Faults, with_faults
from tests.e2e.orders import valid
from tests.e2e.test_least_privilege import Caller, forbidden, not_denied, send, update
from tests.e2e.test_smoke import smoke
from tests.infrastructure.templates import FUNCTIONS
from tests.load import send_orders

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

WAIT_SECONDS = 60
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def stack(cloud: LocalCloud) -> Deployment:
    """Deploy the order saga with its API and its events."""
    return deploy(cloud, stage="api", app="tests.e2e.api_app")


@pytest.fixture(scope="module")
def faults_of_api(stack: Deployment) -> Faults:
    return with_faults(stack, (*MAY, *FUNCTIONS))


@pytest.fixture(scope="module")
def edges(stack: Deployment) -> Edges:
    return edges_of(stack)


@pytest.fixture(scope="module")
def api(edges: Edges) -> ApiClient:
    return edges.api


class Subscriber:
    """The queue of the example. It keeps what it has received."""

    def __init__(self, cloud: LocalCloud, url: str) -> None:
        self._sqs = cloud.session().client("sqs", endpoint_url=cloud.endpoint)
        self._url = url
        self._events: list[dict[str, Any]] = []

    def of(self, order_id: object, *, count: int) -> list[dict[str, Any]]:
        """Wait for a number of events of an order; return them."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(found := [one for one in self._events if one["detail"]["order_id"] == order_id]) < count:
            assert time.monotonic() < deadline, f"{len(found)} events of {order_id} within {WAIT_SECONDS} s"
            answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                self._events.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture(scope="module")
def subscriber(cloud: LocalCloud, edges: Edges) -> Subscriber:
    return Subscriber(cloud, edges.queue_url)


def executions(stack: Deployment, order: dict[str, Any]) -> list[str]:
    """Return the names of the executions of an order that the API started."""
    pages = stack.stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=stack.stack.state_machine_arn)
    names = [execution["name"] for page in pages for execution in page["executions"]]
    return sorted(name for name in names if name.startswith(f"id-{order['order_id']}-"))


def answered(send: Callable[[], Answer]) -> Answer:
    """Send a request until the API answers: few machines can start fifty functions at once."""
    while (answer := send()).status >= 500:
        pass
    return answer


def accepted(api: ApiClient, order: dict[str, Any]) -> Answer:
    return answered(lambda: api.post("/orders", order))


def ended(api: ApiClient, posted: Answer) -> Answer:
    """Wait for the outcome of an order; return the response that has it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answer = answered(lambda: api.get(f"{posted.headers['location']}?wait=20"))
        if (answer.body or {}).get("status") != "pending":
            return answer
        assert time.monotonic() < deadline, f"{posted.headers['location']} is pending after {WAIT_SECONDS} s"


def test_an_order_is_accepted_confirmed_and_published_and_a_repetition_changes_nothing(
    api: ApiClient, stack: Deployment, subscriber: Subscriber
) -> None:
    order = valid()
    first = api.post("/orders", order)
    assert first.status == 202
    outcome = ended(api, first)
    assert (outcome.status, outcome.body) == (200, {"order_id": order["order_id"], "status": "confirmed"})
    again = api.post("/orders", order)
    assert (again.status, again.body) == (202, first.body)
    assert api.post("/orders", {**order, "total": 1}).status == 409
    assert executions(stack, order) == [f"id-{order['order_id']}-1"]
    (event,) = subscriber.of(order["order_id"], count=1)
    assert (event["source"], event["detail-type"]) == (stack.stack.name, "OrderConfirmed")
    assert set(event["detail"]) == {"version", "order_id", "saga", "time", "reason"}
    assert event["detail"]["saga"].endswith(f":id-{order['order_id']}-1")


def test_the_printed_commands_start_an_order_read_its_outcome_and_receive_its_event(
    edges: Edges, stack: Deployment, tmp_path: Path
) -> None:
    order = valid(order_id="printed")
    file = tmp_path / "order.json"
    file.write_text(json.dumps(order))
    text = commands_of(edges, path="/orders", file=str(file), key=order["order_id"])
    commands = "\n".join(line for line in text.splitlines() if line.startswith("  "))
    done = subprocess.run(
        ["bash", "-euc", commands],  # noqa: S607
        env=stack.cloud.client_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "202 Accepted" in done.stdout
    assert '{"order_id": "printed", "status": "confirmed"}' in done.stdout
    assert "OrderConfirmed" in done.stdout


def test_fifty_identical_requests_at_once_start_one_execution(
    api: ApiClient, stack: Deployment, subscriber: Subscriber
) -> None:
    order = valid()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: accepted(api, order), range(50)))
    assert {(answer.status, str(answer.body)) for answer in answers} == {(202, str(answers[0].body))}
    assert ended(api, answers[0]).body == {"order_id": order["order_id"], "status": "confirmed"}
    assert executions(stack, order) == [f"id-{order['order_id']}-1"]
    assert [event["detail-type"] for event in subscriber.of(order["order_id"], count=1)] == ["OrderConfirmed"]


def test_orders_of_every_kind_at_once_have_one_execution_one_outcome_and_one_event_each(
    edges: Edges, stack: Deployment
) -> None:
    run = send_orders(stack, edges, count=20, at_a_time=8)
    assert {kind for kind, _ in run.orders} == {"valid", "duplicate", "blocked", "invalid"}
    assert not run.problems
    assert run.post_seconds


def test_a_rolled_back_order_has_a_reason_and_can_be_tried_again(
    api: ApiClient, stack: Deployment, subscriber: Subscriber
) -> None:
    order = valid()
    # Another saga holds the shipment, so that this one is rolled back.
    block = {"order_id": order["order_id"], "total": 1, "address": "other"}
    functions = stack.cloud.session().client("lambda", endpoint_url=stack.cloud.endpoint)
    invoked = functions.invoke(FunctionName=f"{stack.stack.name}-process_shipment", Payload=json.dumps(block).encode())
    direct = json.loads(invoked["Payload"].read())
    outcome = ended(api, api.post("/orders", order)).body or {}
    assert outcome["status"] == "failed"
    assert str(outcome["reason"]).startswith("ProcessShipment failed: SagaConflict: ")
    functions.invoke(
        FunctionName=f"{stack.stack.name}-cancel_shipment",
        Payload=json.dumps({"saga": direct["saga"], "input": block}).encode(),
    )
    assert ended(api, api.post("/orders", order)).body == {"order_id": order["order_id"], "status": "confirmed"}
    assert executions(stack, order) == [f"id-{order['order_id']}-{attempt}" for attempt in (1, 2)]
    failed, confirmed = subscriber.of(order["order_id"], count=2)
    assert (failed["detail-type"], failed["detail"]["reason"]) == ("OrderFailed", outcome["reason"])
    assert confirmed["detail-type"] == "OrderConfirmed"


def test_a_stuck_order_is_reported_to_the_client_and_published(
    api: ApiClient, stack: Deployment, subscriber: Subscriber
) -> None:
    order, posted = stopped(api, stack)
    assert (ended(api, posted).body or {})["status"] == "stuck"
    events = subscriber.of(order["order_id"], count=1)
    assert (events[-1]["detail-type"], events[-1]["detail"]["reason"]) == ("OrderStuck", "Test")


def test_the_smoke_test_covers_the_api(stack: Deployment) -> None:
    done = smoke(stack, "api")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "ok      HTTP API: attempts" in done.stdout
    assert "ok      HTTP API: end after " in done.stdout
    assert "ok      events: outcome" in done.stdout


def stopped(api: ApiClient, stack: Deployment) -> tuple[dict[str, Any], Answer]:
    """Stop the execution of an order before it has ended; return the order and the response."""
    for _ in range(5):
        order = valid()
        posted = api.post("/orders", order)
        arn = f"{stack.stack.state_machine_arn}:id-{order['order_id']}-1".replace(":stateMachine:", ":execution:")
        with contextlib.suppress(ClientError):
            stack.stepfunctions.stop_execution(executionArn=arn, error="Test", cause="stopped by a test")
        if stack.stepfunctions.describe_execution(executionArn=arn)["status"] == "ABORTED":
            return order, posted
    raise AssertionError("five executions ended before they could be stopped")


def test_an_order_that_could_not_even_be_created_is_published_as_failed(
    api: ApiClient, faults_of_api: Faults, subscriber: Subscriber
) -> None:
    order = valid()
    faults_of_api.set({"create_order": "crash before"})
    outcome = ended(api, api.post("/orders", order)).body or {}
    faults_of_api.set({})
    assert outcome["status"] == "failed"
    (event,) = subscriber.of(order["order_id"], count=1)
    assert (event["detail-type"], event["detail"]["reason"]) == ("OrderFailed", outcome["reason"])


def test_a_request_that_crashed_after_the_start_can_be_repeated(
    api: ApiClient, stack: Deployment, faults_of_api: Faults
) -> None:
    order = valid()
    faults_of_api.set({"start_order": "kill after"})
    assert api.post("/orders", order).status >= 500
    faults_of_api.set({})
    assert ended(api, api.post("/orders", order)).body == {"order_id": order["order_id"], "status": "confirmed"}
    assert executions(stack, order) == [f"id-{order['order_id']}-1"]


# What a function may do of that which no function of the saga may do, and of that which some may.
MAY: dict[str, set[str]] = {
    "start_order": {"read a row", "start an execution"},
    "get_order": {"read a row"},
    "cancel_order": {"read a row", "update a row"},
    "publish_outcome": set(),
}


@pytest.mark.parametrize("name", MAY)
def test_a_function_of_the_edges_may_do_what_it_must_and_nothing_else(
    faults_of_api: Faults, deployment: Deployment, name: str
) -> None:
    caller = Caller(faults_of_api, name)
    faults_of_api.set({})
    calls = forbidden(caller, deployment) | {
        "update a row": lambda: update(caller, caller.stack.table),
        "send to the queue of stuck sagas": lambda: send(caller, caller.stack.stuck_sagas_queue_url),
    }
    assert set(not_denied(calls)) == MAY[name]


def test_an_order_is_cancelled_as_long_as_its_last_step_has_not_begun(
    api: ApiClient, stack: Deployment, faults_of_api: Faults, subscriber: Subscriber
) -> None:
    order = valid()
    faults_of_api.set({"process_shipment": "hold before"})
    posted = api.post("/orders", order)
    cancel = f"{posted.headers['location']}/cancel"
    cancelled = api.post(cancel, {})
    faults_of_api.set({})
    assert (cancelled.status, cancelled.body) == (202, {"order_id": order["order_id"], "status": "pending"})
    outcome = ended(api, posted).body or {}
    assert outcome["status"] == "failed"
    again = api.post(cancel, {})
    assert (again.status, again.body) == (200, outcome)
    (event,) = subscriber.of(order["order_id"], count=1)
    assert event["detail-type"] == "OrderFailed"
    assert ended(api, api.post("/orders", order)).body == {"order_id": order["order_id"], "status": "confirmed"}
    late = api.post(cancel, {})
    assert (late.status, late.headers["content-type"]) == (409, "application/problem+json")
    assert executions(stack, order) == [f"id-{order['order_id']}-{attempt}" for attempt in (1, 2)]


def test_an_attempt_that_cannot_claim_the_order_again_is_published(
    api: ApiClient, faults_of_api: Faults, subscriber: Subscriber
) -> None:
    order = valid()
    faults_of_api.set({"process_payment": "crash before"})
    ended(api, api.post("/orders", order))
    faults_of_api.set({"create_order": "crash before"})
    outcome = ended(api, api.post("/orders", order)).body or {}
    faults_of_api.set({})
    first, second = subscriber.of(order["order_id"], count=2)
    assert [first["detail"]["saga"].rpartition("-")[2], second["detail"]["saga"].rpartition("-")[2]] == ["1", "2"]
    assert (second["detail-type"], second["detail"]["reason"]) == ("OrderFailed", outcome["reason"])
    assert str(outcome["reason"]).startswith("CreateOrder failed: ")


ODD_IDS = ["a/b", "../x", "ü %25?#", "x" * 128, "ü" * 128]


@pytest.mark.parametrize("name", ODD_IDS)
def test_an_order_with_an_odd_id_can_be_read_where_it_was_said_to_be(api: ApiClient, name: str) -> None:
    order = valid(order_id=name)
    assert ended(api, api.post("/orders", order)).body == {"order_id": name, "status": "confirmed"}


REQUESTS: dict[str, tuple[Callable[[ApiClient], Answer], int]] = {
    "no body": (lambda api: api.send("POST", "/orders", None, JSON), 400),
    "not JSON": (lambda api: api.send("POST", "/orders", b"{", JSON), 400),
    "10 MB": (lambda api: api.send("POST", "/orders", b"x" * 10_000_000, JSON), 413),
    "another content type": (lambda api: api.send("POST", "/orders", b"{}", {"Content-Type": "text/xml"}), 415),
    "an unknown field": (lambda api: api.post("/orders", valid(colour="red")), 422),
    "an unknown id": (lambda api: api.get("/orders/none"), 404),
    "an unknown path": (lambda api: api.get("/customers"), 404),
    "an unknown method": (lambda api: api.send("PUT", "/orders/1", b"{}", JSON), 405),
    "POST to an order": (lambda api: api.post("/orders/1", {}), 405),
    "cancelling an unknown order": (lambda api: api.post("/orders/none/cancel", {}), 404),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_has_a_problem_document_and_starts_nothing(api: ApiClient, stack: Deployment, name: str) -> None:
    request, status = REQUESTS[name]
    before = len(stack.client.newest(status=None, count=1000))
    answer = request(api)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.body is not None
    assert answer.body["status"] == status
    assert len(stack.client.newest(status=None, count=1000)) == before


@pytest.mark.parametrize("credentials", [None, Credentials("unknown", "unknown")], ids=["none", "unknown"])
def test_a_request_without_a_valid_signature_is_rejected(
    api: ApiClient, stack: Deployment, credentials: Credentials | None
) -> None:
    order = valid()
    answer = ApiClient(url=api.url, credentials=credentials).post("/orders", order)
    assert (answer.status, "message" in (answer.body or {})) == (403, True)
    assert executions(stack, order) == []
