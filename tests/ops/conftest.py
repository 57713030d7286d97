"""A stack on moto: the synthesized definition with the real functions, a table and a queue, all in this process."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from lambdas.saga_runtime.clock import moment
from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.names import state_name
from lambdas.saga_runtime.redaction import message_in
from lambdas.saga_runtime.steps import StepSpec
from ops import stuck_queue
from ops.client import SagaClient
from ops.executions import DeployedStack
from tests.fixtures import STUCK_TABLE, TABLE, create_stuck_table
from tests.saga.interpreter import RECEIVER, Execution, Interpreter, TaskFailed, interpreter
from tests.sagas import SAGAS, SagaUnderTest

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

T = TypeVar("T")

CARD = "123-1234"


def late_failure(machine: Interpreter) -> tuple[str, str]:
    """Return the field without which a late step fails, and the compensation that can then fail."""
    demo, shape = machine.demo, machine.shape
    name, fails = [(name, one.fails) for name, one in demo.scenarios.items() if one.fails][-1]
    spec = next(spec for spec in demo.specs.values() if spec.action == fails)
    input_ = demo.input("1-success")
    field = next(field for field in input_ if field != demo.key and _is_required(spec, field, input_))
    own = dict(shape.steps)[state_name(fails)]
    # The compensation after the failed step's own one, if there is one outside of groups.
    states = demo.expected_ends()[name].states
    following = states[states.index(own) + 1] if own in states else own
    return field, following if following in shape.functions else own


def _is_required(spec: StepSpec, field: str, input_: Mapping[str, Any]) -> bool:
    try:
        spec.attributes({name: value for name, value in input_.items() if name != field})
    except InvalidInput:
        return True
    return False


class World:
    """A saga on the interpreter, and a client of the same stack."""

    def __init__(self, machine: Interpreter) -> None:
        self.machine = machine
        self.sqs: SQSClient = boto3.client("sqs")
        self.stepfunctions: SFNClient = boto3.client("stepfunctions")
        self.stepfunctions.meta.events.register("before-call.stepfunctions", self._answer)
        self._answers: list[tuple[str, str, Any]] = []
        self.undelivered = self.sqs.create_queue(QueueName="undelivered")["QueueUrl"]
        policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:undelivered", "maxReceiveCount": 1000}
        self.queue = self.sqs.create_queue(QueueName="stuck", Attributes={"RedrivePolicy": json.dumps(policy)})[
            "QueueUrl"
        ]
        stack = DeployedStack(
            name=f"{machine.demo.stack}-dev",
            state_machine_arn=machine.arn,
            table=TABLE,
            key=machine.shape.key,
            stuck_sagas_queue_url=self.queue,
            stuck_sagas_table=STUCK_TABLE,
            receiver=RECEIVER if machine.shape.receiver else None,
        )
        self.dynamodb = dynamodb = create_stuck_table()
        functions: Any = machine
        self.client = SagaClient(
            stack=stack,
            stepfunctions=self.stepfunctions,
            dynamodb=dynamodb,
            sqs=self.sqs,
            functions=lambda: functions,
        )

    def run(
        self,
        order_id: Any = "1",
        *,
        failing: Mapping[str, TaskFailed] | None = None,
        name: str | None = None,
        **fields: Any,
    ) -> Execution:
        """Run an execution while the tasks of some states fail; a field that is None is left out of the input."""
        failing = failing or {}

        def intercept(state: str, _payload: Any, deliver: Callable[[], Any]) -> Any:
            if state in failing:
                raise failing[state]
            return deliver()

        self.machine.intercept = intercept
        input_ = {**self.machine.demo.input("1-success"), self.machine.shape.key: order_id, **fields}
        return self.machine.run({field: value for field, value in input_.items() if value is not None}, name=name)

    def run_waiting(self, look: Callable[[], T]) -> tuple[Execution, T]:
        """Run an execution in which a step waits; return it, and what ``look`` returned while the step waited."""
        found: list[T] = []
        self.machine.sender = lambda _state, _payload: found.append(look())
        ended = self.run()
        (seen,) = found
        return ended, seen

    def run_into_a_stop(self, order_id: str = "1", **options: Any) -> Execution:
        """Run an execution that gets stuck: a late step fails, then a compensation."""
        missing, compensation = late_failure(self.machine)
        failing = {compensation: TaskFailed("RuntimeError", json.dumps({"errorMessage": "no network"}))}
        return self.run(order_id, failing=failing, **{missing: None}, **options)

    def run_into_a_failure(self, order_id: str = "1", **options: Any) -> Execution:
        """Run an execution that is rolled back: a late step fails."""
        return self.run(order_id, **{late_failure(self.machine)[0]: None}, **options)

    def report(self, arn: str, *, state: str | None = "RefundPayment", has_recovered: bool = False) -> None:
        """Store the entry of a stuck saga and send its message, as the stack's function does.

        With ``has_recovered``, the report is of a stop a minute before the end.
        """
        described = self.stepfunctions.describe_execution(executionArn=arn)
        stopped = described["stopDate"] - timedelta(minutes=has_recovered)
        texts = {
            "execution_arn": arn,
            "saga_key": json.loads(described["input"]).get(self.machine.shape.key),
            "name": described["name"],
            "status": described["status"],
            "started_at": moment(described["startDate"]),
            "stopped_at": moment(stopped),
            "state": state,
            "error": described.get("error"),
            "cause": message_in(described.get("cause")),
        }
        item = {name: {"S": text} for name, text in texts.items() if text is not None}
        self.dynamodb.put_item(TableName=STUCK_TABLE, Item=item)
        self.send(arn, stopped=int(stopped.timestamp() * 1000))

    def send(self, arn: str, *, stopped: int) -> None:
        """Send the message of a report."""
        message = {"executionArn": arn, "name": arn.rsplit(":", 1)[-1], "stopDate": stopped, "state": None}
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=json.dumps(message))

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the entries by execution."""
        items = self.dynamodb.scan(TableName=STUCK_TABLE)["Items"]
        plain: list[dict[str, Any]] = [
            {name: next(iter(value.values())) for name, value in item.items()} for item in items
        ]
        return {entry["execution_arn"]: entry for entry in plain}

    def messages(self) -> list[str]:
        """Receive and hide all visible messages; return their executions."""
        found: list[str] = []
        while got := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"])["executionArn"] for message in got]
        return found

    def answer(self, operation: str, parsed: Mapping[str, Any], *, status: int = 200, about: str = "") -> None:
        """From now on, let Step Functions answer this to the requests of an operation that contain ``about``."""
        http = AWSResponse("", status, HTTPHeaders(), None)
        self._answers.insert(0, (operation, about, (http, {"ResponseMetadata": {"HTTPStatusCode": status}, **parsed})))

    def reject(self, operation: str, code: str, message: str = "no") -> None:
        """From now on, let Step Functions answer with this error."""
        self.answer(operation, {"Error": {"Code": code, "Message": message}}, status=400)

    def lose(self, arn: str) -> None:
        """From now on, let Step Functions not know an execution, as 90 days after its end."""
        gone = {"Error": {"Code": "ExecutionDoesNotExist", "Message": "Execution Does Not Exist"}}
        for operation in (
            "DescribeExecution",
            "DescribeStateMachineForExecution",
            "GetExecutionHistory",
            "RedriveExecution",
        ):
            self.answer(operation, gone, status=400, about=arn)

        def leave_out(parsed: dict[str, Any], **_: Any) -> None:
            parsed["executions"] = [one for one in parsed["executions"] if one["executionArn"] != arn]

        self.stepfunctions.meta.events.register("after-call.stepfunctions.ListExecutions", leave_out)

    def describe_with(self, *changes: Mapping[str, Any]) -> None:
        """Change the next answers of DescribeExecution, one change each; the last change stays."""
        left = list(changes)

        def change(parsed: dict[str, Any], **_: Any) -> None:
            parsed.update(left.pop(0) if len(left) > 1 else left[0])

        self.stepfunctions.meta.events.register("after-call.stepfunctions.DescribeExecution", change)

    def describe_as(self, arn: str, change: Mapping[str, Any]) -> None:
        """From now on, change the answers of DescribeExecution about an execution."""

        def apply(parsed: dict[str, Any], **_: Any) -> None:
            if parsed.get("executionArn") == arn:
                parsed.update(change)

        self.stepfunctions.meta.events.register("after-call.stepfunctions.DescribeExecution", apply)

    def redrive_to(self, end: Callable[[str], Mapping[str, Any]]) -> list[str]:
        """Let Step Functions accept redrives; return the list of the executions, which grows.

        ``end`` returns what DescribeExecution says of a redriven execution from then on.
        """
        redriven: list[str] = []

        def accept(model: Any, params: Mapping[str, Any], **_: Any) -> Any:
            if (rejection := self._answer(model, params)) is not None:
                return rejection
            redriven.append(json.loads(params["body"])["executionArn"])
            return AWSResponse("", 200, HTTPHeaders(), None), {"redriveDate": datetime.now(UTC)}

        def change(parsed: dict[str, Any], **_: Any) -> None:
            if parsed.get("executionArn") in redriven:
                parsed.update(end(parsed["executionArn"]))

        def leave_out(parsed: dict[str, Any], **_: Any) -> None:
            parsed["executions"] = [one for one in parsed["executions"] if one["executionArn"] not in redriven]

        self.stepfunctions.meta.events.register_first("before-call.stepfunctions.RedriveExecution", accept)
        self.stepfunctions.meta.events.register("after-call.stepfunctions.ListExecutions", leave_out)
        self.stepfunctions.meta.events.register("after-call.stepfunctions.DescribeExecution", change)
        return redriven

    def requests(self) -> Counter[str]:
        """Return the count of the requests from now on, by operation, which grows."""
        counted: Counter[str] = Counter()

        def count(model: Any, **_: Any) -> None:
            counted[model.name] += 1

        for client in (self.stepfunctions, self.dynamodb, self.sqs):
            client.meta.events.register_first("before-parameter-build", count)
        return counted

    def _answer(self, model: Any, params: Mapping[str, Any], **_: Any) -> Any:
        answers = (
            answer for name, about, answer in self._answers if name == model.name and about in str(params["body"])
        )
        return next(answers, None)


@pytest.fixture
def saga(request: pytest.FixtureRequest) -> SagaUnderTest:
    """Return the order saga, or the one that the test asks for with ``each_saga``."""
    return SAGAS[getattr(request, "param", "order")]


@pytest.fixture
def world(saga: SagaUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(stuck_queue, "WAIT_SECONDS", 0)
    with interpreter(saga.shape(), saga.demo) as machine:
        yield World(machine)
