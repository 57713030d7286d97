"""Every order in which deliveries to one row can arrive, against the real handlers on a table in memory."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType

from examples.trip_booking.lambdas import handlers as trips
from examples.trip_booking.lambdas.trips import PAYMENT as TRIP_PAYMENT
from lambdas.cancel_shipment import handler as cancel_shipment
from lambdas.create_order import handler as create_order
from lambdas.delete_order import handler as delete_order
from lambdas.process_payment import handler as process_payment
from lambdas.process_shipment import handler as process_shipment
from lambdas.refund_payment import handler as refund_payment
from lambdas.shared.errors import BusinessError
from lambdas.shared.handler import Handler
from lambdas.shared.orders import ORDER, PAYMENT, SHIPMENT
from lambdas.shared.steps import Step
from tests.fixtures import TABLE, create_table

GIVEN = {"order_id": "1", "total": 100, "card_no": "123-1234", "address": "123 st"}
TRIP = {"trip_id": "1", "flight": "LX 38", "hotel": "Alpenblick", "price": 250, "card_no": "123-1234"}


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What can be called for the row of a step: its action, and what undoes or resolves it."""

    step: Step
    action: Handler
    undo: Handler
    given: Mapping[str, object]


ROWS: Mapping[str, Calls] = {
    "ORDER": Calls(step=ORDER, action=create_order, undo=delete_order, given=GIVEN),
    "PAYMENT": Calls(step=PAYMENT, action=process_payment, undo=refund_payment, given=GIVEN),
    "SHIPMENT": Calls(step=SHIPMENT, action=process_shipment, undo=cancel_shipment, given=GIVEN),
    # A pivot, which is resolved rather than compensated.
    "PIVOT": Calls(step=TRIP_PAYMENT, action=trips.take_payment, undo=trips.resolve_payment, given=TRIP),
}


@dataclass(frozen=True, order=True)
class Call:
    """One delivery: the action of a saga, or what undoes or resolves it."""

    saga: str
    compensates: bool


def starts(sagas: Sequence[str]) -> list[dict[str, str]]:
    """Every relation of the sagas' start times, those of equal ones included."""
    ranks = itertools.product(range(len(sagas)), repeat=len(sagas))
    dense = sorted({tuple(sorted(set(ranking)).index(rank) for rank in ranking) for ranking in ranks})
    return [
        {saga: f"2026-01-01T00:00:00.00{rank}Z" for saga, rank in zip(sagas, ranking, strict=True)} for ranking in dense
    ]


def count(calls: Sequence[Call]) -> int:
    """How many orders there are."""
    return math.factorial(len(calls)) // math.prod(math.factorial(n) for n in Counter(calls).values())


Row = Mapping[str, Any] | None


class Exploration:
    """Walks every order in which calls can arrive at one row, and checks each delivery on the way.

    Two ways that have led to the same row, the same sagas compensated and the same calls to come cannot differ
    from there on, so the rest is walked once for both; with ``every_step`` it is walked for each, which shows
    the same and takes longer. (The history does not count: it is written only, no condition reads it.)
    ``orders`` counts the orders, ``deliveries`` the calls really made for them, and ``broken`` says in words
    what went wrong.
    """

    def __init__(self, row: str, begun: Mapping[str, str], *, every_step: bool) -> None:
        self.orders = 0
        self.deliveries = 0
        self.broken: list[str] = []
        self._calls = ROWS[row]
        self._key = self._calls.step.schema.key
        self._is_pivot = row == "PIVOT"
        create_table(self._key)
        self._table = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[TABLE]
        self._entity = DynamoType({"S": self._calls.step.entity.name})
        self._begun = begun
        self._every_step = every_step
        self._walked: dict[Any, int] = {}

    def walk(self, calls: Sequence[Call]) -> None:
        """Deliver the calls in every order, each order to an empty table."""
        self.orders += self._walk(None, frozenset(), Counter(calls), ())

    def _walk(self, row: Row, compensated: frozenset[str], left: Counter[Call], way: tuple[Call, ...]) -> int:
        reached = (str(sorted(_but(row, "history").items())), compensated, tuple(sorted(left.items())))
        if not left:
            return 1
        if not self._every_step and reached in self._walked:
            return self._walked[reached]
        orders = 0
        for call in sorted(left):
            after, done = self._deliver(row, compensated, call, (*way, call))
            orders += self._walk(after, done, left - Counter([call]), (*way, call))
        self._walked[reached] = orders
        return orders

    def _deliver(
        self, before: Row, compensated: frozenset[str], call: Call, way: tuple[Call, ...]
    ) -> tuple[Row, frozenset[str]]:
        self._restore(before)
        event = {"saga": {"id": call.saga, "started_at": self._begun[call.saga]}, "order": self._calls.given}
        self.deliveries += 1
        refused, committed = False, False
        try:
            answer = (self._calls.undo if call.compensates else self._calls.action)(event, None)
            committed = answer.get("committed") is True
        except BusinessError:
            refused = True
        after = self._read()
        done = compensated | {call.saga} if call.compensates and not committed else compensated
        told = " > ".join(f"{'undo' if one.compensates else 'do'} {one.saga}" for one in way)
        held = (self._live_for(before), self._live_for(after))
        problems = [*_wrong(before, after, done, call, held, refused=refused)]
        if self._is_pivot and call.compensates and held[0] == call.saga != held[1]:
            problems.append("a resolution undid an action")
        if committed and (held != (call.saga, call.saga) or call.saga in compensated or before != after):
            problems.append("a resolution took an action for done that was not, or changed a row that is final")
        self.broken += [f"{problem}: {told}" for problem in problems]
        return after, done

    def _live_for(self, row: Row) -> str | None:
        """The saga that holds the row, if one does."""
        if row is None or row["status"]["S"] == self._calls.step.entity.undone:
            return None
        saga: str = row["saga_id"]["S"]
        return saga

    # moto's own store is read and set directly: as calls of the API, these two would take two thirds of the time.

    def _read(self) -> Row:
        item = self._table.items[_KEY].get(self._entity)
        return None if item is None else item.to_json()["Attributes"]

    def _restore(self, row: Row) -> None:
        self._table.items[_KEY].pop(self._entity, None)
        if row is not None:
            self._table.put_item(dict(row))


_KEY = DynamoType({"S": "1"})


def _wrong(
    before: Row,
    after: Row,
    compensated: frozenset[str],
    call: Call,
    held: tuple[str | None, str | None],
    *,
    refused: bool,
) -> Iterator[str]:
    holder, holder_after = held
    if holder_after in compensated:
        yield "an action outlived its compensation"
    if call.compensates and refused:
        yield "a compensation was refused"
    if not call.compensates and not refused and (call.saga in compensated or holder_after != call.saga):
        yield "an action succeeded that should have been refused"
    if holder not in (None, call.saga) and _but(before, "fence") != _but(after, "fence"):
        yield "a saga changed the row of another"
    if (refused or holder == call.saga) and not call.compensates and before != after:
        yield "a refused or repeated action changed the row"
    if before and after and after["fence"]["S"] < before["fence"]["S"]:
        yield "the fence went down"
    if after and after["status"] != after["history"]["L"][-1]["M"]["status"]:
        yield "the history does not end with the status"


def _but(row: Row, name: str) -> dict[str, Any]:
    return {key: value for key, value in (row or {}).items() if key != name}
