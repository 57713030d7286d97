"""Growth: an order's latency and rows as the table fills, and as the same order is tried again and again."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks.billing import row_size, write_units
from benchmarks.calls import EXECUTION, STARTED_AT
from benchmarks.deployed import Sagas, fresh, seconds_of_one
from benchmarks.document import Part, Plot, Table
from benchmarks.measuring import Spread, interleaved, ratio
from local.orders import Orders

SIZES = (10, 1_000, 10_000)
ATTEMPTS = (0, 1, 5, 10, 20, 50)
ROUNDS = 10
ROUNDS_OF_ATTEMPTS = 5
BATCH = 25
UNDONE = {"ORDER": ("PENDING", "DELETED"), "PAYMENT": ("CHARGED", "REFUNDED"), "SHIPMENT": ("BOOKED", "CANCELLED")}

Row = dict[str, Any]


def run(progress: Callable[[str], None], sagas: Sagas) -> Part:
    """Measure both kinds of growth. Raises BenchmarkError if an order fails."""
    tables = _full_tables(progress, sagas)
    attempts = _attempts(progress, sagas)
    return Part(
        name="growth",
        title="Growth",
        text=[
            (
                "The latency of a complete order in a table that holds so many orders already (rows are put"
                " directly), of that of the plain saga, whose table stays small; and of an order that has been"
                " tried and undone so often before: each attempt adds two lines to the history of each row, which"
                " is never trimmed. Write units are those of the four writes of the last attempt; DynamoDB counts 1"
                " KiB of a row as one."
            ),
        ],
        tables=[
            Table(
                title="Orders in the table",
                columns=["orders", "latency, of the plain saga"],
                rows=[[f"{size:,}", f"{found:.2f}"] for size, found in tables.items()],
            ),
            Table(
                title="Earlier attempts of the same order",
                columns=[
                    "attempts",
                    "latency, of the plain saga",
                    "ORDER, bytes",
                    "all three rows, bytes",
                    "write units",
                ],
                rows=[
                    [str(count), f"{of['latency']:.2f}", f"{of['order']:,}", f"{of['rows']:,}", str(of["units"])]
                    for count, of in attempts.items()
                ],
            ),
        ],
        plots=[
            Plot(
                name="growth",
                title="Write units of an order, by its earlier attempts",
                kind="lines",
                x=[str(count) for count in attempts],
                series={"write units": [of["units"] for of in attempts.values()]},
                unit="write units",
            )
        ],
        figures={"orders_in_table": tables, "earlier_attempts": attempts},
    )


def _full_tables(progress: Callable[[str], None], sagas: Sagas) -> dict[int, Spread]:
    found, held = {}, 0
    for size in SIZES:
        progress(f"filling the table to {size:,} orders")
        _put(sagas, (row for _ in range(size - held) for row in undone_rows(str(uuid.uuid4()), attempts=1)))
        held = size
        found[size] = _side_by_side(progress, sagas, ROUNDS, fresh)
    return found


def _attempts(progress: Callable[[str], None], sagas: Sagas) -> dict[int, dict[str, Any]]:
    found = {}
    for count in ATTEMPTS:
        progress(f"{count} earlier attempts")
        last: dict[str, object] = {}

        def tried(count: int = count, last: dict[str, object] = last) -> dict[str, object]:
            last |= fresh()
            _put(sagas, undone_rows(str(last["order_id"]), attempts=count))
            return dict(last)

        latency = _side_by_side(progress, sagas, ROUNDS_OF_ATTEMPTS, tried)
        before = {row["entity"]["S"]: row_size(row) for row in undone_rows("0" * 36, attempts=count)}
        after = {entity: row_size(row) for entity, row in sagas.order.rows(str(last["order_id"])).items()}
        found[count] = {
            "latency": latency,
            "order": after["ORDER"],
            "rows": sum(after.values()),
            # An action on each row, and ConfirmOrder on ORDER.
            "units": sum(write_units(before.get(entity, 0), size) for entity, size in after.items())
            + write_units(after["ORDER"], after["ORDER"]),
        }
    return found


def _side_by_side(
    progress: Callable[[str], None], sagas: Sagas, rounds: int, make: Callable[[], Mapping[str, object]]
) -> Spread:
    def seconds(orders: Orders, make: Callable[[], Mapping[str, object]]) -> float:
        return seconds_of_one(orders, make())

    runs = {"order": lambda: seconds(sagas.order, make), "plain": lambda: seconds(sagas.plain, fresh)}
    measured = interleaved(rounds, runs, progress)
    return ratio(measured["order"], measured["plain"])


def undone_rows(order_id: str, *, attempts: int) -> list[Row]:
    """The rows that so many attempts, each undone at its end, leave of an order; none for none."""
    return [
        {
            "order_id": {"S": order_id},
            "entity": {"S": entity},
            "status": {"S": undone},
            "saga_id": {"S": EXECUTION},
            "fence": {"S": STARTED_AT},
            "total": {"N": "100"},
            "history": {"L": [_event(status) for _ in range(attempts) for status in (live, undone)]},
        }
        for entity, (live, undone) in UNDONE.items()
        if attempts
    ]


def _event(status: str) -> Row:
    return {"M": {"status": {"S": status}, "saga_id": {"S": EXECUTION}, "at": {"S": STARTED_AT}}}


def _put(sagas: Sagas, rows: Iterable[Row]) -> None:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            _put_batch(sagas, batch)
            batch = []
    if batch:
        _put_batch(sagas, batch)


def _put_batch(sagas: Sagas, rows: Iterable[Row]) -> None:
    requests = [{"PutRequest": {"Item": row}} for row in rows]
    sagas.order.dynamodb.batch_write_item(RequestItems={sagas.table: requests})
