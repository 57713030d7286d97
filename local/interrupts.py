"""Ends a command in order when it is interrupted: by Ctrl-C, SIGTERM, or the closing of its terminal."""

import os
import select
import signal
from collections.abc import Sequence
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The command was interrupted.

    A subclass, because CPython remembers a plain KeyboardInterrupt that passes through ``exec`` or ``eval`` of a text,
    as at the import of a named tuple. Even if it is caught, ``python -m`` then ends by SIGINT instead of its
    exit status (CPython, Python/pythonrun.c, ``run_eval_code_obj``).
    """


def raise_interrupted() -> None:
    """Raise Interrupted in the main thread at each of these signals. What is ignored, as by nohup, stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)


def terminals() -> Sequence[int]:
    """Return which of the standard input, output and error are terminals."""
    return [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]


def raise_if_closed(terminals: Sequence[int]) -> None:
    """Raise Interrupted if one of these terminals was closed.

    The kernel sends SIGHUP to the leader of the session only. If that is make, it waits for this process.
    """
    watch = select.poll()
    for descriptor in terminals:
        watch.register(descriptor, 0)
    if any(event & select.POLLHUP for _, event in watch.poll(0)):
        raise Interrupted


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted
