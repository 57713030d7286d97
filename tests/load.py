"""``python -m tests.load``: send many orders to the HTTP API on a local cloud, and check how each one ends.

A tenth of the orders is invalid, a tenth is sent twice at the same time, and a twentieth is rolled back. Every valid
order must have one execution, one outcome and one event, and an invalid one none.

Exit status: 0 everything as expected, 1 something differs.
"""

import argparse
import collections
import json
import random
import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from local.api import Answer, ApiClient, edges_of
from local.cloud import LocalCloud, free_port, local_cloud
from local.deployment import Deployment, bootstrap, deploy
from tests.e2e.orders import valid, without

SEED = 0
EVENTS_WITHIN_SECONDS = 120
# What the order of each kind must come to; None for an order that must not be accepted.
OUTCOMES = {"valid": "confirmed", "duplicate": "confirmed", "blocked": "failed", "invalid": None}
EVENTS = {"confirmed": "OrderConfirmed", "failed": "OrderFailed"}


@dataclass
class Run:
    """The orders of a run by kind, and what was measured."""

    deployment: Deployment
    api: ApiClient
    queue_url: str
    orders: list[tuple[str, dict[str, Any]]]
    post_seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def check(self, order: dict[str, Any], what: str, expected: object, actual: object) -> None:
        if expected != actual:
            self.problems.append(f"{order['order_id']}: {what} is {actual}, expected {expected}")

    def post(self, order: dict[str, Any]) -> Answer:
        """Send the order until a service answers, as a client does."""
        while True:
            began = time.monotonic()
            answer = self.api.post("/orders", order)
            self.post_seconds.append(time.monotonic() - began)
            if answer.status < 500:
                return answer

    def send(self, kind_and_order: tuple[str, dict[str, Any]]) -> None:
        """Send an order and wait for its outcome."""
        kind, order = kind_and_order
        copies = 2 if kind == "duplicate" else 1
        with ThreadPoolExecutor(copies) as pool:
            answers = list(pool.map(self.post, [order] * copies))
        expected = OUTCOMES[kind]
        for answer in answers:
            self.check(order, "response", 422 if expected is None else 202, answer.status)
        if expected is not None:
            outcome = self.outcome(answers[0].headers["location"])
            self.check(order, "outcome", expected, outcome)

    def outcome(self, location: str) -> object:
        deadline = time.monotonic() + EVENTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            answer = self.api.get(f"{location}?wait=10")
            if answer.status == 200 and answer.body and answer.body["status"] != "pending":
                return answer.body["status"]
        return "pending"


def orders_of(count: int) -> Iterable[tuple[str, dict[str, Any]]]:
    """Return the orders with their kinds, in random order but always the same number of each."""
    kinds = ["invalid"] * (count // 10) + ["duplicate"] * (count // 10) + ["blocked"] * (count // 20)
    kinds += ["valid"] * (count - len(kinds))
    random.Random(SEED).shuffle(kinds)
    return [(kind, without("total") if kind == "invalid" else valid()) for kind in kinds]


def block(run: Run) -> None:
    """Claim the shipments of the orders that are to be rolled back."""
    cloud, stack = run.deployment.cloud, run.deployment.stack
    functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    for kind, order in run.orders:
        if kind == "blocked":
            functions.invoke(FunctionName=f"{stack.name}-process_shipment", Payload=json.dumps(order).encode())


def check_executions(run: Run) -> None:
    """Compare the number of executions of each order."""
    pages = run.deployment.stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=run.deployment.stack.state_machine_arn
    )
    names = collections.Counter(execution["name"] for page in pages for execution in page["executions"])
    for kind, order in run.orders:
        expected = 0 if kind == "invalid" else 1
        run.check(order, "number of executions", expected, names.pop(f"id-{order['order_id']}-1", 0))
    run.problems += [f"unexpected execution {name}" for name in names]


def check_events(run: Run) -> None:
    """Compare the events of each order; a repeated event counts once."""
    events = received(run, expected=sum(kind != "invalid" for kind, _ in run.orders))
    for kind, order in run.orders:
        outcome = OUTCOMES[kind]
        expected = set() if outcome is None else {EVENTS[outcome]}
        run.check(order, "events", expected, events.pop(order["order_id"], set()))
    run.problems += [f"unexpected event of {order_id}" for order_id in events]


def received(run: Run, *, expected: int) -> dict[str, set[str]]:
    """Receive the events until there are as many as expected, and none for five seconds; return them by order."""
    sqs = run.deployment.cloud.session().client("sqs", endpoint_url=run.deployment.cloud.endpoint)
    found: dict[str, set[str]] = collections.defaultdict(set)
    deadline = time.monotonic() + EVENTS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=run.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        for message in answer.get("Messages", []):
            event = json.loads(message["Body"])
            found[event["detail"]["order_id"]].add(event["detail-type"])
            sqs.delete_message(QueueUrl=run.queue_url, ReceiptHandle=message["ReceiptHandle"])
        if not answer.get("Messages") and len(found) >= expected:
            break
    return found


def run_load(cloud: LocalCloud, *, count: int, at_a_time: int) -> int:
    """Run the orders, print what was measured, and return the exit status."""
    bootstrap(cloud)
    deployment = deploy(cloud, stage="api", app="tests.e2e.api_app")
    edges = edges_of(deployment)
    run = Run(deployment, edges.api, edges.queue_url, list(orders_of(count)))
    block(run)
    began = time.monotonic()
    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(run.send, run.orders))
    seconds = time.monotonic() - began
    check_executions(run)
    check_events(run)
    for problem in run.problems:
        print(f"error: {problem}", file=sys.stderr)
    kinds = collections.Counter(kind for kind, _ in run.orders)
    *_, p99 = statistics.quantiles(run.post_seconds, n=100)
    print(f"{count} orders, {at_a_time} at a time: {dict(kinds)}")
    print(f"{seconds:.0f} s from the first request to the last outcome, {count / seconds:.1f} orders a second")
    print(f"{len(run.post_seconds)} POST: median {statistics.median(run.post_seconds):.2f} s, p99 {p99:.2f} s")
    print(f"{len(run.problems) or 'no'} differences")
    return 1 if run.problems else 0


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="Send many orders to the HTTP API.")
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--at-a-time", type=int, default=16)
    options = parser.parse_args()
    with local_cloud(free_port()) as cloud:
        return run_load(cloud, count=options.orders, at_a_time=options.at_a_time)


if __name__ == "__main__":
    sys.exit(main())
