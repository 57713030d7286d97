"""Measuring on a machine that does other things too: CPU time rather than wall time, runs interleaved, medians."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from local.processes import running

PROJECT = Path(__file__).parent.parent
LONGEST_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of repeated runs, and the quartiles around it."""

    median: float
    low: float
    high: float
    runs: int

    def __format__(self, spec: str) -> str:
        """``median (low to high)``, each in the given format."""
        return f"{self.median:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of fewer than two values, the value itself."""
    if len(values) < 2:  # noqa: PLR2004 (quartiles need two)
        return Spread(median=values[0], low=values[0], high=values[0], runs=1)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median=statistics.median(values), low=low, high=high, runs=len(values))


def ratio(values: Sequence[float], baseline: Sequence[float]) -> Spread:
    """The ratio of runs made side by side: of each pair, so that what slowed both down does not count."""
    return spread([value / base for value, base in zip(values, baseline, strict=True)])


def interleaved(
    rounds: int, runs: Mapping[str, Callable[[], float]], progress: Callable[[str], None]
) -> dict[str, list[float]]:
    """Run each once a round, in turn, and return what they measured; a first round warms up and does not count."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        progress(f"round {number} of {rounds}" if number else "warming up")
        for name, run in runs.items():
            value = run()
            if number:
                measured[name].append(value)
    return measured


def cpu_seconds(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path = PROJECT) -> float:
    """CPU time, user and system, that the command and its children take. Raises BenchmarkError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output_of(command, env=env, cwd=cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def output_of(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path = PROJECT) -> str:
    """What the command prints, errors too. Raises BenchmarkError, with its last line, if it fails or takes too long."""
    status, said = run(command, env=env, cwd=cwd)
    if status:
        raise BenchmarkError(f"{Path(command[0]).name} failed with exit status {status}: {_last_line(said)}")
    return said


def run(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path = PROJECT) -> tuple[int, str]:
    """Exit status and output of the command, which has ended with all that it started, even if this is interrupted."""
    with tempfile.TemporaryFile() as output:
        with running(command, cwd=cwd, env=env, output=output) as process:
            try:
                status = process.wait(LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                raise BenchmarkError(f"{Path(command[0]).name} has not ended within {LONGEST_SECONDS} s") from None
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


def worker(task: str, what: str, given: object = None) -> Any:
    """What benchmarks/worker.py finds, in a process of its own. Raises BenchmarkError if it fails."""
    command = [sys.executable, "-m", "benchmarks.worker", task, what, json.dumps(given)]
    return json.loads(output_of(command, env=function_environment()).splitlines()[-1])


def function_environment() -> dict[str, str]:
    """The environment that the functions are given, with nothing of the caller's account in it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_", "PYTHON"))}
    return plain | {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "TABLE_NAME": "orders",
        "QUEUE_URL": "http://127.0.0.1/queue",
        "CLEAN_ERROR": "OrderFailed",
    }
