"""Runs the synthesized definition on moto's interpreter, with the real handlers and a table in memory."""

import functools
import importlib
import io
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branch_worker import BranchWorker
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branches_decl import BranchWorkerPool
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_dynamodb
from moto.stepfunctions.parser.asl.eval.states import ExecutionData
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.backend import execution_worker

from lambdas.shared import ledger
from local.demo import ORDER_SAGA, Example, Service
from tests.fixtures import TABLE, create_table
from tests.shape import Shape

Deliver = Callable[[], Any]
Through = Callable[[str, Any, Deliver], Any]


class TaskFailed(Exception):  # noqa: N818 (named like the event in the history)
    """A failed task as Step Functions sees it: the name of an error, and a cause."""

    def __init__(self, name: str, cause: str = "injected") -> None:
        super().__init__(name, cause)
        self.name = name
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class Execution:
    """An execution that has ended.

    ``inputs`` holds what each of ``states`` was entered with, ``outputs`` what a state was left with.
    """

    arn: str
    started_at: str
    order: Any
    status: str
    error: str | None
    cause: str | None
    output: Any
    states: tuple[str, ...]
    inputs: tuple[Any, ...]
    outputs: Mapping[str, Any]
    errors: tuple[str, ...]


class Interpreter:
    """A state machine, its functions and its table, all in this process.

    ``through`` stands between Step Functions and every task; it gets the state's name, the payload (for a
    write of its own, the parameters of that) and the call itself. Tests put faults there. ``requests`` counts
    what DynamoDB was asked, by operation. ``backwards`` runs the branches of Parallel states in the other order.
    ``service`` is what the functions of the example call outside, if they call anything.
    """

    def __init__(self, shape: Shape, example: Example, service: Service | None) -> None:
        self.shape = shape
        self.example = example
        self.service = service
        self.through: Through = lambda _state, _payload, deliver: deliver()
        self.backwards = False
        self.requests: list[str] = []
        self.dynamodb = create_table(shape.key)
        self._completing = boto3.client("dynamodb")
        self._numbers = itertools.count(1)
        self._stepfunctions = boto3.client("stepfunctions")
        self._role = boto3.client("iam").create_role(RoleName="saga", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self._machine = self._create("saga", shape.definition)

    def run(self, order: Any, *, name: str | None = None) -> Execution:
        """Run one order to its end."""
        return self._run(self._machine, order, name or f"execution-{next(self._numbers)}")

    def call(self, state: str, payload: Any) -> Any:
        """One delivery to the function of a state, or to the state's own write; fails as TaskFailed."""
        try:
            if state == self.shape.written:
                return self._completing.update_item(**payload)
            handler = function(self.shape, state)
            # Through JSON both ways, as every payload and every answer goes.
            return json.loads(json.dumps(handler(json.loads(json.dumps(payload)), None)))
        except ClientError as error:
            raise TaskFailed(f"DynamoDB.{error.response['Error']['Code']}", str(error)) from error
        except Exception as error:
            cause = {"errorMessage": str(error), "errorType": type(error).__name__}
            raise TaskFailed(type(error).__name__, json.dumps(cause)) from error

    def resume(self, parked: Execution) -> Execution:
        """What RedriveExecution does, which no emulator has: go on from the state it stopped in.

        The same definition, entered at that state with that state's input, under the same execution id, start
        time and input (AWS Step Functions Developer Guide, "Restarting state machine executions with redrive"). Of a
        Parallel state only the branches that failed or were stopped run again (API Reference, RedriveExecution).
        """
        at = max(index for index, state in enumerate(parked.states) if state in self.shape.definition["States"])
        entrance = {"Type": "Pass", "Result": parked.inputs[at], "Next": parked.states[at]}
        states = {**self.shape.definition["States"], "Entrance": entrance}
        states[parked.states[at]] = _but_the_successful(states[parked.states[at]], parked.outputs)
        machine = self._create(f"resumed-{next(self._numbers)}", {"StartAt": "Entrance", "States": states})
        context = {"Id": parked.arn, "Input": parked.order, "StartTime": parked.started_at}
        made = ExecutionData

        def same_execution(**data: Any) -> Any:
            return made(**data | context)

        with mock.patch.object(execution_worker, "ExecutionData", same_execution):
            resumed = self._run(machine, parked.order, f"resumed-{next(self._numbers)}")
        return replace(
            resumed,
            arn=parked.arn,
            order=parked.order,
            started_at=parked.started_at,
            states=(*parked.states[: at + 1], *resumed.states[2:]),
            inputs=(*parked.inputs[: at + 1], *resumed.inputs[2:]),
        )

    def rows(self, order_id: str) -> dict[str, dict[str, Any]]:
        """The order's rows by entity."""
        found = self.dynamodb.query(
            TableName=TABLE,
            KeyConditionExpression="#key = :order_id",
            ExpressionAttributeNames={"#key": self.shape.key},
            ExpressionAttributeValues={":order_id": {"S": order_id}},
            ConsistentRead=True,
        )
        rows = [TypeDeserializer().deserialize({"M": item}) for item in found["Items"]]
        return {row["entity"]: row for row in rows}

    def _create(self, name: str, definition: Mapping[str, Any]) -> str:
        machine = self._stepfunctions.create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=self._role
        )
        arn: str = machine["stateMachineArn"]
        return arn

    def _run(self, machine: str, order: Any, name: str) -> Execution:
        arn = self._stepfunctions.start_execution(stateMachineArn=machine, name=name, input=json.dumps(order))[
            "executionArn"
        ]
        ended = self._stepfunctions.describe_execution(executionArn=arn)
        assert ended["status"] != "RUNNING"
        events = self._stepfunctions.get_execution_history(executionArn=arn)["events"]
        entered = [event["stateEnteredEventDetails"] for event in events if "stateEnteredEventDetails" in event]
        exited = [event["stateExitedEventDetails"] for event in events if "stateExitedEventDetails" in event]
        return Execution(
            arn=arn,
            started_at=ended["startDate"].isoformat(),
            order=order,
            status=ended["status"],
            error=ended.get("error"),
            cause=ended.get("cause"),
            output=json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else None,
            states=tuple(details["name"] for details in entered),
            inputs=tuple(json.loads(details["input"]) for details in entered),
            outputs={details["name"]: json.loads(details["output"]) for details in exited},
            errors=tuple(
                event["taskFailedEventDetails"]["error"] for event in events if "taskFailedEventDetails" in event
            ),
        )

    # What follows are the two clients that moto's interpreter calls tasks with.

    def invoke(self, FunctionName: str, Payload: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803 (boto3's names)
        """What ``client("lambda").invoke`` does: run the function, and report its failure in the response."""
        state, payload = self.shape.state_of[FunctionName], json.loads(Payload)
        try:
            answer = self.through(state, payload, lambda: self.call(state, payload))
        except TaskFailed as error:
            _raise_timeout(error)
            told = json.loads(error.cause) if error.cause.startswith("{") else {"errorMessage": error.cause}
            answer = told | {"errorType": error.name}
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(answer).encode())}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode())}

    def update_item(self, **parameters: Any) -> Any:
        """What ``client("dynamodb").update_item`` does, for the completion."""
        state = self.shape.written
        assert state is not None
        parameters["TableName"] = TABLE
        try:
            return self.through(state, parameters, lambda: self.call(state, parameters))
        except TaskFailed as error:
            _raise_timeout(error)
            code = error.name.removeprefix("DynamoDB.")
            response: Any = {
                "Error": {"Code": code, "Message": error.cause},
                "ResponseMetadata": {"HTTPStatusCode": 400, "RequestId": "injected"},
            }
            raise ClientError(response, "UpdateItem") from error

    def count(self, model: Any, **_: Any) -> None:
        """Note one request to DynamoDB."""
        self.requests.append(model.name)


