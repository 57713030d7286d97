"""A fourth step of the order saga takes one line, one entry and two function files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

LINE = """
    Step(action="award_points", compensation="revoke_points"),
)
"""
ENTRY = """
    StepSpec(
        action="award_points",
        schema=SCHEMA,
        entity="POINTS",
        live="AWARDED",
        compensated="REVOKED",
        stores={"points": amount("total")},
    ),
)
"""
FUNCTION = """
from lambdas.order_steps import STEPS
from lambdas.saga_runtime.handlers import {kind}

handler = {kind}(STEPS["POINTS"])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("examples", "lambdas", "local", "ops", "saga_stack", "tests"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def insert(path: Path, after: str, text: str) -> None:
    """Insert the text in place of the first end of a list after a piece of the file."""
    head, found, tail = path.read_text().partition(after)
    body, end, rest = tail.partition("\n)\n")
    assert found and end
    path.write_text(head + found + body + text + rest)


def test_a_fourth_step_is_synthesized_and_survives_every_single_fault(project: Path) -> None:
    insert(project / "saga_stack/order_saga.py", "STEPS = (", LINE)
    insert(project / "lambdas/order_steps.py", "STEPS = by_entity(", ENTRY)
    (project / "lambdas/award_points.py").write_text(FUNCTION.format(kind="action"))
    (project / "lambdas/revoke_points.py").write_text(FUNCTION.format(kind="compensation"))

    tests = (
        "tests/infrastructure/test_definition.py::test_an_action_catches_every_error_into_its_own_compensation",
        "tests/infrastructure/test_template.py",
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
