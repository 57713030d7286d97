"""The functions of the HTTP API: which orders they start, and what they say of them."""

import base64
import contextlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lambdas import order_api
from lambdas.saga_runtime import api
from lambdas.saga_runtime import clock as saga_clock
from lambdas.saga_runtime.barrier import SagaIdentity
from lambdas.saga_runtime.errors import SagaConflict, StepCompensated
from lambdas.saga_runtime.observability import logger
from tests.fixtures import create_table, local_aws, order_function, stored_item, stored_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORDER = {"order_id": "1", "total": 100, "card_no": "123-1234", "address": "123 st"}
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:orders"
EXECUTION = MACHINE.replace("stateMachine", "execution")
JSON = {"Content-Type": "application/json"}
FAILURE = {"step": "ProcessPayment", "error": "InvalidInput", "reason": "card_no is missing"}


class ExecutionAlreadyExistsError(ClientError):
    """What Step Functions answers to a name that is taken."""


class Exceptions:
    """The errors of the client."""

    ExecutionAlreadyExists = ExecutionAlreadyExistsError


def error(code: str, type_: type[ClientError] = ClientError) -> ClientError:
    return type_({"Error": {"Code": code, "Message": code}}, "Call")


@dataclass
class StepFunctions:
    """Executions by ARN, as AWS keeps them: the same name and input succeed again while the execution runs."""

    accepts_repetitions: bool = True
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    exceptions: type[Exceptions] = Exceptions
    is_reachable: bool = True

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, str]:  # noqa: N803, A002
        if not self.is_reachable:
            raise EndpointConnectionError(endpoint_url="https://states")
        assert stateMachineArn == MACHINE
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=len(self.executions))
        new = {"status": "RUNNING", "input": input, "startDate": start}
        found = self.executions.setdefault(f"{EXECUTION}:{name}", new)
        is_repetition = found["status"] == "RUNNING" and found["input"] == input
        if found is not new and not (self.accepts_repetitions and is_repetition):
            raise error("ExecutionAlreadyExists", ExecutionAlreadyExistsError)
        return {"executionArn": f"{EXECUTION}:{name}"}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn not in self.executions:
            raise error("ExecutionDoesNotExist")
        return {"executionArn": executionArn, **self.executions[executionArn]}

    def end(self, name: str, status: str, cause: str | None = None, error: str | None = None) -> None:
        self.executions[f"{EXECUTION}:{name}"] |= {"status": status, "error": error, "cause": cause}

    @property
    def names(self) -> list[str]:
        return [arn.rpartition(":")[2] for arn in self.executions]


# The local cloud rejects a repetition even while the first one runs.
each_cloud = pytest.mark.parametrize("states", [True, False], ids=["AWS", "local cloud"], indirect=True)


@pytest.fixture
def states(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StepFunctions]:
    """Return Step Functions, and an empty table."""
    fake = StepFunctions(accepts_repetitions=getattr(request, "param", True))
    monkeypatch.setattr(api, "_stepfunctions", fake)
    with local_aws():
        create_table()
        yield fake


def request(route: str, **members: object) -> dict[str, Any]:
    return {"version": "2.0", "routeKey": route, "rawPath": route.partition(" ")[2], "headers": {}, **members}


def send(body: str, headers: dict[str, str] = JSON, **members: object) -> dict[str, Any]:
    """Send the text to POST /orders."""
    event = request("POST /orders", body=body, headers=headers, **members)
    return order_api.start_order(event, None)


def post(order: object) -> dict[str, Any]:
    return send(json.dumps(order))


