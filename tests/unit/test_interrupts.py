"""An interrupt ends a command with the exit status that the command returns."""

import subprocess
import sys
from pathlib import Path

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
