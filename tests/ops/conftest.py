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
from tests.shape import Shape, shape_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

CARD = "123-1234"


class World:
    """Orders on the interpreter, and the same stack as an operator sees it."""

    def __init__(self, machine: Interpreter) -> None:
        self.machine = machine
        self.sqs: SQSClient = boto3.client("sqs")
        self.stepfunctions: SFNClient = boto3.client("stepfunctions")
        self.queue = self.sqs.create_queue(QueueName="stuck")["QueueUrl"]
        stack = Stack(
            name="OrderSaga-dev",
            state_machine_arn=machine._machine,
            table=TABLE,
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
        order = {"order_id": order_id, "total": 100, "card_no": CARD, "address": "123 st", **fields}
        return self.machine.run({name: value for name, value in order.items() if value is not None}, name=name)

    def run_into_a_stop(self, order_id: str = "1", **given: Any) -> Execution:
        """An order without an address, whose payment cannot be refunded."""
        failing = {"RefundPayment": TaskFailed("RuntimeError", json.dumps({"errorMessage": "no network"}))}
        return self.run(order_id, failing=failing, address=None, **given)

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

    def answer(self, operation: str, parsed: Mapping[str, Any], *, status: int = 200) -> None:
        """From now on, Step Functions answers this to the operation, as botocore's Stubber would."""
        answer = (
            AWSResponse("", status, HTTPHeaders(), None),
            {"ResponseMetadata": {"HTTPStatusCode": status}, **parsed},
        )
        self.stepfunctions.meta.events.register(
            f"before-call.stepfunctions.{operation}",
            lambda **_: answer,  # type: ignore[arg-type]  # the stubs do not know that a handler may answer
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


@pytest.fixture(scope="session")
def shape(template: dict[str, Any]) -> Shape:
    return shape_of(template)


@pytest.fixture
def world(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(stuck_queue, "WAIT_SECONDS", 0)
    with interpreter(shape) as machine:
        yield World(machine)
