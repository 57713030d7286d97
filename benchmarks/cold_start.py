"""Cold start: import and first call of each function in a fresh interpreter, against boto3 with one client."""

import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.calls import REPORTER, SAGA, event
from benchmarks.document import Goal, Part, Plot, Table
from benchmarks.measuring import PROJECT, cpu_seconds, function_environment, interleaved, output_of, ratio, spread
from saga_stack import packaging

ROUNDS = 15
LIMIT = 1.15
SHOWN = 0.005

FLOOR = "import boto3; boto3.client('dynamodb')"
FLOOR_OF_TWO = "import boto3; boto3.client('stepfunctions'); boto3.client('sqs')"
FLOOR_AND_WRITE = (
    "from benchmarks import canned; canned.install(); import boto3;"
    " boto3.client('dynamodb').put_item(TableName='orders', Item={'order_id': {'S': '1'}, 'entity': {'S': 'ORDER'}})"
)
# `calls` and what it imports are the benchmark's own: the event is made beforehand, and given as text.
FIRST_CALL = (
    "from benchmarks import canned; canned.install(); import sys, json; event = json.loads(sys.argv[2]);"
    " import importlib; importlib.import_module('lambdas.' + sys.argv[1]).handler(event, None)"
)
IMPORT = "import lambdas.create_order"
# Installed here, but AWS's Python runtime has boto3 and what that needs, and no more: a function must not find it.
AS_ON_LAMBDA = "import sys; sys.modules['typing_extensions'] = None; "
# Lambda freezes a process and takes it down no more than that: what Python tidies up at an end is not in a cold start.
AND_OUT = "; import os; os._exit(0)"


def run(progress: Callable[[str], None]) -> Part:
    """Measure every function from the asset as it is deployed. Raises BenchmarkError if one fails."""
    functions = (*SAGA, REPORTER)
    with tempfile.TemporaryDirectory(prefix="order-saga-") as folder:
        asset = Path(folder)
        packaging.build(asset)
        programs = {
            "floor": [FLOOR],
            "floor of two clients": [FLOOR_OF_TWO],
            "floor and a first write": [FLOOR_AND_WRITE],
            **{name: [AS_ON_LAMBDA + FIRST_CALL, name, json.dumps(event("order", name))] for name in functions},
        }
        runs = {name: (lambda program=program: _cpu(asset, program)) for name, program in programs.items()}
        measured = interleaved(ROUNDS, runs, progress)
        progress("memory")
        peaks = {name: _peak(asset, program) for name, program in programs.items()}
        progress("where the time goes")
        profile = _profile(asset)
    ratios = {
        name: ratio(measured[name], measured[_floor_of(name)]) for name in (*functions, "floor and a first write")
    }
    return Part(
        name="cold_start",
        title="Cold start",
        text=[
            (
                "CPU time of a fresh interpreter from its start until the first call has answered, DynamoDB"
                " answered from memory at the HTTP layer. The functions are those of the asset, without compiled"
                " bytecode, as in Lambda, where it cannot be kept; botocore is installed with its bytecode. The"
                f" floor is `{FLOOR}` and nothing else, no call included; for `{REPORTER}`, which has two clients,"
                f" `{FLOOR_OF_TWO}`."
            ),
        ],
        tables=[
            Table(
                title=f"Of the floor, {ROUNDS} rounds side by side",
                columns=["function", "of the floor", "CPU on this machine", "peak memory", "of the floor's"],
                rows=[
                    [
                        f"`{name}`" if name in functions else name,
                        f"{found:.2f}",
                        f"{spread(measured[name]).median * 1000:.0f} ms",
                        f"{peaks[name] / 1e6:.0f} MB",
                        f"{peaks[name] / peaks[_floor_of(name)]:.2f}",
                    ]
                    for name, found in ratios.items()
                ],
            ),
            Table(
                title="Where the time of an import goes (`python -X importtime`, each module without those it imports)",
                columns=["package", "modules", "share"],
                rows=[[package, str(modules), f"{share:.0%}"] for package, modules, share in profile if share > SHOWN],
            ),
        ],
        plots=[
            Plot(
                name="cold-start",
                title="Cold start, relative to boto3 with a client",
                kind="bars",
                x=list(functions),
                series={"of the floor": [ratios[name].median for name in functions]},
                unit="ratio of CPU time",
                limit=LIMIT,
            )
        ],
        goals=[
            Goal(
                what="cold start of the slowest function, of the floor",
                value=max(ratios[name].median for name in functions),
                limit=LIMIT,
                beyond="Powertools; see where the time of an import goes",
            )
        ],
        figures={"ratios": ratios, "cpu_seconds": measured, "peak_bytes": peaks, "imports": profile},
    )


def _floor_of(name: str) -> str:
    return "floor of two clients" if name == REPORTER else "floor"


def _environment() -> dict[str, str]:
    return function_environment() | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}


def _cpu(asset: Path, program: Sequence[str]) -> float:
    # With -c the working folder comes first on the path: the asset, before the project's own sources.
    code, *arguments = program
    return cpu_seconds([sys.executable, "-c", code + AND_OUT, *arguments], env=_environment(), cwd=asset)


def _peak(asset: Path, program: Sequence[str]) -> int:
    code, *arguments = program
    code += "; from benchmarks.memory import peak; print(); print(peak())"
    told = output_of([sys.executable, "-c", code, *arguments], env=_environment(), cwd=asset)
    return int(told.splitlines()[-1])


def _profile(asset: Path) -> list[tuple[str, int, float]]:
    """Packages by their share of the time that importing a function takes: name, modules, share."""
    environment = function_environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, "-X", "importtime", "-c", AS_ON_LAMBDA + IMPORT]
    return by_package(output_of(program, env=environment, cwd=asset))


def by_package(importtime: str) -> list[tuple[str, int, float]]:
    """What ``-X importtime`` printed, added up by package: name, modules, share of the whole; the largest first."""
    times: dict[str, list[int]] = defaultdict(list)
    for line in importtime.splitlines():
        if found := re.fullmatch(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", line):
            package = found[2].split(".")[0]
            if package == "lambdas":
                package = "lambdas, with making its client"
            times["the standard library" if package in sys.stdlib_module_names else package].append(int(found[1]))
    whole = sum(sum(of) for of in times.values())
    shares = [(package, len(of), sum(of) / whole) for package, of in times.items()]
    return sorted(shares, key=lambda share: -share[2])
