"""Runs child processes that never outlive their parent."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

GRACE_SECONDS = 5


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command while the block runs; then end it and every process that it started.

    It has a process group of its own, so that the terminal's Ctrl-C reaches the parent only, which ends it in order.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, wait a little, then kill what remains of its group."""
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    finally:
        # Also after a second Ctrl-C, which ends the wait.
        # As long as a member runs, the group keeps its id, so no other group can have it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
