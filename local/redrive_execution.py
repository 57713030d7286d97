"""Adds to MiniStack what it lacks: RedriveExecution, as AWS's API reference describes it.

MiniStack does not record how far an execution came. So this module runs executions itself, with MiniStack's functions
for each state, and records the position in the execution: the state, its input, and the same for each branch.

To delete this module when MiniStack has RedriveExecution: remove its import and its call from ``local/server.py``.
"""

import copy
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NotRequired, TypeAlias, TypedDict

from ministack.core.responses import error_response_json, json_response, now_iso
from ministack.services import stepfunctions

Record: TypeAlias = dict[str, Any]
Response: TypeAlias = tuple[int, Mapping[str, str], bytes]
Handler: TypeAlias = Callable[[Record], Response]

# RedriveExecution in AWS's API reference: the redrivable period, the events of a history, the lifetime of a token.
REDRIVABLE = timedelta(days=14)
MAX_EVENTS = 24_999
TOKEN_LIFETIME = timedelta(minutes=15)
# MiniStack's own pause before the first state.
START_SECONDS = 0.15

ARN = re.compile(r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:execution:[^:]+:[^:]+")
FILTERS = {"REDRIVEN": True, "NOT_REDRIVEN": False}
WITH_EXECUTION = ("Task", "Parallel", "Map")

_logger = logging.getLogger(__name__)


class Position(TypedDict):
    """How far a state machine or a branch came.

    Args:
        state: the state that runs.
        input: its input.
        is_entered: whether the history has its entrance.
        branches: the positions of its branches or iterations.
        output: the output of the last state, once it has ended.
    """

    state: str
    input: Any
    is_entered: bool
    branches: "dict[str, Position]"
    output: NotRequired[Any]


# A branch runs in a thread with a copy of its group's context.
_current: ContextVar[Position] = ContextVar("position")


class _StoppedError(Exception):
    """The execution was stopped, so its run must end."""


def install() -> None:
    """Have MiniStack redrive executions. Call it before MiniStack serves."""
    serve, add_event = stepfunctions.handle_request, stepfunctions._add_event
    describe, list_ = stepfunctions._describe_execution, stepfunctions._list_executions

    async def handle_request(method: str, path: str, headers: Mapping[str, str], body: bytes, query: object) -> Any:
        if headers.get("x-amz-target", "") == "AWSStepFunctions.RedriveExecution":
            return stepfunctions._finalize_response(redrive_execution(json.loads(body)))
        return await serve(method, path, headers, body, query)

    def add_event_while_running(execution: Record, type_: str, details: Record | None = None) -> Record:
        if not type_.startswith("Execution"):
            _require_running(execution)
        event: Record = add_event(execution, type_, details)
        return event

    stepfunctions.handle_request = handle_request
    stepfunctions._add_event = add_event_while_running
    stepfunctions._describe_execution = lambda data: describe_execution(data, describe)
    stepfunctions._list_executions = lambda data: list_executions(data, list_)
    stepfunctions._run_execution = run_execution
    stepfunctions._run_sub_machine = run_branch


def redrive_execution(data: Record) -> Response:
    """Continue an execution in the states that failed or were stopped."""
    arn, token = data.get("executionArn", ""), data.get("clientToken")
    if not ARN.fullmatch(arn):
        return _error("InvalidArn", f"Invalid Arn: '{arn}'")
    execution: Record | None = stepfunctions._executions.get(arn)
    if execution is None:
        return _error("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    tokens: dict[str, str] = execution.get("redriveTokens", {})
    if token in tokens and age(tokens[token]) < TOKEN_LIFETIME:
        return _response({"redriveDate": tokens[token]})
    if reason := why_not_redrivable(execution):
        return _error("ExecutionNotRedrivable", reason)
    redriven = _redriven(execution, token)
    stepfunctions._executions[arn] = redriven
    stepfunctions._add_event(
        redriven, "ExecutionRedriven", {"executionRedrivenEventDetails": {"redriveCount": redriven["redriveCount"]}}
    )
    stepfunctions._emit_execution_status_event(redriven)
    threading.Thread(target=copy_context().run, args=(_run, redriven), daemon=True).start()
    return _response({"redriveDate": redriven["redriveDate"]})


def _redriven(execution: Record, token: str | None) -> Record:
    """Return the record of the redriven execution.

    It is a new one: a stopped run may still wait for a function, and must not find its own record running again.
    """
    at = now_iso()
    return {
        **execution,
        "status": "RUNNING",
        **dict.fromkeys(("stopDate", "output", "error", "cause")),
        "redriveCount": execution.get("redriveCount", 0) + 1,
        "redriveDate": at,
        "redriveTokens": {**execution.get("redriveTokens", {}), **({token: at} if token else {})},
    }


def why_not_redrivable(execution: Record) -> str | None:
    """Return why an execution cannot be redriven, in AWS's words; None if it can."""
    if execution["status"] in ("RUNNING", "SUCCEEDED"):
        return f"Execution is {execution['status']} and cannot be redriven"
    if execution["stateMachineArn"] not in stepfunctions._state_machines:
        return "State machine is in DELETING status"
    if age(execution["stopDate"]) > REDRIVABLE:
        return "Execution redrivable period exceeded"
    return "Execution history event limit exceeded" if len(execution["events"]) >= MAX_EVENTS else None


def age(date: str) -> timedelta:
    """Return the time since a date in a record."""
    return datetime.now(UTC) - datetime.fromisoformat(date)


def describe_execution(data: Record, describe: Handler) -> Response:
    """Add to MiniStack's description how often the execution was redriven, and whether it can be."""
    status, _, body = response = describe(data)
    if status != HTTPStatus.OK:
        return response
    execution = stepfunctions._executions[data["executionArn"]]
    reason = why_not_redrivable(execution)
    redrivable = {"redriveStatusReason": reason} if reason else {}
    redrivable["redriveStatus"] = "NOT_REDRIVABLE" if reason else "REDRIVABLE"
    return _response({**json.loads(body), **_redrives(execution), **redrivable})


def list_executions(data: Record, list_: Handler) -> Response:
    """Add to MiniStack's list how often each execution was redriven; apply ``redriveFilter`` to the page."""
    filter_ = data.get("redriveFilter")
    if filter_ is not None and filter_ not in FILTERS:
        return _error("ValidationException", f"Invalid redriveFilter '{filter_}': use {' or '.join(FILTERS)}")
    status, _, body = response = list_(data)
    if status != HTTPStatus.OK:
        return response
    page = json.loads(body)
    found = [{**item, **_redrives(stepfunctions._executions[item["executionArn"]])} for item in page["executions"]]
    page["executions"] = [item for item in found if filter_ is None or bool(item["redriveCount"]) == FILTERS[filter_]]
    return _response(page)


def _redrives(execution: Record) -> Record:
    return {"redriveCount": execution.get("redriveCount", 0), "redriveDate": execution.get("redriveDate")}


def run_execution(arn: str) -> None:
    """Run a new execution to its end, in its own thread. Replaces MiniStack's function, which keeps no position."""
    execution = stepfunctions._executions[arn]
    # A redrive uses the definition of the start.
    execution["definition"] = stepfunctions._state_machines[execution["stateMachineArn"]]["definition"]
    time.sleep(START_SECONDS)
    _run(execution)


def _run(execution: Record) -> None:
    """Run an execution from its position, or else from its start, to its end."""
    try:
        definition = json.loads(execution["definition"])
        position = execution.setdefault("position", _start(definition["StartAt"], json.loads(execution["input"])))
        output = _walk(definition["States"], position, execution, _context(execution, definition), is_branch=False)
    except _StoppedError:
        return
    except stepfunctions._ExecutionError as error:
        _fail(execution, error.error, error.cause)
    except Exception as error:
        _logger.exception("Unexpected error in execution %s", execution["executionArn"])
        _fail(execution, "States.Runtime", str(error))
    else:
        _succeed(execution, json.dumps(output))


def _succeed(execution: Record, output: str) -> None:
    if execution["status"] == "RUNNING":
        execution.update(status="SUCCEEDED", output=output, stopDate=now_iso())
        details = {"executionSucceededEventDetails": {"output": output}}
        stepfunctions._add_event(execution, "ExecutionSucceeded", details)
        stepfunctions._emit_execution_status_event(execution)


def _fail(execution: Record, error: str, cause: str) -> None:
    if execution["status"] == "RUNNING":
        stepfunctions._fail_execution(execution, error, cause)


def _context(execution: Record, definition: Record) -> Record:
    """Return the context object, with the keys that MiniStack's functions for the states use."""
    redrives = {"RedriveCount": execution.get("redriveCount"), "RedriveTime": execution.get("redriveDate")}
    return {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": execution["executionArn"],
            "Input": json.loads(execution["input"]),
            "Name": execution["name"],
            "StartTime": execution["startDate"],
            **{name: value for name, value in redrives.items() if value},
        },
        "StateMachine": {
            "Id": execution["stateMachineArn"],
            "Name": execution["stateMachineArn"].rpartition(":")[2],
        },
        "variables": execution.setdefault("variables", {}),
    }


def run_branch(states: Record, start_at: str, input_: Any, execution: Record, ctx: Record) -> Any:
    """Run a branch or an iteration from its position in its group, or else from its start; return its output.

    Replaces MiniStack's function, which keeps no position.
    """
    branches = _current.get()["branches"]
    # All iterations of a Map state start at the same state.
    key = f"{start_at} {ctx.get('Map', {}).get('Item', {}).get('Index', '')}"
    if ctx["State"]["RetryCount"]:
        # A retry of the group starts each branch again.
        branches.pop(key, None)
    position = branches.setdefault(key, _start(start_at, copy.deepcopy(input_)))
    # Branches share the context, but each is in a state of its own.
    return _walk(states, position, execution, {**ctx}, is_branch=True)


def _start(state: str, input_: Any) -> Position:
    return Position(state=state, input=input_, is_entered=False, branches={})


def _walk(states: Record, position: Position, execution: Record, ctx: Record, *, is_branch: bool) -> Any:
    """Run the states from the position on; return the output of the last one.

    As in MiniStack, the history does not contain the states of branches.
    """
    _current.set(position)
    while "output" not in position:
        _require_running(execution)
        name = position["state"]
        definition = states[name]
        ctx["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
        if not is_branch and not position["is_entered"]:
            details = {"name": name, "input": json.dumps(position["input"])}
            stepfunctions._add_event(
                execution, f"{definition['Type']}StateEntered", {"stateEnteredEventDetails": details}
            )
            position["is_entered"] = True
        output, following = _run_state(definition, position["input"], execution, ctx)
        if not is_branch:
            details = {"name": name, "output": json.dumps(output)}
            stepfunctions._add_event(
                execution, f"{definition['Type']}StateExited", {"stateExitedEventDetails": details}
            )
        _require_running(execution)
        if following is None:
            position["output"] = output
        else:
            position.update(_start(following, output))
    return position["output"]


def _run_state(definition: Record, input_: Any, execution: Record, ctx: Record) -> tuple[Any, str | None]:
    """Run a state with its retries; return its output and the next state."""
    type_ = definition["Type"]
    if type_ == "Fail":
        raise stepfunctions._ExecutionError(*stepfunctions._fail_state_error(definition, input_, ctx))
    if type_ == "Succeed":
        effective = stepfunctions._apply_input_path(definition, input_, ctx)
        return stepfunctions._apply_output_path(definition, effective, ctx), None
    run = getattr(stepfunctions, f"_execute_{type_.lower()}")
    arguments = (execution, ctx) if type_ in WITH_EXECUTION else (ctx,)
    output, following = run(definition, input_, *arguments)
    return output, following


def _require_running(execution: Record) -> None:
    if execution["status"] != "RUNNING":
        raise _StoppedError


def _response(payload: Record) -> Response:
    found: Response = json_response(payload)
    return found


def _error(code: str, message: str) -> Response:
    found: Response = error_response_json(code, message, 400)
    return found