def get(id_: str, *, query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    event = request("GET /orders/{id+}", pathParameters={"id": id_}, headers=headers or {})
    return order_api.get_order(event | ({"queryStringParameters": query} if query else {}), None)


def cancel(id_: str) -> dict[str, Any]:
    event = request("POST /orders/{id+}", pathParameters={"id": f"{id_}/cancel"}, rawPath=f"/orders/{id_}/cancel")
    return order_api.cancel_order(event, None)


def stored_items() -> list[dict[str, Any]]:
    """Return the rows of order 1 as DynamoDB has them."""
    return [item for entity in ("ORDER", "PAYMENT", "SHIPMENT") if (item := stored_item("1", entity))]


def body(response: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response["body"])
    return found


def run(function: str, name: str, *, at: str = "2026-01-01T00:00:00.000Z", **members: object) -> None:
    """Run a function of the saga with this name."""
    event = {"saga": {"id": f"{EXECUTION}:{name}", "started_at": at}, "input": ORDER, **members}
    order_function(function)(event, None)


def roll_back(states: StepFunctions, attempt: int) -> None:
    """Claim the order by the attempt, compensate it and end the execution."""
    at = f"2026-01-01T00:00:{attempt:02}.000Z"
    run("create_order", f"id-1-{attempt}", at=at)
    run("delete_order", f"id-1-{attempt}", at=at, failure=FAILURE)
    states.end(f"id-1-{attempt}", "FAILED", "ProcessPayment failed: InvalidInput: card_no is missing", "OrderFailed")


def test_a_valid_order_is_started_by_its_own_text_and_named_by_its_id_and_attempt(states: StepFunctions) -> None:
    response = post(ORDER)
    assert (response["statusCode"], response["headers"]["Location"]) == (202, "/orders/1")
    assert body(response) == {"order_id": "1", "location": "/orders/1"}
    assert states.names == ["id-1-1"]
    assert json.loads(states.executions[f"{EXECUTION}:id-1-1"]["input"]) == ORDER


@each_cloud
def test_a_repeated_request_starts_nothing_and_returns_the_same_at_every_stage_of_the_saga(
    states: StepFunctions,
) -> None:
    first = post(ORDER)
    assert post(ORDER) == first  # as after a crash between the start and the response
    run("create_order", "id-1-1")
    assert post(dict(reversed(ORDER.items()))) == first
    states.end("id-1-1", "SUCCEEDED")
    assert post(ORDER) == first
    states.end("id-1-1", "FAILED", error="Lambda.Unknown")
    assert post(ORDER) == first
    assert states.names == ["id-1-1"]


@each_cloud
@pytest.mark.parametrize("failed", [0, 1, 12])
def test_fifty_requests_at_once_start_one_execution_however_many_attempts_have_failed(
    states: StepFunctions, failed: int
) -> None:
    for attempt in range(1, failed + 1):
        post(ORDER)
        fail_unclaimed(states, attempt)
    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(lambda _: post(ORDER), range(50)))
    assert {response["statusCode"] for response in responses} == {202}
    assert states.names == [f"id-1-{attempt}" for attempt in range(1, failed + 2)]


@each_cloud
@pytest.mark.parametrize("stage", ["started", "claimed", "confirmed", "stuck"])
def test_a_different_order_under_a_live_id_is_a_conflict(states: StepFunctions, stage: str) -> None:
    post(ORDER)
    if stage != "started":
        run("create_order", "id-1-1")
    if stage == "confirmed":
        states.end("id-1-1", "SUCCEEDED")
    if stage == "stuck":
        states.end("id-1-1", "TIMED_OUT")
    response = post({**ORDER, "total": 101})
    assert (response["statusCode"], response["headers"]["Content-Type"]) == (409, "application/problem+json")
    assert states.names == ["id-1-1"]


def test_an_order_whose_execution_is_forgotten_is_never_started_again(states: StepFunctions) -> None:
    """AWS accepts the name of an execution again after 90 days."""
    post(ORDER)
    run("create_order", "id-1-1")
    states.executions.clear()
    assert post(ORDER)["statusCode"] == 409
    assert states.names == []


@each_cloud
def test_a_rolled_back_order_can_be_tried_again_and_each_attempt_has_a_name(states: StepFunctions) -> None:
    for attempt in (1, 2):
        post(ORDER)
        roll_back(states, attempt)
    assert post({**ORDER, "total": 7})["statusCode"] == 202
    assert states.names == ["id-1-1", "id-1-2", "id-1-3"]


def fail_unclaimed(states: StepFunctions, attempt: int) -> None:
    """End the attempt as when CreateOrder times out before it claims the order: only a fence or a tombstone is left."""
    at = f"2026-01-01T00:00:{attempt:02}.000Z"
    run("delete_order", f"id-1-{attempt}", at=at, failure={**FAILURE, "step": "CreateOrder"})
    states.end(f"id-1-{attempt}", "FAILED", f"CreateOrder failed: attempt {attempt}", "OrderFailed")


def fail_in_turn(states: StepFunctions, attempt: int) -> None:
    """End every fifth attempt after it has claimed the order, the others before."""
    (roll_back if attempt % 5 == 0 else fail_unclaimed)(states, attempt)


