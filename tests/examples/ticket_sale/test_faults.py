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
        ("1-success", "authorized 60.00, captured 60.00"),
        ("2-slow-provider", "authorized 60.01, captured 60.01"),
        ("3-silent-provider", "authorized 60.02, cancelled 60.02"),
        ("4-declined", "declined 60.00, cancelled an unauthorized 60.00"),
        ("5-failed-ticket", "authorized 60.00, cancelled 60.00"),
    ],
)
def test_the_ledger_of_the_provider_after_each_sale_of_the_demo(machine: Interpreter, name: str, entries: str) -> None:
    execution = machine.run(DEMO.input(name))
    assert ledger(machine, execution.input["sale_id"]) == f"provider: {entries}"
    assert not check(machine, [execution])


def test_a_sale_whose_provider_was_slow_once_succeeds_with_one_capture(machine: Interpreter) -> None:
    execution = run(machine, AuthorizeCard=Fault.ERROR_AFTER, CapturePayment=Fault.ERROR_AFTER)
    assert execution.status == "SUCCEEDED"
    assert ledger(machine) == "provider: authorized 60.00, captured 60.00"


def test_an_authorization_that_arrives_after_the_cancellation_is_not_made(machine: Interpreter) -> None:
    assert run(machine, AuthorizeCard=Fault.LATE).error == machine.shape.failed
    assert ledger(machine) == "provider: nothing was authorized"


def test_while_the_cancellation_fails_the_saga_is_stuck_and_the_row_shows_the_authorization(
    machine: Interpreter,
) -> None:
    execution = run(machine, IssueTicket=Fault.BROKEN, CancelAuthorization=Fault.BROKEN)
    assert is_stuck(machine.shape, execution)
    assert execution.states[-1] == "CancelAuthorization"
    assert machine.rows("1")["PAYMENT"]["status"] == "AUTHORIZED"
    machine.intercept = deliver_at_once
    assert machine.resume(execution).error == machine.shape.failed
    assert ledger(machine) == "provider: authorized 60.00, cancelled 60.00"


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.BROKEN_AFTER])
def test_a_saga_stuck_in_its_capture_is_completed_by_a_redrive_with_one_capture(
    machine: Interpreter, fault: Fault
) -> None:
    execution, problems = trial(machine, SALE, {"CapturePayment": (fault,)})
    assert not problems
    assert execution.states[-1] == "CapturePayment"
    assert ledger(machine) == "provider: authorized 60.00, captured 60.00"
