"""Rows that an operator settled by direct calls keep the invariants when the saga is redriven after all."""

from typing import Any

import pytest

from tests.fixtures import store_item, stored_item
from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import Execution, Interpreter, deliver_at_once
from tests.saga.trial import check, fresh
from tests.sagas import SagaUnderTest


def stuck_in(machine: Interpreter, saga: SagaUnderTest, state: str, name: str) -> Execution:
    machine.intercept = Injector(machine, {state: (Fault.BROKEN,)})
    stuck = machine.run(fresh(saga.demo.input(name)))
    assert stuck.states[-1] == state
    machine.intercept = deliver_at_once
    return stuck


def settle(machine: Interpreter, stuck: Execution, compensations: tuple[str, ...]) -> None:
    saga = {"id": stuck.arn, "started_at": stuck.started_at}
    for compensation in compensations:
        machine.call(compensation, {"saga": saga, "input": stuck.input})


@pytest.mark.parametrize("settled", range(4))
def test_a_rollback_that_was_settled_in_part_or_whole_ends_cleanly_when_redriven(
    machine: Interpreter, saga: SagaUnderTest, settled: int
) -> None:
    stuck = stuck_in(machine, saga, "RefundPayment", "5-failed-shipment")
    settle(machine, stuck, machine.shape.compensations[::-1][:settled])
    ended = machine.resume(stuck)
    assert (ended.status, ended.error) == ("FAILED", "OrderFailed")
    assert check(machine, [ended]) == []


@pytest.mark.parametrize("settled", [1, 2, 3])
def test_an_order_whose_first_row_was_settled_by_hand_is_never_confirmed(
    machine: Interpreter, saga: SagaUnderTest, settled: int
) -> None:
    """ConfirmOrder checks the row ORDER, so this row is settled first."""
    stuck = stuck_in(machine, saga, "ConfirmOrder", "1-success")
    settle(machine, stuck, machine.shape.compensations[:settled])
    before = machine.rows(stuck.input["order_id"])
    ended = machine.resume(stuck)
    assert (ended.status, ended.states[-1]) == ("FAILED", "ConfirmOrder")
    assert machine.rows(stuck.input["order_id"]) == before
    assert before["ORDER"]["status"] == "DELETED"


@pytest.mark.parametrize(
    "owner",
    [{"saga_id": {"S": "another"}}, {"saga_started_at": {"S": "2026-01-01T00:00:00.000Z"}}],
    ids=["id", "start"],
)
def test_an_order_whose_row_another_saga_owns_is_never_confirmed(
    machine: Interpreter, saga: SagaUnderTest, owner: dict[str, Any]
) -> None:
    stuck = stuck_in(machine, saga, "ConfirmOrder", "1-success")
    order_id = stuck.input["order_id"]
    foreign = {**(stored_item(order_id, "ORDER") or {}), **owner}
    store_item(order_id, "ORDER", foreign)
    assert machine.resume(stuck).status == "FAILED"
    assert stored_item(order_id, "ORDER") == foreign
