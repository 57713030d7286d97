"""The data of the pages, as JSON documents. ops/documents.py describes their parts."""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from lambdas.saga_runtime.errors import SagaConflict
from lambdas.saga_runtime.execution_history import PathStep, stopped_in
from ops import documents
from ops.answers import answer
from ops.cancel import cancel, cancellable
from ops.client import SagaClient
from ops.definition import Definition, read_definition
from ops.display import printable
from ops.documents import Document
from ops.errors import NotAnswered, NotCancellable
from ops.graph import CLASSES, mermaid
from ops.model import Execution, Order, Outcome, SagaRun, StoredRow, StuckList, is_same_stop
from ops.progress import ICONS, progress_of
from ops.saga_steps import known_rows, read_steps
from ops.selection import Selection
from ops.waits import waits_of

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef, HistoryEventTypeDef

PAGE_SIZE = 20
MAX_CHOSEN = 100
CACHE_SIZE = 5_000
# Pages in several tabs share one listing.
STUCK_CACHE_SECONDS = 10.0
# The account of every resource in MiniStack and LocalStack.
LOCAL_ACCOUNT = "000000000000"
# Left to right for a wide page, top down for a phone.
DIRECTIONS = ("LR", "TD")


class Views:
    """The data of one stack's pages. Threads may share it.

    It caches executions that have ended, because Step Functions throttles DescribeExecution early. After a redrive,
    ListExecutions says that they run, or has another stop.
    ``states`` are the names of the state machine's states. ``steps`` are the steps of the saga by their rows, empty if
    ``module``, the default one, is that of another saga; then it is not known which rows are compensated.
    """

    def __init__(self, client: SagaClient, module: str) -> None:
        self.client = client
        self.noun = client.stack.noun
        definition = read_definition(client.definition(), where=client.stack.state_machine_arn)
        self.states = tuple(definition.states)
        self.steps = known_rows(client, module)
        self._module = module
        self._ended: OrderedDict[tuple[str, datetime | None], Execution] = OrderedDict()
        self._definitions: dict[str, Definition] = {}
        self._lock = threading.Lock()
        self._stuck: tuple[float, StuckList] | None = None
        self._stuck_lock = threading.Lock()
        self._resumed: set[str] = set()

    def executions(self, *, token: str | None) -> Document:
        """Return a page of executions, newest first: ``{"executions": [EXECUTION], "next_token"}``."""
        page = self.client.executions(limit=PAGE_SIZE, token=token or None, describe=self._execution)
        return {**documents.executions(page.executions), "next_token": page.next_token}

    def chosen(self, outcome: Outcome | None, selection: Selection) -> Document:
        """Return the newest ``MAX_CHOSEN`` executions that the filters select, as a page without a next one."""
        found = self.client.newest(count=MAX_CHOSEN, outcome=outcome, selection=selection, describe=self._execution)
        return {**documents.executions(found), "next_token": None}

    def execution(self, name: str) -> Document:
        """Return an execution with its path, its graphs, its order's rows, and the meaning of its outcome.

        ``rejectable`` are the states that wait for an answer which may reject their work.
        """
        run, definition, rows = self._waiting(name)
        execution = cast("Execution", run.execution)
        run = replace(run, closure=self.client.closure(execution))
        order = self._shown(Order(order_id=execution.order_id or "", rows=rows, sagas=(run,)))
        (saga,) = cast("list[Document]", order["sagas"])
        return {
            **saga,
            "rows": order["rows"],
            "rejectable": [wait.state for wait in run.waits if self._can_be_rejected(wait.row.entity)],
            **_drawn(definition, run),
            "links": links(execution, self.client.stack.name),
            "meaning": meaning(execution, run, noun=self.noun),
            "stopped_in": list(stopped_in(run.path)) if execution.outcome is Outcome.STUCK else [],
            "redrivable_until": documents.moment(execution.redrivable_until),
        }

    def replay(self, name: str) -> Document:
        """Return the states and graphs of an execution after each entrance: ``{"frames": [{"states", "graphs"}]}``."""
        run = self.client.saga_run(name)
        execution = cast("Execution", run.execution)
        definition = self._definition(execution)
        running = replace(execution, status="RUNNING")
        runs = [
            replace(run, execution=running, path=_until(run.path, number)) for number in range(1, len(run.path) + 1)
        ]
        return {"frames": [_drawn(definition, one) for one in (*runs, run)]}

    def outcome(self, name: str) -> Document:
        """Return how an execution ended, by one request: ``{"outcome", "stopped_at"}``."""
        execution = self.client.execution(name)
        return {"outcome": execution.outcome.value, "stopped_at": documents.moment(execution.stopped_at)}

    def history(self, name: str) -> Document:
        """Return the events of an execution without their data.

        ``{"events": [{"id", "previous", "type", "at", "state"}]}``; ``state`` only of an entrance or an exit.
        """
        return {"events": [_event(event) for event in self.client.events(name)]}

    def order(self, order_id: str) -> Document:
        """Return the document of ``show``; each row also has ``compensated``, null if that is not known."""
        return self._shown(self.client.order(order_id))

    def stuck(self, *, refresh: bool = False) -> Document:
        """Return the document of ``stuck``, at most ``STUCK_CACHE_SECONDS`` old.

        The entries of sagas that this console has resumed and that have recovered are removed.
        """
        with self._stuck_lock:
            if refresh or self._stuck is None or time.monotonic() - self._stuck[0] > STUCK_CACHE_SECONDS:
                self._stuck = (time.monotonic(), self.client.stuck())
            found = self._stuck[1]
            recovered = self._resumed.intersection(found.recovered)
            self._resumed -= recovered
        if recovered:
            self.client.forget(recovered)
        return documents.stuck(found)

    def owner(self, order_id: str) -> str | None:
        """Return the id of the saga that owns a row of the order; None if all rows are compensated."""
        rows = self.client.rows(order_id)
        return next((row.saga_id for row in rows if not self._is_compensated(row)), None)

    def resume(self, execution: str) -> Document:
        """Resume the stuck saga of an ARN or a name: ``{"resumed", "state", "at"}``.

        To remove its entry means to read the whole queue: ``stuck`` does that for many sagas at once.
        """
        saga = self.client.stuck_saga(execution)
        at = self.client.resume(saga)
        with self._stuck_lock:
            self._resumed.add(saga.execution.arn)
            self._stuck = None
        return {"resumed": saga.execution.name, "state": saga.state, "at": documents.moment(at)}

    def cancel(self, execution: str) -> Document:
        """Roll the saga of an ARN or a name back: ``{"cancelled", "rejected": [STATE]}``. Raises NotCancellable."""
        found = cancellable(self.client, execution)
        result = cancel(self.client, read_steps(self.client, self._module, execution=found.arn), found)
        if not result.is_accepted:
            raise NotCancellable(f"too late: the {self.noun} is about to be confirmed")
        return {"cancelled": found.name, "rejected": list(result.rejected)}

    def answer(self, name: str, state: str, fields: Mapping[str, object]) -> Document:
        """Answer a step that waits, by hand: ``{"answered", "status"}`` of its row. Raises NotAnswered."""
        run, _, _ = self._waiting(name)
        wait = next((one for one in run.waits if one.state == state), None)
        if wait is None or run.execution is None or run.execution.order_id is None:
            raise NotAnswered(f"{printable(state)} does not wait for an answer: reload the page")
        return {"answered": state, "status": answer(self.client, run.execution.order_id, wait, fields)}

    def _waiting(self, name: str) -> tuple[SagaRun, Definition, tuple[StoredRow, ...]]:
        """Return an execution with the steps that wait, its definition, and the rows of its order."""
        run = self.client.saga_run(name)
        execution = cast("Execution", run.execution)
        definition = self._definition(execution)
        rows = self.client.rows(execution.order_id) if execution.order_id else ()
        return replace(run, waits=waits_of(definition, run, rows, stack=self.client.stack.name)), definition, rows

    def _execution(self, listed: "ExecutionListItemTypeDef") -> Execution:
        arn, stop = listed["executionArn"], listed.get("stopDate")
        with self._lock:
            cached = self._ended.get((arn, stop))
        if cached and cached.status == listed["status"]:
            return cached
        execution = self.client.execution(arn)
        # Either answer may be older than the other.
        if execution.outcome is not Outcome.RUNNING and is_same_stop(execution.stopped_at, stop):
            with self._lock:
                self._ended[arn, stop] = execution
                while len(self._ended) > CACHE_SIZE:
                    self._ended.popitem(last=False)
        return execution

    def _definition(self, execution: Execution) -> Definition:
        with self._lock:
            cached = self._definitions.get(execution.arn)
        if cached is None:
            cached = read_definition(self.client.definition(execution.arn), where=execution.name)
            with self._lock:
                if len(self._definitions) >= CACHE_SIZE:
                    self._definitions.clear()
                self._definitions[execution.arn] = cached
        return cached

    def _shown(self, order: Order) -> Document:
        document = documents.order(order)
        rows = zip(cast("list[Document]", document["rows"]), order.rows, strict=True)
        return {**document, "rows": [{**row, "compensated": self._is_compensated(stored)} for row, stored in rows]}

    def _can_be_rejected(self, entity: str) -> bool:
        """Return whether an answer may reject the work of a step. If the step is not known, its function decides."""
        return entity not in self.steps or self.steps[entity].rejected is not None

    def _is_compensated(self, row: StoredRow) -> bool | None:
        step = self.steps.get(row.entity)
        return None if step is None else row.status == step.compensated


