"""The library is built, installed alone, and used by a CDK app outside the project."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.infrastructure.templates import REPORTER_HANDLER, of_type

PROJECT = Path(__file__).parents[2]
FILES = {
    "sale/__init__.py": "",
    "sale/lambdas/steps.py": """from lambdas.saga_runtime.steps import Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import line

SCHEMA = Schema(noun="sale", key="sale_id", fields=("sale_id", "seat"))
SEAT = StepSpec(action="reserve_seat", schema=SCHEMA, entity="SEAT", live="RESERVED", compensated="RELEASED",
                stores={"seat": line("seat", longest=9)})
TICKET = StepSpec(action="send_ticket", schema=SCHEMA, entity="TICKET", live="SENT", compensated="VOIDED")
""",
    "sale/lambdas/handlers.py": """from lambdas.saga_runtime.handlers import action, compensation
from sale.lambdas.steps import SEAT, TICKET

reserve_seat, release_seat, send_ticket = action(SEAT), compensation(SEAT), action(TICKET)
""",
}
APP = """from saga_stack.construct.app import synthesize_saga
from saga_stack.construct.saga import Saga
from saga_stack.construct.steps import Retriable, Step
from sale.lambdas.steps import SCHEMA

SAGA = Saga(
    file=__file__,
    description="Sells a ticket",
    schema=SCHEMA,
    steps=(Step(action="reserve_seat", compensation="release_seat"), Retriable(action="send_ticket")),
)

if __name__ == "__main__":
    synthesize_saga(__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the project, because a build leaves files behind."""
    pytest.importorskip("setuptools", minversion="77", reason="run `make install`: the library is built by setuptools")
    folder = tmp_path_factory.mktemp("build")
    for name in ("lambdas", "saga_stack"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(PROJECT / name, folder)
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_the_wheel_has_the_two_packages_of_the_library_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(PROJECT).as_posix()
        for folder in ("saga_stack/construct", "lambdas/saga_runtime")
        for path in (PROJECT / folder).iterdir()
        if path.suffix in (".py", ".txt")
    }
    assert names == expected


def test_a_cdk_app_of_fifteen_lines_outside_the_project_synthesizes_a_saga(wheel: Path, tmp_path: Path) -> None:
    assert len(APP.splitlines()) <= 15
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    for name, text in {**FILES, "sale/saga.py": APP}.items():
        (tmp_path / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "app" / name).write_text(text)
    settings = {
        "PYTHONPATH": str(tmp_path / "installed"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CDK_CONTEXT_JSON": '{"aws:cdk:bundling-stacks": []}',
        "CDK_OUTDIR": str(tmp_path / "cdk.out"),
    }
    command = [sys.executable, "-m", "sale.saga"]
    environment = {**os.environ, **settings}
    done = subprocess.run(
        command, cwd=tmp_path / "app", env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    template = (tmp_path / "cdk.out/SaleSaga-dev.template.json").read_text()
    handlers = {one["Handler"] for one in of_type(json.loads(template), "AWS::Lambda::Function").values()}
    names = ("reserve_seat", "release_seat", "send_ticket")
    assert handlers == {*(f"sale.lambdas.handlers.{name}" for name in names), REPORTER_HANDLER}
