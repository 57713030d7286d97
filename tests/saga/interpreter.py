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
from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branch_worker import BranchWorker
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branches_decl import BranchWorkerPool
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_dynamodb
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcome, CallbackOutcomeTimedOut
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend import execution_worker
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from lambdas.saga_runtime import callbacks
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import AnswerTooEarly, BusinessError
from lambdas.saga_runtime.handlers import Handler
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import idempotency_key
from local.demo import Demo, Provider
from local.order_demo import ORDER_DEMO
from tests.fixtures import REGION, TABLE, create_table, local_aws, stored_rows
from tests.shape import Shape
from tests.tasks import Tasks

# moto parses definitions and paths at each use, which takes most of the time of an execution. It never changes a parsed
# one.
for _owner in (AmazonStateLanguageParser, json_path):
    setattr(_owner, "parse", functools.cache(_owner.parse))  # noqa: B010 (mypy rejects the assignment to a method)

# The name of the function that receives answers.
RECEIVER = "receiver"
ROLE = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/saga"

# Bytes of UTF-8 (Step Functions Developer Guide, "Quotas").
MAX_PAYLOAD = 256 * 1024

Deliver = Callable[[], Any]
Intercept = Callable[[str, Any, Deliver], Any]
# Answers a task that waits, by the state's name and the payload of its action.
Sender = Callable[[str, Any], object]


