"""``python -m ops``: list, show, stuck, resume, close, cancel, settle, audit, graph, console; see ``--help``.

Exit status: 0 done; 1 a saga is still stuck (the answer to ``resume`` was no, or it stopped again), was not cancelled
or settled, or ``audit`` found something; 2 an error; 130 interrupted; 141 the reader of the output has ended.
``--json`` prints one document, described in ops/documents.py. docs/operations.md says when to use which.
"""

import argparse
import contextlib
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.saga_runtime.steps import MAX_ID
from ops import documents, tables
from ops.arguments import ArgumentParser, execution_name, number
from ops.client import SagaClient
from ops.commands import add_console, add_graph
from ops.connection import Target, connect
from ops.errors import OpsError, explained
from ops.executions import MAX_PAGE
from ops.model import STATUSES, Outcome
from ops.output import note, print_result, status
from ops.recovery import add_audit, add_cancel, add_settle
from ops.resuming import add_resume
from ops.selection import add_filters, require_state, selection_in

DEFAULT_STAGE = "dev"
OUTCOMES = tuple(outcome.value.replace("_", "-") for outcome in Outcome)
# How many executions `show` searches for rejected sagas without --all.
SEARCHED = 100
MAX_REASON = 1000
# 128 and the number of SIGPIPE, as a shell reports a program that this signal ended.
CLOSED_PIPE = 141

Connect: TypeAlias = Callable[[Target], SagaClient]


def main(arguments: list[str] | None = None, *, connect: Connect = connect) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        # The definition in a file needs no stack.
        needs_stack = vars(options).get("definition") is None
        return int(options.run(connect(_target(options)) if needs_stack else None, options))
    except OpsError as error:
        return _failed(str(error))
    except (BotoCoreError, ClientError) as error:
        return _failed(explained(error))
    except BrokenPipeError:
        return CLOSED_PIPE
    except KeyboardInterrupt:
        _report("\nInterrupted.")
        return 130


def _parser() -> ArgumentParser:
    common = _common()
    parser = ArgumentParser(
        prog="python -m ops",
        description="Operate the saga of a stack. Credentials and region come from AWS's usual sources.",
        parents=[common],
    )
    commands = parser.add_subparsers(dest="command", required=True)

    listing = commands.add_parser("list", parents=[common], help="list recent executions, newest first")
    listing.add_argument("--status", type=str.upper, choices=STATUSES, help="only this status (default: all)")
    listing.add_argument("--outcome", type=_outcome, help=f"only {', '.join(OUTCOMES)} (default: all)")
    add_filters(listing, time="started")
    listing.add_argument(
        "--limit", type=number("limit", highest=MAX_PAGE), default=20, help="how many at most (default: %(default)s)"
    )
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", parents=[common], help="show an order: its rows, their history, its sagas")
    show.add_argument("order", type=_order, metavar="ORDER", help="the id of the order, or an execution")
    show.add_argument("--all", action="store_true", help="search all executions for rejected sagas of the order")
    show.set_defaults(run=_show)

    stuck = commands.add_parser("stuck", parents=[common], help="list the stuck sagas by state and error")
    stuck.add_argument("--scan", action="store_true", help="check all executions instead of the reports")
    stuck.add_argument("--all", action="store_true", help="list each")
    add_filters(stuck, time="stopped")
    stuck.set_defaults(run=_stuck)

    close = commands.add_parser("close", parents=[common], help="close the entry of a saga that you settle by hand")
    close.add_argument(
        "execution", type=execution_name, metavar="EXECUTION", help="the execution's name or ARN, or ORDER"
    )
    close.add_argument("--reason", type=_reason, required=True, help="how it was settled; `show` repeats it")
    close.set_defaults(run=_close)

    add_resume(commands, common)
    add_graph(commands, common)
    add_console(commands, common)
    for add in (add_cancel, add_settle, add_audit):
        add(commands, common)
    return parser


