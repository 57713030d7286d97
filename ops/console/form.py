"""The order that a person fills in: the presets, the checking by the functions' own rules, and its sending.

All this is the order saga's. Of another saga nothing is known but its key, so its input is JSON as it is typed in.

A card number goes in only: it is no part of a preset that is told, of an answer, or of a message.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lambdas.shared import orders
from lambdas.shared.errors import InvalidOrder
from ops.definition import Definition
from ops.errors import OpsError
from ops.model import Row
from ops.words import CARD_FIELD, parsed

Order: TypeAlias = dict[str, object]

PRESETS = Path(__file__).parent.parent.parent / "local" / "scenarios"
STEPS = (orders.ORDER, orders.PAYMENT, orders.SHIPMENT)
_UNDONE = {step.entity.name: step.entity.undone for step in STEPS}


class BadForm(OpsError):  # noqa: N818 (says what it is)
    """What came is not what the form sends."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An order to start from, by the name of its file."""

    name: str
    order: Order

    def told(self) -> Order:
        """What the form shows: the fields as text, and of the card number only whether there is one."""
        shown = {name: _as_typed(value) for name, value in self.order.items() if name != CARD_FIELD}
        return {"name": self.name, "fields": shown, "has_card": CARD_FIELD in self.order}


def read_presets(folder: Path) -> tuple[Preset, ...]:
    """The presets in a folder, one a JSON file. Raises OpsError if one is no JSON object or there is none."""
    presets = []
    for file in sorted(folder.glob("*.json")):
        order = parsed(file.read_text(encoding="utf-8"))
        if not isinstance(order, dict):
            raise OpsError(f"{file} is no preset: expected an order, a JSON object")
        presets.append(Preset(name=file.stem, order=order))
    if not presets:
        raise OpsError(
            f"{folder} has no presets: expected orders there, each a file NAME.json; name another by --presets"
        )
    return tuple(presets)


def order_of(form: Mapping[str, object], presets: tuple[Preset, ...]) -> Order:
    """The order that a filled in form means. Raises BadForm.

    ``{"fields": {NAME: TEXT}, "more": TEXT, "card_of": PRESET | null}``: a field that is empty is left out; a total
    that is a number becomes one; ``more`` is a JSON object whose fields are added as they are; ``card_of`` names the
    preset whose card number is used when none is typed in.
    """
    fields, more = form.get("fields"), form.get("more") or "{}"
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise BadForm("the form has no fields of text: reload the page")
    order: Order = {name: _as_meant(name, value) for name, value in fields.items() if value != ""}
    for preset in presets:
        if preset.name == form.get("card_of") and CARD_FIELD in preset.order:
            order.setdefault(CARD_FIELD, preset.order[CARD_FIELD])
    added = _json(more) if isinstance(more, str) else None
    if not isinstance(added, dict):
        raise BadForm('the other fields are no JSON object: expected such as {"note": "x"}')
    return order | added


def input_of(form: Mapping[str, object], key: str) -> Order:
    """The input that a person has typed in for a saga with this key, ``{"input": TEXT}``. Raises BadForm."""
    text = form.get("input")
    found = _json(text) if isinstance(text, str) else None
    if not isinstance(found, dict):
        raise BadForm(f'the input is no JSON object: expected such as {{"{key}": "1"}}')
    if not isinstance(found.get(key), str) or not found[key]:
        raise BadForm(f'the input has no {key}: expected a text that is not empty, such as {{"{key}": "1"}}')
    return found


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The step that will refuse an order, and why, without any value of it."""

    step: str
    reason: str


def refusal_of(order: Order) -> Refusal | None:
    """The first step that will refuse the order, by the rules of the functions; None if none will."""
    for step in STEPS:
        try:
            step.schema.id_of(step.schema.read(order))
            step.stored(order)
        except InvalidOrder as error:
            return Refusal(step=step.name, reason=str(error))
    return None


def is_undone(row: Row) -> bool:
    """Whether no saga holds the row of an order any more."""
    return row.status == _UNDONE.get(row.entity)


def is_of_orders(definition: Definition, key: str) -> bool:
    """Whether a state machine is the order saga's, whose steps and rows are known here."""
    return key == orders.SCHEMA.key and definition.states.keys() >= {step.name for step in STEPS}


def _as_meant(name: str, text: str) -> object:
    if name != "total":
        return text
    number = _json(text)
    return number if isinstance(number, int | float) and not isinstance(number, bool) else text


def _as_typed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _json(text: str) -> object:
    """The value of a JSON text; None if it is none, or holds a number that JSON cannot say again."""

    def refuse(_constant: str) -> float:
        raise ValueError

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(number)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError):
        return None
