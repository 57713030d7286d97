"""What one AWS account sustains, on paper: ``python -m benchmarks.scale --orders-per-second N``.

From the default quotas (quotas.toml) and from what a happy order uses. Exit status: 0, or 2 for a mistake in the arguments.
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

QUOTAS = Path(__file__).parent / "quotas.toml"
RATES = (100, 1_000, 10_000)
SECONDS_OF_A_MONTH = 30 * 24 * 3600
MOST = 1_000_000

# What a happy order uses. `make bench` counts it anew, and says so if this is no longer true; the seconds are what
# its three calls are billed for, so that it is a bound from above of how many run at once.
HAPPY = Used(state_transitions=4, requests=3, gb_seconds=0.0, write_units=4, read_units=0, log_bytes=0)
BUSY_SECONDS = 0.03


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a quota allows in orders a second, and what a given rate asks of it."""

    name: str
    what: str
    quota: float
    orders_per_second: float
    needed: float
    adjustable: bool
    source: str
    read: str

    @property
    def sufficient(self) -> bool:
        """Whether the default quota is enough for what is needed."""
        return self.needed <= self.quota


def quotas(path: Path = QUOTAS) -> Mapping[str, Mapping[str, Any]]:
    """The default quotas, by name."""
    return tomllib.loads(path.read_text())


def limits(rate: float, *, used: Used, busy_seconds: float, listed: Mapping[str, Mapping[str, Any]]) -> list[Limit]:
    """Each quota against the rate, the tightest first. ``busy_seconds`` is how long functions run for one order."""
    per_order = {
        "start_execution": 1.0,
        "state_transition": used.state_transitions,
        "lambda_concurrency": busy_seconds,
        "table_writes": used.write_units,
        "new_table_writes": used.write_units,
    }
    found = []
    for name, share in per_order.items():
        entry = listed[name]
        quota = entry.get("per_second", entry.get("at_once"))
        found.append(
            Limit(
                name=name,
                what=entry["what"],
                quota=quota,
                orders_per_second=quota / share,
                needed=rate * share,
                adjustable=entry["adjustable"],
                source=entry["source"],
                read=entry["read"].isoformat(),
            )
        )
    return sorted(found, key=lambda limit: limit.orders_per_second)


def dollars_a_month(rate: float, used: Used) -> float:
    """What that rate costs, day and night for 30 days, by the price list."""
    return bill(used, prices(), orders=1).total * rate * SECONDS_OF_A_MONTH


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    rate = options.orders_per_second
    found = limits(rate, used=HAPPY, busy_seconds=BUSY_SECONDS, listed=quotas())
    if options.json:
        told = {
            "orders_per_second": rate,
            "sustained_by_default": found[0].orders_per_second,
            "first_limit": found[0].name,
            "dollars_a_month": round(dollars_a_month(rate, HAPPY), 2),
            "limits": [dataclasses.asdict(limit) | {"sufficient": limit.sufficient} for limit in found],
        }
        print(json.dumps(told, indent=2))
        return 0
    print(
        f"{rate:g} orders a second, in one account in us-east-1, each with {HAPPY.state_transitions:g} state transitions,"
    )
    print(
        f"{HAPPY.requests:g} function calls of {BUSY_SECONDS * 1000:g} ms together, and {HAPPY.write_units:g} write units:\n"
    )
    for limit in found:
        verdict = "enough" if limit.sufficient else f"raise to {math.ceil(limit.needed):,}"
        print(f"  {limit.what:<44} {limit.quota:>7,}  sustains {limit.orders_per_second:>9,.0f} a second  {verdict}")
    print(f"\nBy default {found[0].orders_per_second:,.0f} a second; the first limit is {found[0].what}.")
    print(f"About ${dollars_a_month(rate, HAPPY):,.0f} a month of steady load, list prices of {oldest(prices())}.")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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
