"""Answers to the steps that wait, as their senders send them."""

from typing import Any

from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.callbacks import receiver
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import idempotency_key
from tests.saga.interpreter import Interpreter, function_of

DETAILS = {"driver": "Ada"}


def answer(machine: Interpreter, state: str, payload: Any, *, is_rejection: bool = False) -> dict[str, str]:
    """Answer the request that the action of a state made with this payload. Raises what the receiver raises."""
    step = function_of(machine.shape, state).step
    key = step.schema.key_of(payload["input"])
    row = Row(step=step, key=key, saga=SagaIdentity(**payload["saga"]), table=OWN_TABLE)
    result = {"result": "rejected", "reason": "no van"} if is_rejection else {"result": "accepted", "details": DETAILS}
    return receiver(step)({key[0]: key[1], "step": step.action, "request": idempotency_key(row), **result})
