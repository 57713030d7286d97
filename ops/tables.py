"""The output for people: lines of text, with colours if the terminal has them.

Lines are never wrapped or cut, so that an ARN can be copied. All text from outside passes through ``printable`` and is
never read as markup. ``noun`` is the subject of the saga.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len
from rich.text import Text

from lambdas.saga_runtime.execution_history import Attempt, End, PathStep, stopped_in
from ops.bulk import GroupResumption, Result
from ops.display import printable
from ops.model import Execution, Order, Outcome, SagaRun, StoredRow, StuckGroup, StuckList, StuckSaga, Wait, groups_of

_STYLES = {
    Outcome.RUNNING: "cyan",
    Outcome.FULFILLED: "green",
    Outcome.ROLLED_BACK: "yellow",
    Outcome.STUCK: "bold red",
}
_DIM, _HEAD = "dim", "bold"
_GAP = 2
_MOST_REASONS = 10
SCAN = "`python -m ops stuck --scan` checks all executions"


def executions(found: Sequence[Execution], *, noun: str) -> Iterable[Text]:
    """Return executions as a table, in their order."""
    if not found:
        return [Text("no executions")]
    head = [_text(name, _DIM) for name in ("STARTED", "TOOK", "STATUS", "OUTCOME", "EXECUTION", noun.upper())]
    return _columns([head, *(_execution(execution) for execution in found)])


def order(found: Order, *, noun: str, now: datetime) -> Iterable[Text]:
    """Yield an order: its rows with their history, then its sagas with their paths."""
    yield _text(f"{noun} {printable(found.order_id)}", _HEAD)
    yield from _columns([cells for row in found.rows for cells in _row(row)], indent=2)
    for saga in found.sagas:
        yield Text()
        yield from _saga(saga, now=now)
    if found.searched_since:
        yield Text()
        yield _text(
            f"searched executions back to {_time(found.searched_since)} for rejected sagas: --all searches all", _DIM
        )


def stuck(found: StuckList, chosen: Sequence[StuckSaga], *, noun: str, now: datetime, each: bool) -> Iterable[Text]:
    """Yield the chosen stuck sagas, as groups or each, and notes on the others."""
    yield _text(_stuck_head(found, chosen), _HEAD)
    if each:
        for saga in chosen:
            yield Text()
            yield from stuck_saga(saga, noun=noun, now=now)
    elif chosen:
        yield from groups(groups_of(chosen))
    notes = list(_notes(found, chosen, each=each))
    if notes:
        yield Text()
    yield from (_text(note, _DIM) for note in notes)


def groups(found: Sequence[StuckGroup]) -> Iterable[Text]:
    """Return groups of stuck sagas as a table."""
    head = [_text(name, _DIM) for name in ("STATE", "ERROR", "COUNT", "OLDEST", "REDRIVABLE UNTIL")]
    return _columns([head, *(_group(group) for group in found)])


def bulk_resumption(found: Sequence[GroupResumption]) -> Iterable[Text]:
    """Yield the results of each group as a table, and why sagas were rejected, got stuck again or may run."""
    head = [_text(name, _DIM) for name in ("STATE", "ERROR", *(str(result).upper() for result in Result), "")]
    yield from _columns([head, *(_resumed_group(one) for one in found)])
    reasons = Counter(
        f"{saga.result}: {saga.reason or 'no cause was given'}"
        for one in found
        for saga in one.sagas
        if saga.result in (Result.STUCK_AGAIN, Result.REJECTED) or (saga.result is Result.RUNNING and saga.reason)
    )
    if reasons:
        yield Text()
    for reason, count in reasons.most_common(_MOST_REASONS):
        yield _text(f"{_counted(count, 'saga')} {reason}")


def closing(saga: StuckSaga, *, reason: str) -> Iterable[Text]:
    """Yield that the entry of a saga was closed."""
    yield _text(f"closed {saga.execution.name}: {reason}")


def stuck_saga(saga: StuckSaga, *, noun: str, now: datetime) -> Iterable[Text]:
    """Yield one stuck saga: where it stopped, why, since when, and until when it can be resumed."""
    execution = saga.execution
    facts = [
        (noun, _text(execution.order_id or "unknown: the input has no valid one")),
        ("stopped", _text(f"in {saga.state}, " if saga.state else "before its first state, ") + _ending(execution)),
        ("because", _text(execution.cause or "no cause was given")),
        ("since", _text(_ago(execution.stopped_at, now=now))),
        ("resume", _text(_time_left(execution, now=now))),
    ]
    yield _text(execution.arn, _HEAD)
    yield from _facts(facts)


def resumption(saga: StuckSaga, *, ended: Execution | None) -> Iterable[Text]:
    """Yield that a saga was resumed, and how it ended, if known."""
    yield _text(f"resumed {saga.execution.name}" + (f" in {saga.state}" if saga.state else ""))
    if ended:
        yield Text("ended ") + _ending(ended)
        if ended.cause:
            yield _text(f"because {ended.cause}")


def duration(time: timedelta) -> str:
    """Return a duration in its two largest units, for instance ``0.36 s``, ``2 min 3 s`` or ``13 d 4 h``."""
    seconds = max(time.total_seconds(), 0)
    if seconds < 60:  # noqa: PLR2004 (a minute)
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004 (three digits are enough)
    parts: list[str] = []
    rest = int(seconds)
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def _execution(execution: Execution) -> list[Text]:
    took = duration(execution.stopped_at - execution.started_at) if execution.stopped_at else "-"
    return [
        _text(_time(execution.started_at)),
        _text(took),
        _text(execution.status),
        _outcome(execution),
        _text(execution.name),
        _text(execution.order_id or "?"),
    ]


def _row(row: StoredRow) -> Iterable[list[Text]]:
    """Yield the row's status, with one line per entry of its history."""
    names = itertools.chain([_text(row.entity), _text(row.status, _HEAD)], itertools.repeat(Text()))
    for entry in row.history:
        # Within one stack, the execution's name is as good as its ARN.
        owner = entry.saga_id.rsplit(":", 1)[-1]
        yield [next(names), next(names), _text(entry.at), _text(entry.status), _text(f"by {owner}", _DIM)]


