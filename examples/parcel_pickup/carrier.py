"""The carrier of the demo: it reads a request for a pickup, and answers by a signed webhook, early or late or never."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from examples.parcel_pickup.lambdas.parcel_steps import SCHEMA, STEPS
from examples.parcel_pickup.lambdas.signatures import signature
from lambdas.saga_runtime.names import secret_output
from local.api import ApiClient, local_url
from local.deployment import Deployment

PICKUP = STEPS["PICKUP"]
ACCEPTS: Mapping[str, object] = {"result": "accepted", "details": {"driver": "Ada"}}
DECLINES: Mapping[str, object] = {"result": "rejected", "reason": "no van is free"}
# The carrier's answers by the address: while the saga waits, and after it has ended.
IN_TIME = {"1 Quay Street": ACCEPTS, "2 Quay Street": DECLINES}
TOO_LATE = {"4 Quay Street": ACCEPTS}
REQUEST_WITHIN_SECONDS = 30


def answer_in_time(parcel: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return the answer to the request for a parcel; None if none comes while the saga waits."""
    return IN_TIME.get(str(parcel.get("address")))


@contextmanager
def answering(deployment: Deployment, parcel: Mapping[str, object]) -> Iterator[list[str]]:
    """Answer the request for a parcel as the carrier does; yield the list of the responses that it gets."""
    responses: list[str] = []
    request = _request(deployment, str(parcel[SCHEMA.key]))
    if answer := answer_in_time(parcel):
        # A carrier sends an answer again that it was not sure of: the second time nothing changes.
        responses += [_send(deployment, {**request, **answer}) for _ in range(2)]
    yield responses
    if late := TOO_LATE.get(str(parcel["address"])):
        responses.append(_send(deployment, {**request, **late}))


def _request(deployment: Deployment, parcel_id: str) -> dict[str, object]:
    """Wait for the request in the table. Raises TimeoutError."""
    dynamodb = deployment.cloud.session().client("dynamodb", endpoint_url=deployment.cloud.endpoint)
    key = {SCHEMA.key: {"S": parcel_id}, "entity": {"S": PICKUP.entity}}
    deadline = time.monotonic() + REQUEST_WITHIN_SECONDS
    while True:
        item = dynamodb.get_item(TableName=deployment.stack.table, Key=key, ConsistentRead=True).get("Item", {})
        if "idempotency_key" in item:
            return {SCHEMA.key: parcel_id, "step": PICKUP.action, "request": item["idempotency_key"]["S"]}
        if time.monotonic() > deadline:
            raise TimeoutError(f"no pickup of the parcel {parcel_id} was requested in {REQUEST_WITHIN_SECONDS} s")
        time.sleep(0.05)


def _send(deployment: Deployment, answer: Mapping[str, object]) -> str:
    """Send a signed answer; return the status of the response and what it says."""
    secrets = deployment.cloud.session().client("secretsmanager", endpoint_url=deployment.cloud.endpoint)
    arn = deployment.outputs()[secret_output("WEBHOOK_SECRET")]
    secret = secrets.get_secret_value(SecretId=arn)["SecretString"]
    body, timestamp = json.dumps(answer).encode(), str(int(time.time()))
    headers = {"webhook-timestamp": timestamp, "webhook-signature": signature(secret, timestamp, body)}
    response = receiver_of(deployment).send("POST", "", body, headers)
    said = response.body or {}
    return f"{response.status} {said.get('status') or said.get('error', 'the function failed')}"


def receiver_of(deployment: Deployment) -> ApiClient:
    """Return a client of the function URL that the carrier sends its answers to."""
    url = local_url(deployment.cloud.endpoint, deployment.outputs()["AnswerUrl"])
    return ApiClient(url=url, credentials=None)