def _drawn(definition: Definition, run: SagaRun) -> Document:
    """Return the status of each state, and the graphs: ``{"states": [...], "graphs": {DIRECTION: TEXT}}``."""
    progress = progress_of(definition, run)
    return {
        "states": [
            {
                "state": state,
                "number": visit.number,
                "status": CLASSES[visit.status],
                "icon": ICONS[visit.status],
                "word": str(visit.status),
            }
            for state, visit in progress.visits.items()
        ],
        "graphs": {
            direction: mermaid(definition, progress=progress, direction=direction, coloured=False)
            for direction in DIRECTIONS
        },
    }


def _event(event: "HistoryEventTypeDef") -> Document:
    state = event.get("stateEnteredEventDetails") or event.get("stateExitedEventDetails")
    return {
        "id": event["id"],
        "previous": event.get("previousEventId"),
        "type": event["type"],
        "at": documents.moment(event["timestamp"]),
        "state": state["name"] if state else None,
    }


def _until(path: tuple[PathStep, ...], number: int) -> tuple[PathStep, ...]:
    """Return the first steps of a path; the last of them is running."""
    return (*path[: number - 1], replace(path[number - 1], end=None, left_at=None))


def links(execution: Execution, stack: str) -> Document:
    """Return the pages of AWS about an execution, by their names; none on a local cloud.

    A page of the log needs its name escaped twice (CloudWatch Logs console).
    """
    _, partition, _, region, account, _, machine, _ = execution.arn.split(":")
    if account == LOCAL_ACCOUNT or partition != "aws":
        return {}
    console = f"https://{region}.console.aws.amazon.com"
    log = f"/aws/vendedlogs/states/{machine}".replace("/", "$252F")
    found = {
        "Execution": f"{console}/states/home?region={region}#/v2/executions/details/{execution.arn}",
        "Log": f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{log}",
        "Dashboard": f"{console}/cloudwatch/home?region={region}#dashboards/dashboard/{stack}",
    }
    if execution.trace_id:
        found["Trace"] = f"{console}/cloudwatch/home?region={region}#xray:traces/{execution.trace_id}"
    return {**found}


def meaning(execution: Execution, run: SagaRun, *, noun: str) -> str:
    """Return in a sentence or two what the outcome of an execution means for its order."""
    match execution.outcome:
        case Outcome.RUNNING if run.waits:
            return f"The saga waits for an answer in {' and '.join(wait.state for wait in run.waits)}."
        case Outcome.RUNNING:
            return "The saga is running."
        case Outcome.FULFILLED:
            return f"The {noun} is fulfilled: every step succeeded."
        case Outcome.ROLLED_BACK if re.search(rf"\b{SagaConflict.__name__}\b", execution.cause or ""):
            return (
                f"Another saga owns this {noun}, so this saga was rejected. It changed nothing of the other saga. "
                f"Use another {noun} id, or try again after the other saga is compensated."
            )
        case Outcome.ROLLED_BACK:
            return f"A step failed, and everything that was done for the {noun} is compensated."
    states = stopped_in(run.path)
    where = f" in {' and '.join(states)}" if states else ""
    closed = run.closure and f"An operator closed it at {documents.moment(run.closure.at)}: {run.closure.reason}"
    return f"The saga is stuck: it stopped{where}. {closed or 'Fix the cause, then resume it.'}"
