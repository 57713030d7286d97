"""The blocks and commands of docs/tutorial.md are those of the project; tests/e2e/test_tutorial.py follows them."""

import re
import shlex
import subprocess

import pytest

from tests.sagas import example_or_skip
from tests.tutorial import PAGE, ROOT, blocks

FOR_AWS = re.findall(r"^ {4}(make \w+ EXAMPLE.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_block_is_a_file_of_the_example_or_commands_or_their_output() -> None:
    page = list(blocks())
    assert len(page) == PAGE.read_text(encoding="utf-8").count("\n```") / 2
    for block in page:
        if block.path:
            assert block.text == (ROOT / block.path).read_text(encoding="utf-8")
        else:
            assert block.language in ("sh", "text")


@pytest.mark.parametrize("command", FOR_AWS)
def test_a_command_for_aws_runs_the_app_of_the_example(command: str) -> None:
    """It is a dry run: make prints the commands and runs none."""
    (name,) = re.findall(r"EXAMPLE=(\w+)", command)
    app = f"{example_or_skip(name).module.rpartition('.')[0]}.app"
    installed = [f"--assume-old={target}" for target in (".venv/installed", "node_modules/installed")]
    printed = subprocess.run(
        [*shlex.split(command), "--dry-run", *installed], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert f'--app "python -m {app}"' in printed
    assert f"--context stage={'prod' if 'prod' in command else 'dev'}" in printed


def test_the_tutorial_has_commands_for_aws() -> None:
    assert FOR_AWS
