"""Keeps sensitive values out of every text that is stored, logged or shown."""

import json
import re
from collections.abc import Iterable
from itertools import chain

HIDDEN = "(hidden)"
# A shorter value says nothing, and hiding it would garble the text.
SHORTEST = 4
# What may stand between two digits of a number that is written differently.
_SEPARATORS = r"[^0-9A-Za-z]{0,3}"


def message_in(cause: object) -> str | None:
    """Return the message in a cause, without the stack trace; None without a cause.

    The cause of a function's error is JSON with an ``errorMessage``; any other cause is plain text.
    """
    if not isinstance(cause, str) or not cause:
        return None
    parsed = parsed_json(cause)
    message = parsed.get("errorMessage") if isinstance(parsed, dict) else None
    return message if isinstance(message, str) and message else cause


def redacted(text: str, values: Iterable[object]) -> str:
    """Replace each of the values in the text. Digits are found however they are separated.

    Values that are neither text nor numbers, and those of fewer than 4 characters, are left as they are.
    """
    # The longest first: a short value that is a part of a long one would leave the rest of it.
    for pattern in filter(None, map(_pattern, sorted(values, key=lambda value: len(str(value)), reverse=True))):
        text = re.sub(pattern, HIDDEN, text)
    return text


def values_in(value: object) -> Iterable[object]:
    """Return every text and number in a JSON value, at any depth."""
    if isinstance(value, dict):
        return chain.from_iterable(map(values_in, value.values()))
    if isinstance(value, list):
        return chain.from_iterable(map(values_in, value))
    return [value]


def parsed_json(text: str | None) -> object:
    """Return the value of a JSON text; None if the text is not JSON or cannot be read."""
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None


def _pattern(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    written = str(value)
    if len(written) < SHORTEST:
        return None
    digits = re.sub("[^0-9]", "", written)
    is_number = re.fullmatch(r"(?:[0-9]|\W|_)+", written) and len(digits) >= SHORTEST
    return _SEPARATORS.join(digits) if is_number else re.escape(written)
