"""Child processes end with the command that started them, however often it is interrupted."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

COMMAND = '''
import os, sys
from pathlib import Path
from local.interrupts import Interrupted, raise_interrupted
from local.processes import running

CHILD = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: print("asked to end", flush=True))
print(os.getpid(), flush=True)
while True:
    signal.pause()
"""

raise_interrupted()
try:
    with running([sys.executable, "-c", CHILD], cwd=Path.cwd(), env=os.environ, output=sys.stdout.buffer) as child:
        child.wait()
except Interrupted:
    sys.exit(130)
'''


def test_a_second_interrupt_kills_a_child_process_that_does_not_end() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], env={"PYTHONPATH": str(Path.cwd())}, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout
        child = int(command.stdout.readline())
        try:
            command.send_signal(signal.SIGINT)
            assert command.stdout.readline() == "asked to end\n"
            command.send_signal(signal.SIGINT)
            assert command.wait(30) == 130
            assert not is_running(child)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
