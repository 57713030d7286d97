"""Command line arguments as all programs of the project read them."""

import argparse
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