def _common() -> ArgumentParser:
    """Return the options that can stand before or after the command; the last one counts."""
    common = ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    target = common.add_argument_group("target")
    target.add_argument("--stage", type=_stage, help=f"the stage of OrderSaga-STAGE (default: {DEFAULT_STAGE})")
    target.add_argument("--stack", type=_stack, help="the full name of any saga's stack, instead of a stage")
    target.add_argument("--profile", help="a profile of your AWS configuration")
    target.add_argument("--region", help="the AWS region")
    target.add_argument("--endpoint-url", type=_url, help="another endpoint than AWS's, such as a local cloud")
    common.add_argument("--json", action="store_true", help="print one JSON document")
    return common


def _target(options: argparse.Namespace) -> Target:
    values = vars(options)
    return Target(
        stack=values.get("stack") or f"OrderSaga-{values.get('stage', DEFAULT_STAGE)}",
        profile=values.get("profile"),
        region=values.get("region"),
        endpoint_url=values.get("endpoint_url"),
    )


def _list(client: SagaClient, options: argparse.Namespace) -> int:
    selection = selection_in(options)
    require_state(client.definition, selection)
    with _progress():
        executions = client.newest(
            status=options.status, outcome=options.outcome, selection=selection, count=options.limit
        )
    print_result(options, documents.executions(executions), tables.executions(executions, noun=client.stack.noun))
    return 0


def _show(client: SagaClient, options: argparse.Namespace) -> int:
    with _progress():
        order = client.order(options.order, search=None if options.all else SEARCHED)
    print_result(options, documents.order(order), tables.order(order, noun=client.stack.noun, now=_now()))
    return 0


def _stuck(client: SagaClient, options: argparse.Namespace) -> int:
    selection = selection_in(options)
    require_state(client.definition, selection)
    with _progress():
        found = client.stuck_by_scan() if options.scan else client.stuck()
    chosen = selection.of(found.sagas)
    lines = tables.stuck(found, chosen, noun=client.stack.noun, now=_now(), each=options.all)
    print_result(options, documents.stuck(replace(found, sagas=chosen)), lines)
    return 0


def _close(client: SagaClient, options: argparse.Namespace) -> int:
    saga = client.closable(options.execution)
    client.close(saga, options.reason)
    print_result(options, documents.closing(saga, reason=options.reason), tables.closing(saga, reason=options.reason))
    return 0


def _progress() -> AbstractContextManager[object]:
    return status("Describing the executions: AWS allows about 10 a second")


def _failed(message: str) -> int:
    _report(f"error: {message}")
    return 2


def _report(message: str) -> None:
    # The reader of standard error may have ended too.
    with contextlib.suppress(OSError):
        note(message)


def _now() -> datetime:
    return datetime.now(UTC)


def _stage(text: str) -> str:
    return _matching(r"[A-Za-z0-9-]{1,100}", text, "stage", "use letters, digits and hyphens, such as prod")


def _stack(text: str) -> str:
    return _matching(r"[A-Za-z][A-Za-z0-9-]{0,127}|arn:[!-~]+", text, "stack", "use a name such as OrderSaga-dev")


def _url(text: str) -> str:
    return _matching(r"https?://[!-~]+", text, "endpoint", "use a URL such as http://127.0.0.1:4566")


def _matching(pattern: str, text: str, noun: str, remedy: str) -> str:
    if not re.fullmatch(pattern, text):
        raise argparse.ArgumentTypeError(f"invalid {noun} {text!r}: {remedy}")
    return text


def _outcome(text: str) -> Outcome:
    try:
        return Outcome(text.lower().replace("-", "_"))
    except ValueError:
        names = ", ".join(OUTCOMES)
        raise argparse.ArgumentTypeError(f"invalid outcome {text!r}: use one of {names}") from None


def _order(text: str) -> str:
    if not 1 <= len(text) <= MAX_ID and not text.startswith("arn:"):
        raise argparse.ArgumentTypeError(f"invalid id of {len(text)} characters: must have 1 to {MAX_ID}")
    return text


def _reason(text: str) -> str:
    if not text.strip() or len(text) > MAX_REASON:
        raise argparse.ArgumentTypeError(f"invalid reason: must have 1 to {MAX_REASON:,} characters")
    return text.strip()


if __name__ == "__main__":
    sys.exit(main())
