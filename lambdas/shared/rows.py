"""What a row is. No client of AWS is made here, so that the rules for orders can be imported anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Value: TypeAlias = "str | Decimal | list[Value] | Mapping[str, Value]"
Row: TypeAlias = Mapping[str, Value]
# The partition key: the attribute's name and what identifies the order.
Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A kind of row: its sort key, and the statuses that an action and a compensation leave it in.

    ``confirmed`` is the live status after the point of no return, if that is another one. ``doing`` and ``undoing``
    are for a step that calls a service (outside.py): the statuses before its two calls are known to be over.
    """

    name: str
    live: str
    undone: str
    confirmed: str | None = None
    doing: str | None = None
    undoing: str | None = None

    @property
    def barred(self) -> frozenset[str]:
        """The statuses in which the action of the saga that has the row comes too late."""
        return frozenset(status for status in (self.undoing, self.undone) if status)


def attribute_value(value: Value) -> "AttributeValueTypeDef":
    """The value as DynamoDB's API has it (Amazon DynamoDB API Reference, AttributeValue). Raises TypeError.

    Numbers are exact decimals: binary floating point would not keep an amount of money as it was said.
    """
    match value:
        case str():
            return {"S": value}
        case Decimal() if value.is_finite():
            return {"N": str(value)}
        case list():
            return {"L": [attribute_value(item) for item in value]}
        case Mapping():
            return {"M": {name: attribute_value(item) for name, item in value.items()}}
    raise TypeError(f"{type(value).__name__} is no value of a row: use text, a finite Decimal, a list or a mapping")
