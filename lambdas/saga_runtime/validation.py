"""Rules for the fields of an input. Applied to an input, a rule returns the value to store or raises InvalidInput.

A message names the field and the type of its value, never the value, because it may be sensitive.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeAlias

from lambdas.saga_runtime.errors import InvalidInput

Input: TypeAlias = Mapping[str, object]
Value: TypeAlias = str | Decimal
Rule: TypeAlias = Callable[[Input], Value]

MAX_AMOUNT = 1_000_000_000

_CARD_NUMBER = re.compile(r"[0-9](?:[ -]?[0-9]){4,18}")
# A lone surrogate is valid JSON but cannot be stored; control characters break the programs that print the value.
_NOT_IN_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def line(field: str, *, longest: int) -> Callable[[Input], str]:
    """Require a text of 1 to ``longest`` characters that is not blank and has no control characters."""
    return _text_rule(field, longest=longest, forbidden=_NOT_IN_LINE)


def text(field: str, *, longest: int) -> Callable[[Input], str]:
    """Require the same as ``line``, with line ends and tabs allowed."""
    return _text_rule(field, longest=longest, forbidden=_NOT_IN_TEXT)


def amount(field: str) -> Callable[[Input], Decimal]:
    """Require an amount of money; return it as the exact decimal that the JSON text says."""
    expected = f"expected a number above 0 and at most {MAX_AMOUNT:,}, with at most 2 decimals"

    def rule(input_: Input) -> Decimal:
        value = input_.get(field)
        # bool is a subclass of int, but true is not an amount.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong_type(input_, field, expected)
        # NaN compares false with everything, so it is out of range too.
        if not 0 < value <= MAX_AMOUNT or (exact := Decimal(str(value))) != round(exact, 2):
            raise InvalidInput(f"{field} is out of range: {expected}")
        return exact

    return rule


def card_last4(field: str) -> Callable[[Input], str]:
    """Require a card number; return its last four digits."""
    expected = "expected a string of 5 to 19 digits, single spaces or hyphens between them allowed"

    def rule(input_: Input) -> str:
        value = input_.get(field)
        if not isinstance(value, str):
            raise _wrong_type(input_, field, expected)
        if not _CARD_NUMBER.fullmatch(value):
            raise InvalidInput(f"{field} is not a card number: {expected}")
        return re.sub("[ -]", "", value)[-4:]

    return rule


def json_type(value: object) -> str:
    """Return the JSON name of the value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def _text_rule(field: str, *, longest: int, forbidden: re.Pattern[str]) -> Callable[[Input], str]:
    expected = f"expected a string of 1 to {longest} characters"

    def rule(input_: Input) -> str:
        value = input_.get(field)
        if not isinstance(value, str):
            raise _wrong_type(input_, field, expected)
        if not value.strip():
            raise InvalidInput(f"{field} is empty: {expected}")
        if len(value) > longest:
            raise InvalidInput(f"{field} is {len(value):,} characters long: {expected}")
        if forbidden.search(value):
            raise InvalidInput(f"{field} has a control character or half of a surrogate pair: {expected} without any")
        return value

    return rule


def _wrong_type(input_: Input, field: str, expected: str) -> InvalidInput:
    if field not in input_:
        return InvalidInput(f"{field} is missing: {expected}")
    return InvalidInput(f"{field} is {json_type(input_[field])}: {expected}")
