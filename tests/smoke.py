"""``make smoke``: run the order saga of a deployed stack, on AWS or on the local cloud, and compare with the contract.

Credentials, region and endpoint are AWS's usual ones. The orders have random ids; their rows are removed at the end. A
run costs less than a cent, nearly all of it state transitions, which it counts.

Exit status: 0 everything as expected, 1 something differs, 2 an error, 130 interrupted.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.api import Answer, ApiClient, local_url
from local.order_demo import ORDER_DEMO
from ops.arguments import ArgumentParser
from ops.client import SagaClient
from ops.connection import Target, connect, outputs_of
from ops.errors import OpsError, UnknownExecution, explained
from ops.model import Execution, Outcome

CARD = "5500 0000 1111"
ORDER = {**ORDER_DEMO.input("1-success"), "card_no": CARD}
CLEAN = "OrderFailed"
DOLLARS_PER_TRANSITION = 0.000025  # us-east-1; see benchmarks/prices.toml
WAIT_SECONDS = 120
POLL_SECONDS = 0.5


@dataclass(kw_only=True)
class Smoke:
    """A run against one stack: the ids it used, and the number of checks that failed."""

    client: SagaClient
    prefix: str = field(default_factory=lambda: f"smoke-{uuid4().hex[:12]}")
    began: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=1))
    ids: list[str] = field(default_factory=list)
    transitions: int = 0
    failed: int = 0

    def order(self, number: int, **fields: object) -> dict[str, object]:
        """Return an order of this run."""
        order_id = f"{self.prefix}-{number}"
        self.ids.append(order_id)
        return {**fields, "order_id": order_id}

    def check(self, name: str, expected: object, actual: object) -> None:
        """Print a check."""
        good = expected == actual
        self.failed += not good
        print(f"{'ok    ' if good else 'FAILED'}  {name}")
        print(f"        expected  {expected}\n        actual    {actual}", flush=True)

    def end(self, arn: str) -> Execution:
        """Wait until the execution has ended."""
        ended: Execution = wait_for("the end of an execution", lambda: self._ended(arn))
        self.transitions += len(self.path(arn))
        return ended

    def _ended(self, arn: str) -> Execution | None:
        """Return an execution that has ended; None if it runs, or if Step Functions does not know it yet."""
        try:
            execution = self.client.execution(arn)
        except UnknownExecution:
            return None
        return None if execution.outcome is Outcome.RUNNING else execution

    def path(self, arn: str) -> list[str]:
        """Return the states that the execution entered."""
        return [step.state for step in self.client.saga_run(arn).path]

    def statuses(self, order: dict[str, object]) -> dict[str, str]:
        """Return the statuses of the order's rows by entity."""
        return {row.entity: row.status for row in self.client.rows(str(order["order_id"]))}

    def rows(self, order: dict[str, object]) -> list[str]:
        """Return the order's rows in words: entity, status and the name of the owner."""
        rows = self.client.rows(str(order["order_id"]))
        return [f"{row.entity} {row.status} by {row.saga_id.rpartition(':')[2]}" for row in rows]


