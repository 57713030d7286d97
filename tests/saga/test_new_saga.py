"""What ``make new`` writes runs unedited: three kinds of sagas in a copy of the project without other examples."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infrastructure.test_imports import is_in, project_imports

PROJECT = Path(__file__).parents[2]
TESTS = (
    "tests/saga/test_scenarios.py",
    "tests/saga/test_cost.py",
    "tests/ops/test_client.py",
    "tests/infrastructure/test_imports.py",
)
# Plain; parallel steps and a pivot; a call of a provider.
KINDS = {
    "concert_sale": "reserve_seat/release_seat charge_card/refund_card issue_ticket/void_ticket",
    "trip_plan": "book_car/free_car+book_room/free_room take_payment?resolve_payment send_mail!+log_trip!",
    "room_rental": "reserve_room/release_room charge_card/refund_card@ send_key/return_key",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("lambdas", "local", "ops", "saga_stack", "templates", "tests"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "examples").mkdir()
    shutil.copy(PROJECT / "examples/__init__.py", tmp_path / "examples")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def run(project: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_new_sagas_pass_the_tests_of_all_sagas(project: Path) -> None:
    for name, steps in KINDS.items():
        assert f"make demo EXAMPLE={name}" in run(project, "local.new_saga", name, steps)
        assert len(list((project / "examples" / name / "scenarios").iterdir())) == 4
    folders = [f"examples/{name}" for name in KINDS]
    run(project, "ruff", "check", "--no-cache", *folders)
    run(project, "ruff", "format", "--no-cache", "--check", *folders)
    shown = run(project, "pytest", "-n0", "-v", "-p", "no:cacheprovider", *TESTS, *folders, "-k", " or ".join(KINDS))
    for name in KINDS:
        assert f"{name}-1-success] PASSED" in shown
        assert f"examples/{name}/test_{name}.py::test_a_step_accepts_a_complete_input" in shown


def test_a_saga_outside_the_project_is_tried_with_faults(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shop = tmp_path_factory.mktemp("shop")
    run(project, "local.new_saga", "--path", str(shop), "shed_lease", "open_shed/close_shed send_key/return_key")
    shown = run(project, "tests.chaos", "--path", str(shop / "shed_lease"), "--limit", "1", "--jobs", "1")
    assert re.search(r"^shed_lease: single faults +[1-9]", shown, re.MULTILINE)
    assert re.search(r"^total +[1-9]\d* +0 +0 +0$", shown, re.MULTILINE)
    # Its test runs where the library alone is installed.
    imported = set(project_imports(shop / "shed_lease/test_shed_lease.py"))
    assert imported
    assert [name for name in imported if not is_in(name, ["lambdas.saga_runtime"])] == []
