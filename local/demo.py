"""The demo: a few orders through a deployed saga, each shown with its path, its end and its rows."""

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.cloud import PROJECT
from local.errors import LocalError
from local.orders import Ended, Orders

SCENARIOS = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """How the contract says that an order ends. ``states`` is its path, without the states within a parallel group."""

    title: str
    status: str
    states: tuple[str, ...]
    statuses: Mapping[str, str]
    error: str | None = None


class Service(Protocol):
    """A service outside that the functions call for money, and that runs here on loopback in its place."""

    @property
    def context(self) -> Mapping[str, str]:
        """What the CDK app is told of it: where it is."""
        ...

    def books(self, order_id: str) -> str:
        """What it has done for an order, in words."""
        ...

    def net(self, order_id: str) -> Decimal:
        """What it has taken for an order and not given back."""
        ...


class Serving(Protocol):
    """Runs the service while the block runs; ``hold_seconds`` is how long it keeps an answer that is to come late."""

    def __call__(self, *, hold_seconds: float = ...) -> AbstractContextManager[Service | None]:
        """Begin."""
        ...


@contextmanager
def no_service(*, hold_seconds: float = 0) -> Iterator[None]:  # noqa: ARG001 (it is a Serving)
    """For a saga that calls none."""
    yield None


@dataclass(frozen=True, kw_only=True)
class Example:
    """A saga to be shown: its app, its orders, whatever they are called, and how they end.

    ``stack`` is what the name of its stack begins with, ``module`` the CDK app if it is not the project's own,
    ``key`` the field that identifies an order, and ``entities`` the rows in the order in which they are shown.
    If the functions call a ``service``, ``price`` is the field of the order that says what that is to take.
    """

    noun: str
    stack: str
    module: str | None = None
    key: str
    entities: tuple[str, ...]
    scenarios: Path
    expected: Mapping[str, Expected]
    service: Serving = no_service
    price: str = ""

    def scenario(self, name: str) -> dict[str, object]:
        """The order of a scenario, by the name of its file."""
        order: dict[str, object] = json.loads((self.scenarios / f"{name}.json").read_text())
        return order


EXPECTED: Mapping[str, Expected] = {
    "1-success": Expected(
        title="a complete order",
        status="SUCCEEDED",
        states=("CreateOrder", "ProcessPayment", "ProcessShipment", "ConfirmOrder"),
        statuses={"ORDER": "CONFIRMED", "PAYMENT": "CHARGED", "SHIPMENT": "BOOKED"},
    ),
    "2-failed-order": Expected(
        title="no total: CreateOrder fails",
        status="FAILED",
        error="OrderFailed",
        states=("CreateOrder", "DeleteOrder", "OrderFailed"),
        statuses={"ORDER": "DELETED"},
    ),
    "3-failed-payment": Expected(
        title="no card_no: ProcessPayment fails",
        status="FAILED",
        error="OrderFailed",
        states=("CreateOrder", "ProcessPayment", "RefundPayment", "DeleteOrder", "OrderFailed"),
        statuses={"ORDER": "DELETED", "PAYMENT": "REFUNDED"},
    ),
    "5-failed-shipment": Expected(
        title="no address: ProcessShipment fails",
        status="FAILED",
        error="OrderFailed",
        states=(
            "CreateOrder",
            "ProcessPayment",
            "ProcessShipment",
            "CancelShipment",
            "RefundPayment",
            "DeleteOrder",
            "OrderFailed",
        ),
        statuses={"ORDER": "DELETED", "PAYMENT": "REFUNDED", "SHIPMENT": "CANCELLED"},
    ),
}


ORDER_SAGA = Example(
    noun="order",
    stack="OrderSaga",
    key="order_id",
    entities=("ORDER", "PAYMENT", "SHIPMENT"),
    scenarios=SCENARIOS,
    expected=EXPECTED,
)
scenario = ORDER_SAGA.scenario