def _saga(saga: SagaRun, *, now: datetime) -> Iterable[Text]:
    yield _text(saga.saga_id, _HEAD)
    execution = saga.execution
    if execution is None:
        is_direct = not saga.saga_id.startswith("arn:")
        yield _text("  a direct call of a function" if is_direct else "  unknown to Step Functions: it keeps 90 days")
        return
    took = _ago(execution.started_at, now=now) + (
        f", took {duration(execution.stopped_at - execution.started_at)}" if execution.stopped_at else ""
    )
    facts = [("ended" if execution.stopped_at else "status", _ending(execution)), ("started", _text(took))]
    if execution.cause:
        facts.append(("because", _text(execution.cause)))
    if execution.redrive_count:
        facts.append(("resumed", _text(_counted(execution.redrive_count, "time"))))
    if execution.outcome is Outcome.STUCK:
        where = f"in {' and '.join(stopped_in(saga.path))}" if saga.path else "before its first state"
        facts += [("stopped", _text(where)), ("resume", _text(_time_left(execution, now=now)))]
    facts += [("waits", _text(_waiting(wait, now=now))) for wait in saga.waits]
    if saga.closure:
        facts.append(("closed", _text(f"{_time(saga.closure.at)}: {saga.closure.reason}")))
    yield from _facts(facts)
    yield from _columns([cells for step in saga.path for cells in _step(step)], indent=4)


def _waiting(wait: Wait, *, now: datetime) -> str:
    heartbeat = f", with a sign of life every {duration(wait.heartbeat)}" if wait.heartbeat else ""
    return (
        f"{wait.state} for an answer, since {_ago(wait.since, now=now)}; row {wait.row.entity} is {wait.row.status}; "
        f"until {_time(wait.until)}{heartbeat}"
    )


def _step(step: PathStep) -> Iterable[list[Text]]:
    """Yield the state with its time, then its errors; successive equal errors are one line."""
    count = len(step.attempts)
    took = duration(step.took) if step.took is not None else "running"
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


def _stuck_head(found: StuckList, chosen: Sequence[StuckSaga]) -> str:
    if chosen:
        return f"{_counted(len(chosen), 'stuck saga')}, newest first"
    if found.sagas:
        return f"no stuck saga matches, of {len(found.sagas)} in all"
    # A report can be lost, so entries prove nothing.
    return "no saga is stuck" if found.is_complete else f"no reported saga is stuck: {SCAN}"


def _notes(found: StuckList, chosen: Sequence[StuckSaga], *, each: bool) -> Iterable[str]:
    if chosen and not each:
        yield "--all lists each; `python -m ops resume --all` resumes them"
    if found.resumed:
        yield f"{_counted(found.resumed, 'saga')} resumed and running"
    if found.recovered:
        count = _counted(len(found.recovered), "saga")
        yield f"{count} recovered since the report: `python -m ops resume --all` removes the entries"
    yield from undelivered(found)


def undelivered(found: StuckList) -> Iterable[str]:
    """Yield a warning if reports were not delivered, or if that is not known."""
    if found.is_complete or found.undelivered == 0:
        return
    unknown = "whether reports are undelivered cannot be read"
    problem = f"about {_counted(found.undelivered, 'report')} undelivered" if found.undelivered else unknown
    yield f"{problem}: {SCAN}"


def _group(group: StuckGroup) -> list[Text]:
    return [
        _text(group.state or "before the first"),
        _text(group.error or "none"),
        _text(str(len(group.sagas))),
        _text(_time(group.oldest) if group.oldest else "unknown"),
        _text(_time(group.redrivable_until) if group.redrivable_until else "unknown"),
    ]


def _resumed_group(one: GroupResumption) -> list[Text]:
    counts = [_text(str(one.count(result))) for result in Result]
    stopped = "stopped: its cause is not fixed" if one.is_stopped else ""
    return [_text(one.group.state or "before the first"), _text(one.group.error or "none"), *counts, _text(stopped)]


def _ending(execution: Execution) -> Text:
    error = f" ({execution.error}) " if execution.error else " "
    return _text(execution.status + error) + _outcome(execution)


def _outcome(execution: Execution) -> Text:
    return Text(execution.outcome.words, _STYLES[execution.outcome])


def _time_left(execution: Execution, *, now: datetime) -> str:
    until = execution.redrivable_until
    if until is None or until <= now or execution.redrive_status == "NOT_REDRIVABLE":
        return f"no longer: {execution.redrive_status_reason or 'it ended over 14 days ago'}"
    return f"within {duration(until - now)}, until {_time(until)}"


def _ago(at: datetime | None, *, now: datetime) -> str:
    return "unknown" if at is None else f"{_time(at)}, {duration(now - at)} ago"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _facts(facts: Iterable[tuple[str, Text]]) -> Iterable[Text]:
    return _columns([[_text(name, _DIM), value] for name, value in facts], indent=2)


def _columns(rows: Sequence[Sequence[Text]], *, indent: int = 0) -> Iterable[Text]:
    """Yield each row as a line with aligned cells. The last cell has any length."""
    if not rows:
        return
    widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text(" " * indent)
        for cell, width in zip(row, widths, strict=True):
            line.append_text(cell).append(" " * (width - cell_len(cell.plain) + _GAP))
        line.rstrip()
        yield line
