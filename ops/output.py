"""Writes what the commands print: lines for people, or one JSON document."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

from ops.documents import Document
from ops.errors import OpsError


def print_result(options: argparse.Namespace, document: Document, lines: Iterable[Text]) -> None:
    """Print the document if the options have ``--json``, else the lines."""
    if "json" in options:
        print_text(json.dumps(document, indent=2) + "\n")
    else:
        write(lines)


@contextlib.contextmanager
def print_after(show: Callable[[], None]) -> Iterator[None]:
    """Print a result after the block, also after an error or Ctrl-C, which a failure to print does not replace."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, OpsError):
            show()
        raise
    show()


def print_text(text: str) -> None:
    """Write text to standard output. Raises OpsError if that fails, and BrokenPipeError if its reader has ended."""
    if sys.stdout is None:
        raise OpsError("standard output is closed: open it, for instance with > FILE")
    try:
        sys.stdout.write(encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
    except OSError as error:
        _discard_output()
        if isinstance(error, BrokenPipeError):
            raise
        raise OpsError(f"cannot write to standard output: {error.strerror}") from None


def write(lines: Iterable[Text], *, to_error: bool = False) -> None:
    """Write all lines at once, so that an error before the last one leaves nothing."""
    stream = sys.stderr if to_error else sys.stdout
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=True)
    if to_error:
        note(captured.get(), end="")
    else:
        print_text(captured.get())


def encodable(text: str, encoding: str | None) -> str:
    """Replace what the stream cannot encode by its code."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def has_terminal() -> bool:
    """Return whether a person can answer on standard input, which is None if it is closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def status(text: str) -> AbstractContextManager[object]:
    """Show that the command works, on a terminal only."""
    return Console(stderr=True).status(text)


def note(text: str, *, end: str = "\n") -> None:
    """Write a line to standard error."""
    sys.stderr.write(encodable(text + end, sys.stderr.encoding))
    sys.stderr.flush()


def _discard_output() -> None:
    """Discard what standard output still buffers: otherwise Python fails again when it closes the stream."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
