"""The command ``resume``: one saga, or many by groups."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ops import documents, tables
from ops.arguments import ArgumentParser, execution_name, number
from ops.bulk import DEFAULT_RATE, MAX_RATE, BulkResume
from ops.client import SagaClient
from ops.display import printable
from ops.errors import NotResumable, OpsError
from ops.model import Execution, Outcome, StuckGroup, StuckSaga, groups_of
from ops.output import has_terminal, note, print_after, print_result, status, write
from ops.selection import Selection, add_filters, require_state, selection_in

if TYPE_CHECKING:
    from argparse import _SubParsersAction

POLL_SECONDS = 2.0
FROM_STDIN = "-"


def add_resume(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """Add ``resume``."""
    resume = commands.add_parser("resume", parents=[common], help="resume stuck sagas in the states they stopped in")
    resume.add_argument(
        "executions",
        nargs="*",
        type=execution_name,
        metavar="EXECUTION",
        help="names, ARNs or order ids; - reads them from standard input, one a line",
    )
    resume.add_argument("--all", action="store_true", help="every stuck saga")
    add_filters(resume, time="stopped")
    resume.add_argument(
        "--rate",
        type=number("rate", highest=MAX_RATE),
        default=DEFAULT_RATE,
        help="of several: how many sagas a second (default: %(default)s)",
    )
    resume.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    resume.add_argument("--wait", action="store_true", help="of one: wait for its end; several are always waited for")
    resume.set_defaults(run=resume_sagas)


def resume_sagas(client: SagaClient, options: argparse.Namespace) -> int:
    """Resume the saga that is named, or all that are named or selected; return the exit status."""
    selection, names = selection_in(options), options.executions
    if names and (options.all or not selection.is_all):
        raise OpsError("executions and a selection: use names, or --all and filters")
    if FROM_STDIN in names and len(names) > 1:
        raise OpsError("- and names: use - alone to read them from standard input, or names")
    if not names and not options.all and selection.is_all:
        raise OpsError("nothing is selected: name executions, or pass --all or a filter")
    if len(names) == 1 and names != [FROM_STDIN]:
        return _resume_one(client, options, names[0])
    return _resume_many(client, options, _named(client, names) if names else _selected(client, selection))


def _resume_one(client: SagaClient, options: argparse.Namespace, execution: str) -> int:
    saga = client.stuck_saga(execution)
    if not options.yes and not _is_confirmed(saga, noun=client.stack.noun):
        return _declined()
    redriven_at, ended = client.resume(saga), None

    def show() -> None:
        document = documents.resumption(saga, redriven_at=redriven_at, ended=ended)
        print_result(options, document, tables.resumption(saga, ended=ended))

    with print_after(show):
        client.forget((), running=(saga.execution,))
        ended = _wait(client, saga) if options.wait else None
        if ended and ended.outcome is not Outcome.STUCK:
            client.forget((ended.arn,))
    return 1 if ended and ended.outcome is Outcome.STUCK else 0


def _resume_many(client: SagaClient, options: argparse.Namespace, sagas: Sequence[StuckSaga]) -> int:
    groups = groups_of(sagas)
    if not sagas:
        why = "" if options.executions else f", no reported saga is stuck: {tables.SCAN}"
        print_result(options, documents.bulk_resumption(()), [Text(f"nothing to resume{why}")])
        return 0
    if not options.yes and not _are_confirmed(groups, rate=options.rate):
        return _declined()
    with _progress() as progress:
        task = progress.add_task("resuming", total=len(sagas))
        bulk = BulkResume(
            client,
            groups,
            rate=options.rate,
            report=lambda bulk: progress.update(task, completed=bulk.finished, total=bulk.total),
        )

        def show() -> None:
            progress.stop()
            if bulk.has_started:
                print_result(options, documents.bulk_resumption(bulk.groups), tables.bulk_resumption(bulk.groups))

        with print_after(show):
            bulk.run()
    return 0 if bulk.is_clean else 1


def _selected(client: SagaClient, selection: Selection) -> tuple[StuckSaga, ...]:
    """Return the stuck sagas of a selection, and remove the entries of those that have recovered.

    Raises OpsError if there are stuck sagas, but none matches.
    """
    require_state(client.definition, selection)
    with status("Listing the stuck sagas"):
        found = client.stuck()
        problem = client.forget(found.recovered) if found.recovered else None
    if found.recovered:
        stay = f"entries stay, although their sagas have recovered ({problem})"
        note(f"{stay if problem else 'entries removed, because their sagas have recovered'}: {len(found.recovered)}")
    for warning in tables.undelivered(found):
        note(warning)
    chosen = selection.of(found.sagas)
    if found.sagas and not chosen:
        raise OpsError(f"no stuck saga matches, of {len(found.sagas)} in all: `python -m ops stuck` lists them")
    return chosen


def _named(client: SagaClient, names: Sequence[str]) -> tuple[StuckSaga, ...]:
    """Return the stuck sagas of names. Those that are not stuck any more are reported and left out."""
    texts = list(dict.fromkeys(_from_stdin() if list(names) == [FROM_STDIN] else names))
    if not texts:
        raise OpsError("standard input has no names: write one a line")
    with status("Looking up the executions"):
        known = _by_name(client.stuck().sagas)
        sagas = {}
        for text in texts:
            saga = known.get(text) or client.stuck_or_not(text)
            if saga.execution.outcome is Outcome.STUCK:
                sagas[saga.execution.arn] = saga
            else:
                note(f"skipped {printable(text)}: not stuck ({saga.execution.outcome.words})")
    return tuple(sagas.values())


def _by_name(sagas: Iterable[StuckSaga]) -> dict[str, StuckSaga]:
    found = list(sagas)
    names = {saga.execution.name: saga for saga in found}
    return names | {saga.execution.arn: saga for saga in found}


def _from_stdin() -> Iterator[str]:
    return (line.strip() for line in sys.stdin or () if line.strip())


def _is_confirmed(saga: StuckSaga, *, noun: str) -> bool:
    """Show the saga and ask, on standard error: standard output is for the result."""
    _require_terminal()
    write(tables.stuck_saga(saga, noun=noun, now=datetime.now(UTC)), to_error=True)
    where = printable(saga.state) if saga.state else "its first state"
    return _answer(f"It will continue in {where}, with the same input. Resume it?")


def _are_confirmed(groups: Sequence[StuckGroup], *, rate: int) -> bool:
    _require_terminal()
    write(tables.groups(groups), to_error=True)
    count = sum(len(group.sagas) for group in groups)
    return _answer(f"Resume these {count} sagas, one of each group first, then {rate} a second?")


def _require_terminal() -> None:
    if not has_terminal():
        raise NotResumable("not a terminal: pass --yes to resume without a prompt")


def _answer(question: str) -> bool:
    note(f"\n{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _declined() -> int:
    note("Nothing was done.")
    return 1


def _wait(client: SagaClient, saga: StuckSaga) -> Execution:
    with status("The saga runs. Ctrl-C stops the waiting, not the saga."):
        while (ended := client.has_ended_since(saga.execution)) is None:
            time.sleep(POLL_SECONDS)
    return ended


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar with the time left, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
