"""What the cause of an error says, in words for people."""

import json


def in_words(cause: object) -> str:
    """The message in a cause, without the stack trace: a failed function's cause is JSON, anybody else's text."""
    if not isinstance(cause, str) or not cause:
        return "no cause was given"
    try:
        told = json.loads(cause)
    except ValueError:
        return cause
    message = told.get("errorMessage") if isinstance(told, dict) else None
    return message if isinstance(message, str) and message else cause
