"""What one AWS account sustains, on paper: ``python -m benchmarks.scale --orders-per-second N``.

From the default quotas (quotas.toml), the price list, and what a happy order uses, as `make bench` has counted it.
Exit status: 0, or 2 for a mistake in the arguments or without those counts.
"""

import argparse
import dataclasses
import json
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.billing import Used, bill, oldest, prices
from benchmarks.document import Part, Table
from benchmarks.errors import BenchmarkError
from ops.arguments import ArgumentParser

QUOTAS = Path(__file__).parent / "quotas.toml"
COUNTED = Path(__file__).parent.parent / "docs" / "performance.json"
RATES = (100, 1_000, 10_000)
HAPPY = "1-success"
SECONDS_OF_A_MONTH = 30 * 24 * 3600
MOST = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one order uses, and for how many seconds its functions run, all together."""

    used: Used
    busy_seconds: float


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a default quota allows in orders a second, and what a rate asks of it."""

    name: str
    what: str
    quota: float
    orders_per_second: float
    needed: float
    source: str
    read: str

    @property
    def sufficient(self) -> bool:
        """Whether the default quota is enough for what is needed."""
        return self.needed <= self.quota


def quotas(path: Path = QUOTAS) -> Mapping[str, Mapping[str, Any]]:
    """The default quotas, by name."""
    return tomllib.loads(path.read_text())


def counted(path: Path = COUNTED) -> Order:
    """A happy order, as it was counted. Raises BenchmarkError if it was not."""
    try:
        figures = json.loads(path.read_text())["parts"]["cost"]["figures"]
        return order_of(figures)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(
            f"{path.name} does not hold what an order uses ({type(error).__name__}): run `make bench`, which counts it"
        ) from None


def order_of(figures: Mapping[str, Any]) -> Order:
    """A happy order, from the figures of the part ``cost``."""
    return Order(used=Used(**figures["used"]["order"][HAPPY]), busy_seconds=figures["busy_seconds"]["order"])


def limits(rate: float, order: Order, listed: Mapping[str, Mapping[str, Any]]) -> list[Limit]:
    """Each quota against so many orders a second, the tightest first."""
    shares = {
        "start_execution": 1.0,
        "state_transition": order.used.state_transitions,
        "lambda_concurrency": order.busy_seconds,
        "table_writes": order.used.write_units,
        "new_table_writes": order.used.write_units,
    }
    found = [
        Limit(
            name=name,
            what=listed[name]["what"],
            quota=listed[name]["quota"],
            orders_per_second=listed[name]["quota"] / share,
            needed=rate * share,
            source=listed[name]["source"],
            read=listed[name]["read"].isoformat(),
        )
        for name, share in shares.items()
    ]
    return sorted(found, key=lambda limit: limit.orders_per_second)


def dollars_a_month(rate: float, order: Order, listed: Mapping[str, Mapping[str, Any]]) -> float:
    """What so many orders a second cost, day and night for 30 days."""
    return bill(order.used, listed).total * rate * SECONDS_OF_A_MONTH


def part(order: Order) -> Part:
    """The section of the document."""
    found = limits(1, order, quotas())
    return Part(
        name="scale",
        title="Scale",
        text=[
            (
                f"On paper, from AWS's default quotas of an account in us-east-1, read on {oldest(quotas())}"
                " (`benchmarks/quotas.toml` names each source); a new account starts with less. An order is a happy"
                f" one: {order.used.state_transitions:g} state transitions, {order.used.requests:g} calls that take"
                f" {order.busy_seconds * 1000:.0f} ms together, {order.used.write_units:g} write units. By default"
                f" that is {found[0].orders_per_second:,.0f} orders a second; the first limit is {found[0].what}."
                " All of these quotas can be raised on request. `python -m benchmarks.scale --orders-per-second N`"
                " tells it for any rate."
            ),
        ],
        tables=[
            Table(
                title="What each quota sustains, and what to raise it to",
                columns=["quota", "default", "orders a second", *(f"for {rate:,} a second" for rate in RATES)],
                rows=[
                    [limit.what, f"{limit.quota:,}", f"{limit.orders_per_second:,.0f}", *_raises(limit)]
                    for limit in found
                ],
            ),
            Table(
                title="What that costs, in US dollars, day and night for 30 days, at list prices",
                columns=["orders a second", "a month"],
                rows=[[f"{rate:,}", f"{dollars_a_month(rate, order, prices()):,.0f}"] for rate in RATES],
            ),
        ],
        figures={"limits": [dataclasses.asdict(limit) for limit in found]},
    )


def _raises(limit: Limit) -> list[str]:
    needs = [rate / limit.orders_per_second * limit.quota for rate in RATES]
    return ["enough" if need <= limit.quota else f"{math.ceil(need):,}" for need in needs]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        order = counted()
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rate = options.orders_per_second
    found, monthly = limits(rate, order, quotas()), dollars_a_month(rate, order, prices())
    print(_as_json(rate, found, monthly) if options.json else _as_text(rate, found, monthly))
    return 0


def _as_json(rate: float, found: Sequence[Limit], monthly: float) -> str:
    told = {
        "orders_per_second": rate,
        "sustained_by_default": found[0].orders_per_second,
        "first_limit": found[0].name,
        "dollars_a_month": round(monthly, 2),
        "limits": [dataclasses.asdict(limit) | {"sufficient": limit.sufficient} for limit in found],
    }
    return json.dumps(told, indent=2)


def _as_text(rate: float, found: Sequence[Limit], monthly: float) -> str:
    lines = [f"{rate:,g} happy orders a second, in one account in us-east-1:"]
    for limit in found:
        verdict = "enough" if limit.sufficient else f"raise to {math.ceil(limit.needed):,}"
        lines.append(
            f"  {limit.what:<45} {limit.quota:>6,}, sustains {limit.orders_per_second:>8,.0f} a second: {verdict}"
        )
    first = found[0]
    lines.append(f"By default an account sustains {first.orders_per_second:,.0f} a second; first limit: {first.what}.")
    lines.append(f"About ${monthly:,.0f} for 30 days of it, day and night, at the list prices of {oldest(prices())}.")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m benchmarks.scale", description="What an account sustains, what to raise, what it costs."
    )
    parser.add_argument("--orders-per-second", type=_rate, required=True, metavar="N")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: expected a number above 0 and at most {MOST:,}")
    return rate


if __name__ == "__main__":
    sys.exit(main())
