"""Command line arguments as all programs of the project read them."""

import argparse
from collections.abc import Callable
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, without the usage, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Exit with the message."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def port(text: str) -> int:
    """Read a port that needs no privileges, as an argparse type."""
    if not text.isascii() or not text.isdigit() or not 1024 <= int(text) <= 65535:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: must be 1024 to 65535")
    return int(text)


def number(noun: str, *, highest: int) -> Callable[[str], int]:
    """Return an argparse type that reads a whole number from 1 to ``highest``. ``noun`` is for its message."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"invalid {noun} {text!r}: must be 1 to {highest}")
        return int(text)

    return read


def execution_name(text: str) -> str:
    """Read what names an execution, as an argparse type."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"invalid execution {text!r}: use a name or an ARN")
    return text
