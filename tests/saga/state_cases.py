"""Cases for single states: a state, an input and a mocked result, with what the interpreter makes of them.

``python -m tests.saga.state_cases [SAGA ...]`` prints the cases as JSON, for tests/conformance.py.
"""

import json
import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

# First: it sets the environment of the functions.
import tests.conftest  # noqa: F401

# isort: split
from lambdas.saga_runtime.errors import BUSINESS_ERRORS
from tests.saga.interpreter import Interpreter, TaskFailed, interpreter
from tests.sagas import SAGAS

FAULTS = ("Lambda.TooManyRequestsException", "States.Timeout", "Unexpected")
# Of a state that writes to the table by itself.
WRITE_FAULTS = ("DynamoDB.ConditionalCheckFailedException", "States.Timeout")
# The input of every state: what any state before it may have put out.
INPUT = {
    "answer": {"order_id": "1", "status": "DONE", "committed": True},
    "Error": "InvalidInput",
    "Cause": "a cause",
    "step": "CreateOrder",
    "error": "InvalidInput",
    "reason": "a reason",
}
PAYLOAD = {
    "order_id": "1",
    "status": "DONE",
    "committed": True,
    "failure": {"step": "CreateOrder", "error": "InvalidInput", "reason": "a reason"},
}
ATTRIBUTES = {name: {"S": name} for name in ("order_id", "status")}


@dataclass(frozen=True, kw_only=True)
class StateCase:
    """One state with one result, and what follows.

    Args:
        saga: the saga.
        state: the state.
        input: the input of the state.
        definition: the definition that contains the state at its outermost level.
        mock: the result of the task, as TestState takes it; None for a state that is not a task.
        retries: how often the state was retried before.
        status: the status that TestState returns.
        next: the next state; None if the execution ends.
        output: the output of the state; None if it fails.
        error: the error of a state that fails; else None.
    """

    saga: str
    state: str
    input: Any
    definition: Mapping[str, Any]
    mock: Mapping[str, Any] | None
    retries: int
    status: str
    next: str | None
    output: Any
    error: str | None


def cases(names: Collection[str]) -> Iterator[StateCase]:
    """Return the cases of the sagas of these names."""
    for saga in (SAGAS[name] for name in names):
        with interpreter(saga.shape(), saga.demo) as machine:
            for definition in _levels(machine.shape.definition):
                for state in definition["States"]:
                    yield from _cases(machine, saga.name, definition, state)


def _levels(definition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the definition and the branches of its groups, each as a definition of its own."""
    yield definition
    for state in definition["States"].values():
        for branch in state.get("Branches", ()):
            yield from _levels(branch)


def _cases(machine: Interpreter, saga: str, definition: Mapping[str, Any], state: str) -> Iterator[StateCase]:
    body = definition["States"][state]
    if body["Type"] == "Parallel":
        return  # its branches are cases of their own
    is_task = body["Type"] == "Task"
    success = _success(body) if is_task else None
    yield _observed(machine, saga, definition, state, success, retries=0)
    if not is_task:
        return
    is_function = "FunctionName" in body["Parameters"]
    faults = FAULTS if is_function else WRITE_FAULTS
    for error in (*BUSINESS_ERRORS, *FAULTS) if is_function else WRITE_FAULTS:
        # A failed function's cause is JSON; a timeout has none.
        details = {"errorMessage": "injected", "errorType": error}
        cause = "" if error == "States.Timeout" else json.dumps(details, separators=(",", ":"))
        failure = {"errorOutput": {"error": error, "cause": cause}}
        last = max(retry["MaxAttempts"] for retry in body["Retry"])
        if error in faults:
            yield StateCase(
                saga=saga,
                state=state,
                input=INPUT,
                definition=definition,
                mock=failure,
                retries=0,
                status="RETRIABLE",
                next=None,
                output=None,
                error=error,
            )
        yield _observed(machine, saga, definition, state, failure, retries=last if error in faults else 0)


def _success(body: Mapping[str, Any]) -> Mapping[str, Any]:
    is_function = "FunctionName" in body["Parameters"]
    result = {"Payload": PAYLOAD, "StatusCode": 200} if is_function else {"Attributes": ATTRIBUTES}
    return {"result": json.dumps(result)}


def _observed(
    machine: Interpreter,
    saga: str,
    definition: Mapping[str, Any],
    state: str,
    mock: Mapping[str, Any] | None,
    *,
    retries: int,
) -> StateCase:
    """Run the one state on the interpreter; every other state of its level ends the execution."""

    def intercept(_state: str, _payload: Any, _deliver: object) -> Any:
        assert mock is not None
        if "errorOutput" in mock:
            raise TaskFailed(mock["errorOutput"]["error"], mock["errorOutput"]["cause"])
        result = json.loads(mock["result"])
        return result.get("Payload", result)

    others = {name: {"Type": "Pass", "End": True} for name in definition["States"] if name != state}
    machine.intercept = intercept
    ran = machine.run_definition({"StartAt": state, "States": {**others, state: definition["States"][state]}}, INPUT)
    caught = mock is not None and "errorOutput" in mock
    if ran.status == "SUCCEEDED":
        follows = ran.states[1] if len(ran.states) > 1 else None
        status = "CAUGHT_ERROR" if caught else "SUCCEEDED"
        output = ran.inputs[1] if follows else ran.output
    else:
        follows, status, output = None, "FAILED", None
    return StateCase(
        saga=saga,
        state=state,
        input=INPUT,
        definition=definition,
        mock=mock,
        retries=retries,
        status=status,
        next=follows,
        output=output,
        error=None if ran.status == "SUCCEEDED" else ran.error,
    )


if __name__ == "__main__":
    logging.disable()  # moto logs every failed state
    json.dump([asdict(case) for case in cases(sys.argv[1:] or SAGAS)], sys.stdout)
