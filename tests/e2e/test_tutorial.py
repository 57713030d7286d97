"""Follows docs/tutorial.md to the letter in a fresh copy of the project."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tutorial import ROOT, blocks

pytestmark = pytest.mark.e2e

MADE_BY_COMMANDS = {".git", ".venv", "node_modules", "cdk.out"}
CACHES = ("__pycache__", ".*_cache", ".hypothesis", ".coverage*")


def fresh_copy(folder: Path) -> Path:
    """Make a copy of the project in which everything is installed, so that `make install` downloads nothing."""
    clone = folder / "clone"
    environments = {path.parent.name for path in ROOT.glob("*/pyvenv.cfg")}
    others = {path.name for path in ROOT.iterdir()} & MADE_BY_COMMANDS | environments
    shutil.copytree(
        ROOT,
        clone,
        ignore=lambda path, names: {
            *shutil.ignore_patterns(*CACHES)(path, names),
            *(others if Path(path) == ROOT else ()),
        },
    )
    for name, installed in ((".venv", Path(sys.prefix)), ("node_modules", ROOT / "node_modules")):
        (clone / name).mkdir()
        for path in installed.iterdir():
            (clone / name / path.name).symlink_to(path.resolve() if path.is_dir() else path)
        # make looks at its time only; the real one stays unchanged.
        (clone / name / "installed").unlink(missing_ok=True)
        (clone / name / "installed").touch()
    # Somebody may have followed the page here.
    shutil.rmtree(clone / "examples/concert_sale", ignore_errors=True)
    return clone


def type_in(clone: Path, commands: str) -> str:
    """Run the commands as in a terminal in that folder; return what they print."""
    own = ("AWS_", "CDK_", "PYTEST_", "TABLE_NAME", "QUEUE_URL", "CLEAN_ERROR", "COV_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    temporary = clone.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    with subprocess.Popen(
        ["/bin/sh", "-e", "-c", commands],
        cwd=clone,
        env={**environment, "TMPDIR": str(temporary), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=200)
        except BaseException:
            # Everything that the commands have started; the demo stops what it has started itself.
            os.killpg(process.pid, signal.SIGTERM)
            raise
    assert process.returncode == 0, printed
    return printed


def test_a_reader_who_follows_the_tutorial_has_a_running_saga(tmp_path: Path) -> None:
    clone = fresh_copy(tmp_path)
    printed = ""
    ran = []
    for block in blocks():
        if block.path:
            assert not (clone / block.path).exists(), "the reader writes it"
            (clone / block.path).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            printed = " ".join(type_in(clone, block.text).split())
            ran += block.text.splitlines()
        else:
            for line in block.text.splitlines():
                assert " ".join(line.split()) in printed, line
    assert any(command.startswith("make demo") for command in ran)
    assert "123-1234" not in printed
    left = [path.name for path in (tmp_path / "tmp").iterdir()]
    assert [name for name in left if not name.startswith("pytest-of-")] == []
