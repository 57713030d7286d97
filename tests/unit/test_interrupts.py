"""An interrupt ends a command with the exit status that the command returns."""

import os
import signal
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


SENT_A_SIGNAL = """
import os, sys
from local.interrupts import Interrupted, raise_interrupted

raise_interrupted()
try:
    os.kill(os.getpid(), int(sys.argv[1]))
except Interrupted:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("before", "status"), [("", 130), ("trap '' $1; ", 0)], ids=["usual", "ignored"])
def test_only_a_signal_that_is_not_ignored_interrupts(number: signal.Signals, before: str, status: int) -> None:
    shell = ["sh", "-c", f'{before}exec "$2" -c "$3" "$1"', "sh"]
    ended = subprocess.run(
        [*shell, str(int(number)), sys.executable, SENT_A_SIGNAL], env={"PYTHONPATH": str(Path.cwd())}, check=False
    )
    assert ended.returncode == status


def test_a_terminal_that_is_closed_interrupts_although_no_signal_arrives() -> None:
    terminal, used = os.openpty()
    raise_if_closed([used])
    os.close(terminal)
    with pytest.raises(Interrupted):
        raise_if_closed([used])
    os.close(used)
