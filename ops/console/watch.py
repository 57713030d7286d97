"""What the pages show, as documents, from the data layer of the command line; see ops/documents.py for the parts."""

import re
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, cast

from ops import documents
from ops.console.form import is_of_orders, is_undone
from ops.definition import Definition, read_definition
from ops.documents import Document
from ops.errors import UnknownOrder
from ops.graph import CLASSES, mermaid
from ops.model import Execution, Order, Outcome, Row, Saga, StuckSagas
from ops.path import stopped_in
from ops.progress import ICONS, progress_of
from ops.sagas import Sagas

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType

PAGE = 20
REMEMBERED = 5_000
# SQS counts every look at the queue: pages that are open in several tabs share one.
LOOK_AGAIN_SECONDS = 10.0
# Across for a wide page, down for a phone.
DIRECTIONS = ("LR", "TD")


class Watch:
    """The sagas of a stack as the pages show them. It may be shared by threads.

    An execution that has ended cleanly is asked for once: nothing changes it any more. That keeps a page of the list
    within one request to Step Functions, whose DescribeExecution is throttled early.

    ``of_orders`` says whether it is the order saga's stack: of another saga's rows nobody here knows which are undone.
    """

    def __init__(self, sagas: Sagas) -> None:
        self.sagas = sagas
        self.noun = sagas.stack.noun
        self.of_orders = is_of_orders(
            read_definition(sagas.definition(), where=sagas.stack.state_machine_arn), sagas.stack.key
        )
        self._ended: OrderedDict[str, Execution] = OrderedDict()
        self._definitions: dict[str, Definition] = {}
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._looked: tuple[float, StuckSagas] | None = None

    def listed(self, *, status: str | None, token: str | None) -> Document:
        """A page of executions, the newest first: ``{"executions": [EXECUTION], "next_token"}``."""
        page = self.sagas.executions(
            status=cast("ExecutionStatusType | None", status or None),
            limit=PAGE,
            token=token or None,
            describe=self._execution,
        )
        return {**documents.listed(page.executions), "next_token": page.next_token}

    def execution(self, name: str) -> Document:
        """An execution with its path, its graphs and its order's rows, and what its end means in plain words."""
        saga = self.sagas.saga(name)
        execution = cast("Execution", saga.execution)
        progress = progress_of(self._definition(execution), saga)
        shown = self._shown(Order(order_id=execution.order_id or "", rows=self._rows(execution), sagas=(saga,)))
        (told,) = cast("list[Document]", shown["sagas"])
        return {
            **told,
            "rows": shown["rows"],
            "states": [
                {
                    "state": state,
                    "number": visit.number,
                    "status": CLASSES[visit.status],
                    "icon": ICONS[visit.status],
                    "word": str(visit.status),
                    "failures": visit.failures,
                }
                for state, visit in progress.visits.items()
            ],
            "graphs": {
                direction: mermaid(self._definition(execution), progress=progress, direction=direction, coloured=False)
                for direction in DIRECTIONS
            },
            "meaning": meaning(execution, saga, noun=self.noun),
            "stopped_in": list(stopped_in(saga.path)) if execution.outcome is Outcome.STUCK else [],
            "can_tell_redrive": execution.redrive_status is not None,
            "redrivable_until": documents.moment(execution.redrivable_until),
        }

    def order(self, order_id: str) -> Document:
        """The document of ``show``: the order's rows with their history and whether they are undone, and its sagas."""
        return self._shown(self.sagas.order(order_id))

    def stuck(self) -> Document:
        """The document of ``stuck``: what the queue tells of, and what the list has shown. It takes nothing away."""
        with self._looking:
            if self._looked is None or time.monotonic() - self._looked[0] > LOOK_AGAIN_SECONDS:
                self._looked = (time.monotonic(), self.sagas.stuck(keep=True))
            return documents.stuck(self._looked[1])

    def look_again(self) -> None:
        """Have the next look at what is stuck be a new one."""
        with self._looking:
            self._looked = None

    def holder(self, order_id: str) -> Row | None:
        """The row of an order that a saga holds, be it under way or fulfilled; None if the order is free.

        Of another saga than the order saga: a row that is there, which may be undone.
        """
        rows = self.sagas.rows(order_id)
        return next((row for row in rows if not (self.of_orders and is_undone(row))), None)

    def _execution(self, arn: str) -> Execution:
        with self._lock:
            if known := self._ended.get(arn):
                return known
        found = self.sagas.execution(arn)
        if found.outcome in (Outcome.FULFILLED, Outcome.ROLLED_BACK):
            with self._lock:
                self._ended[arn] = found
                while len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)
        return found

    def _definition(self, execution: Execution) -> Definition:
        with self._lock:
            known = self._definitions.get(execution.arn)
        if known is None:
            known = read_definition(self.sagas.definition(execution.arn), where=execution.name)
            with self._lock:
                if len(self._definitions) >= REMEMBERED:
                    self._definitions.clear()
                self._definitions[execution.arn] = known
        return known

    def _rows(self, execution: Execution) -> tuple[Row, ...]:
        try:
            return self.sagas.rows(execution.order_id) if execution.order_id else ()
        except UnknownOrder:
            return ()

    def _shown(self, order: Order) -> Document:
        shown = documents.shown(order)
        rows = zip(cast("list[Document]", shown["rows"]), order.rows, strict=True)
        undone = is_undone if self.of_orders else lambda _row: None
        return {**shown, "rows": [{**told, "undone": undone(row)} for told, row in rows]}


def meaning(execution: Execution, saga: Saga, *, noun: str) -> str:
    """What the state of an execution means for its order, or whatever the noun says, in a sentence or two."""
    match execution.outcome:
        case Outcome.RUNNING:
            return "The saga is under way."
        case Outcome.FULFILLED:
            return f"The {noun} is fulfilled: every step is done."
        case Outcome.ROLLED_BACK if re.search(r"\bOrderConflict\b", execution.cause or ""):
            return (
                f"Another saga holds this {noun}, so this one was refused. Nothing of the other saga was changed. "
                f"Use another {noun} id, or try again should that {noun} be undone."
            )
        case Outcome.ROLLED_BACK:
            return f"The {noun} was refused or a step failed: all that was done for it is undone."
    states = stopped_in(saga.path)
    where = f" in {' and '.join(states)}" if states else ""
    return f"The saga is stuck: it stopped half way{where}. Mend the cause, then resume it."