class TaskFailed(Exception):  # noqa: N818 (named like the event in the history)
    """A failed task as Step Functions sees it: the name of an error, and a cause."""

    def __init__(self, name: str, cause: str = "injected") -> None:
        super().__init__(name, cause)
        self.name = name
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class Execution:
    """An execution that has ended.

    ``inputs`` has the input of each of ``states`` at its entrance, ``outputs`` the output of each state that was left.
    """

    arn: str
    started_at: str
    input: Any
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

    Tests may set

    * ``intercept``: called in place of every task, with the state's name, the payload (of the completion: the
      parameters of its write) and the call itself. Tests inject faults there.
    * ``sender``: called when a task waits for its answer; when it returns, the task has its answer or times out.
      It answers as the other party of the demo does in time.
    * ``backwards``: whether the branches of Parallel states run in the other order.

    ``requests`` lists the operations that DynamoDB was asked for, ``oversized`` the payloads and answers that are too
    large for Step Functions. ``provider`` is what the functions call, if anything.
    """

    def __init__(self, shape: Shape, demo: Demo, provider: Provider | None) -> None:
        self.shape = shape
        self.demo = demo
        self.provider = provider
        self.intercept: Intercept = deliver_at_once
        self.sender: Sender = self.answer_in_time
        self.tasks = Tasks()
        self._called: dict[str, tuple[str, Any]] = {}
        self.backwards = False
        self.requests: list[str] = []
        self.oversized: list[str] = []
        self.dynamodb = create_table(shape.key)
        self._backend = stepfunctions_parser_backends[DEFAULT_ACCOUNT_ID][REGION]
        self._numbers = itertools.count(1)
        self._machines: dict[str, str] = {}
        self.arn = self._machine(json.dumps(shape.definition))

    def run(self, input_: Any, *, name: str | None = None) -> Execution:
        """Run an execution to its end."""
        return self._run(self.arn, input_, name or f"execution-{next(self._numbers)}")

    def run_definition(self, definition: Mapping[str, Any], input_: Any) -> Execution:
        """Run an execution of another definition with the same functions."""
        return self._run(self._machine(json.dumps(definition)), input_, f"execution-{next(self._numbers)}")

    def call(self, state: str, payload: Any) -> Any:
        """Call the function of a state, or make the state's own write, once. Raises TaskFailed."""
        try:
            if state == self.shape.completion:
                return self.dynamodb.update_item(**payload)
            return _called(function_of(self.shape, state), payload)
        except ClientError as error:
            raise TaskFailed(f"DynamoDB.{error.response['Error']['Code']}", str(error)) from error
        except Exception as error:
            cause = {"errorMessage": str(error), "errorType": type(error).__name__}
            raise TaskFailed(type(error).__name__, json.dumps(cause)) from error

    def answer(self, state: str, payload: Any, fields: Mapping[str, object]) -> Any:
        """Answer the request that the action of a state made with this payload. Raises what the receiver raises."""
        step = function_of(self.shape, state).step
        key = step.schema.key_of(payload["input"])
        row = Row(step=step, key=key, saga=SagaIdentity(**payload["saga"]), table=OWN_TABLE)
        return self.receive({key[0]: key[1], "step": step.action, "request": idempotency_key(row), **fields})

    def receive(self, answer: Mapping[str, object]) -> Any:
        """Call the receiver of the saga with an answer. Raises what it raises."""
        assert self.shape.receiver
        return _called(_imported(self.shape.receiver), answer)

    def answer_in_time(self, state: str, payload: Any) -> None:
        """Answer as the other party of the demo does in time; a ``sender``."""
        if fields := self.demo.answer(payload["input"]):
            self.answer(state, payload, fields)

    def resume(self, stuck: Execution) -> Execution:
        """Continue in the state in which the execution stopped, as RedriveExecution does, which moto does not have.

        The same definition starts in that state, with that state's input, under the same execution id, start time and
        input (AWS Step Functions Developer Guide, "Restarting state machine executions with redrive"). Of a Parallel
        state only the branches that failed or were stopped run again (API Reference, RedriveExecution).
        """
        at = max(index for index, state in enumerate(stuck.states) if state in self.shape.definition["States"])
        states = dict(self.shape.definition["States"])
        states[stuck.states[at]] = _without_successful_branches(states[stuck.states[at]], stuck.outputs)
        machine = self._machine(json.dumps({"StartAt": stuck.states[at], "States": states}))

        def same_execution(*, context: Any, **parameters: Any) -> Environment:
            context["Execution"] |= {"Id": stuck.arn, "Input": stuck.input, "StartTime": stuck.started_at}
            environment = Environment(context=context, **parameters)
            environment.states.reset(stuck.inputs[at])
            return environment

        with mock.patch.object(execution_worker, "Environment", same_execution):
            resumed = self._run(machine, stuck.input, f"resumed-{next(self._numbers)}")
        return replace(
            resumed,
            arn=stuck.arn,
            started_at=stuck.started_at,
            states=(*stuck.states[:at], *resumed.states),
            inputs=(*stuck.inputs[:at], *resumed.inputs),
        )

    def rows(self, key: str) -> dict[str, dict[str, Any]]:
        """Return the rows of a key by entity."""
        return stored_rows(key)

    # Requests for executions and their histories would take half of the time of a test, so these two use moto's own
    # objects.

    def _machine(self, definition: str) -> str:
        """Return the ARN of a state machine with this definition."""
        if definition not in self._machines:
            name = f"saga-{len(self._machines)}"
            self._machines[definition] = self._backend.create_state_machine(name, definition, ROLE).arn
        return self._machines[definition]

    def _run(self, machine: str, input_: Any, name: str) -> Execution:
        ended: Any = self._backend.start_execution(machine, name, json.dumps(input_))
        assert ended.status != "RUNNING"
        events = ended.exec_worker.env.event_manager.get_event_history()
        entered = [event["stateEnteredEventDetails"] for event in events if "stateEnteredEventDetails" in event]
        left = [event["stateExitedEventDetails"] for event in events if "stateExitedEventDetails" in event]
        return Execution(
            arn=ended.exec_arn,
            started_at=ended.start_date.isoformat(),
            input=input_,
            status=ended.status,
            error=ended.error,
            cause=ended.cause,
            output=ended.output,
            states=tuple(details["name"] for details in entered),
            inputs=tuple(json.loads(details["input"]) for details in entered),
            outputs={details["name"]: json.loads(details["output"]) for details in left},
            errors=tuple(
                event["taskFailedEventDetails"]["error"] for event in events if "taskFailedEventDetails" in event
            ),
        )

    # The two clients with which moto's interpreter calls tasks.

    def invoke(self, FunctionName: str, Payload: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803 (boto3's names)
        """Run the function as ``client("lambda").invoke`` does; a failure is part of the response."""
        payload = json.loads(Payload)
        if FunctionName == RECEIVER:
            try:
                return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(self.receive(payload)).encode())}
            except (BusinessError, AnswerTooEarly) as error:
                return _failure({"errorMessage": str(error), "errorType": type(error).__name__})
        state = self.shape.state_of[FunctionName]
        self._require_passable(state, "receives", payload)
        if token := payload.get("task_token"):
            self.tasks.open(token)
            self._called[token] = (state, payload)
        try:
            answer = self.intercept(state, payload, lambda: self.call(state, payload))
        except TaskFailed as error:
            _raise_timeout(error)
            details = json.loads(error.cause) if error.cause.startswith("{") else {"errorMessage": error.cause}
            return _failure(details | {"errorType": error.name})
        self._require_passable(state, "answers", answer)
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode())}

    def wait_for_answer(self, token: str) -> CallbackOutcome:
        """Return the outcome of a task that waits, in no time: its answer, or the timeout."""
        if token not in self.tasks.outcomes:
            self.sender(*self._called[token])
        return self.tasks.close(token) or CallbackOutcomeTimedOut(callback_id=token)

    def _require_passable(self, state: str, verb: str, value: object) -> None:
        size = len(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
        if size > MAX_PAYLOAD:
            self.oversized.append(f"{state} {verb} {size:,} bytes")

    def update_item(self, **parameters: Any) -> Any:
        """Write as ``client("dynamodb").update_item`` does, for the completion."""
        state = self.shape.completion
        assert state is not None
        # moto's context has a datetime where AWS's has text.
        parameters = json.loads(to_json_str({**parameters, "TableName": TABLE}))
        try:
            return self.intercept(state, parameters, lambda: self.call(state, parameters))
        except TaskFailed as error:
            _raise_timeout(error)
            code = error.name.removeprefix("DynamoDB.")
            response: Any = {
                "Error": {"Code": code, "Message": error.cause},
                "ResponseMetadata": {"HTTPStatusCode": 400, "RequestId": "injected"},
            }
            raise ClientError(response, "UpdateItem") from error

    def count(self, model: Any, **_: Any) -> None:
        """Count one request to DynamoDB."""
        self.requests.append(model.name)


def _environment(provider: Provider) -> dict[str, str]:
    """Return the variables that the stack gives to functions: the context in capitals, and the ARNs of secrets."""
    client = boto3.client("secretsmanager")
    arns = {
        name: client.create_secret(Name=name, SecretString=value)["ARN"] for name, value in provider.secrets.items()
    }
    return {name.upper(): value for name, value in provider.context.items()} | arns


def deliver_at_once(_state: str, _payload: Any, deliver: Deliver) -> Any:
    """Call the task without a fault; an ``intercept``."""
    return deliver()


def never_answer(_state: str, _payload: Any) -> None:
    """Let the task time out; a ``sender``."""


def function_of(shape: Shape, state: str) -> Handler:
    """Return the handler that a state calls."""
    found: Handler = _imported(shape.functions[state])
    return found


def _imported(path: str) -> Any:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def _called(handler: Callable[[object, object], object], payload: object) -> Any:
    """Call a function. Every payload and every answer is sent as JSON."""
    return json.loads(json.dumps(handler(json.loads(json.dumps(payload)), None)))


def _failure(answer: Mapping[str, object]) -> dict[str, Any]:
    """Return the response of Lambda to an error of the function."""
    return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(answer).encode())}


