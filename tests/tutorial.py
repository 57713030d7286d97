"""Reads docs/tutorial.md as its reader does: a file to write, commands to type, and what they print."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tutorial.md"

_BLOCK = re.compile(
    r"(?:^`(?P<path>[\w./-]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A code block: a file if it has a ``path``, otherwise commands (``sh``) or what they print (``text``)."""

    language: str
    text: str
    path: str | None


def blocks() -> Iterator[Block]:
    """Return the blocks of the page in order."""
    for found in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        yield Block(language=found["language"], text=found["text"], path=found["path"])
