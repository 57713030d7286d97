"""``python -m ops``: list, show, stuck, resume, graph, console; see ``--help`` and section "Operate it" of the README.

Exit status: 0 done, 1 the saga is still stuck (``resume`` was answered with no, or ``--wait`` saw it get stuck
again), 2 it could not be done, 130 interrupted. ``--json`` prints one document: see ops/documents.py.
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

from ops import documents, tables
from ops.arguments import ArgumentParser
from ops.commands import add_console, add_graph
from ops.connection import Settings, connect
from ops.errors import NotResumable, OpsError, explained
from ops.model import Execution, Outcome, StuckSaga
from ops.sagas import MAX_PAGE, Sagas
from ops.words import MAX_ORDER_ID, printable

DEFAULT_STAGE = "dev"
STATUSES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
POLL_SECONDS = 2.0

Connect: TypeAlias = Callable[[Settings], Sagas]


def main(arguments: list[str] | None = None, *, connect: Connect = connect) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        # A definition in a file can be drawn without a stack.
        without_stack = vars(options).get("definition") is not None
        return int(options.run(None if without_stack else connect(_settings(options)), options))
    except OpsError as error:
        return _refused(str(error))
    except (BotoCoreError, ClientError) as error:
        return _refused(explained(error))
    except BrokenPipeError:
        # Whoever reads has had enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def _parser() -> ArgumentParser:
    common = _common()
    parser = ArgumentParser(
        prog="python -m ops",
        description="Operate the saga of a stack. Credentials and region are AWS's usual ones.",
        parents=[common],
    )
    commands = parser.add_subparsers(dest="command", required=True)

    listing = commands.add_parser("list", parents=[common], help="recent executions, newest first")
    listing.add_argument(
        "--status", type=str.upper, choices=STATUSES, help="only those of this status (default: of any)"
    )
    listing.add_argument("--limit", type=_limit, default=20, help="how many at most (default: %(default)s)")
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", parents=[common], help="an order: its rows, their history, its sagas' paths")
    show.add_argument(
        "order", type=_order_id, metavar="ORDER", help="the order's id, or whatever another saga is keyed by"
    )
    show.set_defaults(run=_show)

    stuck = commands.add_parser("stuck", parents=[common], help="the sagas that stopped half way, oldest first")
    stuck.add_argument(
        "--scan", action="store_true", help="ask Step Functions for all executions rather than the queue for reports"
    )
    stuck.add_argument(
        "--keep", action="store_true", help="leave the queue's messages of sagas that have ended cleanly since"
    )
    stuck.set_defaults(run=_stuck)

    resume = commands.add_parser("resume", parents=[common], help="continue a stuck saga in the state it stopped in")
    resume.add_argument("execution", type=_execution, metavar="EXECUTION", help="the execution's name or ARN")
    resume.add_argument("--yes", action="store_true", help="do not ask first")
    resume.add_argument("--wait", action="store_true", help="follow it to its end")
    resume.set_defaults(run=_resume)

    add_graph(commands, common)
    add_console(commands, common)
    return parser


def _common() -> ArgumentParser:
    """The options that may stand before the command or after it; the later one holds."""
    common = ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    which = common.add_argument_group("which stack")
    which.add_argument("--stage", type=_stage, help=f"its stage: the stack OrderSaga-STAGE (default: {DEFAULT_STAGE})")
    which.add_argument("--stack", type=_stack, help="its whole name, rather than a stage: any saga's")
    which.add_argument("--profile", help="a profile of your AWS configuration")
    which.add_argument("--region", help="the AWS region")
    which.add_argument("--endpoint-url", type=_url, help="another endpoint than AWS's, such as a local cloud")
    common.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return common


def _settings(options: argparse.Namespace) -> Settings:
    given = vars(options)
    return Settings(
        stack=given.get("stack") or f"OrderSaga-{given.get('stage', DEFAULT_STAGE)}",
        profile=given.get("profile"),
        region=given.get("region"),
        endpoint_url=given.get("endpoint_url"),
    )


def _list(sagas: Sagas, options: argparse.Namespace) -> int:
    with _working():
        executions = sagas.newest(status=options.status, count=options.limit)
    _print(options, documents.listed(executions), tables.listed(executions, noun=sagas.stack.noun))
    return 0


def _show(sagas: Sagas, options: argparse.Namespace) -> int:
    order = sagas.order(options.order)
    _print(options, documents.shown(order), tables.shown(order, noun=sagas.stack.noun, now=_now()))
    return 0


def _stuck(sagas: Sagas, options: argparse.Namespace) -> int:
    with _working():
        found = sagas.stuck_by_scan() if options.scan else sagas.stuck(keep=options.keep)
    _print(options, documents.stuck(found), tables.stuck(found, noun=sagas.stack.noun, now=_now()))
    return 0


def _resume(sagas: Sagas, options: argparse.Namespace) -> int:
    saga = sagas.stuck_saga(options.execution)
    if not options.yes and not _agreed(saga, noun=sagas.stack.noun):
        print("Nothing was done.", file=sys.stderr)
        return 1
    redriven_at = sagas.resume(saga)
    ended = _followed(sagas, saga) if options.wait else None
    _print(
        options,
        documents.resumed(saga, redriven_at=redriven_at, ended=ended),
        tables.resumed(saga, ended=ended),
    )
    return 1 if ended and ended.outcome is Outcome.STUCK else 0


def _agreed(saga: StuckSaga, *, noun: str) -> bool:
    """Say what will happen and ask; standard output stays free for the result."""
    if not sys.stdin.isatty():
        raise NotResumable("there is no terminal to ask whether to resume it: say --yes")
    _write(tables.stuck_saga(saga, noun=noun, now=_now()), to_error=True)
    where = f"{saga.state}, with the input that it had" if saga.state else "its first state"
    print(f"\nIt will go on in {printable(where)}. Resume it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _working() -> AbstractContextManager[object]:
    """Tell a terminal that something goes on, and why it may take its time."""
    return Console(stderr=True).status("Step Functions is asked about each execution: on AWS, some 15 a second")


def _followed(sagas: Sagas, saga: StuckSaga) -> Execution:
    console = Console(stderr=True)
    with console.status("it runs; Ctrl-C ends the waiting, not the saga"):
        while (ended := sagas.has_ended_since(saga.execution)) is None:
            time.sleep(POLL_SECONDS)
    return ended


def _print(options: argparse.Namespace, document: documents.Document, lines: Iterable[Text]) -> None:
    if "json" in options:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()
    else:
        _write(lines)


def _write(lines: Iterable[Text], *, to_error: bool = False) -> None:
    """All lines at once, so that an error before the last leaves none, in the terminal's colours if it has any."""
    stream = sys.stderr if to_error else sys.stdout
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=True)
    stream.write(_encodable(captured.get(), stream.encoding))
    stream.flush()


def _encodable(text: str, encoding: str | None) -> str:
    """The text with what the stream cannot encode written as its code."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def _refused(message: str) -> int:
    print(f"error: {_encodable(message, sys.stderr.encoding)}", file=sys.stderr)
    return 2


def _now() -> datetime:
    return datetime.now(UTC)


def _stage(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no stage: expected letters, digits and hyphens, such as prod")
    return text


def _stack(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,127}|arn:[!-~]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a stack: expected such as OrderSaga-{DEFAULT_STAGE}")
    return text


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no endpoint: expected such as http://127.0.0.1:4566")
    return text


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PAGE:
        raise argparse.ArgumentTypeError(f"{text!r} is no limit: expected a number from 1 to {MAX_PAGE}")
    return int(text)


def _order_id(text: str) -> str:
    if not 1 <= len(text) <= MAX_ORDER_ID:
        raise argparse.ArgumentTypeError(f"an order's id has 1 to {MAX_ORDER_ID} characters, this one {len(text)}")
    return text


def _execution(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an execution's name or ARN cannot be empty")
    return text


if __name__ == "__main__":
    sys.exit(main())
