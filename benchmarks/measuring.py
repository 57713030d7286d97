"""Measures on a machine that does other work too: CPU time rather than wall time, interleaved runs, medians."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from local.cloud import PROJECT, without_aws
from local.processes import running

LONGEST_SECONDS = 300

T = TypeVar("T")
Runs: TypeAlias = Mapping[str, Callable[[], T]]


class BenchmarkError(Exception):
    """A foreseeable mistake or failure. Its text is the whole message."""


def ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Return the ratio of each round, so that what slowed a whole round down does not count."""
    return [value / base for value, base in zip(values, baseline, strict=True)]


def shown(values: Sequence[float]) -> str:
    """Return the median with the quartiles, such as ``1.02 (0.99 to 1.04)``."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def interleaved(rounds: int, runs: Runs[T], progress: Callable[[str], None]) -> dict[str, list[T]]:
    """Run each once a round, in turn, and return what each returned. A first round warms up and does not count."""
    measured: dict[str, list[T]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        progress(f"round {number} of {rounds}" if number else "warming up")
        for name, run in runs.items():
            value = run()
            if number:
                measured[name].append(value)
    return measured


def cpu_seconds(command: Sequence[str | Path], *, env: Mapping[str, str]) -> float:
    """Return the CPU time of the command and its children, user and system. Raises BenchmarkError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output_of(command, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def output_of(command: Sequence[str | Path], *, env: Mapping[str, str]) -> str:
    """Return what the command prints. Raises BenchmarkError, with the last line, if it fails or takes too long."""
    name = Path(command[0]).name
    with tempfile.TemporaryFile() as output:
        with running(command, cwd=PROJECT, env=env, output=output) as process:
            try:
                status = process.wait(LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                raise BenchmarkError(f"{name} did not end within {LONGEST_SECONDS} s") from None
        output.seek(0)
        printed = output.read().decode(errors="replace").strip()
    if status:
        raise BenchmarkError(f"{name} failed with exit status {status}: {printed.splitlines()[-1:]}")
    return printed


def environment() -> dict[str, str]:
    """Return the caller's environment without AWS and Python settings, with this interpreter's folder on PATH."""
    kept = {name: value for name, value in without_aws(os.environ).items() if not name.startswith("PYTHON")}
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}
