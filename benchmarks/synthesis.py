"""The CPU time of `cdk synth`, against an app with the same resources written plainly."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.document import Goal, Part, table
from benchmarks.measuring import BenchmarkError, cpu_seconds, environment, interleaved, ratios, shown
from local.deployment import CDK, app_command, node

ROUNDS = 5
LIMIT = 1.15
MODULES = {"order": "app", "plain": "benchmarks.baseline.app"}


def run(progress: Callable[[str], None]) -> Part:
    """Measure both apps. Raises BenchmarkError if their resources differ."""
    with tempfile.TemporaryDirectory(prefix="order-saga-") as name:
        folders = {app: Path(name) / app for app in MODULES}
        runs = {app: (lambda app=app: _synthesize(MODULES[app], folders[app])) for app in MODULES}
        measured = interleaved(ROUNDS, runs, lambda doing: progress(f"cdk synth, {doing}"))
        order, plain = (resources_in(folder) for folder in folders.values())
    if order != plain:
        raise BenchmarkError(f"benchmarks/baseline/app.py is outdated: add {order - plain}, remove {plain - order}")
    found = ratios(measured["order"], measured["plain"])
    row = ["`cdk synth`", shown(found), *(f"{median(measured[app]):.1f}" for app in MODULES)]
    return Part(
        values={
            "resources": str(order.total()),
            "synthesis": table(["", "relative", "order saga, s", "plain, s"], [row]),
        },
        figures=measured,
        goals=[Goal("`cdk synth`, relative to a plain app", median(found), LIMIT)],
    )


def _synthesize(module: str, output: Path) -> float:
    options = ["--quiet", "--no-notices", "--context=complete=true", f"--output={output}"]
    command: list[str | Path] = [node(), CDK, "synth", f"--app={app_command(module)}", *options]
    silent = {"CDK_DISABLE_CLI_TELEMETRY": "true", "CDK_DISABLE_VERSION_CHECK": "true"}
    return cpu_seconds(command, env=environment() | silent)


def resources_in(folder: Path) -> Counter[str]:
    """Count the resources of a synthesized stack by their types."""
    (template,) = folder.glob("*.template.json")
    return Counter(resource["Type"] for resource in json.loads(template.read_text())["Resources"].values())
