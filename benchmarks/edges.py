"""The price and the latency of the edges of the order saga: its HTTP API, and its events."""

import datetime as dt
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.billing import MEMORY_MB, REQUEST_MILLISECONDS, Listed, billed_milliseconds, listed
from benchmarks.cost import CALL_LOG
from benchmarks.deployed import new_order
from benchmarks.document import Part, table
from benchmarks.functions import EXECUTION, asset
from benchmarks.measuring import LONGEST_SECONDS, BenchmarkError, shown
from lambdas.order_steps import API_PATH
from local.api import Edges, edges_of
from local.cloud import LocalCloud, free_port, local_cloud
from local.deployment import bootstrap, deploy

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

ORDERS = 40
# Bytes of a line of the access log.
ACCESS_LOG = 500
VARIABLES = {
    "STATE_MACHINE_ARN": EXECUTION.rpartition(":")[0].replace(":execution:", ":stateMachine:"),
    "CLEAN_ERROR": "OrderFailed",
    "FALLIBLE_ACTIONS": "[]",
    "EVENT_BUS": "OrderSaga-dev-outcomes",
    "KEY_FIELD": "order_id",
    "EVENTS": json.dumps({"ORDER CONFIRMED": "OrderConfirmed"}),
}
ENTRY = {"status": {"S": "PENDING"}, "saga_id": {"S": EXECUTION}, "at": {"S": "2026-01-31T09:30:00.123Z"}}
ROW = {
    "order_id": {"S": "1"},
    "entity": {"S": "ORDER"},
    "status": {"S": "CONFIRMED"},
    "saga_id": {"S": EXECUTION},
    "saga_started_at": {"S": "2026-01-31T09:30:00.123Z"},
    "confirmed_at": {"S": "2026-01-31T09:30:01.123Z"},
    "history": {"L": [{"M": ENTRY}]},
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a function of the edges.

    Args:
        module: the module of the function.
        handler: its name in the module.
        event: what it is called with.
        answers: what AWS answers to its requests, by operation. Default: an empty object.
        requests: how many requests it makes.
    """

    module: str
    handler: str
    event: Mapping[str, object]
    requests: int
    answers: Mapping[str, object]


def calls() -> dict[str, Call]:
    """Return a call of each function."""
    post = {
        "routeKey": "POST /orders",
        "headers": {"content-type": "application/json"},
        "body": json.dumps(new_order()),
    }
    get = {"routeKey": "GET /orders/{id+}", "pathParameters": {"id": "1"}}
    images = {"NewImage": ROW, "OldImage": ROW | {"status": {"S": "PENDING"}}}
    api = "lambdas.order_api"
    return {
        "`POST`": Call(module=api, handler="start_order", event=post, requests=2, answers={}),
        "`GET`": Call(module=api, handler="get_order", event=get, requests=1, answers={"GetItem": {"Item": ROW}}),
        "event": Call(
            module="lambdas.saga_runtime.publish_outcome",
            handler="handler",
            event={"Records": [{"dynamodb": images}]},
            requests=1,
            answers={"PutEvents": {"FailedEntryCount": 0, "Entries": []}},
        ),
    }


def run(progress: Callable[[str], None]) -> Part:
    """Measure both edges. Raises BenchmarkError or LocalError."""
    progress("edges, their functions")
    prices = listed("prices")
    answers: dict[str, object] = {}
    bills = {}
    with asset(answers, VARIABLES) as invoke:
        for name, call in calls().items():
            answers.clear()
            answers.update(call.answers)
            sample = invoke(call.module, call.handler, call.event, 0)
            milliseconds = billed_milliseconds(sample.warm) + (call.requests - 1) * REQUEST_MILLISECONDS
            bills[name] = bill(prices, milliseconds, sample.log_bytes + CALL_LOG, is_event=name == "event")
    progress("edges, starting the local cloud")
    with local_cloud(free_port()) as cloud:
        bootstrap(cloud)
        deployment = deploy(cloud, context={"api": "true"})
        progress(f"edges, {ORDERS} orders")
        seconds = latencies(cloud, edges_of(deployment))
    total = {service: sum(of[service] for of in bills.values()) for service in bills["event"]}
    rows = [
        [name, *(f"{1000 * dollars:.5f}" for dollars in (sum(of.values()), *of.values()))]
        for name, of in {**bills, "together": total}.items()
    ]
    waits = [[name, shown([1000 * one for one in of])] for name, of in seconds.items()]
    return Part(
        values={
            "edges_cost": table(["1,000 of them", "$", *total], rows),
            "edges_latency": table(["", "ms"], waits),
            "edges_load": f"{os.getloadavg()[0]:.0f}",
        },
        figures={"dollars": bills, "seconds": seconds},
    )


def bill(prices: Listed, milliseconds: int, log_bytes: int, *, is_event: bool) -> dict[str, float]:
    """Return what a request, or an event, costs by service. Lambda reads the stream of a table at no charge."""
    gb_seconds = milliseconds / 1000 * MEMORY_MB / 1024
    logged = log_bytes if is_event else log_bytes + ACCESS_LOG
    return {
        "API Gateway": 0 if is_event else prices["api_gateway"]["http_request"],
        "EventBridge": prices["eventbridge"]["custom_event"] if is_event else 0,
        "Lambda": prices["lambda"]["request"] + gb_seconds * prices["lambda"]["gb_second_arm64"],
        "DynamoDB": 0 if is_event else prices["dynamodb"]["read_request_unit"],
        "logs": logged / 1024**3 * prices["logs"]["gb_ingested"],
    }


def latencies(cloud: LocalCloud, edges: Edges) -> dict[str, list[float]]:
    """Send orders one by one; return the seconds of each by what was measured. Raises BenchmarkError."""
    sqs = cloud.session().client("sqs", endpoint_url=cloud.endpoint)
    found: dict[str, list[float]] = {}
    for number in range(-2, ORDERS):
        order = new_order()
        began = time.time()
        posted = edges.api.post(API_PATH, order)
        accepted = time.time()
        held = edges.api.get(f"{posted.headers['location']}?wait=20")
        ended = time.time()
        read = edges.api.get(posted.headers["location"])
        measured = {
            "`POST` to 202": accepted - began,
            "`GET` of an outcome": time.time() - ended,
            "`POST` to `confirmed`, by `?wait=20`": ended - began,
            "ConfirmOrder to the event in the queue": received(sqs, edges.queue_url, order["order_id"]),
        }
        if (posted.status, (held.body or {}).get("status"), read.body) != (202, "confirmed", held.body):
            raise BenchmarkError(f"an order was not confirmed: {posted}, {held}")
        # The first ones warm up.
        for name, value in measured.items() if number >= 0 else ():
            found.setdefault(name, []).append(value)
    return found


def received(sqs: "SQSClient", url: str, order_id: object) -> float:
    """Receive the event of an order; return the seconds from its time to its arrival in the queue."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=url, AttributeNames=["SentTimestamp"], WaitTimeSeconds=5)
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            detail = json.loads(message["Body"])["detail"]
            if detail["order_id"] == order_id:
                happened = dt.datetime.fromisoformat(detail["time"]).timestamp()
                return int(message["Attributes"]["SentTimestamp"]) / 1000 - happened
    raise BenchmarkError(f"the event of {order_id} did not arrive within {LONGEST_SECONDS} s")
