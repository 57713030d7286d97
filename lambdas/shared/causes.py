"""What the cause of an error says, in words for people."""

import json


def without_card(text: str, order: object) -> str:
    """The text without the order's card number, should an error have repeated it."""
    match order:
        case {"card_no": str(card_no)} if card_no:
            return text.replace(card_no, "(card number)")
    return text


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