def function(shape: Shape, state: str) -> Callable[[Any, Any], Any]:
    """The handler that a state calls."""
    module, name = shape.functions[state].rsplit(".", 1)
    found: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), name)
    return found


def _but_the_successful(state: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The state, each branch that has ended well replaced by what it ended with."""
    if "Branches" not in state:
        return dict(state)
    return {
        **state,
        "Branches": [
            {**branch, "States": {name: {"Type": "Pass", "Result": outputs[name], "End": True}}}
            if (name := branch["StartAt"]) in outputs
            else branch
            for branch in state["Branches"]
        ],
    }


# Branches of a Parallel state run one after another, so that every run can be repeated.


def _begin_later(worker: BranchWorker) -> None:
    """In place of ``BranchWorker.start``."""
    pool: Any = worker._branch_worker_comm
    pool.__dict__.setdefault("waiting", []).append(worker)


def _run_branches(pool: Any, *, backwards: bool) -> None:
    """In place of ``BranchWorkerPool.wait``; once a branch has failed, the others never begin: they are stopped."""
    for worker in reversed(pool.waiting) if backwards else pool.waiting:
        if pool._termination_event.is_set():
            return
        worker._worker_thread = threading.current_thread()
        worker._thread_routine()


def _raise_timeout(error: TaskFailed) -> None:
    """A task that is out of time is no failed response: moto's interpreter reports it by Python's own error."""
    if error.name == "States.Timeout":
        raise TimeoutError


@contextmanager
def interpreter(shape: Shape, example: Example = ORDER_SAGA) -> Iterator[Interpreter]:
    """An interpreter with an empty table. Executions run synchronously, and no wait of a retry is waited.

    An answer of an outside service that comes too late does not come at all, so that nobody need wait for it.
    """
    with (
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
        example.service(hold_seconds=0) as service,
        # What the stack makes of the context: provider_url becomes PROVIDER_URL.
        mock.patch.dict(
            os.environ, {name.upper(): value for name, value in (service.context if service else {}).items()}
        ),
    ):
        machine = Interpreter(shape, example, service)
        counted = (ledger._dynamodb.meta.events, machine._completing.meta.events)
        for client in counted:
            client.register("before-call.dynamodb", machine.count)
        with (
            mock.patch.object(lambda_eval_utils, "boto_client_for", lambda **_: machine),
            mock.patch.object(state_task_service_dynamodb, "boto_client_for", lambda **_: machine),
            # Nine tenths of a run would be spent on parsing the same definition.
            mock.patch.object(AmazonStateLanguageParser, "parse", functools.cache(AmazonStateLanguageParser.parse)),
            mock.patch.object(retrier_decl, "time", SimpleNamespace(sleep=lambda _seconds: None)),
            mock.patch.object(BranchWorker, "start", _begin_later),
            mock.patch.object(BranchWorkerPool, "wait", lambda pool: _run_branches(pool, backwards=machine.backwards)),
            mock.patch.object(
                execution_worker.ExecutionWorker, "start", execution_worker.ExecutionWorker._execution_logic
            ),
        ):
            yield machine
        for client in counted:
            client.unregister("before-call.dynamodb", machine.count)
