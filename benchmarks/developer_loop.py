"""The developer's loop: a synthesis against that of an empty app, the demo step by step, the tests by suite."""

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.document import Goal, Part, Table
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import LONGEST_SECONDS, PROJECT, cpu_seconds, interleaved, output_of, ratio, spread
from benchmarks.measuring import run as run_command
from local.cloud import without_aws
from local.deployment import CDK, node

ROUNDS = 5
LIMIT = 1.3
SUITES = ("tests/unit", "tests/infrastructure", "tests/saga", "tests/ops", "tests/e2e")
EMPTY_APP = """from aws_cdk import App, Stack
app = App()
Stack(app, "Empty")
app.synth()
"""
WITHOUT_CHECK = {"CDK_VALIDATION": "false"}


def run(progress: Callable[[str], None]) -> Part:
    """Measure all three. Raises BenchmarkError if a command fails."""
    cpu = _synthesis(progress)
    whole, bare = ratio(cpu["saga"], cpu["empty"]), ratio(cpu["saga, unchecked"], cpu["empty, unchecked"])
    progress("make demo")
    steps = steps_of(output_of([sys.executable, "-m", "local", "demo"], env=_environment()))
    suites = {}
    for suite in SUITES:
        progress(f"make test ARGS={suite}")
        took, ended = _tested(suite)
        suites[f"{suite}{ended}"] = took
    return Part(
        name="developer_loop",
        title="Developer loop",
        text=[
            (
                f"`cdk synth`, CPU time with all its processes, of that of an app with one empty stack: {whole:.2f};"
                f" without the CDK's own check of the template (`CDK_VALIDATION=false`), {bare:.2f}. What is left after"
                " an empty app is the stack itself, as the table shows, so an app of this size cannot meet the goal."
                " Local deployments and the tests leave out the CDK's own check; it is made for AWS."
            ),
        ],
        tables=[
            Table(
                title="Where the CPU time of `cdk synth` goes",
                columns=["", "of an empty app", "seconds on this machine"],
                rows=profile(cpu),
            ),
            Table(
                title="`make demo`, on this machine",
                columns=["step", "seconds", "share"],
                rows=_shares(steps),
            ),
            Table(
                title="`make test` by suite, on this machine, each with its own start of pytest",
                columns=["suite", "seconds", "share"],
                rows=_shares(suites),
            ),
        ],
        goals=[
            Goal(
                what="`cdk synth`, of that of an empty app",
                value=whole.median,
                limit=LIMIT,
                beyond="the stack itself; see where the CPU time goes",
            )
        ],
        figures={
            "synthesis_cpu_seconds": cpu,
            "of_empty": whole,
            "of_empty_unchecked": bare,
            "demo": steps,
            "tests": suites,
        },
    )


def profile(cpu: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """What the CPU time of a synthesis goes to: medians of what each round says, in parts of its empty app."""
    rounds: dict[str, list[float]] = {}
    for saga, saga_unchecked, empty, empty_unchecked in zip(
        *(cpu[name] for name in ("saga", "saga, unchecked", "empty", "empty, unchecked")), strict=True
    ):
        seconds = {
            "an empty app: Node.js, the CDK CLI, jsii": empty_unchecked,
            "the CDK's own check of an empty template": empty - empty_unchecked,
            "this stack: its constructs, modules of the CDK, synthesis, cdk-nag": saga_unchecked - empty_unchecked,
            "the CDK's own check of this template": saga - saga_unchecked - (empty - empty_unchecked),
            "all": saga,
        }
        for what, took in seconds.items():
            rounds.setdefault(what, []).append(took)
    return [
        [what, f"{ratio(took, cpu['empty']).median:.2f}", f"{spread(took).median:.1f}"] for what, took in rounds.items()
    ]


def steps_of(demo: str) -> dict[str, float]:
    """What the demo printed of its progress, as seconds that each step took."""
    began = [(found[2], float(found[1])) for found in re.finditer(r"^ *(\d+\.\d) s  (.+)$", demo, re.MULTILINE)]
    ends = [at for _, at in began[1:]]
    return {step.split(":")[0]: end - start for (step, start), end in zip(began, ends, strict=False)}


def _synthesis(progress: Callable[[str], None]) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="order-saga-") as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY_APP)
        apps = {"saga": PROJECT / "app.py", "empty": empty}
        environments = {"": _environment(), ", unchecked": _environment() | WITHOUT_CHECK}
        runs = {
            f"{name}{mark}": (
                lambda app=app, name=name, mark=mark, environment=environment: cpu_seconds(
                    _synth(app, Path(folder) / f"{name}{mark}"), env=environment
                )
            )
            for name, app in apps.items()
            for mark, environment in environments.items()
        }
        return interleaved(ROUNDS, runs, lambda doing: progress(f"cdk synth, {doing}"))


def _synth(app: Path, output: Path) -> list[str | Path]:
    return [node(), CDK, "synth", "--quiet", "--no-notices", f"--app={sys.executable} {app}", f"--output={output}"]


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return without_aws(os.environ) | {
        "PATH": path,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "COLUMNS": "200",
    }


def _tested(suite: str) -> tuple[float, str]:
    """How long the suite takes, and how it ended if not well."""
    began = time.monotonic()
    try:
        status, _ = run_command([sys.executable, "-m", "pytest", "--quiet", suite], env=_environment())
        ended = " (failed)" if status else ""
    except BenchmarkError:
        ended = f" (stopped after {LONGEST_SECONDS} s)"
    return time.monotonic() - began, ended


def _shares(seconds: dict[str, float]) -> list[list[str]]:
    whole = sum(seconds.values())
    rows = [[name, f"{took:.1f}", f"{took / whole:.0%}"] for name, took in seconds.items()]
    return [*rows, ["all", f"{whole:.1f}", ""]]
