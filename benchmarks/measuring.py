"""Measuring on a machine that does other things too: CPU time rather than wall time, runs interleaved, medians."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError

PROJECT = Path(__file__).parent.parent


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
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None  # noqa: S101 (it is piped)
        said = process.stdout.read().decode(errors="replace").strip()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode:
        last = said.splitlines()[-1] if said else "it said nothing"
        raise BenchmarkError(f"{Path(command[0]).name} failed with exit status {process.returncode}: {last}")
    return used.ru_utime + used.ru_stime


def output_of(
    command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path = PROJECT, given: str | None = None
) -> str:
    """What the command prints when it reads ``given``. Raises BenchmarkError, with its last line, if it fails."""
    done = subprocess.run(command, env=env, cwd=cwd, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise BenchmarkError(f"{Path(command[0]).name} failed with exit status {done.returncode}: {said[-1]}")
    return done.stdout


def worker(task: str, what: str, given: object = None) -> Any:
    """What benchmarks/worker.py finds, in a process of its own. Raises BenchmarkError if it fails."""
    command = [sys.executable, "-m", "benchmarks.worker", task, what]
    return json.loads(output_of(command, env=function_environment(), given=json.dumps(given)))


def function_environment() -> dict[str, str]:
    """The environment that the functions are given, with nothing of the caller's account in it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_", "PYTHON"))}
    return plain | {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TABLE_NAME": "orders",
        "QUEUE_URL": "http://127.0.0.1/queue",
        "CLEAN_ERROR": "OrderFailed",
    }
