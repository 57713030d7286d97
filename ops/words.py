"""Texts that others wrote, made fit to be shown: plain words, no card number, nothing that steers a terminal."""

import json
import re

CARD_FIELD = "card_no"
MAX_ORDER_ID = 128
# Control characters, and halves of what is no text: no order has them in its id.
_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def cause_in_words(cause: str | None) -> str | None:
    """The message in a cause, without the stack trace: a failed function's cause is JSON, anybody else's text."""
    told = parsed(cause)
    message = told.get("errorMessage") if isinstance(told, dict) else None
    return message if isinstance(message, str) and message else cause or None


def without_card(text: str | None, execution_input: str | None) -> str | None:
    """The text with the card number of the execution's input replaced, should an error's message quote it."""
    order = parsed(execution_input)
    card = order.get(CARD_FIELD) if isinstance(order, dict) else None
    if not text or not isinstance(card, str) or not card:
        return text
    return text.replace(card, "(card number)")


def printable(text: str) -> str:
    r"""The text with every character that is not to be seen written as its code, such as ``\x1b`` or ``\u202e``."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", errors="backslashreplace").decode("ascii")
        for character in text
    )


def noun_of(key: str) -> str:
    """What a saga is about, by its table's key: ``trip`` for ``trip_id``; ``order`` if the key does not say."""
    named = re.fullmatch(r"([a-z]+(?:_[a-z]+)*)_id", key)
    return named[1].replace("_", " ") if named else "order"


def parsed(text: str | None) -> object:
    """The value that a JSON text stands for; None if it is none."""
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def order_id_in(execution_input: str | None, key: str) -> str | None:
    """The order's id in an execution's input, of which nothing else is ever shown; None if it has no valid one."""
    order = parsed(execution_input)
    order_id = order.get(key) if isinstance(order, dict) else None
    if not isinstance(order_id, str) or len(order_id) > MAX_ORDER_ID or _NO_LINE.search(order_id):
        return None
    return order_id if order_id.strip() else None
