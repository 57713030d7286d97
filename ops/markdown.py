"""Replaces the drawing of the state machine in Markdown files, between two comments."""

import re

from ops.errors import OpsError

BEGIN = "<!-- The state machine, drawn by `make docs` -->"
END = "<!-- end of the drawing -->"
_DRAWING = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def with_graph(markdown: str, graph: str, *, where: str) -> str:
    """Return the text with the graph in place of its drawings. Raises OpsError if it has no drawing."""
    if not _DRAWING.search(markdown):
        raise OpsError(f"{where} has no drawing to replace: add the lines {BEGIN} and {END}")
    return _DRAWING.sub(lambda _: f"{BEGIN}\n```mermaid\n{graph}```\n{END}", markdown)