def _without_successful_branches(state: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each branch that has succeeded by its output."""
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


# The branches of a Parallel state run one after another, so that a run can be repeated.


def _start_later(worker: BranchWorker) -> None:
    """Replace ``BranchWorker.start``."""
    pool: Any = worker._branch_worker_comm
    pool.__dict__.setdefault("waiting", []).append(worker)


def _run_branches(pool: Any, *, backwards: bool) -> None:
    """Replace ``BranchWorkerPool.wait``. Once a branch has failed, the others never start: they are stopped."""
    for worker in reversed(pool.waiting) if backwards else pool.waiting:
        if pool._termination_event.is_set():
            return
        worker._worker_thread = threading.current_thread()
        worker._thread_routine()


def _raise_timeout(error: TaskFailed) -> None:
    """Raise Python's own error for a timeout, because moto's interpreter expects that."""
    if error.name == "States.Timeout":
        raise TimeoutError


@contextmanager
def interpreter(shape: Shape, demo: Demo = ORDER_DEMO) -> Iterator[Interpreter]:
    """Make an interpreter with an empty table. Executions run synchronously, and no retry waits.

    A response of a provider that would come too late does not come at all.
    """
    with (
        local_aws(),
        demo.serving(hold_seconds=0) as provider,
        mock.patch.dict(os.environ, _environment(provider) if provider else {}),
    ):
        machine = Interpreter(shape, demo, provider)
        counted = (OWN_TABLE.client.meta.events, machine.dynamodb.meta.events)
        for client in counted:
            client.register("before-call.dynamodb", machine.count)
        with (
            mock.patch.object(lambda_eval_utils, "boto_client_for", lambda **_: machine),
            mock.patch.object(state_task_service_dynamodb, "boto_client_for", lambda **_: machine),
            mock.patch.object(callbacks, "_client", lambda: machine.tasks),
            mock.patch.object(
                StateTaskServiceCallback,
                "_eval_wait_for_task_token",
                lambda _self, callback_endpoint, **_: machine.wait_for_answer(callback_endpoint.callback_id),
            ),
            mock.patch.object(retrier_decl, "time", SimpleNamespace(sleep=lambda _seconds: None)),
            mock.patch.object(BranchWorker, "start", _start_later),
            mock.patch.object(BranchWorkerPool, "wait", lambda pool: _run_branches(pool, backwards=machine.backwards)),
            mock.patch.object(
                execution_worker.ExecutionWorker, "start", execution_worker.ExecutionWorker._execution_logic
            ),
        ):
            yield machine
        for client in counted:
            client.unregister("before-call.dynamodb", machine.count)
