"""Each mistake in a saga of one's own ends its synthesis with one line that names the step and the file."""

import functools
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from aws_cdk import App

import lambdas
import saga_stack
from saga_stack.construct import app, packaging
from saga_stack.construct.checks import import_saga, require_functions
from saga_stack.construct.steps import Callback, InvalidSagaError, Retriable, Step, functions_of
from tests.sagas import example_or_skip

PROJECT = Path(__file__).parents[2]
STEPS, SAGA = "sale/lambdas/sale_steps.py", "sale/saga.py"
HANDLERS = "sale/lambdas/handlers.py"
ORDER_STEPS, ORDER_SAGA = "lambdas/order_steps.py", "saga_stack/order_saga.py"
# The modules of the order saga, without the library.
OF_THE_ORDER = re.compile(r"(saga_stack|lambdas)\.(?!_|construct\b|saga_runtime\b)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the ticket sale to a folder outside the project, as ``sale``."""
    original = example_or_skip("ticket_sale").folder
    shutil.copytree(original, tmp_path / "sale", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (tmp_path / "sale").rglob("*.py"):
        file.write_text(file.read_text().replace(f"examples.{original.name}", "sale").replace('name="TicketSaga",', ""))
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


def error_of(capsys: pytest.CaptureFixture[str], run: Callable[[], object]) -> str:
    """Run a CDK app that must end with one line; return the line."""
    with pytest.raises(SystemExit) as ended:
        run()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    return err


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def with_line_numbers(message: str, folder: Path) -> str:
    """Return the message with the line number of each code in ``FILE:<CODE>``, so that files may grow."""

    def number(match: re.Match[str]) -> str:
        before, code, _ = (folder / match["file"]).read_text().partition(match["code"])
        assert code, match
        return f"{match['file']}:{before.count(chr(10)) + 1}"

    return re.sub(r"(?P<file>\S+\.py):<(?P<code>[^>]+)>", number, message)


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
        return error_of(capsys, lambda: runpy.run_module("sale.app", run_name="__main__"))

    yield message
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sale", "hire")]:
        del sys.modules[name]


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the order saga, and have Python import the copy; the library stays where it is."""
    for name in ("saga_stack", "lambdas"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "construct"))
    shutil.copy(PROJECT / "app.py", tmp_path)
    for name in [name for name in sys.modules if OF_THE_ORDER.match(name)]:
        monkeypatch.delitem(sys.modules, name)
    for package in (saga_stack, lambdas):
        monkeypatch.setattr(package, "__path__", [str(tmp_path / package.__name__), *package.__path__])
        for name in [name for name in vars(package) if OF_THE_ORDER.match(f"{package.__name__}.{name}")]:
            monkeypatch.delattr(package, name)
    monkeypatch.setattr(packaging, "PROJECT", tmp_path)
    return tmp_path


@pytest.fixture
def order_message(
    order: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Return a function that runs the CDK app of the order saga with a context and returns its error."""

    def message(**context: str) -> str:
        monkeypatch.setattr(app, "App", lambda: App(context={"aws:cdk:bundling-stacks": [], **context}))
        return error_of(capsys, lambda: runpy.run_path(str(order / "app.py"), run_name="__main__"))

    yield message
    for name in [name for name in sys.modules if OF_THE_ORDER.match(name)]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            *(ORDER_STEPS, 'compensated="REFUNDED"', 'compensated="CHARGED"'),
            (
                'error: lambdas/order_steps.py:<StepSpec(\n        action="process_payment">: ValueError: '
                "process_payment has equal statuses: CHARGED, CHARGED: give each another name"
            ),
        ),
        (
            *(ORDER_STEPS, 'entity="PAYMENT"', 'entity="ORDER"'),
            (
                "error: lambdas/order_steps.py:<STEPS =>: ValueError: "
                "create_order and process_payment have one row, ORDER: give each its own entity"
            ),
        ),
        (
            *(ORDER_SAGA, ', compensation="cancel_shipment"', ""),
            (
                "error: saga_stack/order_saga.py: process_shipment has no compensation: "
                "name its function, or make it a Pivot or Retriable at the end"
            ),
        ),
        (
            *(ORDER_SAGA, 'action="process_shipment"', 'action="process_shipment", function_timeout=100'),
            "error: saga_stack/order_saga.py: the task timeout of cancel_shipment is 30 s, its function's is 100 s: ",
        ),
        (
            *(
                "lambdas/cancel_shipment.py",
                "handler = compensation(",
                "from lambdas.saga_runtime.handlers import action\nhandler = action(",
            ),
            "error: lambdas/cancel_shipment.py: cancel_shipment is made by action(...): make it by compensation(...)",
        ),
        (
            *(ORDER_SAGA, 'action="create_order"', 'acton="create_order"'),
            "error: saga_stack/order_saga.py:<Step(acton>: TypeError: ",
        ),
        (
            *(ORDER_SAGA, "class OrderSagaStack", "class OrderStack"),
            "error: saga_stack/order_saga.py: AttributeError: module 'saga_stack.order_saga' has no attribute ",
        ),
        (
            *("app.py", "order_saga.Order", "order_sagas.Order"),
            "error: the module of saga_stack.order_sagas.OrderSagaStack does not exist: correct the name",
        ),
    ],
)
def test_a_mistake_in_the_order_saga_is_reported_in_one_line(
    order: Path, order_message: Callable[..., str], file: str, old: str, new: str, message: str
) -> None:
    replace(order / file, old, new)
    assert order_message().startswith(with_line_numbers(message, order))


