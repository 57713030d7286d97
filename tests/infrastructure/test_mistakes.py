"""Each mistake in a saga of one's own ends its synthesis with one line that names the step and the file."""

import functools
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from aws_cdk import App

from saga_stack.construct import app
from saga_stack.construct.checks import require_functions
from saga_stack.construct.steps import InvalidSagaError, Step

PROJECT = Path(__file__).parents[2]
STEPS, SAGA = "sale/lambdas/sale_steps.py", "sale/saga.py"
HANDLERS = "sale/lambdas/handlers.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the ticket sale to a folder outside the project, as ``sale``."""
    shutil.copytree(PROJECT / "examples/ticket_sale", tmp_path / "sale", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (tmp_path / "sale").rglob("*.py"):
        file.write_text(file.read_text().replace("examples.ticket_sale", "sale").replace('name="TicketSaga",', ""))
    return tmp_path


def test_without_a_mistake_the_stack_is_named_after_the_folder(folder: Path) -> None:
    settings = {
        "PYTHONPATH": os.pathsep.join([str(folder), str(PROJECT)]),
        "CDK_CONTEXT_JSON": '{"aws:cdk:bundling-stacks": []}',
        "CDK_OUTDIR": str(folder / "cdk.out"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "sale.app"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "cdk.out/SaleSaga-dev.template.json").exists()


Synthesize: TypeAlias = Callable[[], str]


@pytest.fixture
def message_of_synthesis(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Synthesize]:
    """Return a function that runs the CDK app and returns its error. In a process of its own it would start slowly."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(app, "App", functools.partial(App, context={"aws:cdk:bundling-stacks": []}))
    # The functions do not have it.
    monkeypatch.setenv("SHOP_URL", "any")

    def message() -> str:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("sale.app", run_name="__main__")
        out, err = capsys.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
        return err

    yield message
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sale", "hire")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            *(HANDLERS, "issue_ticket, void_ticket", "issue_tickets, void_ticket"),
            (
                "sale/lambdas/handlers.py: issue_ticket (IssueTicket) does not import: "
                "AttributeError: module 'sale.lambdas.handlers' has no attribute 'issue_ticket'"
            ),
        ),
        (
            *(HANDLERS, "import stripe_payments\n", "import payments\n"),
            (
                "sale/lambdas/handlers.py:3: reserve_seat (ReserveSeat) does not import: "
                "ImportError: cannot import name 'payments' from 'sale.lambdas' (sale/lambdas/__init__.py)"
            ),
        ),
        (
            *(HANDLERS, "SEAT, PAYMENT", 'import os\n\nos.environ["SHOP_URL"]\nSEAT, PAYMENT'),
            "sale/lambdas/handlers.py:9: reserve_seat (ReserveSeat) does not import: KeyError: 'SHOP_URL'",
        ),
        (
            *(HANDLERS, "SEAT, PAYMENT", 'import sys\n\nsys.exit("no shop")\nSEAT, PAYMENT'),
            ": the import of reserve_seat (ReserveSeat) ends Python with exit status 1: no shop",
        ),
        (
            *(HANDLERS, 'STEPS["TICKET"]', 'STEPS["TICKETS"]'),
            "sale/lambdas/handlers.py:7: reserve_seat (ReserveSeat) does not import: KeyError: 'TICKETS'",
        ),
        (
            *(HANDLERS, "action(TICKET)", "action(SEAT)"),
            (
                "sale/lambdas/handlers.py: void_ticket has the row TICKET, its action issue_ticket has SEAT: "
                "make both of the same StepSpec"
            ),
        ),
        (
            *(HANDLERS, "action(TICKET), compensation(TICKET)", "action(SEAT), compensation(SEAT)"),
            (
                "sale/lambdas/handlers.py: reserve_seat and issue_ticket have one row, SEAT: "
                "give each step a StepSpec of its own"
            ),
        ),
        (
            *(STEPS, 'entity="TICKET"', 'entity="SEAT"'),
            (
                "sale/lambdas/sale_steps.py:15: ValueError: "
                "reserve_seat and issue_ticket have one row, SEAT: give each its own entity"
            ),
        ),
        (
            *(STEPS, 'compensated="VOIDED"', 'compensated="ISSUED"'),
            (
                "sale/lambdas/sale_steps.py:38: ValueError: "
                "issue_ticket has equal statuses: ISSUED, ISSUED: give each another name"
            ),
        ),
        (
            *(SAGA, ', compensation="void_ticket"', ""),
            (
                "sale/saga.py: issue_ticket has no compensation: "
                "name its function, or make it a Pivot or Retriable at the end"
            ),
        ),
        (
            *(SAGA, "FUNCTION, TASK = 60, 80", "FUNCTION, TASK = 60, 60"),
            "sale/saga.py: the task timeout of cancel_authorization is 60 s, its function's is 60 s: ",
        ),
        (
            *(SAGA, "FUNCTION, TASK = 60, 80", "FUNCTION, TASK = 1000, 2000"),
            "sale/saga.py: authorize_card has the function_timeout 1,000 s: Lambda allows 1 to 900",
        ),
        (
            *(SAGA, '"capture_payment")', '"capture_card")'),
            "sale/saga.py: secrets has STRIPE_KEY for capture_card, which is not a function: name one of the steps",
        ),
        (
            *(SAGA, "STRIPE_KEY", "TABLE"),
            "sale/saga.py: the secret TABLE would have the id Table, like another part of the stack: ",
        ),
        (
            *(SAGA, "STRIPE_KEY", "STATE_MACHINE"),
            "sale/saga.py: the secret STATE_MACHINE would have the id StateMachineArn, like another part of ",
        ),
        (
            *(SAGA, "STRIPE_KEY", "SALE"),
            "sale/saga.py: the state machine would have the id Sale, like another part of the stack: ",
        ),
        (
            *(SAGA, '"void_ticket"', '"report_stuck_saga"'),
            "sale/saga.py: report_stuck_saga is also a function that the library adds: choose another name",
        ),
        *(
            (
                *(SAGA, '"void_ticket"', f'"{function}"'),
                f"sale/saga.py: two states are named {state}: give every function and every group a name of its own",
            )
            for function, state in (("completed", "Completed"), ("sale_failed", "SaleFailed"))
        ),
        (
            *(SAGA, '"void_ticket"', f'"void_{"x" * 52}"'),
            f"sale/saga.py: the function SaleSaga-dev-void_{'x' * 52} has 70 characters: AWS allows 64, so choose a ",
        ),
        (
            *(SAGA, "file=__file__,", f'file=__file__, name="{"X" * 80}",'),
            "characters: AWS allows 64, so choose a shorter name",
        ),
        (
            *("sale/scenarios/5-failed-ticket.json", "}", ""),
            "sale/scenarios/5-failed-ticket.json: this is not JSON: Expecting ",
        ),
        (
            *("sale/scenarios/1-success.json", "{", "[{"),
            "sale/scenarios/1-success.json: this is not JSON: Expecting ",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(
    folder: Path, message_of_synthesis: Synthesize, file: str, old: str, new: str, message: str
) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    shown = message_of_synthesis()
    assert shown.startswith("error: ")
    assert message in shown


def test_a_stack_that_another_saga_has_is_reported(folder: Path, message_of_synthesis: Synthesize) -> None:
    shutil.copytree(folder / "sale", folder / "hire")
    saga = folder / "hire/saga.py"
    saga.write_text(saga.read_text().replace("file=__file__,", 'file=__file__, name="SaleSaga",'))
    assert message_of_synthesis() == (
        "error: hire/saga.py has the same stack SaleSaga: give one of them another name=\n"
    )


def test_functions_that_are_not_packed_are_reported(folder: Path, message_of_synthesis: Synthesize) -> None:
    (folder / "sale/app.py").write_text(
        """from sale.saga import SAGA
from saga_stack.construct.app import synthesize
from saga_stack.construct.stack import SagaStack


def stack(scope, id_, *, stage):
    return SagaStack(
        scope, id_, stage=stage, description="any", steps=SAGA.steps, state_machine="Any", partition_key="sale_id",
        failed="SaleFailed", handler=SAGA.handler
    )


synthesize(stack, "Any")
"""
    )
    assert message_of_synthesis() == (
        "error: sale/lambdas/handlers.py: reserve_seat (ReserveSeat) is not in the asset: "
        "write the file, or add its folder to packages=\n"
    )


def test_of_several_functions_the_one_that_ends_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("handler = print\n")
    (tmp_path / "second.py").write_text("import os\n\nos._exit(3)\n")
    handlers = {"first": "first.handler", "second": "second.handler"}
    message = r"^second\.py: the import of second \(Second\) ends Python with exit status 3: no message$"
    with pytest.raises(InvalidSagaError, match=message):
        require_functions((Step(action="first", compensation="second"),), handlers, tmp_path, {})
