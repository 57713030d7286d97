"""Serves MiniStack until its parent ends: ``python -m local.server PARENT``.

A killed parent cannot clean up. So this process watches its parent, and ends itself and its process group, which
includes the functions' processes, when it has another one.
"""

import os
import signal
import socketserver
import sys
import threading
import time

WATCH_SECONDS = 0.5


def main() -> None:
    """Watch the parent, whose process id is the only argument, and serve."""
    threading.Thread(target=end_with, args=(int(sys.argv.pop()),), daemon=True).start()
    # The runtime API sends an event in two packets. With Nagle's algorithm, the second waits up to 40 ms for the
    # receipt of the first, at each call of a function.
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    # Slow imports: the watch starts before.
    from ministack.app import main as serve  # noqa: PLC0415

    from local import init_errors, metric_math, redrive_execution  # noqa: PLC0415

    init_errors.install()
    metric_math.install()
    redrive_execution.install()
    serve()


def end_with(parent: int) -> None:
    """End this process and its group as soon as ``parent`` is not its parent."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
