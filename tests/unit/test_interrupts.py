"""An interrupt ends a command with the exit status that the command returns."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.interrupts import Interrupted, raise_if_closed

INTERRUPTED_IN_EXEC = """
import os, signal, sys
from local.interrupts import Interrupted, raise_interrupted

raise_interrupted()
try:
    exec("os.kill(os.getpid(), signal.SIGTERM)")
except Interrupted:
    sys.exit(7)
"""


def test_an_interrupt_during_an_import_keeps_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / "command.py").write_text(INTERRUPTED_IN_EXEC)
    ended = subprocess.run(
        [sys.executable, "-m", "command"], cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}, check=False
    )
    assert ended.returncode == 7


def test_a_terminal_that_is_closed_interrupts_although_no_signal_arrives() -> None:
    terminal, used = os.openpty()
    raise_if_closed([used])
    os.close(terminal)
    with pytest.raises(Interrupted):
        raise_if_closed([used])
    os.close(used)
