"""Steps that wait for an answer: their states, their permissions, and the alarm that knows how long they may wait."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as CdkTemplate
from constructs import Construct

from examples.parcel_pickup.app import expose
from examples.parcel_pickup.saga import SAGA
from lambdas.saga_runtime.errors import BUSINESS_ERRORS
from saga_stack.construct.api import ApiSettings
from saga_stack.construct.stack import FolderSagaStack, SagaStack
from saga_stack.construct.stages import STAGES, Stage
from saga_stack.construct.steps import (
    Callback,
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


def parcel_stack(scope: Construct, id_: str, *, stage: Stage) -> SagaStack:
    """Make the stack as the app does."""
    stack = FolderSagaStack(scope, id_, stage=stage, saga=SAGA)
    expose(stack)
    return stack


@pytest.fixture(scope="module")
def parcel() -> dict[str, Any]:
    return synthesized("dev", parcel_stack, "ParcelSaga")


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


def synthesize(*steps: StepOrGroup, receiver: str | None = "receive_answer") -> SagaStack:
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
    )


def test_the_task_of_a_waiting_step_gives_its_function_a_token_and_waits_for_days(parcel: dict[str, Any]) -> None:
    state = tasks(parcel)["RequestPickup"]
    assert state["Resource"] == "arn:aws:states:::lambda:invoke.waitForTaskToken"
    assert state["Parameters"]["Payload"]["task_token.$"] == "$$.Task.Token"
    assert state["TimeoutSeconds"] == 2 * 86_400
    # The result of the task is the answer itself.
    assert state["ResultSelector"] == {"answer.$": "$"}
    assert state["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": "CancelPickup"}]


def test_no_other_task_waits_or_receives_a_token(parcel: dict[str, Any], move: dict[str, Any]) -> None:
    for template, waiting in ((parcel, {"RequestPickup"}), (move, {"BookVan", "SignReceipt"})):
        for name, state in tasks(template).items():
            assert ("waitForTaskToken" in state["Resource"]) == (name in waiting)
            assert ("task_token.$" in state["Parameters"]["Payload"]) == (name in waiting)


def test_a_waiting_step_retries_neither_a_rejection_nor_a_timeout(parcel: dict[str, Any], move: dict[str, Any]) -> None:
    waiting = {**tasks(parcel), **tasks(move)}
    stage = STAGES["dev"]
    policies = {"RequestPickup": stage.action_retry, "BookVan": stage.action_retry}
    for name in ("RequestPickup", "BookVan", "SignReceipt"):
        never, always = waiting[name]["Retry"]
        assert never == {"ErrorEquals": NEVER_RETRIED, "MaxAttempts": 0}
        assert always["MaxAttempts"] == policies.get(name, stage.compensation_retry).max_attempts
    assert waiting["CancelPickup"]["Retry"][0]["ErrorEquals"] == list(BUSINESS_ERRORS)


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
        (timedelta(0), None, "the timeout of a callback is 0:00:00: must be a second to a year"),
        (timedelta(days=366), None, "the timeout of a callback is 366 days"),
        (DAY, DAY, "the heartbeat of a callback is 1 day, 0:00:00: must be at least a second and below its timeout"),
        (DAY, timedelta(0), "the heartbeat of a callback is 0:00:00"),
    ],
)
def test_times_that_do_not_fit_are_rejected(timeout: timedelta, heartbeat: timedelta | None, message: str) -> None:
    with pytest.raises(InvalidSagaError, match=message):
        Callback(timeout=timeout, heartbeat=heartbeat)


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


def test_the_receiver_outlasts_all_requests_of_an_answer(parcel: dict[str, Any]) -> None:
    # Its secret; the row read, written and read again; the task ended by two tokens.
    assert 6 * longest_request() < functions(parcel)["receive_answer"]["Timeout"]


def test_an_alarm_watches_the_receiver(parcel: dict[str, Any]) -> None:
    alarms = {alarm["AlarmName"]: alarm for alarm in of_type(parcel, "AWS::CloudWatch::Alarm").values()}
    alarm = alarms["ParcelSaga-dev-Errors-receive_answer"]
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
    parcel: dict[str, Any],
) -> None:
    ways = ("Success", "Failure", "Heartbeat")
    assert permissions(parcel, "states:SendTask") == {
        "receive_answer": {(f"states:SendTask{way}", "*") for way in ways},
        "request_pickup": {("states:SendTaskSuccess", "*")},
    }


def test_only_the_receiver_may_read_a_row_and_the_secret(parcel: dict[str, Any]) -> None:
    for prefix in ("dynamodb:GetItem", "secretsmanager:"):
        found = permissions(parcel, prefix)
        assert set(found) == {"receive_answer"}
        assert {action for action, _ in found["receive_answer"]} <= {
            "dynamodb:GetItem",
            "secretsmanager:GetSecretValue",
        }


def test_the_state_machine_may_not_call_the_receiver(parcel: dict[str, Any]) -> None:
    receiver = next(
        name
        for name, one in of_type(parcel, "AWS::Lambda::Function").items()
        if "receive_answer" in one["FunctionName"]
    )
    role = next(iter(of_type(parcel, "AWS::StepFunctions::StateMachine").values()))["RoleArn"]["Fn::GetAtt"][0]
    policies = [p for p in of_type(parcel, "AWS::IAM::Policy").values() if {"Ref": role} in p["Roles"]]
    assert policies
    assert receiver not in str(policies)


def test_only_the_receiver_has_a_url(parcel: dict[str, Any]) -> None:
    (url,) = of_type(parcel, "AWS::Lambda::Url").values()
    assert "receiveanswer" in plain(url["TargetFunctionArn"])
    assert url["AuthType"] == "NONE"


def test_the_time_for_an_answer_can_be_set_in_the_context() -> None:
    context = {"aws:cdk:bundling-stacks": [], "answer_within": "60"}
    stack = parcel_stack(App(context=context), "ParcelSaga-dev", stage=STAGES["dev"])
    assert tasks(dict(CdkTemplate.from_stack(stack).to_json()))["RequestPickup"]["TimeoutSeconds"] == 60


@pytest.mark.parametrize("text", ["", "a day", "-1", "1.5"])
def test_an_invalid_time_in_the_context_is_rejected(text: str) -> None:
    with pytest.raises(InvalidSagaError, match=f"invalid answer_within '{text}': use -c answer_within=SECONDS"):
        answered_within(SAGA.steps, text)


def test_the_time_in_the_context_is_that_of_each_step_that_waits_and_of_no_other() -> None:
    group, signed, packed = answered_within((Parallel(name="at_once", steps=(BOOK, PACK)), SIGN, PACK), "60")
    minute = Callback(timeout=timedelta(seconds=60))
    assert isinstance(group, Parallel)
    assert list(group.steps) == [replace(BOOK, callback=minute), PACK]
    assert (signed, packed) == (replace(SIGN, callback=minute), PACK)


def test_only_the_canceller_of_an_api_may_call_the_receiver() -> None:
    settings = ApiSettings(path="/moves", start="start_move", outcome="get_move", cancel="cancel_move", handler="a.{}")
    template = synthesized("dev", partial(MoveSagaStack, api=settings), "MoveSaga")
    (receiver,) = (
        logical_id
        for logical_id, function in of_type(template, "AWS::Lambda::Function").items()
        if function["FunctionName"].endswith("receive_answer")
    )
    assert permissions(template, "lambda:InvokeFunction")["cancel_move"] == {("lambda:InvokeFunction", f"<{receiver}>")}
    named = [name for name, one in functions(template).items() if "RECEIVER_NAME" in one["Environment"]["Variables"]]
    assert named == ["cancel_move"]
