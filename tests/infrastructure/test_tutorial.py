"""The code in docs/your-own-saga.md is that of the files which the tests run; tests/e2e/test_tutorial.py follows it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.tutorial import PAGE, ROOT, Block, blocks

EXAMPLE = ROOT / "examples" / "ticket_sale"
FILES = [block for block in blocks() if block.path]


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.path)
def test_a_block_is_its_file_or_a_part_of_it(block: Block) -> None:
    content = (ROOT / str(block.path)).read_text(encoding="utf-8")
    if block.is_excerpt:
        assert f"\n{block.text}" in content
    else:
        assert content == block.text


def test_every_file_of_the_example_is_there_once() -> None:
    written = [ROOT / str(block.path) for block in FILES if not block.is_excerpt]
    there = [path for path in EXAMPLE.rglob("*") if path.is_file() and path.suffix in (".py", ".json")]
    assert sorted(written) == sorted(there)


def test_a_block_is_a_file_or_commands_or_what_they_print() -> None:
    page = list(blocks())
    assert len(page) == PAGE.read_text(encoding="utf-8").count("\n```") / 2
    assert {block.language for block in page if not block.path} == {"sh", "text"}


MENTIONED = re.findall(r"^ {4}(make \w+ EXAMPLE.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("command", MENTIONED)
def test_a_command_for_aws_takes_the_app_of_the_example(command: str, tmp_path: Path) -> None:
    """It says what it would do, and does nothing."""
    installed = [f"--assume-old={target}" for target in (".venv/installed", "node_modules/installed")]
    told = subprocess.run(
        [*shlex.split(command), "--dry-run", *installed], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert '--app "python -m examples.ticket_sale.app"' in told
    assert f"--context stage={'prod' if 'prod' in command else 'dev'}" in told
    assert ("--context provider_url=https://..." in told) is ("deploy" in command)


def test_three_commands_for_aws_are_mentioned() -> None:
    assert len(MENTIONED) == 3