JWT = {"jwt_issuer": "https://issuer.example.com", "jwt_audience": "orders"}


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"api": "True"}, "error: invalid api 'True': use -c api=true, or leave it out\n"),
        ({"api": "yes"}, "error: invalid api 'yes': use -c api=true, or leave it out\n"),
        (JWT, "error: jwt_issuer and jwt_audience need the API: add -c api=true\n"),
        ({"api": "false", **JWT}, "error: jwt_issuer and jwt_audience need the API: add -c api=true\n"),
        ({"jwt_issuer": "any"}, "error: jwt_issuer and jwt_audience belong together: give both or neither\n"),
    ],
)
def test_a_context_that_would_be_ignored_is_reported(
    order_message: Callable[..., str], context: Mapping[str, str], message: str
) -> None:
    assert order_message(**context) == message


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
                "sale/lambdas/handlers.py:<import payments>: reserve_seat (ReserveSeat) does not import: "
                "ImportError: cannot import name 'payments' from 'sale.lambdas' (sale/lambdas/__init__.py)"
            ),
        ),
        (
            *(HANDLERS, "import stripe_payments\n", "import stripe_payments\nimport pytest\n"),
            (
                "sale/lambdas/handlers.py:<import pytest>: reserve_seat (ReserveSeat) does not import: "
                "ModuleNotFoundError: No module named 'pytest'. It is installed here but not packed: "
                "add its package to sale/lambdas/requirements.txt\n"
            ),
        ),
        (
            *("sale/lambdas/requirements.txt", "stripe==", "typing_extensions=="),
            (
                "sale/lambdas/stripe_payments.py:<import stripe>: reserve_seat (ReserveSeat) does not import: "
                "ModuleNotFoundError: No module named 'stripe'. It is installed here but not packed: "
            ),
        ),
        (
            *(HANDLERS, "SEAT, PAYMENT", 'import os\n\nos.environ["SHOP_URL"]\nSEAT, PAYMENT'),
            "sale/lambdas/handlers.py:<os.environ>: reserve_seat (ReserveSeat) does not import: KeyError: 'SHOP_URL'",
        ),
        (
            *(HANDLERS, "SEAT, PAYMENT", 'import sys\n\nsys.exit("no shop")\nSEAT, PAYMENT'),
            ": the import of reserve_seat (ReserveSeat) ends Python with exit status 1: no shop",
        ),
        (
            *(HANDLERS, 'STEPS["TICKET"]', 'STEPS["TICKETS"]'),
            "sale/lambdas/handlers.py:<SEAT, PAYMENT>: reserve_seat (ReserveSeat) does not import: KeyError: 'TICKETS'",
        ),
        (
            *(HANDLERS, "void_ticket = action(TICKET), compensation(TICKET)", "void_ticket = [action(TICKET)] * 2"),
            "sale/lambdas/handlers.py: void_ticket is made by action(...): make it by compensation(...)\n",
        ),
        (
            *(HANDLERS, "capture_payment = confirmation(", "capture_payment = compensation("),
            (
                "sale/lambdas/handlers.py: capture_payment is made by compensation(...): "
                "make it by action(...) or confirmation(...)\n"
            ),
        ),
        (
            *(HANDLERS, "call=stripe_payments.authorize", "call=stripe_payments.authorize, has_callback=True"),
            (
                "sale/lambdas/handlers.py: authorize_card waits for an answer, its step does not: "
                "give the step callback=Callback(...)\n"
            ),
        ),
        (
            *(HANDLERS, "SEAT, PAYMENT, TICKET =", "TICKET, PAYMENT, SEAT ="),
            "sale/lambdas/handlers.py: reserve_seat is made of the StepSpec of issue_ticket: use the one of ",
        ),
        (
            *(HANDLERS, "compensation(TICKET)", "compensation(SEAT)"),
            (
                "sale/lambdas/handlers.py: void_ticket has the row SEAT, its action issue_ticket has TICKET: "
                "make both of the same StepSpec"
            ),
        ),
        (
            *(HANDLERS, 'STEPS["TICKET"]\n', '__import__("dataclasses").replace(STEPS["TICKET"], entity="SEAT")\n'),
            (
                "sale/lambdas/handlers.py: reserve_seat and issue_ticket have one row, SEAT: "
                "give each step a StepSpec of its own"
            ),
        ),
        (
            *(
                HANDLERS,
                "confirmation(PAYMENT,",
                'confirmation(__import__("dataclasses").replace(PAYMENT, action="pay"),',
            ),
            (
                "sale/lambdas/handlers.py: capture_payment confirms the row of pay, which is not an earlier step: "
                "use the StepSpec of one"
            ),
        ),
        (
            *("sale/lambdas/stripe_payments.py", "import ", "import )"),
            "sale/lambdas/stripe_payments.py:<import )>: reserve_seat (ReserveSeat) does not import: SyntaxError: ",
        ),
        (
            *(STEPS, 'entity="TICKET"', 'entity="SEAT"'),
            (
                "sale/lambdas/sale_steps.py:<STEPS =>: ValueError: "
                "reserve_seat and issue_ticket have one row, SEAT: give each its own entity"
            ),
        ),
        (
            *(STEPS, 'compensated="VOIDED"', 'compensated="ISSUED"'),
            (
                'sale/lambdas/sale_steps.py:<StepSpec(\n        action="issue_ticket">: ValueError: '
                "issue_ticket has equal statuses: ISSUED, ISSUED: give each another name"
            ),
        ),
        (
            *(SAGA, "STEPS = (", "STEPS = )("),
            "error: sale/saga.py:<STEPS =>: SyntaxError: unmatched ')'\n",
        ),
        (
            *(STEPS, "STEPS = by_entity(", "STEPS = )by_entity("),
            "error: sale/lambdas/sale_steps.py:<STEPS =>: SyntaxError: unmatched ')'\n",
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
        (
            *("sale/scenarios/1-success.json", '"sale_id"', '"id"'),
            "sale/scenarios/1-success.json: the sale has no text sale_id: add it\n",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(
    folder: Path, message_of_synthesis: Synthesize, file: str, old: str, new: str, message: str
) -> None:
    replace(folder / file, old, new)
    shown = message_of_synthesis()
    assert shown.startswith("error: ")
    assert with_line_numbers(message, folder) in shown


def test_a_stack_that_another_saga_has_is_reported(folder: Path, message_of_synthesis: Synthesize) -> None:
    shutil.copytree(folder / "sale", folder / "hire")
    saga = folder / "hire/saga.py"
    saga.write_text(saga.read_text().replace("file=__file__,", 'file=__file__, name="SaleSaga",'))
    assert message_of_synthesis() == (
        "error: hire/saga.py has the same stack SaleSaga: give one of them another name=\n"
    )


def test_a_missing_saga_is_reported_with_its_file_though_the_library_is_in_the_same_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("examples.trip_booking.saga.SAGA")
    message = r"^examples/trip_booking/saga\.py: AttributeError: .* has no attribute 'SAGA'$"
    with pytest.raises(InvalidSagaError, match=message):
        import_saga(str(PROJECT / "examples/trip_booking/app.py"))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            *(ORDER_SAGA, "lambdas.order_api.{}", "lambdas.order_apix.{}"),
            "error: lambdas/order_apix.py: start_order (StartOrder) is not in the asset: ",
        ),
        (
            *("lambdas/order_api.py", "cancel_order =", "cancel ="),
            "error: lambdas/order_api.py: cancel_order (CancelOrder) does not import: AttributeError: ",
        ),
    ],
)
def test_a_function_of_the_api_that_does_not_import_is_reported(
    order: Path, order_message: Callable[..., str], file: str, old: str, new: str, message: str
) -> None:
    replace(order / file, old, new)
    assert order_message(api="true").startswith(message)


