"""Command lines, read as argparse does, but for what is said of a mistake."""

import argparse
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, without the usage, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Exit with the message."""
        self.exit(2, f"error: {message} ({self.prog} --help tells more)\n")