@each_cloud
@pytest.mark.parametrize("fail", [roll_back, fail_unclaimed, fail_in_turn])
def test_an_order_can_be_tried_again_without_limit(
    states: StepFunctions, fail: Callable[[StepFunctions, int], None]
) -> None:
    for attempt in range(1, 24):
        assert post(ORDER)["statusCode"] == 202
        assert post({**ORDER, "total": 7})["statusCode"] == 409
        assert body(get("1"))["status"] == "pending"
        fail(states, attempt)
        assert body(get("1"))["status"] == "failed"
        assert states.names == [f"id-1-{number}" for number in range(1, attempt + 1)]
    assert cancel("1")["statusCode"] == 200


def test_the_outcome_of_an_order_is_that_of_its_newest_attempt_however_many_failed_before(
    states: StepFunctions,
) -> None:
    for attempt in range(1, 24):
        post(ORDER)
        fail_unclaimed(states, attempt)
        assert body(get("1"))["reason"] == f"CreateOrder failed: attempt {attempt}"
    post(ORDER)
    states.end("id-1-24", "ABORTED")
    assert body(get("1"))["status"] == "stuck"
    assert post(ORDER)["statusCode"] == 202
    assert states.names[-1] == "id-1-24", "a stuck saga is resumed, not started again"


@each_cloud
def test_the_newest_of_a_thousand_attempts_is_found_by_few_requests(states: StepFunctions) -> None:
    for attempt in range(1, 1001):
        states.start_execution(stateMachineArn=MACHINE, name=f"id-1-{attempt}", input=json.dumps(ORDER))
        states.end(f"id-1-{attempt}", "FAILED", error="OrderFailed")
    with mock.patch.object(states, "describe_execution", wraps=states.describe_execution) as described:
        assert post(ORDER)["statusCode"] == 202
    assert states.names[-1] == "id-1-1001"
    assert described.call_count <= 21


class Interleaved(StepFunctions):
    """Before and after each call, whatever else may happen at that time. A read may be out of date.

    Every start asserts that all other attempts have failed, or have claimed and compensated the order.
    """

    def __init__(self, seed: int, *, accepts_repetitions: bool) -> None:
        super().__init__(accepts_repetitions=accepts_repetitions)
        self.chance = random.Random(seed)
        self.depth = 0
        self.row: api._Row | None = None
        self.compensated: set[str] = set()

    def start_execution(self, **members: Any) -> dict[str, str]:
        self.meanwhile()
        before = self.names
        others = {arn for arn, execution in self.executions.items() if execution["status"] != "FAILED"}
        answer = super().start_execution(**members)
        if self.names != before:
            assert others <= self.compensated
            assert self.names == [f"id-1-{number}" for number in range(1, len(before) + 2)]
        self.meanwhile()
        return answer

    def describe_execution(self, **members: Any) -> dict[str, Any]:
        earlier = {arn: dict(execution) for arn, execution in self.executions.items()}
        self.meanwhile()
        known = StepFunctions(executions=earlier if self.chance.random() < 0.3 else self.executions)
        return known.describe_execution(**members)

    def meanwhile(self) -> None:
        """Let another request come, the newest saga make a step, or this request crash."""
        if self.depth < 2:
            self.depth += 1
            try:
                self.chance.choice([self.nothing, self.request, self.step, self.step, self.crash])()
            finally:
                self.depth -= 1

    def nothing(self) -> None:
        """Let nothing happen."""

    def request(self) -> None:
        """Send the order, another one with its id, or read its outcome."""
        if self.chance.random() < 0.3:
            get("1")
        else:
            post({**ORDER, "total": self.chance.choice([100, 100, 7])})

    def step(self) -> None:
        """Have the newest saga claim the order, compensate it, or fail, with or without a tombstone."""
        arn = next(reversed(self.executions), None)
        if arn is None or self.executions[arn]["status"] != "RUNNING":
            return
        owner, claims = SagaIdentity(id=arn, started_at=""), self.row.claims if self.row else 0
        if self.row is not None and (self.row.owner, self.row.status) == (owner, "PENDING"):
            self.row = replace(self.row, status="DELETED")
            self.compensated.add(arn)
        elif self.row is not None and self.row.owner == owner:
            self.fail(arn)
        elif self.chance.random() < 0.2:
            self.row = api._Row(status="PENDING", owner=owner, claims=claims + 1, reason=None)
        elif self.row is None and self.chance.random() < 0.5:
            self.row = api._Row(status="DELETED", owner=owner, claims=0, reason=None)
        else:
            self.fail(arn)

    def fail(self, arn: str) -> None:
        self.end(arn.rpartition(":")[2], "FAILED", "CreateOrder failed", "OrderFailed")

    def crash(self) -> None:
        raise EndpointConnectionError(endpoint_url="https://states")


