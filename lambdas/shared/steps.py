"""A step of a saga as its functions know it, and what all inputs of the saga have in common."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from lambdas.shared import fields
from lambdas.shared.errors import InvalidOrder
from lambdas.shared.fields import Fields
from lambdas.shared.rows import Entity, Row

MAX_ID = 128
# Bytes of JSON. Step Functions hands on at most 256 KiB, and a compensation gets the reason beside the input, up to
# 32 KiB for each step of a group: what a compensation could not be given, no action may accept.
MAX_SIZE = 200_000

_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The input of a saga: what it is called in messages, and its fields.

    ``key`` is the field that identifies it, and the table's partition key; ``max_size`` is in bytes of JSON.
    """

    name: str
    key: str
    fields: tuple[str, ...]
    max_size: int = MAX_SIZE

    def read(self, value: object) -> Fields:
        """The value if it is an object, or InvalidOrder."""
        if not isinstance(value, dict):
            expected = ", ".join(self.fields)
            raise InvalidOrder(f"the {self.name} is {fields.kind(value)}: expected an object with {expected}")
        return value

    def id_of(self, given: Fields) -> str:
        """What identifies the input, or InvalidOrder. Without it no step can have written anything."""
        return fields.line(given, self.key, longest=MAX_ID)

    def require_known_fields(self, given: Fields) -> None:
        """Raise InvalidOrder if the input is too long to be handed on, or has a field that no step knows."""
        if (size := len(json.dumps(given))) > self.max_size:
            raise InvalidOrder(f"the {self.name} takes {size:,} bytes: expected at most {self.max_size:,}")
        for name in given:
            if name not in self.fields:
                shown = f"'{name}'" if _PLAIN_NAME.fullmatch(name) else "of a name that is not shown"
                expected = ", ".join(self.fields)
                raise InvalidOrder(f"unknown field {shown}: expected {expected} and nothing else")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the saga: its name in the state machine, its row, and what of a valid input the row stores.

    ``stored`` raises InvalidOrder if the input lacks what the step needs.
    """

    name: str
    schema: Schema
    entity: Entity
    stored: Callable[[Fields], Row]
