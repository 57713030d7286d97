"""Runs MiniStack as ``python -m local.server PARENT``: it never outlives the process that started it.

A parent that is killed cannot clean up, so the child watches: when it has been handed to another parent, it
ends itself and its process group, the functions' processes among it.
"""

import os
import signal
import socketserver
import sys
import threading
import time

WATCH_SECONDS = 0.5


def main() -> None:
    """Watch the parent, whose process id is the only argument, and serve until told to end."""
    threading.Thread(target=end_with, args=(int(sys.argv.pop()),), daemon=True).start()
    # Its Runtime API sends an event in two pieces; the second one would wait for the receipt of the first, which a
    # system holds back for 40 ms: at each call of a function.
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    from ministack.app import main as serve  # noqa: PLC0415 (it takes a moment, and the watch should be on by then)

    serve()


def end_with(parent: int) -> None:
    """End this process and its group as soon as it is the child of another process than ``parent``."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
