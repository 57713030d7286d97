"""Serves the web console until its parent ends: ``python -m local.console PARENT ARGUMENTS``."""

import sys
import threading

from local.server import end_with


def main() -> int:
    """Watch the parent, whose process id is the first argument, and serve the console with the other arguments."""
    parent, *arguments = sys.argv[1:]
    threading.Thread(target=end_with, args=(int(parent),), daemon=True).start()
    from ops.__main__ import main as ops  # noqa: PLC0415 (a slow import: the watch starts before)

    return ops(["console", *arguments])


if __name__ == "__main__":
    sys.exit(main())
