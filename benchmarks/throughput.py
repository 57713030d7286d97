"""Throughput on the local cloud: orders a second, against the plain saga on the same cloud."""

from collections.abc import Callable

from benchmarks.deployed import Sagas, run_many
from benchmarks.document import Goal, Part, Plot, Table
from benchmarks.measuring import interleaved, ratio, spread

ROUNDS = 5
# Orders of one round, by how many run at a time.
ORDERS = {1: 8, 8: 32, 16: 48}
LIMIT = 0.95


def run(progress: Callable[[str], None], sagas: Sagas) -> Part:
    """Measure both, in turn. Raises BenchmarkError if an order fails."""
    runs = {
        f"{name} {at_a_time}": (
            lambda name=name, count=count, at_a_time=at_a_time: run_many(sagas.named(name), count, at_a_time=at_a_time)
        )
        for at_a_time, count in ORDERS.items()
        for name in ("order", "plain")
    }
    measured = interleaved(ROUNDS, runs, progress)
    ratios = {at: ratio(measured[f"order {at}"], measured[f"plain {at}"]) for at in ORDERS}
    medians = {name: spread(values).median for name, values in measured.items()}
    return Part(
        name="throughput",
        title="Throughput on the local cloud",
        text=[
            (
                "Complete orders, a fixed number of them under way at a time, through this saga and through the"
                " plain one, deployed on the same local cloud. The emulator and the functions share this machine's"
                " cores, so it tells how the two compare, and not what AWS does: see Scale. This saga has a state"
                " more, ConfirmOrder; the plain one makes a client in each call."
            ),
        ],
        tables=[
            Table(
                title=f"Orders a second, {ROUNDS} rounds in turn",
                columns=["at a time", "of the plain saga", "this saga, on this machine", "plain saga, on this machine"],
                rows=[
                    [str(at), f"{ratios[at]:.2f}", f"{medians[f'order {at}']:.1f}", f"{medians[f'plain {at}']:.1f}"]
                    for at in ORDERS
                ],
            )
        ],
        plots=[
            Plot(
                name="throughput",
                title="Orders a second on the local cloud",
                kind="bars",
                x=[f"{at} at a time" for at in ORDERS],
                series={
                    "this saga": [medians[f"order {at}"] for at in ORDERS],
                    "plain saga": [medians[f"plain {at}"] for at in ORDERS],
                },
                unit="orders a second, this machine",
            )
        ],
        goals=[
            Goal(
                what="orders a second, of the plain saga, the worst of 1, 8 and 16 at a time",
                value=min(of.median for of in ratios.values()),
                limit=LIMIT,
                at_least=True,
                beyond="ConfirmOrder, which the plain saga has not",
            )
        ],
        figures={"ratios": ratios, "orders_per_second": measured},
    )
