"""The webhook of the parcel saga: who may answer, and the response that each answer gets."""

import base64
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import boto3
import pytest

from examples.parcel_pickup.lambdas import handlers, webhook
from examples.parcel_pickup.lambdas.signatures import signature
from examples.parcel_pickup.lambdas.webhook import READ_AGAIN_AFTER, ROTATED_WITHIN, TOLERANCE
from lambdas.saga_runtime import callbacks, clock, own_secrets
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.own_secrets import OwnSecret
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import idempotency_key
from tests.fixtures import create_table, local_aws, stored_item
from tests.tasks import Tasks

SECRET = "a secret of the tests"  # noqa: S105 (it opens nothing)
SAGA = {"id": "s", "started_at": "2026-01-01T00:00:00.000Z"}
PARCEL = {"parcel_id": "1", "goods": "tea", "address": "1 Quay St"}
TOKEN = "token-1"  # noqa: S105 (it opens nothing)


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tasks]:
    tasks = Tasks()
    monkeypatch.setattr(callbacks, "_client", lambda: tasks)
    monkeypatch.setattr(webhook, "_SECRET", OwnSecret("WEBHOOK_SECRET"))
    with local_aws():
        create_table("parcel_id")
        client: Any = boto3.client("secretsmanager")
        monkeypatch.setenv("WEBHOOK_SECRET", client.create_secret(Name="webhook", SecretString=SECRET)["ARN"])
        own_secrets._client.cache_clear()
        yield tasks
    own_secrets._client.cache_clear()


class Reads:
    """How often the secret was read, and the time that passes."""

    def __init__(self) -> None:
        self.count = 0
        self.passed = timedelta(0)

    def let_pass(self, time: timedelta) -> None:
        self.passed += time + timedelta(seconds=1)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads, renewed, present = Reads(), OwnSecret.renewed, clock.present

    def counted(secret: OwnSecret) -> str:
        reads.count += 1
        return renewed(secret)

    monkeypatch.setattr(OwnSecret, "renewed", counted)
    monkeypatch.setattr(clock, "present", lambda: present() + reads.passed)
    return reads


def request(tasks: Tasks) -> None:
    tasks.open(TOKEN)
    handlers.request_pickup({"saga": SAGA, "input": PARCEL, "task_token": TOKEN}, None)


def answer(**fields: object) -> bytes:
    row = Row(step=handlers.PICKUP, key=("parcel_id", "1"), saga=SagaIdentity(**SAGA), table=OWN_TABLE)
    common = {"parcel_id": "1", "step": "request_pickup", "request": idempotency_key(row)}
    return json.dumps({**common, "result": "accepted", "details": {"driver": "Ada"}, **fields}).encode()


def event(body: bytes, *, secret: str = SECRET, at: float | None = None, encoded: bool = False) -> dict[str, Any]:
    timestamp = str(int(time.time() if at is None else at))
    return {
        "requestContext": {},
        "headers": {"webhook-timestamp": timestamp, "webhook-signature": signature(secret, timestamp, body)},
        "body": base64.b64encode(body).decode() if encoded else body.decode(),
        "isBase64Encoded": encoded,
    }


def post(sent: Mapping[str, Any]) -> tuple[int, dict[str, str]]:
    response = handlers.receive_answer(sent, None)
    return response["statusCode"], json.loads(response["body"])


def row() -> dict[str, Any]:
    return stored_item("1", "PICKUP") or {}


