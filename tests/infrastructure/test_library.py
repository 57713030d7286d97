"""The library is built, installed into an empty environment, and used by a CDK app outside the project."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.infrastructure.templates import REPORTER_HANDLER, of_type

PROJECT = Path(__file__).parents[2]
# `make library` sets it.
FROM_INDEX = "LIBRARY_FROM_INDEX" in os.environ
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
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and the sdist from a copy of the project, because a build leaves files behind."""
    pytest.importorskip("setuptools", minversion="77", reason="run `make install`: the library is built by setuptools")
    folder = tmp_path_factory.mktemp("build")
    for name in ("lambdas", "saga_stack"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(PROJECT / name, folder)
    program = "from setuptools import build_meta; build_meta.build_wheel('dist'); build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)
    return folder / "dist"


def test_the_wheel_has_the_two_packages_of_the_library_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(PROJECT).as_posix()
        for folder in ("saga_stack/construct", "lambdas/saga_runtime")
        for path in (PROJECT / folder).iterdir()
        if path.suffix in (".py", ".txt")
    }
    assert names == expected


def install(library: Path, folder: Path) -> Path:
    """Install the library into an empty virtual environment; return its Python.

    The tests take what it depends on from the project's environment; `make library` takes it from the package index.
    """
    options = [] if FROM_INDEX else ["--no-deps", "--no-build-isolation"]
    venv.create(folder, with_pip=FROM_INDEX)
    python = folder / "bin/python"
    if not FROM_INDEX:
        (site_packages,) = folder.glob("lib/python*/site-packages")
        (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, str(library)], check=True)
    return python


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_a_cdk_app_of_fifteen_lines_outside_the_project_synthesizes_a_saga(
    built: Path, tmp_path: Path, kind: str
) -> None:
    assert len(APP.splitlines()) <= 15
    (library,) = built.glob(kind)
    python = install(library, tmp_path / "venv")
    for name, text in {**FILES, "sale/saga.py": APP}.items():
        (tmp_path / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "app" / name).write_text(text)
    settings = {"CDK_OUTDIR": str(tmp_path / "cdk.out")}
    if not FROM_INDEX:
        settings["CDK_CONTEXT_JSON"] = '{"aws:cdk:bundling-stacks": []}'
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | settings
    command = [str(python), "-m", "sale.saga"]
    done = subprocess.run(
        command, cwd=tmp_path / "app", env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    template = (tmp_path / "cdk.out/SaleSaga-dev.template.json").read_text()
    handlers = {one["Handler"] for one in of_type(json.loads(template), "AWS::Lambda::Function").values()}
    names = ("reserve_seat", "release_seat", "send_ticket")
    assert handlers == {*(f"sale.lambdas.handlers.{name}" for name in names), REPORTER_HANDLER}
