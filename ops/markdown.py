"""Markdown files whose drawing of the state machine is made, not written: what stands between two marks is replaced."""

import re

from ops.errors import OpsError

BEGIN = "<!-- The state machine, drawn by `make docs` -->"
END = "<!-- end of the drawing -->"
_DRAWING = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def with_graph(markdown: str, graph: str, *, where: str) -> str:
    """The text with the graph in place of its drawings. Raises OpsError if it has no place for one."""
    if not _DRAWING.search(markdown):
        raise OpsError(f"{where} has no place for a drawing: put {BEGIN} and {END} where it is to stand")
    return _DRAWING.sub(lambda _: f"{BEGIN}\n```mermaid\n{graph}```\n{END}", markdown)
