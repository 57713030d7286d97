"""Mutation tests: change one expression of the library or the order saga at a time, and expect a test to fail.

``python -m tests.mutants [--sample N] [--seed N] [--only TEXT]``. Exit status: 0 if no mutant survived but those of
``EQUIVALENT``, 1 if one did, 2 if the tests fail without a mutant, 130 if interrupted. It works on copies of the
project in a temporary folder.
"""

import argparse
import asyncio
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutations import ROOT, Mutant, mutants_of

SOURCES = ("lambdas/**/*.py", "saga_stack/order_saga.py", "saga_stack/construct/*.py")
UNIT = (
    "tests/unit",
    *(f"--ignore=tests/unit/test_{name}.py" for name in ("benchmarks", "demo", "deployment", "local")),
)
INFRASTRUCTURE = ("tests/infrastructure", "--ignore=tests/infrastructure/test_repository.py")
# Without the slowest: pairs of faults, and a fourth step.
SAGA = ("tests/saga", "tests/examples", "-k", "not pair and not fourth")
# The tests that can see a mutant, the fastest first.
SUITES = {"lambdas": (UNIT, SAGA), "saga_stack": (INFRASTRUCTURE, UNIT, SAGA)}
PYTEST = (sys.executable, "-B", "-m", "pytest", "--exitfirst", "--numprocesses=0", "-p", "no:cacheprovider")
TIMEOUT = 180
# Mutants that no test can kill, as file and changed line, each with the reason.
EQUIVALENT: dict[tuple[str, str], str] = {}


async def run(sample: Sequence[Mutant], copies: Sequence[Path]) -> list[Mutant] | None:
    """Return the mutants that survive, with one worker for each copy; None if the tests fail without a mutant."""
    left, survivors, started = iter(enumerate(sample, 1)), [], time.monotonic()

    async def work(folder: Path) -> None:
        for number, mutant in left:
            path = folder / mutant.path
            original = path.read_text()
            path.write_text(mutant.text)
            survives = True
            for suite in SUITES[mutant.path.split("/")[0]]:
                survives = survives and await _passes(folder, *suite)
            path.write_text(original)
            survivors.extend([mutant] if survives else [])
            result = f"survived: {mutant.changed}" if survives else "killed"
            print(
                f"{number}/{len(sample)} {time.monotonic() - started:.0f} s {mutant.path}:{mutant.line} {result}",
                flush=True,
            )

    async with asyncio.TaskGroup() as group:
        suites = ((*INFRASTRUCTURE, *UNIT), SAGA)
        checks = [group.create_task(_passes(one, *suite)) for one, suite in zip(copies, suites, strict=True)]
    if not all(check.result() for check in checks):
        return None
    async with asyncio.TaskGroup() as group:
        for one in copies:
            group.create_task(work(one))
    return survivors


async def _passes(folder: Path, *suite: str) -> bool:
    """Return whether the tests pass in time."""
    process = await asyncio.create_subprocess_exec(
        *(*PYTEST, *suite), cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.STDOUT,
        start_new_session=True)  # fmt: skip
    try:
        return await asyncio.wait_for(process.wait(), TIMEOUT) == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def main() -> int:
    """Run a sample of the mutants; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.mutants")
    parser.add_argument("--sample", type=int, default=30, help="how many mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which of them (0)")
    parser.add_argument("--only", default="", help="only of files with this text in their path")
    options = parser.parse_args()
    # The Node.js that the import of the CDK starts leaves Ctrl-C to this process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    importlib.import_module("tests.conftest")
    paths = sorted({path for pattern in SOURCES for path in ROOT.glob(pattern) if options.only in str(path)})
    found = [mutant for path in paths for mutant in mutants_of(path)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sample = random.Random(options.seed).sample(found, min(options.sample, len(found)))
    print(f"{len(sample)} of {len(found)} mutants, after the tests without one", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder, name) for name in ("first", "second")]
        for one in copies:
            shutil.copytree(ROOT, one, ignore=shutil.ignore_patterns(".*", "node_modules", "cdk.out", "__pycache__"))
            for name in (".venv", "node_modules"):
                (one / name).symlink_to(ROOT / name)
        survivors = asyncio.run(run(sample, copies))
    if survivors is None:
        print("error: the tests fail without a mutant: run `make test` first", file=sys.stderr)
        return 2
    unexpected = [one for one in survivors if (one.path, one.changed) not in EQUIVALENT]
    print(f"{len(sample) - len(survivors)} killed, {len(survivors)} survived, {len(unexpected)} of them unexpected")
    print(*(f"{one.path}:{one.line}: {one.changed}" for one in unexpected), sep="\n")
    return 1 if unexpected else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
