"""Checks of an input's fields. Each returns the value that a row keeps, or raises InvalidOrder.

Messages name the field and the type of its value, never the value: it may be a card number.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

from lambdas.shared.errors import InvalidOrder

Fields: TypeAlias = Mapping[str, object]

MAX_AMOUNT = 1_000_000_000

_NUMBER_OF_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){4,18}")
# A lone surrogate is valid in JSON, but is no text and cannot be stored; control characters break what reads them.
_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def line(given: Fields, field: str, *, longest: int) -> str:
    """A text that is not blank and has no control characters."""
    return _text(given, field, longest=longest, unfit=_NO_LINE)


def text(given: Fields, field: str, *, longest: int) -> str:
    """A text that is not blank and has no control characters but line ends and tabs."""
    return _text(given, field, longest=longest, unfit=_NO_TEXT)


def amount(given: Fields, field: str) -> Decimal:
    """An amount of money as an exact decimal: as the JSON said it, not as binary floating point holds it."""
    expected = f"expected a number above 0 and at most {MAX_AMOUNT:,}, with at most 2 decimals"
    value = given.get(field)
    # bool is a subclass of int, but true is no amount of money.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(given, field, expected)
    # NaN compares false with everything, so it is out of range too.
    if not 0 < value <= MAX_AMOUNT or (exact := Decimal(str(value))) != round(exact, 2):
        raise InvalidOrder(f"{field} is out of range: {expected}")
    return exact


def card_last4(given: Fields, field: str) -> str:
    """The last four digits of a card number."""
    expected = "expected a string of 5 to 19 digits, single spaces or hyphens between them allowed"
    value = given.get(field)
    if not isinstance(value, str):
        raise _invalid(given, field, expected)
    if not _NUMBER_OF_CARD.fullmatch(value):
        raise InvalidOrder(f"{field} is not a card number: {expected}")
    return re.sub("[ -]", "", value)[-4:]


def kind(value: object) -> str:
    """What JSON calls a value of this type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def _text(given: Fields, field: str, *, longest: int, unfit: re.Pattern[str]) -> str:
    expected = f"expected a string of 1 to {longest} characters"
    value = given.get(field)
    if not isinstance(value, str):
        raise _invalid(given, field, expected)
    if not value.strip():
        raise InvalidOrder(f"{field} is empty: {expected}")
    if len(value) > longest:
        raise InvalidOrder(f"{field} is {len(value):,} characters long: {expected}")
    if unfit.search(value):
        raise InvalidOrder(f"{field} holds a control character or half of a surrogate pair: {expected} without any")
    return value


def _invalid(given: Fields, field: str, expected: str) -> InvalidOrder:
    if field not in given:
        return InvalidOrder(f"{field} is missing: {expected}")
    return InvalidOrder(f"{field} is {kind(given[field])}: {expected}")
