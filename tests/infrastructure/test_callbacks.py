"""Steps that wait for an answer: their states, their permissions, and the alarm that knows how long they may wait."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as CdkTemplate

from lambdas.saga_runtime.errors import BUSINESS_ERRORS
from saga_stack.construct.edges import ApiSettings
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import (
    Callback,
    InvalidContextError,
    InvalidSagaError,
    Parallel,
    Retriable,
    Step,
    StepOrGroup,
    answered_within,
    longest_wait,
)
from tests.fixtures import definition_in, synthesized
from tests.infrastructure.templates import as_list, functions, longest_request, of_type, plain
from tests.saga.waiting_saga import MoveSagaStack

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BOOK = Step(action="book_van", compensation="cancel_van", callback=Callback(timeout=2 * DAY, heartbeat=HOUR))
PACK = Step(action="pack_goods", compensation="unpack_goods")
SIGN = Retriable(action="sign_receipt", callback=Callback(timeout=3 * DAY))
NEVER_RETRIED = [*BUSINESS_ERRORS, "StepRejected", "States.Timeout", "States.HeartbeatTimeout"]


@pytest.fixture(scope="module")
def line() -> dict[str, Any]:
    """Return the template of a saga whose waiting step is in no group."""
    return dict(CdkTemplate.from_stack(synthesize(PACK, BOOK)).to_json())


@pytest.fixture(scope="module")
def move() -> dict[str, Any]:
    return synthesized("dev", MoveSagaStack, "MoveSaga")


def tasks(template: dict[str, Any]) -> dict[str, Any]:
    states = definition_in(template)["States"]
    within = {
        name: body
        for state in states.values()
        for branch in state.get("Branches", ())
        for name, body in branch["States"].items()
    }
    return {name: body for name, body in (states | within).items() if body["Type"] == "Task"}


def synthesize(
    *steps: StepOrGroup, receiver: str | None = "receive_answer", api: ApiSettings | None = None
) -> SagaStack:
    return SagaStack(
        App(context={"aws:cdk:bundling-stacks": []}),
        "Any-dev",
        stage=STAGES["dev"],
        description="any",
        steps=steps,
        state_machine="Any",
        partition_key="any_id",
        failed="AnyFailed",
        receiver=receiver,
        api=api,
    )


def test_the_task_of_a_waiting_step_gives_its_function_a_token_and_waits_for_days(line: dict[str, Any]) -> None:
    state = tasks(line)["BookVan"]
    assert state["Resource"] == "arn:aws:states:::lambda:invoke.waitForTaskToken"
    assert state["Parameters"]["Payload"]["task_token.$"] == "$$.Task.Token"
    assert state["TimeoutSeconds"] == 2 * 86_400
    # The result of the task is the answer itself.
    assert state["ResultSelector"] == {"answer.$": "$"}
    assert state["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": "CancelVan"}]


def test_no_other_task_waits_or_receives_a_token(line: dict[str, Any], move: dict[str, Any]) -> None:
    for template, waiting in ((line, {"BookVan"}), (move, {"BookVan", "SignReceipt"})):
        for name, state in tasks(template).items():
            assert ("waitForTaskToken" in state["Resource"]) == (name in waiting)
            assert ("task_token.$" in state["Parameters"]["Payload"]) == (name in waiting)


def test_a_waiting_step_retries_neither_a_rejection_nor_a_timeout(line: dict[str, Any], move: dict[str, Any]) -> None:
    stage = STAGES["dev"]
    policies = {"BookVan": stage.action_retry, "SignReceipt": stage.compensation_retry}
    for state, name in ((tasks(line), "BookVan"), (tasks(move), "BookVan"), (tasks(move), "SignReceipt")):
        never, always = state[name]["Retry"]
        assert never == {"ErrorEquals": NEVER_RETRIED, "MaxAttempts": 0}
        assert always["MaxAttempts"] == policies[name].max_attempts
    assert tasks(line)["CancelVan"]["Retry"][0]["ErrorEquals"] == list(BUSINESS_ERRORS)


def test_a_member_of_a_group_waits_with_a_heartbeat_and_records_its_own_failure(move: dict[str, Any]) -> None:
    state = tasks(move)["BookVan"]
    assert (state["TimeoutSeconds"], state["HeartbeatSeconds"]) == (7 * 86_400, 86_400)
    assert state["ResultSelector"] == {"answer.$": "$", "failed": False}
    assert state["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": "BookVanFailed"}]


def test_a_waiting_retriable_step_has_no_catch(move: dict[str, Any]) -> None:
    assert "Catch" not in tasks(move)["SignReceipt"]


@pytest.mark.parametrize(
    ("timeout", "heartbeat", "message"),
    [
        (timedelta(0), None, "book_van has a callback with the timeout 0:00:00: must be a second to a year"),
        (timedelta(days=366), None, "book_van has a callback with the timeout 366 days"),
        (
            DAY,
            DAY,
            "book_van has a callback with the heartbeat 1 day, 0:00:00: must be at least a second and below its",
        ),
        (DAY, timedelta(0), "book_van has a callback with the heartbeat 0:00:00"),
    ],
)
def test_times_that_do_not_fit_are_rejected_with_their_step(
    timeout: timedelta, heartbeat: timedelta | None, message: str
) -> None:
    callback = Callback(timeout=timeout, heartbeat=heartbeat)
    with pytest.raises(InvalidSagaError, match=message):
        synthesize(Step(action="book_van", compensation="cancel_van", callback=callback))


@pytest.mark.parametrize(
    "callback",
    [Callback(timeout=timedelta(seconds=10)), Callback(timeout=DAY, heartbeat=timedelta(seconds=10))],
)
def test_a_function_must_end_before_its_task_and_its_first_heartbeat(callback: Callback) -> None:
    with pytest.raises(InvalidSagaError, match="the task timeout of book_van is 10 s, its function's is 10 s"):
        synthesize(Step(action="book_van", compensation="cancel_van", callback=callback))


@pytest.mark.parametrize(
    ("steps", "receiver", "message"),
    [
        ((BOOK,), None, "book_van waits for an answer: name the function that receives it"),
        ((PACK,), "receive_answer", "no step waits for the answers that receive_answer receives: remove receiver="),
        ((BOOK,), "book_van", "book_van is also the function of a step"),
    ],
)
def test_a_saga_has_a_receiver_if_and_only_if_a_step_waits(
    steps: Sequence[StepOrGroup], receiver: str | None, message: str
) -> None:
    with pytest.raises(InvalidSagaError, match=message):
        synthesize(*steps, receiver=receiver)


def test_a_saga_waits_for_its_slowest_member_and_for_each_step_after_it() -> None:
    longer = Step(action="clean_flat", compensation="return_key", callback=Callback(timeout=5 * DAY))
    assert longest_wait((PACK,)) == timedelta(0)
    assert longest_wait((Parallel(name="at_once", steps=(BOOK, longer)), SIGN)) == 8 * DAY


def test_the_alarm_for_slow_sagas_leaves_time_for_the_answers() -> None:
    template = dict(CdkTemplate.from_stack(synthesize(PACK, BOOK, SIGN)).to_json())
    (alarm,) = (
        one
        for one in of_type(template, "AWS::CloudWatch::Alarm").values()
        if one["AlarmName"].endswith("SlowExecutions")
    )
    assert alarm["Threshold"] == (STAGES["dev"].slow_after + 5 * 86_400) * 1000


def test_the_receiver_outlasts_all_requests_of_an_answer(line: dict[str, Any]) -> None:
    # Its secret; the row read, written and read again; the task ended by two tokens.
    assert 6 * longest_request() < functions(line)["receive_answer"]["Timeout"]


def test_an_alarm_watches_the_receiver(line: dict[str, Any]) -> None:
    alarms = {alarm["AlarmName"]: alarm for alarm in of_type(line, "AWS::CloudWatch::Alarm").values()}
    alarm = alarms["Any-dev-Errors-receive_answer"]
    (dimension,) = alarm["Dimensions"]
    assert "receiveanswer" in plain(dimension["Value"])
    assert alarm["Threshold"] == 0


def permissions(template: dict[str, Any], prefix: str) -> dict[str, set[tuple[str, str]]]:
    """Return the actions of a service that the functions may use, each with its resource, by function."""
    found: dict[str, set[tuple[str, str]]] = {}
    policies = of_type(template, "AWS::IAM::Policy").values()
    for name, function in functions(template).items():
        role = {"Ref": function["Role"]["Fn::GetAtt"][0]}
        for statement in (s for p in policies if role in p["Roles"] for s in p["PolicyDocument"]["Statement"]):
            for action in as_list(statement["Action"]):
                if action.startswith(prefix):
                    resources = as_list(statement["Resource"])
                    found.setdefault(name, set()).update((action, plain(resource)) for resource in resources)
    return found


def test_only_the_receiver_may_answer_and_only_an_action_that_waits_may_complete_its_own_task(
    line: dict[str, Any],
) -> None:
    ways = ("Success", "Failure", "Heartbeat")
    assert permissions(line, "states:SendTask") == {
        "receive_answer": {(f"states:SendTask{way}", "*") for way in ways},
        "book_van": {("states:SendTaskSuccess", "*")},
    }


def test_the_state_machine_may_not_call_the_receiver(line: dict[str, Any]) -> None:
    receiver = next(
        name for name, one in of_type(line, "AWS::Lambda::Function").items() if "receive_answer" in one["FunctionName"]
    )
    role = next(iter(of_type(line, "AWS::StepFunctions::StateMachine").values()))["RoleArn"]["Fn::GetAtt"][0]
    policies = [p for p in of_type(line, "AWS::IAM::Policy").values() if {"Ref": role} in p["Roles"]]
    assert policies
    assert receiver not in str(policies)


@pytest.mark.parametrize("text", ["", "a day", "-1", "1.5", "0", "31536001", "9" * 30])
def test_an_invalid_time_in_the_context_is_rejected_with_the_step_that_waits(text: str) -> None:
    message = f"invalid answer_within '{text}': book_van can wait 1 to 31,536,000 seconds"
    with pytest.raises(InvalidContextError, match=message):
        answered_within((BOOK,), text)


def test_the_time_in_the_context_is_that_of_each_step_that_waits_and_of_no_other() -> None:
    group, signed, packed = answered_within((Parallel(name="at_once", steps=(BOOK, PACK)), SIGN, PACK), "60")
    minute = Callback(timeout=timedelta(seconds=60))
    assert isinstance(group, Parallel)
    assert list(group.steps) == [replace(BOOK, callback=minute), PACK]
    assert (signed, packed) == (replace(SIGN, callback=minute), PACK)


def test_only_the_canceller_of_an_api_may_call_the_receiver() -> None:
    api = ApiSettings(path="/parcels", start="start_parcel", outcome="get_parcel", cancel="cancel_it", handler="a.{}")
    template = dict(CdkTemplate.from_stack(synthesize(PACK, BOOK, api=api)).to_json())
    (receiver,) = (
        logical_id
        for logical_id, function in of_type(template, "AWS::Lambda::Function").items()
        if function["FunctionName"].endswith("-receive_answer")
    )
    assert permissions(template, "lambda:InvokeFunction")["cancel_it"] == {("lambda:InvokeFunction", f"<{receiver}>")}
    named = [name for name, one in functions(template).items() if "RECEIVER_NAME" in one["Environment"]["Variables"]]
    assert named == ["cancel_it"]
