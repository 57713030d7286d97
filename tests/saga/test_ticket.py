"""A step that calls a payment provider under faults, in the ticket saga, with the provider's ledger."""

import pytest

from tests.invariants import is_stuck
from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import Execution, Interpreter, deliver_at_once
from tests.saga.trial import check, trial
from tests.sagas import SAGAS

pytestmark = pytest.mark.parametrize("saga", ["ticket_sale"], indirect=True)

DEMO = SAGAS["ticket_sale"].demo
SALE = DEMO.input("1-success")


def ledger(machine: Interpreter, sale_id: str = "1") -> str:
    assert machine.provider is not None
    return machine.provider.ledger(sale_id)


def run(machine: Interpreter, **faults: Fault) -> Execution:
    machine.intercept = injector = Injector(machine, {state: (fault,) for state, fault in faults.items()})
    execution = machine.run(SALE)
    injector.deliver_late()
    return execution


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("1-success", "provider: charged 60"),
        ("2-slow-provider", "provider: charged 60.01"),
        ("3-silent-provider", "provider: charged 60.02, refunded 60.02"),
        ("4-failed-ticket", "provider: charged 60, refunded 60"),
    ],
)
def test_the_ledger_of_the_provider_after_each_sale_of_the_demo(machine: Interpreter, name: str, entries: str) -> None:
    execution = machine.run(DEMO.input(name))
    assert ledger(machine, execution.input["sale_id"]) == entries
    assert not check(machine, [execution])


def test_a_sale_whose_provider_was_slow_once_succeeds_with_one_charge(machine: Interpreter) -> None:
    assert run(machine, ChargeCard=Fault.ERROR_AFTER).status == "SUCCEEDED"
    assert ledger(machine) == "provider: charged 60"


def test_a_charge_that_arrives_after_the_refund_is_not_made(machine: Interpreter) -> None:
    assert run(machine, ChargeCard=Fault.LATE).error == machine.shape.failed
    assert ledger(machine) == "provider: nothing was charged"


def test_while_the_refund_fails_the_saga_is_stuck_and_the_row_shows_the_charge(machine: Interpreter) -> None:
    execution = run(machine, IssueTicket=Fault.BROKEN, RefundCard=Fault.BROKEN)
    assert is_stuck(machine.shape, execution)
    assert execution.states[-1] == "RefundCard"
    assert machine.rows("1")["PAYMENT"]["status"] == "CHARGED"
    machine.intercept = deliver_at_once
    assert machine.resume(execution).error == machine.shape.failed
    assert ledger(machine) == "provider: charged 60, refunded 60"


def test_a_saga_stuck_in_the_compensation_of_its_last_step_is_rolled_back_by_a_redrive(machine: Interpreter) -> None:
    """No other saga here can compensate its last step."""
    execution, problems = trial(machine, SALE, {"IssueTicket": (Fault.SLOW,), "VoidTicket": (Fault.BROKEN,)})
    assert not problems
    assert execution.states[-1] == "VoidTicket"
    assert ledger(machine) == "provider: charged 60, refunded 60"
