"""A marked card number goes through every path, good and bad, and is then looked for in all that the cloud holds."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from local.cloud import LocalCloud
from local.orders import Ended, Orders
from tests.e2e.conftest import Faults
from tests.infrastructure.templates import FUNCTIONS, REPORTER
from tests.invariants import is_stuck
from tests.shape import Shape

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

# The last four digits may be kept; of these 12 no row, log or message may show any form.
MARK = "987-650-432-198"
CARD = f"{MARK}-7001"
FORMS = (MARK, MARK.replace("-", ""), MARK.replace("-", " "))
# A state's input and a call's parameters hold what the execution was started with; nothing else may.
INPUTS = {"input", "parameters"}


def good(**fields: Any) -> dict[str, Any]:
    return {"order_id": str(uuid.uuid4()), "total": 100, "card_no": CARD, "address": "123 st", **fields}


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in good().items() if name != field}


def paths(faults: Faults, shape: Shape) -> Iterator[Ended]:
    """Executions that end in every way there is, the card in the input of each."""
    orders = faults.orders
    again = good()
    for order in (
        *(good(), again, again, without("total"), without("address"), good(card_no=f"{CARD} and more")),
        *(good(card_no=[CARD]), good(**{CARD: 1}), good(note=CARD), CARD, [CARD], good(total=CARD)),
    ):
        yield orders.end(orders.start(order))
    for function in FUNCTIONS[:3]:
        for fault in ("crash before", "crash after", "kill after"):
            faults.strike({function: fault})
            yield orders.end(orders.start(good()))
    for fault in ("crash before", "kill before"):
        faults.strike({"process_shipment": "crash before", "refund_payment": fault})
        stuck = orders.end(orders.start(good()))
        assert is_stuck(shape, stuck) and stuck.states[-1] == "RefundPayment"
        yield stuck
    faults.strike({"process_payment": "sleep before"})
    aborted = orders.start(good())
    orders.stepfunctions.stop_execution(executionArn=aborted, error="Operator", cause="stopped")
    yield orders.end(aborted)


def test_a_card_number_is_in_the_input_of_its_execution_and_nowhere_else(
    faults: Faults, cloud: LocalCloud, shape: Shape
) -> None:
    ended = list(paths(faults, shape))
    assert {execution.status for execution in ended} == {"SUCCEEDED", "FAILED", "ABORTED"}
    found = Found()
    for execution in ended:
        found.look_into(execution.arn, [execution.output, execution.error, execution.cause])
        found.look_into(f"{execution.arn} history", _without_inputs(_history(faults.orders, execution.arn)))
    _look_into_services(cloud, faults, found)
    for file in cloud.folder.rglob("*"):
        if file.is_file():
            found.look_into(str(file), file.read_bytes().decode(errors="replace"))
    # The search does see: rows, logs and messages of the same orders are there.
    assert found.seen >= {
        "rows",
        "stuck",
        *(f"/aws/lambda/{faults.deployment.stack}-{name}" for name in (*FUNCTIONS, REPORTER)),
    }
    assert not found.at


class Found:
    """Where any form of the marked number was found, and what was looked into and not empty."""

    def __init__(self) -> None:
        self.at: list[str] = []
        self.seen: set[str] = set()

    def look_into(self, place: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content, default=str)
        if content:
            self.seen.add(place)
        if any(form in text for form in FORMS):
            self.at.append(place)


def _look_into_services(cloud: LocalCloud, faults: Faults, found: Found) -> None:
    session = cloud.session()
    logs, s3 = session.client("logs", endpoint_url=cloud.endpoint), session.client("s3", endpoint_url=cloud.endpoint)
    sqs = session.client("sqs", endpoint_url=cloud.endpoint)
    cloudwatch = session.client("cloudwatch", endpoint_url=cloud.endpoint)
    events = session.client("events", endpoint_url=cloud.endpoint)
    rows = faults.orders.dynamodb.scan(TableName=faults.deployment.table)["Items"]
    assert any(row.get("card_last4") == {"S": "7001"} for row in rows)
    found.look_into("rows", rows)
    told = {f"/aws/lambda/{faults.deployment.stack}-{name}" for name in FUNCTIONS}
    for group in logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name)
        lines = [event["message"] for page in pages for event in page["events"]]
        found.look_into(name, lines)
        # Not only warnings: what is told of each call that went well is looked into, too.
        assert name not in told or any('"level":"INFO"' in line for line in lines)
    received = sqs.receive_message(QueueUrl=faults.deployment.stuck_sagas_queue_url, MaxNumberOfMessages=10)
    found.look_into("stuck", received.get("Messages"))
    found.look_into("metrics", cloudwatch.list_metrics().get("Metrics"))
    found.look_into("alarms", cloudwatch.describe_alarms())
    found.look_into("rules", events.list_rules())
    for bucket in s3.list_buckets()["Buckets"]:
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
            found.look_into(item["Key"], body.decode(errors="replace"))


def _history(orders: Orders, arn: str) -> list[Any]:
    pages = orders.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def _without_inputs(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _without_inputs(inner) for name, inner in value.items() if name not in INPUTS}
        case list():
            return [_without_inputs(inner) for inner in value]
    return value
