"""docs/your-own-saga.md as its reader takes it: files to write, commands to type, and what is then seen."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "your-own-saga.md"

_BLOCK = re.compile(
    r"(?:^`(?P<path>[\w./-]+)`(?P<excerpt> \(an excerpt\))?:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A code block: of a file if it has a ``path``, else of commands (``sh``), or of what they print (``text``)."""

    language: str
    text: str
    path: str | None
    is_excerpt: bool


def blocks() -> Iterator[Block]:
    """The blocks of the page in order."""
    for found in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        yield Block(
            language=found["language"], text=found["text"], path=found["path"], is_excerpt=bool(found["excerpt"])
        )
