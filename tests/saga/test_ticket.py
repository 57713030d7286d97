"""What a step that calls a payment provider does under faults, on the ticket saga; its books are looked at too."""

import pytest

from tests.invariants import is_stuck
from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import Execution, Interpreter
from tests.saga.trial import check, trial
from tests.sagas import SAGAS

pytestmark = pytest.mark.parametrize("saga", ["ticket"], indirect=True)

EXAMPLE = SAGAS["ticket"].example
SALE = EXAMPLE.scenario("1-success")


def books(machine: Interpreter, sale_id: str = "1") -> str:
    assert machine.service is not None
    return machine.service.books(sale_id)


def run(machine: Interpreter, **faults: Fault) -> Execution:
    machine.through = injector = Injector(machine, {state: (fault,) for state, fault in faults.items()})
    execution = machine.run(SALE)
    injector.land()
    return execution


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("1-success", "provider: charged 60"),
        ("2-slow-provider", "provider: charged 60.01"),
        ("3-silent-provider", "provider: charged 60.02, refunded 60.02"),
        ("4-failed-ticket", "provider: charged 60, refunded 60"),
    ],
)
def test_the_books_of_the_provider_after_each_sale_of_the_demo(machine: Interpreter, name: str, told: str) -> None:
    execution = machine.run(EXAMPLE.scenario(name))
    assert books(machine, execution.order["sale_id"]) == told
    assert not check(machine, [execution])


def test_a_sale_whose_provider_was_only_slow_succeeds_with_one_charge(machine: Interpreter) -> None:
    assert run(machine, ChargeCard=Fault.ERROR_AFTER).status == "SUCCEEDED"
    assert books(machine) == "provider: charged 60"


def test_a_charge_that_comes_after_the_refund_is_not_made(machine: Interpreter) -> None:
    assert run(machine, ChargeCard=Fault.LATE).error == machine.shape.failed
    assert books(machine) == "provider: nothing was charged"


def test_as_long_as_the_refund_fails_the_saga_is_stuck_and_the_charge_is_on_the_row(machine: Interpreter) -> None:
    execution = run(machine, IssueTicket=Fault.BROKEN, RefundCard=Fault.BROKEN)
    assert is_stuck(machine.shape, execution)
    assert execution.states[-1] == "RefundCard"
    assert machine.rows("1")["PAYMENT"]["status"] == "CHARGED"
    machine.through = lambda _state, _payload, deliver: deliver()
    assert machine.resume(execution).error == machine.shape.failed
    assert books(machine) == "provider: charged 60, refunded 60"


def test_a_saga_stuck_in_undoing_its_last_step_which_was_done_is_rolled_back_when_it_is_resumed(
    machine: Interpreter,
) -> None:
    """The only one of the sagas here whose last step can be undone."""
    execution, problems = trial(machine, SALE, {"IssueTicket": (Fault.SLOW,), "VoidTicket": (Fault.BROKEN,)})
    assert not problems
    assert execution.states[-1] == "VoidTicket"
    assert books(machine) == "provider: charged 60, refunded 60"
