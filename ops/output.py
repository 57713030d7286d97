"""Writes what the commands print: lines for people, or one JSON document."""

import argparse
import json
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

from ops.documents import Document


def print_result(options: argparse.Namespace, document: Document, lines: Iterable[Text]) -> None:
    """Print the document if the options have ``--json``, else the lines."""
    if "json" in options:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()
    else:
        write(lines)


def write(lines: Iterable[Text], *, to_error: bool = False) -> None:
    """Write all lines at once, so that an error before the last one leaves nothing."""
    stream = sys.stderr if to_error else sys.stdout
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=True)
    stream.write(encodable(captured.get(), stream.encoding))
    stream.flush()


def encodable(text: str, encoding: str | None) -> str:
    """Replace what the stream cannot encode by its code."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def status(text: str) -> AbstractContextManager[object]:
    """Show that the command works, on a terminal only."""
    return Console(stderr=True).status(text)


def note(text: str, *, end: str = "\n") -> None:
    """Write a line to standard error."""
    sys.stderr.write(encodable(text + end, sys.stderr.encoding))
    sys.stderr.flush()
