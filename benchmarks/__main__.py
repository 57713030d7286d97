"""``python -m benchmarks [PART ...]``: see the Makefile, which calls it.

Without a part it runs all of them and writes docs/performance.md and docs/performance.json. With parts it prints their
findings only. Exit status: 0 measured, whether or not the goals are met; 2 it could not run; 130 interrupted.
"""

import datetime as dt
import importlib.metadata
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import botocore.exceptions

from benchmarks import cost, deployed, edges, functions, scale, synthesis, throughput
from benchmarks.document import Part, goals, write
from benchmarks.measuring import BenchmarkError
from local.cloud import PROJECT
from local.errors import LocalError
from local.interrupts import Interrupted, raise_interrupted
from ops.arguments import ArgumentParser

PARTS = ("cost", "functions", "throughput", "edges", "scale", "synthesis")
VERSIONS = ("boto3", "aws-lambda-powertools", "aws-cdk-lib", "ministack")
BEGAN = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks", description="What an order costs and how fast it is.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all without")
    names = parser.parse_args(arguments).parts
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"invalid part {unknown[0]!r}: use {', '.join(PARTS)}")
    raise_interrupted()
    try:
        parts = _run(names or PARTS)
    except (BenchmarkError, LocalError, botocore.exceptions.BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted:
        print("\nInterrupted; nothing was written, and nothing is left running.", file=sys.stderr)
        return 130
    if not names:
        write(parts, _circumstances(), PROJECT / "docs")
    for part in parts.values() if names else ():
        print("\n\n".join(value for value in part.values.values() if "|" in value), end="\n\n")
    print(goals(parts.values()))
    return 0


def _run(names: Sequence[str]) -> dict[str, Part]:
    found: dict[str, Part] = {}
    if "synthesis" in names:
        found["synthesis"] = synthesis.run(_progress)
    if "functions" in names:
        found["functions"] = functions.run(_progress)
    if "edges" in names:
        found["edges"] = edges.run(_progress)
    if {"cost", "throughput", "scale"} & {*names}:
        with deployed.deployed(_progress) as sagas:
            if "throughput" in names:
                found["throughput"] = throughput.run(_progress, sagas)
            if {"cost", "scale"} & {*names}:
                found["cost"], usage = cost.run(_progress, sagas)
                found["scale"] = scale.part(usage)
    return {name: found[name] for name in PARTS if name in names}


def _progress(doing: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {doing}", file=sys.stderr, flush=True)


def _circumstances() -> str:
    """Return when, where and with what was measured."""
    cpus = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", cpus.read_text()) if cpus.exists() else None
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    machine = f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{dt.datetime.now(dt.UTC).date()}; {machine}; Python {platform.python_version()}, {versions}."


if __name__ == "__main__":
    sys.exit(main())
