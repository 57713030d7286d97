"""The commands ``cancel``, ``settle`` and ``audit``.

Their documents:

``cancel``  {"execution_arn", "order_id", "cancelled", "rejected": [STATE], "outcome"}; ``outcome`` as in documents.py
``settle``  {"saga": {"id", "started_at"}, "order_id", "called": [STATE], "left": [STATE], "open_rows": [ENTITY]}
            ``left`` are the functions to call again, ``open_rows`` the rows that are not settled
``audit``   {"estimate": {"rows", "read_units", "dollars"}, "orders", "rows", "executions", "read_units",
            "findings": [FINDING], "closed": [FINDING]}
FINDING     {"kind", "order_id", "saga_id", "problem", "remedy"}; ``kind`` as in ops/audit.py
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from lambdas.saga_runtime.cancellation import Cancellation
from ops.arguments import ArgumentParser, execution_name, number
from ops.audit import Audit, AuditResult, Estimate, estimate
from ops.cancel import cancel, cancellable, wait_for_end
from ops.client import SagaClient
from ops.display import printable
from ops.documents import Document, moment
from ops.errors import OpsError
from ops.model import Execution, Outcome
from ops.output import has_terminal, print_after, print_result, status
from ops.saga_steps import add_steps_argument, longest_wait, read_steps
from ops.selection import read_time
from ops.settle import Settlement, Settler

if TYPE_CHECKING:
    from argparse import _SubParsersAction

DEFAULT_MINUTES = 60
MAX_MINUTES = 525_600
MAX_SEGMENTS = 64


def add_cancel(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """Add ``cancel``, which rolls a running saga back."""
    cancel = commands.add_parser("cancel", parents=[common], help="roll a running saga back, if it is not too late")
    cancel.add_argument(
        "order", type=execution_name, metavar="ORDER", help="the order's id, or the execution's name or ARN"
    )
    cancel.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_steps_argument(cancel)
    cancel.set_defaults(run=_cancel)


def _cancel(client: SagaClient, options: argparse.Namespace) -> int:
    execution = cancellable(client, options.order)
    steps = read_steps(client, options.steps, execution=execution.arn)
    facts = [
        Text(printable(execution.arn), "bold"),
        Text(printable(f"  {client.stack.noun} {execution.order_id}, started {moment(execution.started_at)}")),
    ]
    if not options.yes and not is_confirmed(facts, "Roll it back?", flag="--yes to cancel"):
        return 1
    cancellation = cancel(client, steps, execution)
    ended = execution

    def show() -> None:
        document: Document = {
            "execution_arn": execution.arn,
            "order_id": execution.order_id,
            "cancelled": cancellation.is_accepted,
            "rejected": list(cancellation.rejected),
            "outcome": ended.outcome.value,
        }
        print_result(options, document, _cancel_lines(cancellation, ended, noun=client.stack.noun))

    with print_after(show):
        if cancellation.is_accepted and execution.outcome is Outcome.RUNNING:
            with status("The saga rolls back. Ctrl-C stops the waiting, not the saga."):
                ended = wait_for_end(client, execution)
    is_done = ended.outcome is Outcome.ROLLED_BACK or execution.outcome is Outcome.STUCK
    return 0 if cancellation.is_accepted and is_done else 1


def _cancel_lines(cancellation: Cancellation, ended: Execution, *, noun: str) -> Iterator[Text]:
    if not cancellation.is_accepted:
        begun = " and ".join(cancellation.too_late)
        yield Text(printable(f"too late: the {noun} is about to be confirmed, {begun} has begun"), "bold")
        return
    yield Text(printable(f"cancelled {ended.name}: {', '.join(cancellation.rejected)} will be rejected"), "bold")
    if ended.outcome is Outcome.RUNNING:
        yield Text(printable(f"it rolls back: python -m ops show {ended.name} shows how it ends"))
    elif ended.outcome is Outcome.STUCK:
        yield Text(printable(f"it has stopped: python -m ops resume {ended.name} rolls it back"))
    else:
        yield Text(printable(f"ended {ended.status} {ended.outcome.value.replace('_', ' ')}: {ended.cause or ''}"))


def add_settle(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """Add ``settle``, which compensates what a saga left that can no longer be resumed."""
    settle = commands.add_parser("settle", parents=[common], help="compensate a saga that can no longer be resumed")
    settle.add_argument(
        "execution", type=execution_name, metavar="EXECUTION", help="the execution's name or ARN, or the order's id"
    )
    settle.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    settle.add_argument("--input", type=Path, metavar="FILE", help="the input of an execution that is gone, as JSON")
    add_steps_argument(settle)
    settle.set_defaults(run=_settle)


def _settle(client: SagaClient, options: argparse.Namespace) -> int:
    input_ = read_input(options.input, client.stack.key) if options.input else None
    settler = Settler(client, module=options.steps, name=options.execution, input_=input_)
    plan = settler.plan()
    facts = list(_plan_lines(plan, noun=client.stack.noun))
    if plan.calls:
        if not options.yes and not is_confirmed(facts, "Call them?", flag="--yes to settle"):
            return 1
        settler.run(plan)
    left = settler.plan()
    document: Document = {
        "saga": asdict(plan.saga),
        "order_id": plan.order_id,
        "called": [call.state for call in plan.calls],
        "left": [call.state for call in left.calls],
        "open_rows": list(left.open_rows),
    }
    print_result(options, document, _settled_lines(plan, left, noun=client.stack.noun))
    return 0 if left.is_settled else 1


def read_input(file: Path, key: str) -> dict[str, object]:
    """Return the input in a JSON file. Raises OpsError unless it is an object with the key."""
    try:
        input_ = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OpsError(f"cannot read {file} ({type(error).__name__}): name a file with the input as JSON") from None
    if not isinstance(input_, dict) or not isinstance(input_.get(key), str):
        raise OpsError(f"invalid input in {file}: expected an object with {key}")
    return input_


def _plan_lines(plan: Settlement, *, noun: str) -> Iterator[Text]:
    yield Text(printable(f"{noun} {plan.order_id}, saga {plan.saga.id}, started {plan.saga.started_at}"), "bold")
    yield from (Text(printable(f"  {entity} is {status}")) for entity, status in plan.rows.items())
    verb = "complete" if plan.completes else "compensate"
    yield Text(f"To {verb} it, these functions are called:")
    yield from (Text(printable(f"  {number}. {call.state}")) for number, call in enumerate(plan.calls, start=1))


def _settled_lines(plan: Settlement, left: Settlement, *, noun: str) -> Iterator[Text]:
    called = ", ".join(call.state for call in plan.calls)
    if not left.is_settled:
        rows = ", ".join(f"{entity} is {left.rows.get(entity, 'not live')}" for entity in left.open_rows)
        again = "settle it again, after its answer if a step waits for one"
        remedy = again if left.calls else "no function completes it: compare the rows with a backup"
        after = f" after {called}" if called else ""
        yield Text(printable(f"{noun} {plan.order_id} is not settled{after}, {rows}: {remedy}"), "bold red")
    elif called:
        yield Text(printable(f"settled {noun} {plan.order_id}: {called}"), "bold")
    else:
        problem = f"saga {plan.saga.id} is complete or owns no live row of {noun} {plan.order_id}"
        yield Text(printable(f"nothing to settle: {problem}"), "bold")


def is_confirmed(facts: Iterable[Text], question: str, *, flag: str) -> bool:
    """Show the facts and ask, on standard error: standard output is for the result."""
    if not has_terminal():
        raise OpsError(f"not a terminal: pass {flag} without a prompt")
    console = Console(stderr=True, highlight=False)
    for line in facts:
        console.print(line, soft_wrap=True)
    console.print(Text(f"{question} [y/N] "), end="")
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    console.print(Text("Nothing was done."))
    return False


def add_audit(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """Add ``audit``, which checks the invariants of all orders."""
    audit = commands.add_parser("audit", parents=[common], help="check all rows: is anything half done?")
    audit.add_argument(
        "--limit",
        type=number("limit", highest=MAX_MINUTES),
        metavar="MINUTES",
        help=f"how long a saga may run (default: {DEFAULT_MINUTES}, and as long as its steps may wait for answers)",
    )
    audit.add_argument(
        "--since",
        type=past_time,
        help="only orders that changed, or whose saga was active, since: 36h, 7d or 2026-01-31T09:30Z",
    )
    audit.add_argument(
        "--segments",
        type=number("number of segments", highest=MAX_SEGMENTS),
        default=4,
        help="parts of the table to read at a time (default: %(default)s)",
    )
    add_steps_argument(audit)
    audit.set_defaults(run=_audit)


def _audit(client: SagaClient, options: argparse.Namespace) -> int:
    steps = read_steps(client, options.steps)
    default = timedelta(minutes=DEFAULT_MINUTES) + longest_wait(steps)
    audit = Audit(
        client,
        steps,
        limit=timedelta(minutes=options.limit) if options.limit else default,
        since=options.since,
        segments=options.segments,
    )
    expected = estimate(client)
    console = Console(stderr=True, highlight=False)
    console.print(Text(_estimate_in_words(expected, client.stack.name)), soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("rows", total=expected.rows or None)
        result = audit.run(progress=lambda rows: progress.advance(bar, rows))
    print_result(options, _audit_document(expected, result), _audit_lines(result, noun=client.stack.noun))
    return 1 if result.findings else 0


def _estimate_in_words(expected: Estimate, stack: str) -> str:
    return (
        f"{stack}: about {expected.rows:,} rows, {expected.read_units:,} read units, ${expected.dollars:.4f} at the "
        "price of us-east-1; one request for 1,000 executions"
    )


def _audit_document(expected: Estimate, result: AuditResult) -> Document:
    return {
        "estimate": {"rows": expected.rows, "read_units": expected.read_units, "dollars": expected.dollars},
        "orders": result.orders,
        "rows": result.rows,
        "executions": result.executions,
        "read_units": result.read_units,
        "findings": [asdict(finding) for finding in result.findings],
        "closed": [asdict(finding) for finding in result.closed],
    }


def _audit_lines(result: AuditResult, *, noun: str) -> Iterator[Text]:
    for finding in result.findings:
        yield Text(printable(f"{noun} {finding.order_id or 'unknown'}: {finding.kind}"), "bold red")
        if finding.saga_id:
            yield Text(printable(f"  {finding.saga_id}"), "bold")
        yield Text(printable(f"  {finding.problem}"))
        yield Text(printable(f"  {finding.remedy}"), "dim")
        yield Text()
    counts = [
        _counted(count, word)
        for count, word in (
            (len(result.findings), "finding"),
            (result.rows, "row"),
            (result.orders, noun),
            (result.executions, "execution"),
        )
    ]
    yield Text("{} in {} of {} and {}".format(*counts), "bold")
    if result.closed:
        yield Text(f"not counted: {_counted(len(result.closed), 'finding')} of closed sagas, which --json lists")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def past_time(text: str) -> datetime:
    """Read a past time as ``read_time`` does. An argparse type."""
    if (at := read_time(text)) > datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"invalid time {text!r}: must be in the past")
    return at
