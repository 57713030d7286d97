"""A fourth step of the order saga takes the changes that the README shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("examples", "lambdas", "local", "ops", "saga_stack", "tests"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def change(project: Path) -> None:
    """Make the changes that the README shows."""
    section = (PROJECT / "README.md").read_text().split("\n## Changes to the saga\n")[1].split("\nState names, ")[0]
    line, entry, handlers = (block.strip("\n") for block in re.findall(r"(?:^(?: {4}.*)\n)+", section, re.MULTILINE))
    insert(project / "saga_stack/order_saga.py", "STEPS = (", line)
    insert(project / "lambdas/order_steps.py", "STEPS = by_entity(", entry)
    copied = {"action": "process_payment", "compensation": "refund_payment"}
    for handler in handlers.splitlines():
        _, _, file = handler.partition("  # ")
        (kind,) = (kind for kind in copied if f"= {kind}(" in handler)
        other = (project / "lambdas" / f"{copied[kind]}.py").read_text()
        (project / file).write_text(re.sub(r"^handler = .*$", handler.strip(), other, flags=re.MULTILINE))


def insert(path: Path, after: str, text: str) -> None:
    """Insert the text at the first end of a list after a piece of the file."""
    head, found, tail = path.read_text().partition(after)
    body, end, rest = tail.partition("\n)\n")
    assert found and end
    path.write_text(f"{head}{found}{body}\n{text}{end}{rest}")


def test_a_fourth_step_is_synthesized_and_survives_every_single_fault(project: Path) -> None:
    change(project)
    tests = (
        "tests/infrastructure/test_definition.py::test_an_action_catches_every_error_into_its_own_compensation",
        "tests/infrastructure/test_template.py",
        "tests/ops/test_graph.py::test_every_transition_is_drawn",
        "tests/ops/test_graph.py::test_the_progress_of_an_execution_that_is_rolled_back",
        "tests/saga/test_faults.py::test_no_single_fault_leaves_a_saga_half_done[order-1-success]",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-vv", "-p", "no:cacheprovider", *tests],
        cwd=project,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "[AwardPoints-RevokePoints] PASSED" in done.stdout