@pytest.mark.parametrize("accepts_repetitions", [True, False], ids=["AWS", "local cloud"])
def test_an_attempt_starts_only_after_all_others_whatever_requests_crash_or_come_at_once(
    monkeypatch: pytest.MonkeyPatch,
    accepts_repetitions: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    most = 0
    for seed in range(12):
        states = Interleaved(seed, accepts_repetitions=accepts_repetitions)
        monkeypatch.setattr(api, "_stepfunctions", states)
        monkeypatch.setattr(api, "_row", lambda _first, _key, states=states: states.row)
        for _ in range(40):
            for move in (states.request, states.step):
                with contextlib.suppress(EndpointConnectionError):
                    move()
        most = max(most, len(states.names) - (states.row.claims if states.row else 0))
    assert most > 10, "otherwise the search took no long step"


@each_cloud
def test_an_attempt_that_failed_before_it_claimed_the_order_is_not_repeated_under_its_name(
    states: StepFunctions,
) -> None:
    post(ORDER)
    states.end("id-1-1", "FAILED", "CreateOrder failed: States.Timeout: late", "OrderFailed")
    assert body(get("1")) == {
        "order_id": "1",
        "status": "failed",
        "reason": "CreateOrder failed: States.Timeout: late",
    }
    assert post(ORDER)["statusCode"] == 202
    assert body(get("1"))["status"] == "pending"
    assert states.names == ["id-1-1", "id-1-2"]


@each_cloud
def test_a_saga_that_somebody_else_started_counts_as_well(states: StepFunctions) -> None:
    states.start_execution(stateMachineArn=MACHINE, name="by-hand", input=json.dumps(ORDER))
    run("create_order", "by-hand")
    assert post(ORDER)["statusCode"] == 202
    assert post({**ORDER, "total": 1})["statusCode"] == 409
    assert body(get("1"))["status"] == "pending"
    assert states.names == ["by-hand"]


def test_while_step_functions_does_not_know_an_execution_yet_a_request_is_to_be_repeated(states: StepFunctions) -> None:
    """Its answers are eventually consistent, the table's are not."""
    post(ORDER)
    run("create_order", "id-1-1", at=saga_clock.now())
    execution = states.executions.copy()
    states.executions.clear()
    assert (post(ORDER)["statusCode"], cancel("1")["statusCode"]) == (503, 503)
    states.executions.update(execution)
    assert (post(ORDER)["statusCode"], cancel("1")["statusCode"]) == (202, 202)


def test_a_row_of_a_direct_call_is_a_conflict(states: StepFunctions) -> None:
    order_function("create_order")(ORDER, None)
    assert post(ORDER)["statusCode"] == 409


@pytest.mark.parametrize(
    "id_",
    ["a/b", "../x", "a b", "%", "%25", "a%2Fb", "ü", "\N{PILE OF POO}", "x" * 65, "x" * 128, "ü" * 128, ":*?<>", "."],
)
def test_every_id_that_the_functions_accept_can_be_started_and_read(states: StepFunctions, id_: str) -> None:
    response = post({**ORDER, "order_id": id_})
    assert response["statusCode"] == 202
    (name,) = states.names
    assert len(name) <= 80
    assert name.replace("-", "").replace("_", "").isalnum()
    assert name.isascii()
    location = response["headers"]["Location"].removeprefix("/orders/")
    assert location.isascii()
    assert "/" not in location
    # What API Gateway makes of it: it decodes every escape but %25.
    passed_on = "%25".join(unquote(part) for part in location.split("%25"))
    assert body(get(passed_on)) == {"order_id": id_, "status": "pending"}


def test_ids_that_look_alike_have_different_executions() -> None:
    ids = ["1", "1-1", "id-1", "A", "a", "x" * 64, "x" * 65, "ü", "u\u0308"]
    names = {api.execution_name(id_, attempt) for id_ in ids for attempt in (1, 11)}
    assert len(names) == 2 * len(ids)


DEEP = "[" * 200_000

# The body, its headers, and the status of the response.
UNREADABLE: list[tuple[str, dict[str, str], int]] = [
    ("", JSON, 400),
    (" \n", JSON, 400),
    ("{", JSON, 400),
    ("order_id=1", JSON, 400),
    ("\ufeff{}", JSON, 400),
    ('{"total": NaN}', JSON, 400),
    ('{"total": -Infinity}', JSON, 400),
    ('{"total": 1e400}', JSON, 400),
    (f'{{"total": {"9" * 5_000}}}', JSON, 400),
    ('{"total": 1, "total": 2}', JSON, 400),
    (DEEP[:100_000], JSON, 400),
    (DEEP, JSON, 413),
    ("x" * 10_000_000, JSON, 413),
    (json.dumps({**ORDER, "address": "ü" * 40_000}, ensure_ascii=False), JSON, 413),
    (json.dumps(ORDER), {}, 415),
    (json.dumps(ORDER), {"content-type": "text/plain"}, 415),
    (json.dumps(ORDER), {"content-type": "application/x-www-form-urlencoded"}, 415),
    (json.dumps(ORDER), {"content-type": "application/json; charset=latin-1"}, 415),
]


@pytest.mark.parametrize(("text", "headers", "status"), UNREADABLE)
def test_an_unreadable_request_starts_nothing(
    states: StepFunctions, text: str, headers: dict[str, str], status: int
) -> None:
    response = send(text, headers)
    assert (response["statusCode"], response["headers"]["Content-Type"]) == (status, "application/problem+json")
    assert body(response)["status"] == status
    assert states.names == []


# The order, and the fields that the response names.
INVALID: list[tuple[object, list[str]]] = [
    (None, []),
    ([ORDER], []),
    ("order", []),
    ({**ORDER, "colour": "mauve"}, []),
    ({}, ["order_id", "total", "card_no", "address"]),
    *(({name: value for name, value in ORDER.items() if name != field}, [field]) for field in ORDER),
    *(({**ORDER, "order_id": id_}, ["order_id"]) for id_ in (7, None, "", " ", "x" * 129, "a\nb", "\ud800", ["1"])),
    *(({**ORDER, "total": total}, ["total"]) for total in (0, -1, 0.001, 1e9 + 1, 10**400, "100", True, None, [1])),
    *(({**ORDER, "card_no": card}, ["card_no"]) for card in (1231234, "12", "4111 1111 x", None)),
    *(({**ORDER, "address": address}, ["address"]) for address in ("", "x" * 501, "a\x00b", ["123 st"])),
    ({**ORDER, "address": "card 123 1234"}, ["address"]),
    ({**ORDER, "order_id": "1231234"}, ["order_id"]),
    ({**ORDER, "total": 0, "address": ""}, ["total", "address"]),
]


@pytest.mark.parametrize(("order", "fields"), INVALID)
def test_an_invalid_order_starts_nothing_and_the_response_names_its_fields_never_their_values(
    states: StepFunctions, order: object, fields: list[str]
) -> None:
    response = post(order)
    assert (response["statusCode"], response["headers"]["Content-Type"]) == (422, "application/problem+json")
    named = [error["field"] for error in body(response)["errors"] if "field" in error]
    assert named == fields
    assert not any(secret in response["body"] for secret in ("1234", "4111", "123 st", "mauve"))
    assert states.names == []


def test_a_body_in_base64_is_read(states: StepFunctions) -> None:
    text = base64.b64encode(json.dumps(ORDER).encode()).decode()
    assert send(text, {"content-type": "application/json; charset=UTF-8"}, isBase64Encoded=True)["statusCode"] == 202
    assert send("\N{SNOWMAN}", isBase64Encoded=True)["statusCode"] == 400
    assert send(base64.b64encode(b"\xff").decode(), isBase64Encoded=True)["statusCode"] == 400


def test_a_service_that_does_not_answer_makes_the_client_repeat_the_request(
    states: StepFunctions, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.is_reachable = False
    response = post(ORDER)
    assert (response["statusCode"], response["headers"]["Retry-After"]) == (503, "2")
    assert "states" not in response["body"]


def test_a_log_line_never_has_the_id_of_an_earlier_request(
    states: StepFunctions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger.registered_handler, "stream", sys.stdout)
    post(ORDER)
    send("{")
    get("2")
    cancel("1")
    cancel("2/x")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [(line["status"], line.get("order_id")) for line in lines if line["message"] == "answered"]
    assert found == [(202, "1"), (400, None), (404, None), (202, "1"), (404, "2/x")]


def test_an_outcome_follows_the_saga(states: StepFunctions, table_rows: "DynamoDBClient") -> None:
    assert get("1")["statusCode"] == 404
    post(ORDER)
    assert body(get("1")) == {"order_id": "1", "status": "pending"}
    run("create_order", "id-1-1")
    assert body(get("1")) == {"order_id": "1", "status": "pending"}
    states.end("id-1-1", "ABORTED")
    assert body(get("1")) == {"order_id": "1", "status": "stuck"}
    confirm(table_rows)
    states.executions.clear()  # the row alone says it
    assert body(get("1")) == {"order_id": "1", "status": "confirmed"}


def test_a_saga_that_somebody_stopped_is_stuck_even_with_the_error_of_a_clean_failure(states: StepFunctions) -> None:
    """Who stops an execution chooses its error. A second attempt would run beside the first one's rows."""
    post(ORDER)
    states.end("id-1-1", "ABORTED", error="OrderFailed")
    assert body(get("1"))["status"] == "stuck"
    post(ORDER)
    assert states.names == ["id-1-1"]


def test_an_outcome_comes_from_one_consistent_read_without_what_the_step_stores(
    states: StepFunctions,
) -> None:
    post(ORDER)
    run("create_order", "id-1-1")
    confirm(api._dynamodb)
    states.executions.clear()
    with mock.patch.object(api._dynamodb, "get_item", wraps=api._dynamodb.get_item) as read:
        assert body(get("1"))["status"] == "confirmed"
    (request,) = (call.kwargs for call in read.call_args_list)
    assert request["ConsistentRead"] is True
    assert not {"total", "address", "card_last4"} & set(request["ProjectionExpression"].split(", "))


def test_a_live_order_whose_execution_is_forgotten_is_stuck_and_one_that_has_just_begun_is_not(
    states: StepFunctions,
) -> None:
    """Step Functions forgets an execution after 90 days. It may not know a new one yet."""
    begun = datetime.now(UTC)
    run("create_order", "id-1-1", at=(begun - timedelta(seconds=1)).isoformat())
    assert body(get("1")) == {"order_id": "1", "status": "pending"}
    run("delete_order", "id-1-1", at=(begun - timedelta(seconds=1)).isoformat())
    run("create_order", "id-1-2", at=begun.isoformat())
    with mock.patch.object(saga_clock, "present", return_value=begun + timedelta(days=91)):
        assert body(get("1")) == {"order_id": "1", "status": "stuck"}
        assert cancel("1")["statusCode"] == 409


def test_a_row_that_no_execution_owns_is_pending(states: StepFunctions) -> None:
    order_function("create_order")(ORDER, None)
    with mock.patch.object(saga_clock, "present", return_value=datetime.now(UTC) + timedelta(days=91)):
        assert body(get("1"))["status"] == "pending"


def test_a_failed_order_has_its_reason_even_when_its_execution_is_forgotten(states: StepFunctions) -> None:
    post(ORDER)
    roll_back(states, 1)
    states.executions.clear()
    expected = "ProcessPayment failed: InvalidInput: card_no is missing"
    assert body(get("1")) == {"order_id": "1", "status": "failed", "reason": expected}


def test_a_new_attempt_is_pending_before_it_claims_the_order(states: StepFunctions) -> None:
    post(ORDER)
    roll_back(states, 1)
    post(ORDER)
    assert body(get("1"))["status"] == "pending"


def test_no_response_has_the_card_or_the_address(states: StepFunctions) -> None:
    responses = [post(ORDER)]
    run("create_order", "id-1-1")
    run("process_payment", "id-1-1")
    run("process_shipment", "id-1-1")
    states.end("id-1-1", "FAILED", "ProcessPayment failed: Odd: 123 1234 at 123 st", "OrderFailed")
    responses += [post(ORDER), get("1")]
    assert body(responses[-1])["status"] == "failed"
    assert not any(value in str(responses) for value in ("1234", "123 st"))


def test_a_client_that_knows_the_outcome_is_sent_no_body(states: StepFunctions) -> None:
    post(ORDER)
    tag = get("1")["headers"]["ETag"]
    assert get("1", headers={"If-None-Match": f'"other", W/{tag}'})["statusCode"] == 304
    states.end("id-1-1", "SUCCEEDED")
    changed = get("1", headers={"If-None-Match": tag})
    assert (changed["statusCode"], changed["headers"]["ETag"] == tag) == (200, False)


@dataclass
class Clock:
    """A clock that only the code under test moves. ``at`` says what happens once it shows a time."""

    now: float = 0
    at: dict[float, Callable[[], None]] = field(default_factory=dict)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for time in [time for time in self.at if time <= self.now]:
            self.at.pop(time)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(api, "time", fake)
    return fake


def test_a_response_can_be_held_until_the_saga_has_ended(states: StepFunctions, clock: Clock) -> None:
    post(ORDER)
    run("create_order", "id-1-1")
    clock.at = {2.0: lambda: confirm(api._dynamodb)}
    assert body(get("1", query={"wait": "10"}))["status"] == "confirmed"
    assert clock.now == 2


def test_a_response_is_held_no_longer_than_asked(states: StepFunctions, clock: Clock) -> None:
    post(ORDER)
    assert body(get("1", query={"wait": "1"}))["status"] == "pending"
    assert clock.now == 1


@pytest.mark.parametrize("error", ["OrderFailed", "Lambda.Unknown"])
def test_an_end_that_no_row_shows_is_seen_within_seconds(states: StepFunctions, clock: Clock, error: str) -> None:
    post(ORDER)
    clock.at = {2.0: lambda: states.end("id-1-1", "FAILED", error=error)}
    assert body(get("1", query={"wait": "20"}))["status"] == ("failed" if error == "OrderFailed" else "stuck")
    assert clock.now <= 2 + api.DESCRIBE_SECONDS


@pytest.mark.parametrize("stage", ["started", "claimed", "tried again"])
def test_a_held_response_reads_the_row_often_and_asks_step_functions_seldom(
    states: StepFunctions, clock: Clock, stage: str
) -> None:
    """A DescribeExecution counts for a quota of 10 to 15 a second."""
    post(ORDER)
    if stage == "claimed":
        run("create_order", "id-1-1")
    if stage == "tried again":
        roll_back(states, 1)
        post(ORDER)
    with (
        mock.patch.object(api._dynamodb, "get_item", wraps=api._dynamodb.get_item) as read,
        mock.patch.object(states, "describe_execution", wraps=states.describe_execution) as described,
    ):
        assert body(get("1", query={"wait": "20"}))["status"] == "pending"
    assert read.call_count == 41
    assert described.call_count == 4


def test_no_request_begins_after_the_longest_wait_and_the_last_one_ends_before_api_gateway_gives_up(
    states: StepFunctions, clock: Clock
) -> None:
    options: Any = api.CLIENT_CONFIG  # its options are attributes that its stubs do not know
    attempts = options.retries["total_max_attempts"]
    # botocore waits up to a second before the second attempt, and twice as long before each further one.
    longest = attempts * (options.connect_timeout + options.read_timeout) + 2 ** (attempts - 1) - 1
    began = []
    read, describe = api._row, states.describe_execution

    def slow_row(*arguments: Any) -> api._Row | None:
        began.append(clock.now)
        clock.now += longest if clock.now >= 10 else 0
        return read(*arguments)

    def slow_describe(**members: Any) -> dict[str, Any]:
        began.append(clock.now)
        clock.now += longest if clock.now >= 10 else 0
        return describe(**members)

    post(ORDER)
    run("create_order", "id-1-1")
    with mock.patch.object(api, "_row", slow_row), mock.patch.object(states, "describe_execution", slow_describe):
        assert body(get("1", query={"wait": str(api.MAX_WAIT)}))["status"] == "pending"
    assert max(began) <= api.MAX_WAIT
    assert api.MAX_WAIT + longest < 30


@pytest.mark.parametrize("wait", ["21", "-1", "1.5", "x", "", "100", "\u0661"])
def test_an_invalid_wait_is_rejected(states: StepFunctions, wait: str) -> None:
    assert get("1", query={"wait": wait})["statusCode"] == 400


@pytest.mark.parametrize("id_", ["", " ", "x" * 129, "a%00b", "unknown"])
def test_an_id_that_no_order_has_is_not_found(states: StepFunctions, id_: str) -> None:
    assert get(id_)["statusCode"] == 404


def test_a_saga_that_has_not_run_is_cancelled_and_so_is_its_repetition(states: StepFunctions) -> None:
    post(ORDER)
    first = cancel("1")
    assert (first["statusCode"], body(first)) == (202, {"order_id": "1", "status": "pending"})
    assert {entity: row["status"] for entity, row in stored_rows().items()} == {
        "ORDER": "DELETED",
        "PAYMENT": "REFUNDED",
        "SHIPMENT": "CANCELLED",
    }
    assert {row["history"]["L"][-1]["M"]["reason"]["S"] for row in stored_items()} == {"cancelled by request"}
    assert cancel("1") == first
    for function in ("create_order", "process_payment", "process_shipment"):
        with pytest.raises(StepCompensated):
            run(function, "id-1-1")
    states.end("id-1-1", "FAILED", "CreateOrder failed: StepCompensated: late", "OrderFailed")
    ended = cancel("1")
    assert (ended["statusCode"], body(ended)["status"]) == (200, "failed")
    assert post(ORDER)["statusCode"] == 202
    assert states.names == ["id-1-1", "id-1-2"]


def test_a_saga_that_has_begun_its_last_step_is_not_cancelled(
    states: StepFunctions, table_rows: "DynamoDBClient"
) -> None:
    post(ORDER)
    for function in ("create_order", "process_payment", "process_shipment"):
        run(function, "id-1-1")
    before = stored_rows()
    response = cancel("1")
    assert (response["statusCode"], response["headers"]["Content-Type"]) == (409, "application/problem+json")
    assert "ProcessShipment has begun" in body(response)["detail"]
    assert stored_rows() == before
    confirm(table_rows)
    assert body(cancel("1"))["detail"] == "too late: the order is confirmed"
    states.end("id-1-1", "SUCCEEDED")
    assert cancel("1")["statusCode"] == 409


def test_a_saga_that_somebody_stopped_is_cancelled_and_stays_stuck_until_it_is_redriven(states: StepFunctions) -> None:
    post(ORDER)
    run("create_order", "id-1-1")
    states.end("id-1-1", "ABORTED")
    response = cancel("1")
    assert (response["statusCode"], body(response)["status"]) == (202, "stuck")
    assert {entity: row["status"] for entity, row in stored_rows().items()} == {
        "ORDER": "PENDING",
        "PAYMENT": "REFUNDED",
        "SHIPMENT": "CANCELLED",
    }


def test_a_rolled_back_order_is_cancelled_already_and_a_new_attempt_is_not(states: StepFunctions) -> None:
    post(ORDER)
    roll_back(states, 1)
    assert cancel("1")["statusCode"] == 200
    post(ORDER)
    assert cancel("1")["statusCode"] == 202
    with pytest.raises(SagaConflict):
        run("create_order", "id-1-2", at="2026-01-01T00:01:00.000Z")


@pytest.mark.parametrize("id_", ["unknown", "", "x" * 129, "1/cancel"])
def test_what_was_never_started_cannot_be_cancelled(states: StepFunctions, id_: str) -> None:
    post(ORDER)
    assert cancel(id_)["statusCode"] == 404
    assert stored_rows() == {}


def test_a_saga_whose_execution_is_not_known_is_not_cancelled(states: StepFunctions) -> None:
    order_function("create_order")(ORDER, None)
    before = stored_rows()
    assert cancel("1")["statusCode"] == 409
    assert stored_rows() == before


def test_an_order_whose_id_ends_like_the_path_of_a_cancellation_is_not_mistaken(states: StepFunctions) -> None:
    post({**ORDER, "order_id": "1/cancel"})
    assert cancel("1")["statusCode"] == 404
    assert cancel("1/cancel")["statusCode"] == 202
    assert body(get("1/cancel"))["status"] == "pending"
    event = request("POST /orders/{id+}", pathParameters={"id": "1"}, rawPath="/orders/1")
    assert order_api.cancel_order(event, None)["statusCode"] == 405


def test_the_execution_of_a_name_that_was_used_before_is_cancelled_as_itself(states: StepFunctions) -> None:
    """AWS accepts the name of an execution again after 90 days; the row may be that of the earlier one."""
    run("create_order", "by-hand", at="2025-01-01T00:00:00.000Z")
    states.start_execution(stateMachineArn=MACHINE, name="by-hand", input=json.dumps(ORDER))
    assert cancel("1")["statusCode"] == 202
    with pytest.raises(StepCompensated):
        run("process_shipment", "by-hand")


@pytest.mark.parametrize(
    ("path", "status", "allow"),
    [
        ("/orders", 405, "POST"),
        ("/orders/1", 405, "GET"),
        ("/orders/1/cancel", 405, "POST"),
        ("/", 404, None),
        ("/ordersx", 404, None),
    ],
)
def test_unknown_paths_and_methods_have_a_problem_document(path: str, status: int, allow: str | None) -> None:
    response = order_api.get_order(request("$default", rawPath=path), None)
    assert (response["statusCode"], response["headers"].get("Allow")) == (status, allow)
    assert response["headers"]["Content-Type"] == "application/problem+json"


@pytest.fixture
def table_rows(states: StepFunctions) -> "DynamoDBClient":
    return api._dynamodb


def confirm(client: "DynamoDBClient") -> None:
    """Confirm order 1 as ConfirmOrder does."""
    client.update_item(
        TableName="orders",
        Key={"order_id": {"S": "1"}, "entity": {"S": "ORDER"}},
        UpdateExpression="SET #status = :confirmed, confirmed_at = :now",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":confirmed": {"S": "CONFIRMED"}, ":now": {"S": "2026-01-01T00:00:01.000Z"}},
    )