def example(name: str | None) -> Example:
    """The example in the folder of that name under ``examples``; the order saga without a name.

    Raises LocalError if there is none.
    """
    if not name:
        return ORDER_SAGA
    known = sorted(path.parent.name for path in (PROJECT / "examples").glob("*/demo.py"))
    if name not in known:
        raise LocalError(f"there is no example {name!r}: use EXAMPLE= with one of {', '.join(known)}")
    found: Example = importlib.import_module(f"examples.{name}.demo").EXAMPLE
    return found


def run(orders: Orders, console: Console, shown: Example = ORDER_SAGA, service: Service | None = None) -> list[str]:
    """Run the example's orders and show each. Returns what differs from the contract, in words; empty is good."""
    differences = []
    for name, expected in shown.expected.items():
        order = shown.scenario(name)
        order_id = str(order[shown.key])
        with console.status(f"{name} is running"):
            ended = orders.end(orders.start(order))
            rows = orders.rows(order_id)
        books = None if service is None else service.books(order_id)
        _show(console, shown, name=name, expected=expected, order=order, ended=ended, rows=rows, books=books)
        statuses = {entity: row["status"]["S"] for entity, row in rows.items()}
        found = compare(expected, ended, statuses)
        if service is not None:
            found += unbalanced(ended, order[shown.price], service.net(order_id))
        differences += [f"{name}: {difference}" for difference in found]
    return differences


def unbalanced(ended: Ended, price: object, net: Decimal) -> list[str]:
    """Whether the service has taken anything else than the price of an order that succeeded, in words."""
    due = Decimal(str(price)) if ended.status == "SUCCEEDED" else Decimal(0)
    return [] if net == due else [f"the service holds {net}, expected {due}"]


def compare(expected: Expected, ended: Ended, statuses: Mapping[str, str]) -> list[str]:
    """Where the end of an order differs from what is expected, in words."""
    pairs = {
        "status": (expected.status, ended.status),
        "error": (expected.error, ended.error),
        "path": (" > ".join(expected.states), " > ".join(ended.states)),
        "rows": (dict(sorted(expected.statuses.items())), dict(sorted(statuses.items()))),
    }
    return [f"{what} is {got}, expected {wanted}" for what, (wanted, got) in pairs.items() if wanted != got]


def _show(
    console: Console,
    shown: Example,
    *,
    name: str,
    expected: Expected,
    order: Mapping[str, object],
    ended: Ended,
    rows: Mapping[str, Mapping[str, Mapping[str, object]]],
    books: str | None,
) -> None:
    good = ended.status == "SUCCEEDED"
    console.print()
    console.rule(f"[bold]{escape(name)}[/bold]: {escape(expected.title)}", align="left")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", min_width=7)
    facts.add_column(overflow="fold")
    facts.add_row(shown.noun, escape(json.dumps(_without_card(order))))
    facts.add_row("path", escape(" > ".join(ended.states)))
    facts.add_row(
        "ended", f"[{'green' if good else 'red'}]{ended.status}[/]" + (f" ({ended.error})" if ended.error else "")
    )
    if ended.cause:
        facts.add_row("because", escape(ended.cause))
    if ended.output and good:
        facts.add_row("output", escape(ended.output))
    for entity in shown.entities:
        facts.add_row("rows" if entity == shown.entities[0] else "", _row(entity, rows.get(entity)))
    if books is not None:
        facts.add_row("outside", escape(books))
    console.print(facts)


def _without_card(order: Mapping[str, object]) -> dict[str, object]:
    """The order as it may be shown: of the card number no more than its end."""
    return {name: f"...{str(value)[-4:]}" if name == "card_no" else value for name, value in order.items()}


def _row(entity: str, row: Mapping[str, Mapping[str, object]] | None) -> str:
    if row is None:
        return f"{entity:<9}[dim]none: the saga never came so far[/dim]"
    history = row["history"]["L"]
    statuses = [event["M"]["status"]["S"] for event in history] if isinstance(history, list) else []
    return f"{entity:<9}{row['status']['S']!s:<10} [dim]history: {escape(' > '.join(statuses))}[/dim]"
