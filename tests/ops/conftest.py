"""A stack of moto's: the synthesized definition with the real functions, a table and a queue, all in this process."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from ops import stuck_queue
from ops.sagas import Sagas, Stack
from tests.fixtures import TABLE
from tests.saga.interpreter import Execution, Interpreter, TaskFailed, interpreter
from tests.sagas import SAGAS, Saga

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

CARD = "123-1234"
# The field without which a saga fails, and the undoing that then fails for good.
STOPS = {
    "OrderSaga": ("address", "RefundPayment"),
    "TripSaga": ("card_no", "ResolvePayment"),
    "TicketSaga": ("buyer", "RefundCard"),
}


class World:
    """Orders on the interpreter, and the same stack as an operator sees it."""

    def __init__(self, machine: Interpreter) -> None:
        self.machine = machine
        self.sqs: SQSClient = boto3.client("sqs")
        self.stepfunctions: SFNClient = boto3.client("stepfunctions")
        self.queue = self.sqs.create_queue(QueueName="stuck")["QueueUrl"]
        stack = Stack(
            name=f"{machine.example.stack}-dev",
            state_machine_arn=machine._machine,
            table=TABLE,
            key=machine.shape.key,
            stuck_sagas_queue_url=self.queue,
        )
        dynamodb = boto3.client("dynamodb")
        self.sagas = Sagas(stack=stack, stepfunctions=self.stepfunctions, dynamodb=dynamodb, sqs=self.sqs)

    def run(self, order_id: str = "1", *, failing: Mapping[str, TaskFailed] | None = None, **fields: Any) -> Execution:
        """Run an order while the tasks of some states fail."""
        failing = failing or {}

        def through(state: str, _payload: Any, deliver: Callable[[], Any]) -> Any:
            if state in failing:
                raise failing[state]
            return deliver()

        self.machine.through = through
        name = fields.pop("name", None)
        order = {**self.machine.example.scenario("1-success"), self.machine.shape.key: order_id, **fields}
        return self.machine.run({name: value for name, value in order.items() if value is not None}, name=name)

    def run_into_a_stop(self, order_id: str = "1", **given: Any) -> Execution:
        """An order whose last step fails, and which cannot be undone."""
        missing, undoing = STOPS[self.machine.example.stack]
        failing = {undoing: TaskFailed("RuntimeError", json.dumps({"errorMessage": "no network"}))}
        return self.run(order_id, failing=failing, **{missing: None}, **given)

    def run_into_a_failure(self, order_id: str = "1", **given: Any) -> Execution:
        """An order whose last step fails, and which is undone."""
        return self.run(order_id, **{STOPS[self.machine.example.stack][0]: None}, **given)

    def report(self, arn: str, *, stopped: int | None = None) -> None:
        """What the stack's function sends of a stuck saga."""
        message = {"executionArn": arn, "name": arn.rsplit(":", 1)[-1], "stopDate": stopped, "state": None}
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=json.dumps(message))

    def messages(self) -> list[str]:
        """The executions of the messages that can be received now. They are hidden afterwards."""
        found: list[str] = []
        while got := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"])["executionArn"] for message in got]
        return found

    def answer(self, operation: str, parsed: Mapping[str, Any], *, status: int = 200, about: str = "") -> None:
        """From now on, Step Functions answers this to the operation, as botocore's Stubber would.

        With ``about``, it does so to requests that hold this text.
        """
        answer = (
            AWSResponse("", status, HTTPHeaders(), None),
            {"ResponseMetadata": {"HTTPStatusCode": status}, **parsed},
        )
        self.stepfunctions.meta.events.register(
            f"before-call.stepfunctions.{operation}",
            # The stubs do not know that a handler may answer.
            lambda params, **_: answer if about in str(params["body"]) else None,  # type: ignore[arg-type]
        )

    def refuse(self, operation: str, code: str, message: str = "no") -> None:
        """From now on, Step Functions answers with this error."""
        self.answer(operation, {"Error": {"Code": code, "Message": message}}, status=400)

    def describe_with(self, *changes: Mapping[str, Any]) -> None:
        """Change what DescribeExecution answers, one change an answer, the last one for good."""
        left = list(changes)

        def change(parsed: dict[str, Any], **_: Any) -> None:
            parsed.update(left.pop(0) if len(left) > 1 else left[0])

        self.stepfunctions.meta.events.register("after-call.stepfunctions.DescribeExecution", change)


@pytest.fixture
def saga(request: pytest.FixtureRequest) -> Saga:
    """The order saga, or the one that the test asks for; see ``each_saga``."""
    return SAGAS[getattr(request, "param", "order")]


@pytest.fixture
def world(saga: Saga, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(stuck_queue, "WAIT_SECONDS", 0)
    with interpreter(saga.shape(), saga.example) as machine:
        yield World(machine)
