"""The form that starts a saga: presets, fields, and the check of an input by the rules of the steps.

If the steps are not known, the input is one JSON text.

The values of sensitive fields can be sent to the console; no page, response or message contains them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.steps import StepSpec
from ops.errors import OpsError

Input: TypeAlias = dict[str, object]


class InvalidForm(OpsError):  # noqa: N818 (like the other errors of ops)
    """The request has not the form's fields, or its JSON is invalid."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An input to start from. ``name`` is the name of its file."""

    name: str
    input: Input

    def for_page(self, sensitive: Sequence[str]) -> dict[str, object]:
        """Return the preset for the page: all fields as text, without the sensitive ones."""
        fields = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in self.input.items()
            if name not in sensitive
        }
        return {"name": self.name, "fields": fields, "has_secrets": len(fields) < len(self.input)}


def read_presets(folder: Path) -> tuple[Preset, ...]:
    """Return the presets in a folder, one for each JSON file. Raises OpsError if a file is invalid or none is there."""
    presets = []
    for file in sorted(folder.glob("*.json")):
        input_ = _parsed(file.read_text(encoding="utf-8"))
        if not isinstance(input_, dict):
            raise OpsError(f"invalid preset {file}: must be a JSON object")
        presets.append(Preset(name=file.stem, input=input_))
    if not presets:
        raise OpsError(f"no presets in {folder}: put files NAME.json there, or name another folder with --presets")
    return tuple(presets)


def answer_of(form: Mapping[str, object]) -> dict[str, object]:
    """Return the answer to a step that waits that a form means. Raises InvalidForm.

    The form is ``{"result": "accepted", "details": JSON}`` or ``{"result": "rejected", "reason": TEXT}``.
    """
    match form:
        case {"result": "accepted", "details": str(text)}:
            details = _parsed(text or "{}")
            if not isinstance(details, dict):
                raise InvalidForm('invalid details: must be a JSON object, such as {"driver": "Ada"}')
            return {"result": "accepted", "details": details}
        case {"result": "rejected", "reason": str(reason)}:
            return {"result": "rejected", "reason": reason}
    raise InvalidForm("the request has no answer: reload the page")


@dataclass(frozen=True)
class StartForm:
    """The form for one saga.

    Args:
        key: the field that identifies an input.
        steps: the steps of the saga; empty if they are not known.
        presets: the inputs to start from; only of a saga whose steps are known.
    """

    key: str
    steps: Sequence[StepSpec]
    presets: tuple[Preset, ...]

    def for_page(self) -> dict[str, object]:
        """Return the variables of the form's template."""
        if not self.steps:
            return {"key": self.key, "fields": (), "presets": ()}
        return {
            "key": self.key,
            "fields": self.steps[0].schema.fields,
            "sensitive": self._sensitive,
            "numbers": self._numbers,
            "presets": [preset.for_page(self._sensitive) for preset in self.presets],
        }

    def input_of(self, form: Mapping[str, object]) -> Input:
        """Return the input that a form means. Raises InvalidForm.

        The form is ``{"fields": {NAME: TEXT}, "more": JSON, "secrets_of": PRESET | null}``. Empty fields are left out.
        A field that is not a text in a preset is read as JSON if it is JSON. Sensitive fields without a text
        come from the preset ``secrets_of``. The object ``more`` is added as it is.
        """
        fields, more = form.get("fields"), form.get("more") or "{}"
        if not isinstance(fields, dict) or not all(isinstance(text, str) for text in fields.values()):
            raise InvalidForm("the form has no text fields: reload the page")
        added = _parsed(more) if isinstance(more, str) else None
        if not isinstance(added, dict):
            raise InvalidForm(f'invalid JSON: must be an object, such as {{"{self.key}": "1"}}')
        secrets = next((preset.input for preset in self.presets if preset.name == form.get("secrets_of")), {})
        input_ = {
            **{name: secrets[name] for name in self._sensitive if name in secrets},
            **{name: self._value(name, text) for name, text in fields.items() if text},
            **added,
        }
        if not self.steps and not (isinstance(input_.get(self.key), str) and input_[self.key]):
            raise InvalidForm(f'{self.key} is missing or not a text: expected such as {{"{self.key}": "1"}}')
        return input_

    def rejection_of(self, input_: Input) -> str | None:
        """Return which step will reject the input, and why, without its values; None if all steps will accept it."""
        for step in self.steps:
            try:
                step.schema.key_of(step.schema.validated(input_))
                step.attributes(input_)
            except InvalidInput as error:
                return f"{step.name} will reject this: {error}"
        return None

    @property
    def _sensitive(self) -> Sequence[str]:
        return self.steps[0].schema.sensitive if self.steps else ()

    @cached_property
    def _examples(self) -> Input:
        """The values that are not texts in a preset, by their fields."""
        inputs = [preset.input for preset in self.presets]
        return {name: value for input_ in inputs for name, value in input_.items() if not isinstance(value, str)}

    @property
    def _numbers(self) -> frozenset[str]:
        """The fields that are a number in a preset."""
        return frozenset(name for name, value in self._examples.items() if type(value) in (int, float))

    def _value(self, name: str, text: str) -> object:
        value = _parsed(text) if name in self._examples else None
        return text if value is None or isinstance(value, str) else value


def _parsed(text: str) -> object:
    """Return the value of a JSON text; None if it is invalid or contains a number that JSON cannot write."""

    def reject(_constant: str) -> float:
        raise ValueError

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else reject(number)

    try:
        return json.loads(text, parse_constant=reject, parse_float=finite)
    except (ValueError, RecursionError):
        return None
