"""The peak of this process's memory."""

import resource
import sys
from pathlib import Path


def peak() -> int:
    """Bytes, since the program began; getrusage(2) of Linux would also count what was before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