@pytest.mark.parametrize("encoded", [False, True])
def test_a_signed_answer_counts(tasks: Tasks, encoded: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    request(tasks)
    assert post(event(answer(), encoded=encoded)) == (
        200,
        {"parcel_id": "1", "step": "request_pickup", "status": "ACCEPTED"},
    )
    assert set(tasks.outcomes) == {TOKEN}


def test_an_answer_of_a_caller_that_may_invoke_the_function_needs_no_signature(tasks: Tasks) -> None:
    request(tasks)
    response = handlers.receive_answer(json.loads(answer()), None)
    assert response == {"parcel_id": "1", "step": "request_pickup", "status": "ACCEPTED"}
    assert set(tasks.outcomes) == {TOKEN}


@pytest.mark.parametrize("name", ["requestContext", "headers"])
def test_a_request_with_fewer_outer_fields_is_not_an_answer(tasks: Tasks, name: str) -> None:
    request(tasks)
    sent = event(answer(), secret="another")
    del sent[name]
    with contextlib.suppress(InvalidInput):
        assert post(sent)[0] == 401
    assert row()["status"] == {"S": "REQUESTED"}


def without(name: str) -> dict[str, Any]:
    sent = event(answer())
    return sent | {"headers": {other: value for other, value in sent["headers"].items() if other != name}}


def with_header(name: str, value: str) -> dict[str, Any]:
    sent = event(answer())
    return sent | {"headers": sent["headers"] | {name: value}}


@pytest.mark.parametrize(
    "sent",
    [
        {"requestContext": {}, "body": answer().decode()},
        without("webhook-signature"),
        without("webhook-timestamp"),
        with_header("webhook-signature", ""),
        with_header("webhook-signature", "é"),
        with_header("webhook-signature", "0" * 64),
        with_header("webhook-timestamp", str(int(time.time()) + 1)),
        with_header("webhook-timestamp", "-1"),
        with_header("webhook-timestamp", "١"),
        with_header("webhook-timestamp", "9" * 5_000),
        event(answer(), secret="another secret"),
        event(answer()) | {"body": answer(result="rejected", reason="x").decode()},
        event(answer(), at=0),
    ],
)
def test_an_answer_that_the_carrier_did_not_sign_changes_nothing(tasks: Tasks, sent: dict[str, Any]) -> None:
    request(tasks)
    stored = row()
    status, content = post(sent)
    assert (status, content["error"]) == (401, "InvalidSignatureError")
    assert (row(), tasks.outcomes) == (stored, {})


def test_the_log_of_a_request_that_is_not_signed_has_no_keys_of_an_earlier_answer(
    tasks: Tasks, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger.registered_handler, "stream", sys.stdout)
    request(tasks)
    assert post(event(answer()))[0] == 200
    assert post(event(answer(), secret="another"))[0] == 401
    answered, rejected = (json.loads(line) for line in capsys.readouterr().out.splitlines()[-2:])
    assert (answered["message"], answered["parcel_id"]) == ("answered", "1")
    assert rejected["message"] == "rejected"
    assert {"parcel_id", "saga_id", "step"}.isdisjoint(rejected)


@pytest.mark.parametrize(("age", "status"), [(TOLERANCE - 5, 200), (TOLERANCE + 5, 401), (-TOLERANCE - 5, 401)])
def test_a_signature_is_valid_for_some_minutes(tasks: Tasks, age: int, status: int) -> None:
    request(tasks)
    assert post(event(answer(), at=time.time() - age))[0] == status


def test_the_response_to_an_invalid_answer_says_what_is_wrong(tasks: Tasks) -> None:
    request(tasks)
    assert post(event(b"{")) == (400, {"error": "InvalidInput", "reason": "the body is not JSON"})
    status, content = post(event(answer(details={})))
    assert (status, content["reason"][:17]) == (400, "driver is missing")


def test_an_answer_that_comes_too_early_is_to_be_sent_again() -> None:
    response = handlers.receive_answer(event(answer()), None)
    assert response["statusCode"] == 503
    assert int(response["headers"]["retry-after"]) > 0


def test_an_answer_after_the_compensation_is_a_conflict(tasks: Tasks) -> None:
    request(tasks)
    handlers.cancel_pickup({"saga": SAGA, "input": PARCEL}, None)
    status, content = post(event(answer()))
    assert (status, content["error"]) == (409, "StepCompensated")


def test_no_response_contains_the_token(tasks: Tasks) -> None:
    request(tasks)
    responses = [
        handlers.receive_answer(event(answer(**fields)), None) for fields in ({}, {"step": "x"}, {"result": "x"})
    ]
    assert TOKEN not in str(responses)


def test_requests_that_nobody_signed_read_the_secret_at_most_once_a_minute(tasks: Tasks, reads: Reads) -> None:
    request(tasks)
    for count in (1, 2):
        for _ in range(20):
            assert post(event(answer(), secret="another"))[0] == 401
        assert reads.count == count
        reads.let_pass(READ_AGAIN_AFTER)
    assert post(event(answer()))[0] == 200
    assert reads.count == 2


def put(secret: str) -> None:
    client: Any = boto3.client("secretsmanager")
    client.put_secret_value(SecretId="webhook", SecretString=secret)


def test_the_first_answer_with_a_rotated_secret_counts(tasks: Tasks, reads: Reads) -> None:
    request(tasks)
    assert post(event(answer()))[0] == 200
    put("rotated")
    reads.let_pass(READ_AGAIN_AFTER)
    assert post(event(answer(), secret="rotated"))[0] == 200
    assert post(event(answer()))[0] == 401


def test_a_secret_that_was_replaced_is_rejected_after_some_minutes(tasks: Tasks, reads: Reads) -> None:
    request(tasks)
    assert post(event(answer()))[0] == 200
    put("rotated")
    reads.let_pass(ROTATED_WITHIN)
    assert post(event(answer()))[0] == 401
