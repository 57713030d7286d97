"""Orders a second on the local cloud, against the plain saga on the same cloud."""

from collections.abc import Callable
from statistics import median

from benchmarks.deployed import Sagas, orders_a_second
from benchmarks.document import Goal, Part, table
from benchmarks.measuring import interleaved, ratios, shown

ROUNDS = 5
# Orders of one round, by how many run at a time.
ORDERS = {1: 6, 8: 32, 16: 48}
LIMIT = 0.95


def run(progress: Callable[[str], None], sagas: Sagas) -> Part:
    """Measure both, in turn. Raises BenchmarkError if an order fails."""
    runs = {
        f"{saga} {at}": (lambda saga=saga, count=count, at=at: orders_a_second(sagas[saga], count, at_a_time=at))
        for at, count in ORDERS.items()
        for saga in sagas
    }
    measured = interleaved(ROUNDS, runs, lambda doing: progress(f"throughput, {doing}"))
    found = {at: ratios(measured[f"order {at}"], measured[f"plain {at}"]) for at in ORDERS}
    rows = [
        [str(at), shown(of), *(f"{median(measured[f'{saga} {at}']):.1f}" for saga in sagas)] for at, of in found.items()
    ]
    return Part(
        values={"throughput": table(["at a time", "relative", "order saga, a second", "plain saga, a second"], rows)},
        figures=measured,
        goals=[Goal("throughput, relative to the plain saga", min(map(median, found.values())), LIMIT, at_least=True)],
    )
