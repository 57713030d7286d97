"""Runs the web console: ``python -m local.console PARENT ARGUMENTS``. It never outlives who started it."""

import sys
import threading

from local.server import end_with


def main() -> int:
    """Watch the parent, whose process id is the first argument, and serve the console of the others."""
    parent, *arguments = sys.argv[1:]
    threading.Thread(target=end_with, args=(int(parent),), daemon=True).start()
    from ops.__main__ import main as ops  # noqa: PLC0415 (it takes a moment, and the watch should be on by then)

    return ops(["console", *arguments])


if __name__ == "__main__":
    sys.exit(main())
