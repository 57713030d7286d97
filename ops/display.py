"""Prepares text for display."""

import re

from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.redaction import parsed_json
from lambdas.saga_runtime.steps import MAX_ID
from lambdas.saga_runtime.validation import line


def printable(text: str) -> str:
    r"""Replace every character that is invisible or steers a terminal by its code, such as ``\x1b`` or ``\u202e``."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", errors="backslashreplace").decode("ascii")
        for character in text
    )


def noun_of(key: str) -> str:
    """Return the noun in the name of a table's key: ``trip`` for ``trip_id``. Default: ``order``."""
    match = re.fullmatch(r"([a-z]+(?:_[a-z]+)*)_id", key)
    return match[1].replace("_", " ") if match else "order"


def order_id_in(execution_input: str | None, key: str) -> str | None:
    """Return the value of the key in an execution's input; None if the input has no valid one."""
    input_ = parsed_json(execution_input)
    try:
        return line(key, longest=MAX_ID)(input_) if isinstance(input_, dict) else None
    except InvalidInput:
        return None
