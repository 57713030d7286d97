"""``python -m benchmarks [PART ...]``: see the Makefile, which calls it.

Without a name all parts run, and docs/performance.md, its plots and docs/performance.json are written; with names only
those run, and their findings are printed. Exit status: 0 measured, whatever the goals; 2 it could not run; 130
interrupted.
"""

import argparse
import contextlib
import dataclasses
import datetime as dt
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import botocore.exceptions

from benchmarks.document import Goal, Part, document, markdown
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import PROJECT
from local.errors import LocalError
from ops.arguments import ArgumentParser

# In the order of the document. Those of the second kind share one local cloud.
HERE = ("cold_start", "warm_call", "asset", "developer_loop")
ON_THE_CLOUD = ("cost", "throughput", "growth")
PARTS = ("cost", "cold_start", "warm_call", "asset", "throughput", "growth", "developer_loop", "scale")
DOCS = PROJECT / "docs"
PLOTS = "performance"
VERSIONS = ("boto3", "botocore", "aws-cdk-lib", "ministack", "awslambdaric")


class _Progress:
    """Says what is being measured and how long it has taken so far."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def of(self, part: str) -> Callable[[str], None]:
        return lambda doing: self(f"{part}: {doing}")

    def __call__(self, doing: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {doing}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    # SIGTERM and the closing of the terminal end it like Ctrl-C: through the clean-up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # The CDK's library runs on Node.js; the one that it is meant for lies beside this Python.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    progress = _Progress()
    try:
        parts = _run(options.parts or PARTS, progress)
        if options.parts:
            print("\n\n".join(markdown(part) for part in parts))
        else:
            write(parts, taken=_taken())
            progress(f"written: {(DOCS / 'performance.md').relative_to(PROJECT)}")
    except (BenchmarkError, LocalError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except botocore.exceptions.BotoCoreError as error:
        print(f"error: the local cloud does not answer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted; nothing was written, and nothing is left running.", file=sys.stderr)
        return 130
    _tell(goal for part in parts for goal in part.goals)
    return 0


def _run(names: Sequence[str], progress: _Progress) -> list[Part]:
    found: dict[str, Part] = {}
    for name in HERE:
        if name in names:
            found[name] = _module(name).run(progress.of(name))
    if any(name in names for name in ON_THE_CLOUD):
        with _module("deployed").deployed(progress.of("local cloud")) as sagas:
            for name in ON_THE_CLOUD:
                if name in names:
                    found[name] = _module(name).run(progress.of(name), sagas)
    if "scale" in names:
        scale = _module("scale")
        found["scale"] = scale.part(scale.order_of(found["cost"].figures) if "cost" in found else scale.counted())
    return [found[name] for name in PARTS if name in names]


def _module(name: str) -> Any:
    # The parts load the CDK, the emulator's client or matplotlib: only what is asked for.
    return importlib.import_module(f"benchmarks.{name}")


def write(parts: Sequence[Part], *, taken: Mapping[str, str], folder: Path = DOCS) -> None:
    """Write the document, its plots and its figures into the folder; plots of earlier runs go."""
    shutil.rmtree(folder / PLOTS, ignore_errors=True)
    (folder / PLOTS).mkdir(parents=True)
    for part in parts:
        for plot in part.plots:
            _module("plots").draw(plot, folder / PLOTS)
    (folder / "performance.md").write_text(document(parts, taken=taken, plots_in=PLOTS))
    (folder / "performance.json").write_text(_json(parts, taken))


def _json(parts: Sequence[Part], taken: Mapping[str, str]) -> str:
    """A line for each part, so that a difference of two runs can be read."""
    lines = [f"{json.dumps(part.name)}: {json.dumps(_plain(part))}" for part in parts]
    return f'{{"taken": {json.dumps(taken)},\n"parts": {{\n' + ",\n".join(lines) + "\n}}\n"


def _plain(part: Part) -> dict[str, Any]:
    goals = [dataclasses.asdict(goal) | {"met": goal.met} for goal in part.goals]
    return {"goals": goals, "figures": json.loads(json.dumps(part.figures, default=dataclasses.asdict))}


def _taken() -> dict[str, str]:
    """When, where and with what."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


def _tell(goals: Iterable[Goal]) -> None:
    for goal in goals:
        print(_told(goal), file=sys.stderr)


def _told(goal: Goal) -> str:
    bound = "at least" if goal.at_least else "at most"
    return f"{'met    ' if goal.met else 'NOT MET'}  {goal.what}: {goal.value:.2f}, {bound} {goal.limit:g}"


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m benchmarks", description="What an order costs and how fast it is.")
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=f"one of {', '.join(PARTS)}; all without")
    return parser


def _part(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no part {text!r}: use one of {', '.join(PARTS)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