def test_the_stack_of_the_app_beside_the_package_is_reported(folder: Path, message_of_synthesis: Synthesize) -> None:
    shutil.copy(PROJECT / "app.py", folder)
    replace(folder / SAGA, "file=__file__,", 'file=__file__, name="OrderSaga",')
    assert message_of_synthesis() == (
        "error: sale/saga.py: app.py has the same stack OrderSaga: choose another name=\n"
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


def test_an_action_that_does_not_wait_as_its_step_does_is_reported(order: Path) -> None:
    step = Step(action="create_order", compensation="delete_order", callback=Callback(timeout=timedelta(days=1)))
    handlers = {name: f"lambdas.{name}.handler" for name in functions_of(step)}
    message = "^lambdas/create_order.py: create_order does not wait for an answer, its step does: make it by action"
    with pytest.raises(InvalidSagaError, match=message):
        require_functions((step,), handlers, order, {})


def test_of_several_functions_the_one_that_ends_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("handler = print\n")
    (tmp_path / "second.py").write_text("import os\n\nos._exit(3)\n")
    handlers = {"first": "first.handler", "second": "second.handler"}
    message = r"^second\.py: the import of second \(Second\) ends Python with exit status 3: no message$"
    with pytest.raises(InvalidSagaError, match=message):
        require_functions((Step(action="first", compensation="second"),), handlers, tmp_path, {})


@pytest.mark.parametrize(
    "line",
    [
        *("typing_extensions==4.16.0  # why", "Typing-Extensions[any] >= 4 ; python_version > '3'"),
        *("--no-binary=:all:\n\ntyping.extensions",),
        # What these bring is not known, so no import is an error.
        *("./typing.whl", "https://example.com/typing.whl", "-r others.txt", "--editable=typing", "no-such-package"),
    ],
)
def test_a_module_of_a_package_that_is_packed_or_may_be_is_imported(tmp_path: Path, line: str) -> None:
    (tmp_path / "first.py").write_text("import typing_extensions\n\nhandler = print\n")
    steps, handlers = (Retriable(action="first"),), {"first": "first.handler"}
    with pytest.raises(InvalidSagaError, match=r"^first\.py:1: first .* not packed: add its package to "):
        require_functions(steps, handlers, tmp_path, {})
    (tmp_path / "requirements.txt").write_text(f"{line}\n")
    require_functions(steps, handlers, tmp_path, {})


def test_a_module_that_a_package_uses_if_it_is_there_is_missing_as_on_aws(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("try:\n    import pytest\nexcept ImportError:\n    handler = print\n")
    require_functions((Retriable(action="first"),), {"first": "first.handler"}, tmp_path, {})
