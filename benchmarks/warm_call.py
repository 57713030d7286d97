"""Warm call: CPU time of an invocation, against the very requests that it makes, made by a bare client."""

from collections.abc import Callable

from benchmarks.calls import REPORTER, SAGA
from benchmarks.document import Goal, Part, Plot, Table
from benchmarks.measuring import ratio, spread, worker
from benchmarks.worker import CALLS, PEAK_CALLS, ROUNDS

LIMIT = 1.3


def run(progress: Callable[[str], None]) -> Part:
    """Measure every function. Raises BenchmarkError if one fails."""
    found = measured(progress)
    ratios = {name: ratio(of["order"], of["bare"]) for name, of in found.items()}
    plain = {name: ratio(of["plain"], of["bare"]) for name, of in found.items() if "plain" in of}
    progress("memory after many calls")
    peak, bare_peak = worker("peak", "order"), worker("peak", "bare")
    return Part(
        name="warm_call",
        title="Warm call",
        text=[
            (
                "CPU time of an invocation in a process that is warm, DynamoDB answered from memory at the HTTP"
                " layer. The baseline is the very requests that the function makes, captured from it, made by a"
                " bare boto3 client. The plain saga makes a client at each call."
            ),
            (
                f"After {PEAK_CALLS} calls of `create_order` the process has a peak of {peak / 1e6:.0f} MB,"
                f" {peak / bare_peak:.2f} of one that made the same requests by a bare boto3 client."
            ),
        ],
        tables=[
            Table(
                title=f"Of a bare client, {ROUNDS} rounds of {CALLS} calls side by side",
                columns=["function", "of a bare client", "CPU on this machine", "plain saga, of a bare client"],
                rows=[
                    [
                        f"`{name}`",
                        f"{ratios[name]:.2f}",
                        f"{spread(found[name]['order']).median * 1e6:.0f} µs",
                        f"{plain[name].median:.1f}" if name in plain else "",
                    ]
                    for name in found
                ],
            )
        ],
        plots=[
            Plot(
                name="warm-call",
                title="Warm call, relative to the same requests by a bare client",
                kind="bars",
                x=list(found),
                series={"of a bare client": [of.median for of in ratios.values()]},
                unit="ratio of CPU time",
                limit=LIMIT,
            )
        ],
        goals=[
            Goal(
                what="warm call of the slowest function, of a bare client",
                value=max(of.median for of in ratios.values()),
                limit=LIMIT,
                beyond="the first compensation writes a line of log and counts two metrics",
            )
        ],
        figures={
            "ratios": ratios,
            "plain": plain,
            "cpu_seconds": found,
            "peak_bytes": peak,
            "bare_peak_bytes": bare_peak,
        },
    )


def measured(progress: Callable[[str], None]) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of a call by function, then by who makes it (``order``, ``plain`` or ``bare``), for each round."""
    found = {}
    for function in (*SAGA, REPORTER):
        progress(function)
        found[function] = worker("time", function)
    return found
