"""What people read: lines of plain text, with colour where the terminal has it.

No line is wrapped or cut here: a terminal folds long ones by itself, so that an ARN that is copied is whole. Every
text from outside goes through ``printable`` and is never taken for markup. ``noun`` is what the saga is about.
"""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len
from rich.text import Text

from ops.model import Attempt, End, Execution, Order, Outcome, PathStep, Row, Saga, StuckSaga, StuckSagas
from ops.path import stopped_in
from ops.words import printable

_STYLES = {
    Outcome.RUNNING: "cyan",
    Outcome.FULFILLED: "green",
    Outcome.ROLLED_BACK: "yellow",
    Outcome.STUCK: "bold red",
}
_DIM, _HEAD = "dim", "bold"
_GAP = 2


def listed(executions: Sequence[Execution], *, noun: str) -> Iterable[Text]:
    """Executions as a table, the one given first on top."""
    if not executions:
        return [Text("no executions")]
    head = [_text(name, _DIM) for name in ("STARTED", "TOOK", "STATUS", "OUTCOME", "EXECUTION", noun.upper())]
    return _columns([head, *(_listed(execution) for execution in executions)])


def shown(order: Order, *, noun: str, now: datetime) -> Iterable[Text]:
    """An order: its rows with their history, then its sagas with their paths."""
    yield _text(f"{noun} {printable(order.order_id)}", _HEAD)
    yield from _columns([cells for row in order.rows for cells in _row(row)], indent=2)
    for saga in order.sagas:
        yield Text()
        yield from _saga(saga, now=now)


def stuck(found: StuckSagas, *, noun: str, now: datetime) -> Iterable[Text]:
    """The stuck sagas, and what there is to say of the queue."""
    count = len(found.sagas)
    yield _text("no saga is stuck" if not count else f"{_counted(count, 'stuck saga')}, the oldest first", _HEAD)
    for saga in found.sagas:
        yield Text()
        yield from stuck_saga(saga, noun=noun, now=now)
    notes = list(_of_the_queue(found))
    if notes:
        yield Text()
    yield from (_text(note, _DIM) for note in notes)


def stuck_saga(saga: StuckSaga, *, noun: str, now: datetime) -> Iterable[Text]:
    """One stuck saga: where, why, since when, and until when it can be resumed."""
    execution = saga.execution
    facts = [
        (noun, _text(execution.order_id or "not known: the input has no valid one")),
        ("stopped", _text(f"in {saga.state}, " if saga.state else "before its first state, ") + _ended(execution)),
        ("because", _text(execution.cause or "no cause was given")),
        ("since", _text(_ago(execution.stopped_at, now=now))),
        ("resume", _text(_left(execution, now=now))),
    ]
    yield _text(execution.arn, _HEAD)
    yield from _columns([[_text(name, _DIM), value] for name, value in facts], indent=2)


def resumed(saga: StuckSaga, *, ended: Execution | None) -> Iterable[Text]:
    """That a saga goes on, and if it was waited for, how it ended."""
    yield _text(f"resumed {saga.execution.name}" + (f" in {saga.state}" if saga.state else ""))
    if ended:
        yield Text("ended ") + _ended(ended)
        if ended.cause:
            yield _text(f"because {ended.cause}")


def duration(time: timedelta) -> str:
    """A length of time in its two largest units, for instance ``0.36 s``, ``2 min 3 s`` or ``13 d 4 h``."""
    seconds = max(time.total_seconds(), 0)
    if seconds < 60:  # noqa: PLR2004 (a minute)
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004 (three digits are enough)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts: list[str] = []
    rest = int(seconds)
    for name, size in units:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def _listed(execution: Execution) -> list[Text]:
    took = execution.stopped_at - execution.started_at if execution.stopped_at else None
    return [
        _text(_time(execution.started_at)),
        _text(duration(took) if took is not None else "-"),
        _text(execution.status),
        _outcome(execution),
        _text(execution.name),
        _text(execution.order_id or "?"),
    ]


def _row(row: Row) -> Iterable[list[Text]]:
    """The row's status, and its history below each other."""
    names = itertools.chain([_text(row.entity), _text(row.status, _HEAD)], itertools.repeat(Text()))
    for change in row.history:
        told = [_text(change.at), _text(change.status), _text(f"by {_short(change.saga_id)}", _DIM)]
        yield [next(names), next(names), *told]


