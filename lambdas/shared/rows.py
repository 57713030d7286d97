"""What a row is. No client of AWS is made here, so that the rules for orders can be imported anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from decimal import Decimal

Value: TypeAlias = "str | Decimal | list[Value] | Mapping[str, Value]"
Row: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A kind of row: its sort key, and the statuses that an action and a compensation leave it in."""

    name: str
    live: str
    undone: str
