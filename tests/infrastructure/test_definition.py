"""The definition of the state machine: the order of its states, their catches, retries and timeouts."""

from typing import Any

import pytest

from lambdas import order_steps
from lambdas.saga_runtime.errors import BUSINESS_ERRORS
from lambdas.saga_runtime.names import state_name
from saga_stack.construct.stages import STAGES
from saga_stack.order_saga import STEPS
from tests.fixtures import definition_in, synthesized
from tests.infrastructure.templates import FUNCTIONS, functions, longest_request
from tests.shape import shape_of

ACTIONS = tuple(state_name(step.action) for step in STEPS)
COMPENSATIONS = tuple(state_name(step.compensation) for step in STEPS)

Definition = dict[str, Any]


def test_a_successful_order_runs_the_actions_and_confirm_order(definition: Definition) -> None:
    path, name = [], definition["StartAt"]
    while name:
        path.append(name)
        name = definition["States"][name].get("Next")
    assert path == [*ACTIONS, "ConfirmOrder"]
    assert definition["States"]["ConfirmOrder"]["End"] is True


@pytest.mark.parametrize(("action", "compensation"), list(zip(ACTIONS, COMPENSATIONS, strict=True)))
def test_an_action_catches_every_error_into_its_own_compensation(
    definition: Definition, action: str, compensation: str
) -> None:
    assert definition["States"][action]["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": compensation}]


def test_the_compensations_run_in_reverse_and_end_in_order_failed(definition: Definition) -> None:
    assert [definition["States"][name]["Next"] for name in COMPENSATIONS] == ["OrderFailed", *COMPENSATIONS[:-1]]
    assert definition["States"]["OrderFailed"]["Error"] == "OrderFailed"


@pytest.mark.parametrize("state", [*COMPENSATIONS, "ConfirmOrder"])
def test_a_state_that_must_succeed_has_no_catch(definition: Definition, state: str) -> None:
    assert "Catch" not in definition["States"][state]


@pytest.mark.parametrize("state", [*ACTIONS, *COMPENSATIONS, "ConfirmOrder"])
def test_business_errors_are_never_retried_and_all_others_are_with_full_jitter(
    definition: Definition, state: str
) -> None:
    never, always = definition["States"][state]["Retry"]
    assert never == {"ErrorEquals": list(BUSINESS_ERRORS), "MaxAttempts": 0}
    assert always["ErrorEquals"] == ["States.ALL"]
    assert always["JitterStrategy"] == "FULL"
    assert always["MaxDelaySeconds"] <= 60


def test_a_state_that_must_succeed_is_retried_for_minutes_and_an_action_is_not(definition: Definition) -> None:
    stage = STAGES["dev"]
    soon = {"IntervalSeconds": 1, "BackoffRate": 2, "MaxDelaySeconds": 8, "MaxAttempts": 4}
    patiently = {"IntervalSeconds": 1, "BackoffRate": 2, "MaxDelaySeconds": 60, "MaxAttempts": 35}
    expected = dict.fromkeys(ACTIONS, soon) | dict.fromkeys((*COMPENSATIONS, "ConfirmOrder"), patiently)
    for state, retry in expected.items():
        assert definition["States"][state]["Retry"][1].items() >= retry.items(), state
    # Full jitter halves the waits on average.
    assert stage.action_retry.longest_wait() <= 30
    assert stage.compensation_retry.longest_wait() / 2 >= 10 * 60


@pytest.mark.parametrize("stage", STAGES)
def test_a_call_ends_before_its_function_and_the_function_before_its_task(stage: str) -> None:
    template = synthesized(stage)
    called = [function for name, function in functions(template).items() if name in FUNCTIONS]
    tasks = [state for state in definition_in(template)["States"].values() if state["Type"] == "Task"]
    assert longest_request() < min(function["Timeout"] for function in called)
    assert max(function["Timeout"] for function in called) < min(task["TimeoutSeconds"] for task in tasks)


@pytest.mark.parametrize("stage", STAGES)
def test_no_timeout_can_stop_a_rollback(stage: str) -> None:
    definition = definition_in(synthesized(stage))
    assert "TimeoutSeconds" not in definition
    assert longest(definition) < 365 * 24 * 3600, "the most that a STANDARD execution may take"


def longest(definition: Definition) -> float:
    """Return the seconds of the slowest execution: every task makes all its attempts, each up to its timeout."""
    total = 0.0
    for state in definition["States"].values():
        if state["Type"] == "Task":
            retry = state["Retry"][1]
            waits = (
                min(retry["IntervalSeconds"] * retry["BackoffRate"] ** n, retry["MaxDelaySeconds"])
                for n in range(retry["MaxAttempts"])
            )
            total += sum(waits) + (retry["MaxAttempts"] + 1) * state["TimeoutSeconds"]
    return total


def test_the_definition_names_no_field_of_the_input(definition: Definition) -> None:
    for name in (*ACTIONS, *COMPENSATIONS):
        payload = definition["States"][name]["Parameters"]["Payload"]
        assert payload["saga"] == {"id.$": "$$.Execution.Id", "started_at.$": "$$.Execution.StartTime"}
        assert payload["input.$"] == "$$.Execution.Input"
    assert "$$.Execution.Input." not in str(definition)


def test_the_functions_know_their_steps_by_the_names_of_the_states(template: dict[str, Any]) -> None:
    assert set(shape_of(template).actions) == {spec.name for spec in order_steps.STEPS.values()}