def _saga(saga: Saga, *, now: datetime) -> Iterable[Text]:
    yield _text(saga.saga_id, _HEAD)
    execution = saga.execution
    if execution is None:
        direct = not saga.saga_id.startswith("arn:")
        yield _text(
            "  a function was called directly" if direct else "  Step Functions knows it no longer (it keeps 90 days)"
        )
        return
    took = _ago(execution.started_at, now=now) + (
        f", took {duration(execution.stopped_at - execution.started_at)}" if execution.stopped_at else ""
    )
    facts = [("ended" if execution.stopped_at else "status", _ended(execution)), ("started", _text(took))]
    if execution.cause:
        facts.append(("because", _text(execution.cause)))
    if execution.redrive_count:
        facts.append(("resumed", _text(_counted(execution.redrive_count, "time"))))
    if execution.outcome is Outcome.STUCK:
        facts.append(
            ("stopped", _text(f"in {' and '.join(stopped_in(saga.path))}" if saga.path else "before its first state"))
        )
        facts.append(("resume", _text(_left(execution, now=now))))
    yield from _columns([[_text(name, _DIM), value] for name, value in facts], indent=2)
    yield from _columns([cells for step in saga.path for cells in _step(step)], indent=4)


def _step(step: PathStep) -> Iterable[list[Text]]:
    """The state with its time, and below it what went wrong; the same error many times over is one line."""
    count = len(step.attempts)
    took = duration(step.took) if step.took is not None else "not left"
    if step.end is End.STOPPED:
        took += ", stopped"
    yield [
        _text(f"  {step.state}" if step.within else step.state),
        _text(took),
        _text(_counted(count, "attempt") if count else ""),
    ]
    for error, cause, times in _errors(step.attempts):
        yield [Text(), Text(), _text(f"{_counted(times, 'time')} {error}" + (f": {cause}" if cause else ""), "yellow")]


def _errors(attempts: Iterable[Attempt]) -> Iterable[tuple[str, str | None, int]]:
    failed = [attempt for attempt in attempts if attempt.error or attempt.cause]
    for (error, cause), same in itertools.groupby(failed, key=lambda attempt: (attempt.error, attempt.cause)):
        yield error or "an error without a name", cause, len(list(same))


def _of_the_queue(found: StuckSagas) -> Iterable[str]:
    if found.removed:
        yield f"{_counted(found.removed, 'message')} of sagas that are no longer stuck removed from the queue"
    if found.outdated:
        yield f"{_counted(found.outdated, 'message')} in the queue of sagas that run again or are no longer stuck"
    if found.unreadable:
        yield f"{_counted(found.unreadable, 'message')} in the queue that no saga of this stack has sent"
    if not found.complete:
        yield "the queue holds more messages than could be read: use --scan for all"


def _ended(execution: Execution) -> Text:
    text = Text(" ") if not execution.error else _text(f" ({execution.error}) ")
    return _text(execution.status) + text + _outcome(execution)


def _outcome(execution: Execution) -> Text:
    return Text(execution.outcome.value.replace("_", " "), _STYLES[execution.outcome])


def _left(execution: Execution, *, now: datetime) -> str:
    until = execution.redrivable_until
    if until is None or until <= now or execution.redrive_status == "NOT_REDRIVABLE":
        return f"no longer: {execution.redrive_status_reason or 'it ended over 14 days ago'}"
    return f"within {duration(until - now)}, until {_time(until)}"


def _ago(at: datetime | None, *, now: datetime) -> str:
    return "not known" if at is None else f"{_time(at)}, {duration(now - at)} ago"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _short(saga_id: str) -> str:
    """The execution's name, which is as good as its ARN within one stack."""
    return saga_id.rsplit(":", 1)[-1]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _columns(rows: Sequence[Sequence[Text]], *, indent: int = 0) -> Iterable[Text]:
    """Each row as a line, its cells below each other; the last cell is as long as it is."""
    if not rows:
        return
    widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text(" " * indent)
        for cell, width in zip(row, widths, strict=True):
            line.append_text(cell).append(" " * (width - cell_len(cell.plain) + _GAP))
        line.rstrip()
        yield line
