"""Ends a command in order when it is interrupted: by Ctrl-C, SIGTERM, or the closing of its terminal."""

import signal
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The command was interrupted.

    A subclass, because CPython remembers a plain KeyboardInterrupt that passes through ``exec`` or ``eval`` of a text,
    as at the import of a named tuple. Even if it is caught, ``python -m`` then ends by SIGINT instead of its
    exit status (CPython, Python/pythonrun.c, ``run_eval_code_obj``).
    """


def raise_interrupted() -> None:
    """Raise Interrupted in the main thread at the first of these signals. An ignored SIGINT stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted
