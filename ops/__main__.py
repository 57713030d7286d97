"""``python -m ops``: list, show, stuck, resume, cancel, settle, audit, graph, console; see ``--help``.

Exit status: 0 done; 1 the saga is still stuck (the answer to ``resume`` was no, or ``--wait`` saw it stop again), was
not cancelled or settled, or ``audit`` found something; 2 an error; 130 interrupted. ``--json`` prints one document,
described in ops/documents.py. docs/operations.md says when to use which.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TypeAlias

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from lambdas.saga_runtime.steps import MAX_ID
from ops import documents, tables
from ops.arguments import ArgumentParser
from ops.client import MAX_PAGE, SagaClient
from ops.commands import add_console, add_graph
from ops.connection import Target, connect
from ops.display import printable
from ops.errors import NotResumable, OpsError, explained
from ops.model import STATUSES, Execution, Outcome, StuckSaga
from ops.recovery import add_audit, add_cancel, add_settle

DEFAULT_STAGE = "dev"
POLL_SECONDS = 2.0

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
        # The reader has closed the pipe. Otherwise Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
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
    listing.add_argument("--limit", type=_limit, default=20, help="how many at most (default: %(default)s)")
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", parents=[common], help="show an order: its rows, their history, its sagas")
    show.add_argument("order", type=_order_id, metavar="ORDER", help="the order's id, or the key of another saga")
    show.set_defaults(run=_show)

    stuck = commands.add_parser("stuck", parents=[common], help="list the stuck sagas, oldest first")
    stuck.add_argument("--scan", action="store_true", help="check all executions instead of the queue")
    stuck.add_argument("--keep", action="store_true", help="remove no messages of sagas that have ended cleanly")
    stuck.set_defaults(run=_stuck)

    resume = commands.add_parser("resume", parents=[common], help="resume a stuck saga in the state it stopped in")
    resume.add_argument("execution", type=_execution, metavar="EXECUTION", help="the execution's name or ARN")
    resume.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    resume.add_argument("--wait", action="store_true", help="wait for its end")
    resume.set_defaults(run=_resume)

    add_graph(commands, common)
    add_console(commands, common)
    for add in (add_cancel, add_settle, add_audit):
        add(commands, common, _print)
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
    with _progress():
        executions = client.newest(status=options.status, count=options.limit)
    _print(options, documents.executions(executions), tables.executions(executions, noun=client.stack.noun))
    return 0


def _show(client: SagaClient, options: argparse.Namespace) -> int:
    order = client.order(options.order)
    _print(options, documents.order(order), tables.order(order, noun=client.stack.noun, now=_now()))
    return 0


def _stuck(client: SagaClient, options: argparse.Namespace) -> int:
    with _progress():
        found = client.stuck_by_scan() if options.scan else client.stuck(keep=options.keep)
    _print(options, documents.stuck(found), tables.stuck(found, noun=client.stack.noun, now=_now()))
    return 0


def _resume(client: SagaClient, options: argparse.Namespace) -> int:
    saga = client.stuck_saga(options.execution)
    if not options.yes and not _is_confirmed(saga, noun=client.stack.noun):
        print("Nothing was done.", file=sys.stderr)
        return 1
    redriven_at = client.resume(saga)
    ended = _wait(client, saga) if options.wait else None
    document = documents.resumption(saga, redriven_at=redriven_at, ended=ended)
    _print(options, document, tables.resumption(saga, ended=ended))
    return 1 if ended and ended.outcome is Outcome.STUCK else 0


def _is_confirmed(saga: StuckSaga, *, noun: str) -> bool:
    """Show the saga and ask, on standard error: standard output is for the result."""
    if not sys.stdin.isatty():
        raise NotResumable("not a terminal: pass --yes to resume without a prompt")
    _write(tables.stuck_saga(saga, noun=noun, now=_now()), to_error=True)
    where = printable(saga.state) if saga.state else "its first state"
    print(f"\nIt will continue in {where}, with the same input. Resume it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _progress() -> AbstractContextManager[object]:
    return Console(stderr=True).status("Describing the executions: AWS allows about 15 a second")


def _wait(client: SagaClient, saga: StuckSaga) -> Execution:
    with Console(stderr=True).status("The saga runs. Ctrl-C stops the waiting, not the saga."):
        while (ended := client.has_ended_since(saga.execution)) is None:
            time.sleep(POLL_SECONDS)
    return ended


def _print(options: argparse.Namespace, document: documents.Document, lines: Iterable[Text]) -> None:
    if "json" in options:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()
    else:
        _write(lines)


def _write(lines: Iterable[Text], *, to_error: bool = False) -> None:
    """Write all lines at once, so that an error before the last one leaves nothing."""
    stream = sys.stderr if to_error else sys.stdout
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=True)
    stream.write(_encodable(captured.get(), stream.encoding))
    stream.flush()


def _encodable(text: str, encoding: str | None) -> str:
    """Replace what the stream cannot encode by its code."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def _failed(message: str) -> int:
    print(f"error: {_encodable(message, sys.stderr.encoding)}", file=sys.stderr)
    return 2


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


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PAGE:
        raise argparse.ArgumentTypeError(f"invalid limit {text!r}: must be 1 to {MAX_PAGE}")
    return int(text)


def _order_id(text: str) -> str:
    if not 1 <= len(text) <= MAX_ID:
        raise argparse.ArgumentTypeError(f"invalid id of {len(text)} characters: must have 1 to {MAX_ID}")
    return text


def _execution(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"invalid execution {text!r}: use a name or an ARN")
    return text


if __name__ == "__main__":
    sys.exit(main())