def wait_for(what: str, find: Callable[[], Any]) -> Any:
    """Call ``find`` until it returns something. Raises OpsError after two minutes."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := find()):
        if time.monotonic() > deadline:
            raise OpsError(f"{what} did not come within {WAIT_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return found


def run_scenarios(smoke: Smoke) -> None:
    """Run the four orders of the demo."""
    for number, (name, expected) in enumerate(ORDER_DEMO.expected_ends().items()):
        order = smoke.order(number, **ORDER_DEMO.input(name))
        if "card_no" in order:
            order["card_no"] = CARD
        arn = smoke.client.start(order)
        ended = smoke.end(arn)
        smoke.check(f"{name}: end", (expected.status, expected.error), (ended.status, ended.error))
        smoke.check(f"{name}: path", " > ".join(expected.states), " > ".join(smoke.path(arn)))
        smoke.check(f"{name}: rows", dict(expected.statuses), smoke.statuses(order))


def start_twice(smoke: Smoke) -> None:
    """Start a second execution for a live order: it fails cleanly and leaves the rows as they are."""
    order = smoke.order(10, **ORDER)
    smoke.end(smoke.client.start(order))
    before = smoke.rows(order)
    second = smoke.end(smoke.client.start({**order, "total": 999}))
    smoke.check("duplicate start: end", ("FAILED", CLEAN), (second.status, second.error))
    smoke.check("duplicate start: reason", "SagaConflict", _error_in(second.cause))
    smoke.check("duplicate start: rows unchanged", before, smoke.rows(order))


def try_again(smoke: Smoke) -> None:
    """Try a compensated order again: it is fulfilled."""
    order = smoke.order(11, **ORDER)
    smoke.end(smoke.client.start({name: value for name, value in order.items() if name != "address"}))
    again = smoke.end(smoke.client.start(order))
    smoke.check("retry of a compensated order: end", "SUCCEEDED", again.status)


def stop_and_redrive(smoke: Smoke, stepfunctions: Any) -> None:
    """Stop an execution: it is reported as stuck. Redrive it: it is fulfilled."""
    for number in range(20, 25):
        order = smoke.order(number, **ORDER)
        arn = smoke.client.start(order)
        with contextlib.suppress(ClientError):
            stepfunctions.stop_execution(executionArn=arn, error="Smoke", cause="stopped by make smoke")
        if smoke.end(arn).status == "ABORTED":
            break
    else:
        smoke.check("stopped execution: end", "ABORTED", "SUCCEEDED five times before it could be stopped")
        return
    reported = wait_for(
        "the report of a stuck saga",
        lambda: [saga for saga in smoke.client.stuck().sagas if saga.execution.arn == arn],
    )
    smoke.check("stopped execution: reported as", Outcome.STUCK, reported[0].execution.outcome)
    smoke.client.resume(reported[0])
    ended = wait_for("the end of a redrive", lambda: smoke.client.has_ended_since(reported[0].execution))
    smoke.check("stopped execution: redriven to", "SUCCEEDED", ended.status)


def use_api(smoke: Smoke, session: boto3.Session, cloudformation: Any) -> None:
    """Use the HTTP API, if the stack has one: an order that is sent twice is fulfilled once, and too late to cancel."""
    (stack,) = cloudformation.describe_stacks(StackName=smoke.client.stack.name)["Stacks"]
    outputs = outputs_of(stack)
    url = outputs.get("ApiUrl")
    if url is None:
        print("skip    HTTP API\n        deployed without -c api=true")
        return
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        url = local_url(endpoint, url)
    api = ApiClient(url=url, credentials=session.get_credentials(), region=cloudformation.meta.region_name)
    order = smoke.order(30, **ORDER)
    first = api.post("/orders", order)
    # 503: Step Functions may not know the execution yet.
    second = wait_for("the response to a repetition", lambda: _unless_unavailable(api.post("/orders", order)))
    smoke.check("HTTP API: two requests", [202, 202], [first.status, second.status])
    outcome = wait_for("the outcome of an order", lambda: _known(api.get(f"/orders/{order['order_id']}?wait=20")))
    smoke.check("HTTP API: outcome", {"order_id": order["order_id"], "status": "confirmed"}, outcome)
    smoke.check("HTTP API: attempts", [f"ORDER CONFIRMED by id-{order['order_id']}-1"], smoke.rows(order)[:1])
    invalid = api.post("/orders", {name: value for name, value in order.items() if name != "total"})
    smoke.check("HTTP API: order without total", 422, invalid.status)
    smoke.check("HTTP API: too late to cancel", 409, api.post(f"/orders/{order['order_id']}/cancel", {}).status)
    event = wait_for(
        "the event of an order", lambda: _event_of(order, outputs["OutcomeQueueUrl"], session.client("sqs"))
    )
    smoke.check("events: outcome", "OrderConfirmed", event["detail-type"])
    cancel_by_api(smoke, api, smoke.order(31, **ORDER))
    smoke.transitions += 2 * len(ORDER_DEMO.expected_ends()["1-success"].states)


def cancel_by_api(smoke: Smoke, api: ApiClient, order: dict[str, object]) -> None:
    """Cancel an order while it runs: it is rolled back, or it is too late and the order is confirmed."""
    path = f"/orders/{order['order_id']}"
    smoke.check("HTTP API: cancel an unknown order", 404, api.post(f"{path}/cancel", {}).status)
    api.post("/orders", order)
    cancelled = wait_for(
        "the execution of an order", lambda: _unless_unavailable(_unless_unknown(api.post(f"{path}/cancel", {})))
    )
    outcome = wait_for("the outcome of an order", lambda: _known(api.get(f"{path}?wait=20")))
    expected = {202: "failed", 409: "confirmed"}.get(cancelled.status)
    smoke.check(f"HTTP API: end after {cancelled.status} to a cancellation", expected, outcome["status"])


def search_card(smoke: Smoke, logs: Any, sqs: Any) -> None:
    """Search the card number in rows, outputs, causes, logs and queues."""
    digits = CARD.replace(" ", "")
    texts = [repr(smoke.client.rows(order_id)) for order_id in smoke.ids]
    texts += [repr(execution) for execution in smoke.client.newest(status=None, count=len(smoke.ids))]
    # Logs come late. The functions log the id of an order.
    texts += wait_for("the log of the last order", lambda: _log_lines(smoke, logs, until=smoke.ids[-1]))
    messages = sqs.receive_message(
        QueueUrl=smoke.client.stack.stuck_sagas_queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0
    )
    texts += [message["Body"] for message in messages.get("Messages", [])]
    found = [text[:200] for text in texts if CARD in text or digits in text]
    smoke.check(f"card number in {len(texts)} rows, ends, log lines and messages", [], found)


def _log_lines(smoke: Smoke, logs: Any, *, until: str) -> list[str]:
    """Return the lines of all logs since the run began; none if none of them has the text."""
    stack = smoke.client.stack.name
    lines = []
    for prefix in (f"/aws/lambda/{stack}-", f"/aws/vendedlogs/states/{stack}-", f"/aws/vendedlogs/apis/{stack}-"):
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            for group in page["logGroups"]:
                events = logs.get_paginator("filter_log_events").paginate(
                    logGroupName=group["logGroupName"], startTime=int(smoke.began.timestamp() * 1000)
                )
                lines += [event["message"] for found in events for event in found["events"]]
    return lines if any(until in line for line in lines) else []


def remove_rows(smoke: Smoke, dynamodb: Any) -> None:
    """Remove the rows of this run."""
    stack = smoke.client.stack
    for order_id in smoke.ids:
        for row in smoke.client.rows(order_id):
            key = {stack.key: {"S": order_id}, "entity": {"S": row.entity}}
            dynamodb.delete_item(TableName=stack.table, Key=key)


def _error_in(cause: str | None) -> str | None:
    """Return the error in a cause of the form ``STEP failed: ERROR: REASON``."""
    return cause.split(": ")[1] if cause else None


def _unless_unknown(answer: Answer) -> Answer | None:
    """Return the response; None if Step Functions does not know the execution yet."""
    return None if answer.status == HTTPStatus.NOT_FOUND else answer


def _unless_unavailable(answer: Answer | None) -> Answer | None:
    return None if answer and answer.status == HTTPStatus.SERVICE_UNAVAILABLE else answer


def _event_of(order: Mapping[str, object], queue_url: str, sqs: Any) -> Any:
    """Return the event of the order in a page of messages; None if it is not among them. The messages stay."""
    messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=1, WaitTimeSeconds=1)
    events = (json.loads(message["Body"]) for message in messages.get("Messages", []))
    return next((event for event in events if event["detail"]["order_id"] == order["order_id"]), None)


def _known(answer: Answer) -> Mapping[str, object] | None:
    """Return the outcome of an order; None if the saga has not ended or Step Functions does not know it yet."""
    return answer.body if answer.status == 200 and answer.body and answer.body["status"] != "pending" else None


@contextlib.contextmanager
def _own_rows(smoke: Smoke) -> Iterator[None]:
    try:
        yield
    finally:
        remove_rows(smoke, boto3.client("dynamodb"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = ArgumentParser(prog="python -m tests.smoke", description="Compare a deployed stack with the contract.")
    parser.add_argument("--stage", default="dev", help="the stack OrderSaga-STAGE (default: %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        smoke = Smoke(client=connect(Target(stack=f"OrderSaga-{options.stage}")))
        with _own_rows(smoke):
            run_scenarios(smoke)
            start_twice(smoke)
            try_again(smoke)
            stop_and_redrive(smoke, boto3.client("stepfunctions"))
            use_api(smoke, boto3.Session(), boto3.client("cloudformation"))
            search_card(smoke, boto3.client("logs"), boto3.client("sqs"))
    except OpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted; the rows of this run are removed.", file=sys.stderr)
        return 130
    cost = smoke.transitions * DOLLARS_PER_TRANSITION
    print(f"{smoke.failed or 'no'} checks failed; {smoke.transitions} state transitions, about ${cost:.4f}")
    return 1 if smoke.failed else 0


if __name__ == "__main__":
    sys.exit(main())
