"""The state machine's definition: its order, its catches, its retries and its timeouts."""

from typing import Any

import pytest

from lambdas.shared import ledger
from lambdas.shared.errors import BUSINESS_ERRORS
from lambdas.shared.orders import ORDER, PAYMENT, SHIPMENT
from saga_stack.settings import STAGES
from tests.fixtures import definition_in, synthesized
from tests.infrastructure.templates import REPORTER, functions
from tests.shape import shape_of

ACTIONS = ("CreateOrder", "ProcessPayment", "ProcessShipment")
COMPENSATIONS = ("DeleteOrder", "RefundPayment", "CancelShipment")

Definition = dict[str, Any]


def test_the_path_of_a_good_order_is_the_three_actions_and_confirm_order(definition: Definition) -> None:
    path, name = [], definition["StartAt"]
    while name:
        path.append(name)
        name = definition["States"][name].get("Next")
    assert path == [*ACTIONS, "ConfirmOrder"]
    assert definition["States"]["ConfirmOrder"]["End"] is True


@pytest.mark.parametrize(("action", "compensation"), list(zip(ACTIONS, COMPENSATIONS, strict=True)))
def test_an_action_catches_everything_into_its_own_compensation(
    definition: Definition, action: str, compensation: str
) -> None:
    assert definition["States"][action]["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": compensation}]


def test_the_compensations_run_in_reverse_and_end_in_order_failed(definition: Definition) -> None:
    following = {name: definition["States"][name]["Next"] for name in COMPENSATIONS}
    assert following == {
        "CancelShipment": "RefundPayment",
        "RefundPayment": "DeleteOrder",
        "DeleteOrder": "OrderFailed",
    }
    assert definition["States"]["OrderFailed"]["Error"] == "OrderFailed"


@pytest.mark.parametrize("state", [*COMPENSATIONS, "ConfirmOrder"])
def test_what_must_succeed_has_no_catch(definition: Definition, state: str) -> None:
    assert "Catch" not in definition["States"][state]


@pytest.mark.parametrize("state", [*ACTIONS, *COMPENSATIONS, "ConfirmOrder"])
def test_business_errors_are_never_retried_and_everything_else_is_with_full_jitter(
    definition: Definition, state: str
) -> None:
    never, always = definition["States"][state]["Retry"]
    assert never == {"ErrorEquals": list(BUSINESS_ERRORS), "MaxAttempts": 0}
    assert always["ErrorEquals"] == ["States.ALL"]
    assert always["JitterStrategy"] == "FULL"
    assert always["MaxDelaySeconds"] <= 60


def test_what_must_succeed_is_tried_for_minutes_and_an_action_is_not(definition: Definition) -> None:
    settings = STAGES["dev"]
    for state in ACTIONS:
        assert definition["States"][state]["Retry"][1]["MaxAttempts"] == settings.action_retry.max_attempts
    for state in (*COMPENSATIONS, "ConfirmOrder"):
        assert definition["States"][state]["Retry"][1]["MaxAttempts"] == settings.compensation_retry.max_attempts
    # Full jitter halves the waits on average.
    assert settings.action_retry.longest_wait() <= 30
    assert settings.compensation_retry.longest_wait() / 2 >= 10 * 60


@pytest.mark.parametrize("stage", STAGES)
def test_a_call_ends_before_its_function_and_the_function_before_its_task(stage: str) -> None:
    template = synthesized(stage)
    client: Any = ledger.CLIENT_CONFIG  # its options are attributes that its stubs do not know
    attempts = client.retries["total_max_attempts"]
    # botocore's standard mode waits at most 1 s before the second attempt, 2 s before the third, and so on.
    waits = sum(2**n for n in range(attempts - 1))
    call = attempts * (client.connect_timeout + client.read_timeout) + waits
    called = [function for name, function in functions(template).items() if name != REPORTER]
    tasks = [state for state in definition_in(template)["States"].values() if state["Type"] == "Task"]
    assert call < min(function["Timeout"] for function in called)
    assert max(function["Timeout"] for function in called) < min(task["TimeoutSeconds"] for task in tasks)


@pytest.mark.parametrize("stage", STAGES)
def test_no_timeout_of_the_state_machine_can_cut_a_rollback_off(stage: str) -> None:
    definition = definition_in(synthesized(stage))
    assert "TimeoutSeconds" not in definition
    assert longest(definition) < 365 * 24 * 3600, "the most that a STANDARD execution may take"


def longest(definition: Definition) -> float:
    """Seconds of the slowest execution: every task uses up all its attempts, each up to its timeout."""
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


def test_no_field_of_the_order_is_named_in_the_definition(definition: Definition) -> None:
    for name in (*ACTIONS, *COMPENSATIONS):
        payload = definition["States"][name]["Parameters"]["Payload"]
        assert payload["saga"] == {"id.$": "$$.Execution.Id", "started_at.$": "$$.Execution.StartTime"}
        assert payload["order.$"] == "$$.Execution.Input"
    assert "$$.Execution.Input." not in str(definition)


def test_the_functions_know_their_steps_by_the_names_of_the_states(template: dict[str, Any]) -> None:
    assert shape_of(template).actions == tuple(step.name for step in (ORDER, PAYMENT, SHIPMENT))
