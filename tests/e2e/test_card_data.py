"""A marked card number takes every path, good and bad; then everything that the cloud stores is searched for it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from local.cloud import LocalCloud
from local.deployment import Deployment
from local.executions import EndedExecution, start, start_and_wait, wait
from tests.e2e import orders
from tests.e2e.conftest import Faults
from tests.infrastructure.templates import FUNCTIONS, REPORTER
from tests.invariants import is_stuck
from tests.shape import Shape

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

# A row may contain the last four digits; no row, log or message may contain any form of these 12.
MARK = "987-650-432-198"
CARD = f"{MARK}-7001"
FORMS = (MARK, MARK.replace("-", ""), MARK.replace("-", " "))
# Only the input of a state and the parameters of a call contain the input of the execution.
INPUTS = {"input", "parameters"}


def good(**fields: Any) -> dict[str, Any]:
    return orders.valid(**{"card_no": CARD, **fields})


def executions(faults: Faults, shape: Shape) -> Iterator[EndedExecution]:
    """Run executions that end in every possible way, each with the card in its input."""
    deployment, again = faults.deployment, good()
    for order in (
        *(good(), again, again, orders.without("total", card_no=CARD), orders.without("address", card_no=CARD)),
        *(good(card_no=f"{CARD} and more"), good(card_no=[CARD]), good(**{CARD: 1}), good(note=CARD)),
        *(CARD, [CARD], good(total=CARD)),
    ):
        yield start_and_wait(deployment, order)
    for function in FUNCTIONS[:3]:
        for fault in ("crash before", "crash after", "kill after"):
            faults.set({function: fault})
            yield start_and_wait(deployment, good())
    for fault in ("crash before", "kill before"):
        faults.set({"process_shipment": "crash before", "refund_payment": fault})
        stuck = start_and_wait(deployment, good())
        assert is_stuck(shape, stuck) and stuck.states[-1] == "RefundPayment"
        yield stuck
    faults.set({"process_payment": "sleep before"})
    aborted = start(deployment, good())
    deployment.stepfunctions.stop_execution(executionArn=aborted, error="Operator", cause="stopped")
    yield wait(deployment, aborted)


def test_a_card_number_is_in_the_input_of_its_execution_and_nowhere_else(
    faults: Faults, cloud: LocalCloud, shape: Shape
) -> None:
    ended = list(executions(faults, shape))
    assert {execution.status for execution in ended} == {"SUCCEEDED", "FAILED", "ABORTED"}
    deployment, search = faults.deployment, Search()
    for execution in ended:
        search.look_into(execution.arn, [execution.output, execution.error, execution.cause])
        search.look_into(f"{execution.arn} history", _without_inputs(_history(deployment, execution.arn)))
    _look_into_services(cloud, deployment, search)
    for file in cloud.folder.rglob("*"):
        if file.is_file():
            search.look_into(str(file), file.read_bytes().decode(errors="replace"))
    # The search does find the rows, logs and messages of these orders.
    logs = {f"/aws/lambda/{deployment.stack.name}-{name}" for name in (*FUNCTIONS, REPORTER)}
    assert search.searched >= {"rows", "stuck", *logs}
    assert not search.found


class Search:
    """The places where any form of the marked number was found, and all that were searched and not empty."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.searched: set[str] = set()

    def look_into(self, place: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content, default=str)
        if content:
            self.searched.add(place)
        if any(form in text for form in FORMS):
            self.found.append(place)


def _look_into_services(cloud: LocalCloud, deployment: Deployment, search: Search) -> None:
    session, endpoint = cloud.session(), cloud.endpoint
    logs, s3 = session.client("logs", endpoint_url=endpoint), session.client("s3", endpoint_url=endpoint)
    sqs, dynamodb = session.client("sqs", endpoint_url=endpoint), session.client("dynamodb", endpoint_url=endpoint)
    cloudwatch, events = (session.client(name, endpoint_url=endpoint) for name in ("cloudwatch", "events"))
    rows = dynamodb.scan(TableName=deployment.stack.table)["Items"]
    assert any(row.get("card_last4") == {"S": "7001"} for row in rows)
    search.look_into("rows", rows)
    steps = {f"/aws/lambda/{deployment.stack.name}-{name}" for name in FUNCTIONS}
    for group in logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name)
        lines = [event["message"] for page in pages for event in page["events"]]
        search.look_into(name, lines)
        # The successful calls are logged too.
        assert name not in steps or any('"level":"INFO"' in line for line in lines)
    entries = dynamodb.scan(TableName=deployment.stack.stuck_sagas_table)["Items"]
    assert entries
    search.look_into("entries", entries)
    received = sqs.receive_message(QueueUrl=deployment.stack.stuck_sagas_queue_url, MaxNumberOfMessages=10)
    search.look_into("stuck", received.get("Messages"))
    search.look_into("metrics", cloudwatch.list_metrics().get("Metrics"))
    search.look_into("alarms", cloudwatch.describe_alarms())
    search.look_into("rules", events.list_rules())
    for bucket in s3.list_buckets()["Buckets"]:
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
            search.look_into(item["Key"], body.decode(errors="replace"))


def _history(deployment: Deployment, arn: str) -> list[Any]:
    pages = deployment.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def _without_inputs(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _without_inputs(inner) for name, inner in value.items() if name not in INPUTS}
        case list():
            return [_without_inputs(inner) for inner in value]
    return value
