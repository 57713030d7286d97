"""What a row is. No client of AWS is made here, so that the rules for orders can be imported anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from decimal import Decimal

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
