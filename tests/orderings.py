"""Every order in which calls for one row can arrive, with the real handlers and a table in memory."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lambdas.saga_runtime.errors import BusinessError
from lambdas.saga_runtime.handlers import Handler
from lambdas.saga_runtime.steps import StepSpec
from local.order_demo import ORDER_DEMO
from tests import trips
from tests.fixtures import ORDER_STEPS, create_table, order_function, store_item, stored_item


@dataclass(frozen=True, kw_only=True)
class RowFunctions:
    """The functions of one row: the action, and its compensation or resolution."""

    step: StepSpec
    action: Handler
    compensation: Handler
    input: Mapping[str, object]


ROWS: Mapping[str, RowFunctions] = {
    spec.entity: RowFunctions(
        step=spec,
        action=order_function(step.action),
        compensation=order_function(step.compensation),
        input=ORDER_DEMO.input("1-success"),
    )
    for step, spec in ORDER_STEPS
} | {
    # A pivot is resolved, not compensated.
    "PIVOT": RowFunctions(
        step=trips.PAYMENT,
        action=trips.take_payment,
        compensation=trips.resolve_payment,
        input=trips.TRIP,
    ),
}


@dataclass(frozen=True, order=True)
class Delivery:
    """One call: the action of a saga, or its compensation or resolution."""

    saga: str
    compensates: bool


Item = dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """The result of a delivery: the item after it, and the invariants that it violated by itself."""

    after: Item
    rejected: bool
    committed: bool
    changed: bool
    problems: tuple[str, ...]


def start_orders(sagas: Sequence[str]) -> list[dict[str, str]]:
    """Return every order of the sagas' start times, equal times included."""
    ranks = itertools.product(range(len(sagas)), repeat=len(sagas))
    dense = sorted({tuple(sorted(set(ranking)).index(rank) for rank in ranking) for ranking in ranks})
    return [
        {saga: f"2026-01-01T00:00:00.00{rank}Z" for saga, rank in zip(sagas, ranking, strict=True)} for ranking in dense
    ]


def count(deliveries: Sequence[Delivery]) -> int:
    """Return the number of different orders of the deliveries."""
    return math.factorial(len(deliveries)) // math.prod(math.factorial(n) for n in Counter(deliveries).values())


class Exploration:
    """Makes deliveries to one row in every order, and checks each of them.

    Two orders that lead to the same item, the same compensated sagas and the same remaining deliveries cannot differ
    from there on, so the rest is explored once for both. The same delivery to the same item has the same result. The
    history does not count, because no condition reads it.

    ``orders`` counts the orders, ``deliveries`` the calls that were made for them. ``violations`` has each violated
    invariant in words.

    Args:
        row: the row, a key of ``ROWS``.
        starts: the start time of each saga.
        every_step: whether every order is explored to its end, which finds the same and takes longer.
    """

    def __init__(self, row: str, starts: Mapping[str, str], *, every_step: bool) -> None:
        self.orders = 0
        self.deliveries = 0
        self.violations: list[str] = []
        self._functions = ROWS[row]
        self._is_pivot = row == "PIVOT"
        self._entity = self._functions.step.entity
        self._starts = starts
        self._every_step = every_step
        self._explored: dict[Any, int] = {}
        self._delivered: dict[Any, Delivered] = {}
        create_table(self._functions.step.schema.key)

    def explore(self, deliveries: Sequence[Delivery]) -> None:
        """Make the deliveries in every order, each order on an empty table."""
        self.orders += self._explore(None, frozenset(), Counter(deliveries), ())

    def _explore(
        self, item: Item, compensated: frozenset[str], left: Counter[Delivery], path: tuple[Delivery, ...]
    ) -> int:
        if not left:
            return 1
        reached = (_without_history(item), compensated, tuple(sorted(left.items())))
        if not self._every_step and reached in self._explored:
            return self._explored[reached]
        orders = 0
        for delivery in sorted(left):
            result = self._deliver(item, delivery)
            is_compensated = delivery.compensates and not result.committed
            now_compensated = compensated | {delivery.saga} if is_compensated else compensated
            self._check(item, result, (*path, delivery), compensated, now_compensated)
            orders += self._explore(result.after, now_compensated, left - Counter([delivery]), (*path, delivery))
        self._explored[reached] = orders
        return orders

    def _deliver(self, before: Item, delivery: Delivery) -> Delivered:
        known = (_without_history(before), delivery)
        if self._every_step or known not in self._delivered:
            self._delivered[known] = self._call(before, delivery)
        return self._delivered[known]

    def _call(self, before: Item, delivery: Delivery) -> Delivered:
        store_item("1", self._entity, before)
        event = {
            "saga": {"id": delivery.saga, "started_at": self._starts[delivery.saga]},
            "input": self._functions.input,
        }
        self.deliveries += 1
        rejected, committed = False, False
        try:
            function = self._functions.compensation if delivery.compensates else self._functions.action
            committed = function(event, None).get("committed") is True
        except BusinessError:
            rejected = True
        after = stored_item("1", self._entity)
        return Delivered(
            after=after,
            rejected=rejected,
            committed=committed,
            changed=before != after,
            problems=tuple(self._problems(before, after, delivery, rejected=rejected)),
        )

    def _problems(self, before: Item, after: Item, delivery: Delivery, *, rejected: bool) -> Iterator[str]:
        """Return the invariants that a delivery violates, whatever came before it."""
        owner = self._owner(before)
        if delivery.compensates and rejected:
            yield "a compensation was rejected"
        if owner not in (None, delivery.saga) and _without_fence(before) != _without_fence(after):
            yield "a saga changed the row of another"
        if not delivery.compensates and (rejected or owner == delivery.saga) and before != after:
            yield "a rejected or repeated action changed the row"
        if before and after and after["fence"]["S"] < before["fence"]["S"]:
            yield "the fence became lower"
        if after and after["status"] != after["history"]["L"][-1]["M"]["status"]:
            yield "the history does not end with the status"

    def _check(
        self,
        before: Item,
        result: Delivered,
        path: tuple[Delivery, ...],
        compensated: frozenset[str],
        now_compensated: frozenset[str],
    ) -> None:
        delivery = path[-1]
        owner, new_owner = self._owner(before), self._owner(result.after)
        problems = list(result.problems)
        if new_owner in now_compensated:
            problems.append("an action took effect after its compensation")
        accepted = not delivery.compensates and not result.rejected
        if accepted and (delivery.saga in now_compensated or new_owner != delivery.saga):
            problems.append("an action succeeded that had to be rejected")
        if self._is_pivot and delivery.compensates and owner == delivery.saga != new_owner:
            problems.append("a resolution compensated an action")
        if result.committed and (
            (owner, new_owner) != (delivery.saga, delivery.saga) or delivery.saga in compensated or result.changed
        ):
            problems.append("a resolution committed an action that had not happened, or changed a final row")
        if problems:
            names = [f"{'compensate' if one.compensates else 'act'} {one.saga}" for one in path]
            self.violations += [f"{problem}: {' > '.join(names)}" for problem in problems]

    def _owner(self, item: Item) -> str | None:
        """Return the saga that owns the row, if it is live."""
        if item is None or item["status"]["S"] == self._functions.step.compensated:
            return None
        saga: str = item["saga_id"]["S"]
        return saga


def _without_history(item: Item) -> str:
    return str(sorted((name, value) for name, value in (item or {}).items() if name != "history"))


def _without_fence(item: Item) -> dict[str, Any]:
    return {name: value for name, value in (item or {}).items() if name not in ("fence", "fenced_by")}
