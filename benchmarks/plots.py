"""Draws the plots of the document as SVG, the same bytes for the same numbers."""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams |= {"svg.hashsalt": "order-saga", "svg.fonttype": "none", "font.size": 9, "figure.figsize": (7, 3)}

from matplotlib import pyplot as plt  # noqa: E402 (the backend is chosen first)

from benchmarks.document import Plot  # noqa: E402

BAR_WIDTH = 0.8


def draw(plot: Plot, folder: Path) -> Path:
    """Write ``<name>.svg`` into the folder; returns its path."""
    figure, axes = plt.subplots(layout="constrained")
    below = [0.0] * len(plot.x)
    for number, (name, values) in enumerate(plot.series.items()):
        if plot.kind == "lines":
            axes.plot([float(at) for at in plot.x], values, marker="o", label=name)
        elif plot.kind == "stacked":
            axes.bar(plot.x, values, BAR_WIDTH, bottom=below, label=name)
            below = [under + value for under, value in zip(below, values, strict=True)]
        else:
            width = BAR_WIDTH / len(plot.series)
            axes.bar([at + number * width for at in range(len(plot.x))], values, width, label=name)
    if plot.kind == "bars":
        width = BAR_WIDTH / len(plot.series)
        axes.set_xticks([at + (BAR_WIDTH - width) / 2 for at in range(len(plot.x))], plot.x)
    if plot.limit is not None:
        axes.axhline(plot.limit, linestyle="--", color="black", linewidth=1, label=f"goal: {plot.limit:g}")
    axes.set_title(plot.title)
    axes.set_ylabel(plot.unit)
    axes.set_ylim(bottom=0)
    if plot.kind != "lines" and len(plot.x) > 5:  # noqa: PLR2004 (more names than fit side by side)
        axes.tick_params(axis="x", labelrotation=20)
    if len(plot.series) > 1 or plot.limit is not None:
        axes.legend(frameon=False, loc="best")
    path = folder / f"{plot.name}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return path
