"""Settles a saga that can no longer be redriven: calls the functions that its execution would have called.

It calls the deployed compensations of the saga's live rows, last step first, with the saga's own identity. A saga whose
pivot happened, or whose retriable steps have begun, is completed instead: these steps are called. All functions are
idempotent, so settling can be repeated. A retriable step that waits is complete only after its answer.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lambdas.saga_runtime.barrier import SagaIdentity
from lambdas.saga_runtime.cancellation import is_execution
from lambdas.saga_runtime.steps import StepSpec
from ops.client import SagaClient
from ops.display import printable
from ops.errors import FunctionFailed, NotSettleable, OpsError
from ops.invariants import ExpectedRow, incomplete_rows, owned_rows
from ops.model import Execution, Outcome
from ops.rows import Row, Rows, identity_of, known_execution, owner, stored_rows
from ops.saga_steps import DeployedStep, Function, Kind, read_steps

# How long Step Functions may not know yet that an execution has started.
NEW_FOR = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """A plan to settle a saga. ``calls`` are the functions to call, in order; none if nothing is half done.

    Args:
        order_id: the order.
        saga: the saga.
        completes: whether the calls complete the order; False if they compensate it.
        calls: the functions.
        rows: the rows that the saga owns, by entity, each with its status.
        open_rows: the entities of the rows that are still to be completed or compensated; none if it is settled.
    """

    order_id: str
    saga: SagaIdentity
    completes: bool
    calls: tuple[Function, ...]
    rows: Mapping[str, str]
    open_rows: tuple[str, ...]

    @property
    def is_settled(self) -> bool:
        """Whether the saga is complete or owns no live row."""
        return not self.open_rows


class Settler:
    """Settles one saga.

    Args:
        client: the client of the stack.
        module: the module with the steps of its functions.
        name: the execution's name or ARN, or the order's id.
        input_: the input of an execution that Step Functions no longer knows. Default: the order's id alone.

    The constructor raises NotSettleable if the saga runs, can be resumed, or is not the only one, and OpsError for
    steps of another saga.
    """

    def __init__(self, client: SagaClient, *, module: str, name: str, input_: Mapping[str, Any] | None = None) -> None:
        self._client = client
        self._steps: Sequence[DeployedStep] = read_steps(client, module)
        self._execution = self._named(name)
        self._order_id, self._saga = self._found(name, input_)
        if self._execution is None and self._saga.id.startswith("arn:"):
            self._execution = _same(known_execution(client, self._saga.id), self._saga)
        self._require_over()
        if self._execution:
            self._steps = read_steps(client, module, execution=self._execution.arn)
        self._input = self._whole_input(input_)

    def plan(self) -> Settlement:
        """Return what is to be done now."""
        rows = self._rows()
        owned = owned_rows(self._expected, self._saga.id, rows)
        incomplete = incomplete_rows(self._expected, self._saga.id, rows)
        completes = any(
            step.kind is not Kind.COMPENSATABLE or _is_confirming(rows[step.spec.entity], step.spec)
            for step in self._steps
            if step.spec and step.spec.entity in owned
        )
        calls: Iterator[Function] = iter(())
        open_rows: list[str] = []
        if owned and incomplete:
            calls = self._completions() if completes else self._compensations(rows)
            open_rows = incomplete if completes else owned
        return Settlement(
            order_id=self._order_id,
            saga=self._saga,
            completes=completes,
            calls=tuple(calls),
            rows={entity: str(rows[entity]["status"]) for entity in owned},
            open_rows=tuple(open_rows),
        )

    def run(self, plan: Settlement) -> None:
        """Make the calls. Raises OpsError if one fails; what was done before stays done."""
        for call in plan.calls:
            try:
                result = self._client.call(call.name, self._payload(call, plan))
            except FunctionFailed as failure:
                raise OpsError(f"{call.state} failed: {failure}: fix the cause, then settle again") from None
            if isinstance(result, dict) and result.get("committed") is True:
                raise OpsError(f"{call.state} found that the pivot happened: settle again to complete the saga")

    @property
    def _expected(self) -> list[ExpectedRow]:
        return [ExpectedRow.of(step.spec) for step in self._steps if step.spec]

    def _named(self, name: str) -> Execution | None:
        """Return the execution of a name or an ARN; None if a name means an order whose live rows another saga owns."""
        named = known_execution(self._client, name)
        if named is None or named.outcome in (Outcome.RUNNING, Outcome.STUCK) or name.startswith("arn:"):
            return named
        live = {saga.id for saga in self._live_owners(stored_rows(self._client, name))}
        return named if not live or named.arn in live else None

    def _live_owners(self, rows: Rows) -> set[SagaIdentity]:
        return {owner(row) for row in rows.values() if "history" in row and self._is_live(row)}

    def _found(self, name: str, input_: Mapping[str, Any] | None) -> tuple[str, SagaIdentity]:
        """Return the order and the saga that the name means."""
        execution = self._execution
        if execution:
            if execution.order_id is None:
                raise NotSettleable(
                    f"the input of {execution.name} has no valid {self._client.stack.key}: no row is its"
                )
            return execution.order_id, identity_of(execution, stored_rows(self._client, execution.order_id))
        order_id = str(input_[self._client.stack.key]) if input_ else name
        rows = {entity: row for entity, row in stored_rows(self._client, order_id).items() if "history" in row}
        live = self._live_owners(rows)
        if input_ and order_id != name:
            live = {saga for saga in live if name in (saga.id, saga.id.rsplit(":", 1)[-1])}
        if len(live) > 1:
            names = ", ".join(sorted(saga.id for saga in live))
            raise NotSettleable(f"several sagas own rows of {printable(order_id)}: name one of {printable(names)}")
        if not rows:
            raise NotSettleable(
                f"no execution and no {self._client.stack.noun} {printable(name)}: name the {self._client.stack.noun}, "
                "or pass the input of an execution that is gone with --input"
            )
        return order_id, next(iter(live), owner(next(iter(rows.values()))))

    def _is_live(self, row: Mapping[str, Any]) -> bool:
        return any(row["entity"] == one.entity and row["status"] != one.compensated for one in self._expected)

    def _require_over(self) -> None:
        execution, noun = self._execution, self._client.stack.noun
        if execution is None:
            is_new = datetime.fromisoformat(self._saga.started_at) > datetime.now(UTC) - NEW_FOR
            if is_new and self._saga.id.startswith("arn:"):
                raise NotSettleable(f"{self._saga.id} has just started: try again in {NEW_FOR.seconds // 60} minutes")
            return
        if execution.outcome is Outcome.RUNNING:
            raise NotSettleable(f"{execution.name} still runs: wait for its end, or cancel it: python -m ops cancel")
        if execution.outcome is Outcome.FULFILLED:
            raise NotSettleable(f"{execution.name} has succeeded: the {noun} is confirmed, nothing to settle")
        if execution.is_redrivable:
            raise NotSettleable(f"{execution.name} can be resumed: python -m ops resume {execution.name}")

    def _whole_input(self, input_: Mapping[str, Any] | None) -> Any:
        if self._execution is None:
            return dict(input_ or {self._client.stack.key: self._order_id})
        if input_:
            raise NotSettleable(f"Step Functions knows the input of {self._execution.name}: omit --input")
        described = self._client.stepfunctions.describe_execution(executionArn=self._execution.arn)
        return json.loads(described["input"])

    def _rows(self) -> Rows:
        """Return the rows. Those of another saga with the same ARN appear without an owner."""
        rows = stored_rows(self._client, self._order_id)
        return {name: row if owner(row) == self._saga else {**row, "saga_id": None} for name, row in rows.items()}

    def _compensations(self, rows: Rows) -> Iterator[Function]:
        expected = {row.entity: row for row in self._expected}
        for step in reversed(self._steps):
            if step.compensation and step.spec:
                row = expected[step.spec.entity]
                # A pivot whose outcome is unknown is rejected first, so that it cannot happen afterwards.
                is_open = step.kind is Kind.PIVOT and not row.has(row.compensated, self._saga.id, rows)
                if is_open or row.is_owned(self._saga.id, rows):
                    yield step.compensation

    def _completions(self) -> Iterator[Function]:
        return (step.action for step in self._steps if step.kind is Kind.RETRIABLE)

    def _payload(self, call: Function, plan: Settlement) -> dict[str, object]:
        """Return what the state machine sends."""
        payload: dict[str, object] = {"saga": asdict(self._saga), "input": self._input}
        if not plan.completes:
            payload["failure"] = {"step": call.state, "error": "Settled", "reason": "an operator settled the saga"}
        return payload


def _is_confirming(row: Row, spec: StepSpec) -> bool:
    """Return whether a retriable step has confirmed the row or begun to: the saga has passed the point of no return."""
    return "confirmation_requested_at" in row or row["status"] == spec.confirmed


def _same(execution: Execution | None, saga: SagaIdentity) -> Execution | None:
    return execution if execution and is_execution(saga, execution.started_at) else None
