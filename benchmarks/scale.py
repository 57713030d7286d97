"""What one AWS account sustains, on paper: ``python -m benchmarks.scale --orders-per-second N``.

It needs the figures of `make bench`. Exit status: 0, or 2 for a mistake in the arguments or without these figures.
"""

import json
import math
import sys
from collections.abc import Sequence

from benchmarks.billing import Usage, bill, listed, oldest
from benchmarks.document import Part, table
from local.cloud import PROJECT
from ops.arguments import ArgumentParser

FIGURES = PROJECT / "docs" / "performance.json"
RATES = (100, 1_000, 10_000)
MONTH = 30 * 24 * 3600


def allowed(usage: Usage) -> dict[str, float]:
    """Return the orders a second that each default quota allows, the tightest first."""
    shares = {
        "start_execution": 1,
        "state_transition": usage.transitions,
        "lambda_concurrency": usage.milliseconds / 1000,
        "table_writes": usage.write_units,
        "new_table_writes": usage.write_units,
    }
    found = {name: quota["quota"] / shares[name] for name, quota in listed("quotas").items()}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def needs(usage: Usage, rates: Sequence[float]) -> str:
    """Return a table: what each quota allows, what to raise it to for a rate, and the cost of 30 days."""
    quotas, rows = listed("quotas"), []
    for name, orders in allowed(usage).items():
        what, quota = quotas[name]["what"], quotas[name]["quota"]
        raised = ["enough" if rate <= orders else f"{math.ceil(rate / orders * quota):,}" for rate in rates]
        rows.append([what, f"{quota:,}", f"{orders:,.0f}", *raised])
    dollars = sum(bill(usage, listed("prices")).values()) * MONTH
    rows.append(["30 days, day and night", "", "", *(f"${dollars * rate:,.0f}" for rate in rates)])
    return table(["quota", "default", "orders a second", *(f"for {rate:,g} a second" for rate in rates)], rows)


def part(usage: Usage) -> Part:
    """Return the part of the document."""
    name, orders = next(iter(allowed(usage).items()))
    quotas = listed("quotas")
    values = {"rate": f"{orders:,.0f}", "first_limit": quotas[name]["what"], "quotas_read": str(oldest(quotas))}
    return Part(values=values | {"limits": needs(usage, RATES)}, figures={})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks.scale", description="What a rate needs and costs.")
    parser.add_argument("--orders-per-second", type=float, required=True, metavar="N")
    rate = parser.parse_args(arguments).orders_per_second
    if not 0 < rate < math.inf:
        parser.error(f"invalid rate {rate:g}: must be above 0")
    try:
        usage = Usage(**json.loads(FIGURES.read_text())["cost"]["figures"]["usage"]["order"]["1-success"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: no figures in {FIGURES.name} ({type(error).__name__}): run `make bench`", file=sys.stderr)
        return 2
    print(needs(usage, [rate]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
