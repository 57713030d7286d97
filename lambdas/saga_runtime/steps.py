"""A step as its functions see it, and the schema that all inputs of a saga share."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TypeAlias

from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.names import state_name
from lambdas.saga_runtime.redaction import redacted
from lambdas.saga_runtime.validation import Input, Rule, Value, json_type, line

# What a row stores beside the barrier's own attributes.
Attributes: TypeAlias = Mapping[str, Value]
# The same, with what a call of the provider returned as a map.
Stored: TypeAlias = Mapping[str, Value | Attributes]
# The partition key of a row: the attribute's name and its value.
Key: TypeAlias = tuple[str, str]

MAX_ID = 128
# Bytes of escaped JSON. Step Functions passes on at most 256 KiB, and a compensation receives the cause beside the
# input: up to 64 KiB, escaped, for each step of a group. An action must not accept an input that its compensation could
# not receive (tests/unit/test_limits.py computes the largest payload).
MAX_SIZE = 190_000
# The limit of what the action and the compensation of a step may store, in bytes each. DynamoDB's limit is 400 KB for
# the whole row, so a compensation always fits.
MAX_STORED = 100_000
# The same limit for an answer (callbacks.py), and for the references of a provider.
MAX_ANSWER = 10_000
# A key is not used in the last part of its lifetime: clocks differ (clock.py), and a function that has checked the key
# runs for up to 15 minutes, with a request that is under way for some more.
KEY_MARGIN = timedelta(minutes=30)
# What a call of the provider returned, by the function that made it. Each is a map, so that its names need not be known
# to remove it, and cannot be those of other attributes.
ACTION_RESPONSE = "action_response"
CONFIRMATION_RESPONSE = "confirmation_response"
COMPENSATION_RESPONSE = "compensation_response"
# What only one saga means, of a step that calls a provider or waits: a later one that claims the row removes it.
_OF_ONE_SAGA = (
    "task_token",
    "previous_task_token",
    "rejection",
    "confirmation_requested_at",
    ACTION_RESPONSE,
    CONFIRMATION_RESPONSE,
    COMPENSATION_RESPONSE,
)
# The attributes that the write barrier, provider_calls.py, callbacks.py and a completion write.
RESERVED_ATTRIBUTES = frozenset(
    {
        "entity",
        "status",
        "saga_id",
        "saga_started_at",
        "fence",
        "fenced_by",
        "history",
        "previous_history",
        "attempts",
        "idempotency_key",
        "previous_request",
        "requested_at",
        "confirmed_at",
        *_OF_ONE_SAGA,
    }
)

_SAFE_NAME = re.compile(r"[A-Za-z_]{1,40}")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The input of a saga.

    Raises ValueError if the key has the name of an attribute that the write barrier writes itself.

    Args:
        noun: what the input is called in messages, such as ``booking``.
        key: the field that identifies it; also the partition key of the table.
        fields: all fields that any step knows, the key included. Others are rejected.
        sensitive: the fields whose values never leave a function, such as a password. Default: none.
        max_size: the size limit in bytes of JSON, escaped. Default: 190,000.
    """

    noun: str
    key: str
    fields: tuple[str, ...]
    sensitive: tuple[str, ...] = ()
    max_size: int = MAX_SIZE

    def __post_init__(self) -> None:
        # `step` is a key of log lines, and of answers.
        if self.key in (*RESERVED_ATTRIBUTES, "step"):
            raise ValueError(f"the key cannot be {self.key}: the library uses the name")

    def validated(self, value: object) -> Input:
        """Return the value if it is an object of known fields within the size limit, else raise InvalidInput.

        A sensitive value may stand in its own field only.
        """
        expected = ", ".join(self.fields)
        if not isinstance(value, dict):
            raise InvalidInput(f"the {self.noun} is {json_type(value)}: expected an object with {expected}")
        if (size := len(json.dumps(value))) > self.max_size:
            raise InvalidInput(f"the {self.noun} has {size:,} bytes: expected at most {self.max_size:,}")
        for name in value:
            if name not in self.fields:
                # The name of an unknown field may be a sensitive value.
                shown = f"'{name}'" if _SAFE_NAME.fullmatch(name) else "(name not shown)"
                raise InvalidInput(f"unknown field {shown}: expected {expected} and nothing else")
        self._require_no_sensitive_value(value, *(name for name in value if name not in self.sensitive))
        return value

    def key_of(self, value: object) -> Key:
        """Return the partition key that the input names, or raise InvalidInput."""
        if not isinstance(value, dict):
            raise InvalidInput(f"the {self.noun} is {json_type(value)}: expected an object with {self.key}")
        id_ = line(self.key, longest=MAX_ID)(value)
        self._require_no_sensitive_value(value, self.key)
        return self.key, id_

    def sensitive_values(self, value: object) -> list[object]:
        """Return the values of the sensitive fields in an input, valid or not."""
        return [value[name] for name in self.sensitive if name in value] if isinstance(value, dict) else []

    def private_values(self, value: object) -> list[object]:
        """Return what other systems must not read of an input: the sensitive fields, and every text but the key."""
        if not isinstance(value, dict):
            return []
        texts = [text for name, text in value.items() if name != self.key and isinstance(text, str)]
        return [*self.sensitive_values(value), *texts]

    def _require_no_sensitive_value(self, value: Input, *names: str) -> None:
        sensitive = self.sensitive_values(value)
        text = " and ".join(str(value[name]) for name in names)
        if redacted(text, sensitive) == text:
            return
        for name in names:
            if redacted(str(value[name]), sensitive) != str(value[name]):
                raise InvalidInput(f"{name} contains the value of {' or '.join(self.sensitive)}: remove it")


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """A step as its functions see it: its row, the statuses of the row, and what the row stores of the input.

    Raises ValueError if two statuses are equal, if two attributes have one name or that of an attribute that the write
    barrier writes itself, or if ``key_lifetime`` is not longer than KEY_MARGIN.

    Args:
        action: the name of the function that performs the step, such as ``book_room``.
        schema: the input of the saga.
        entity: the sort key of the row.
        live: the status after the action.
        compensated: the status after the compensation; of a pivot, once it is certain that it did not happen.
        confirmed: the last status of a row that is confirmed after the point of no return. Default: none.
        in_progress: the status while the action calls a provider or the step waits for its answer. Default: none, the
            step does neither.
        rejected: the status after an answer that rejects the work. Default: none, the work cannot be rejected, as that
            of a step that must succeed.
        compensating: the status while the compensation calls the provider. Default: none.
        stores: the attributes of the row, each with the rule that makes it from the input. Default: none.
        answer_stores: the attributes that an accepting answer adds, each with the rule that makes it from the details
            of the answer. They never outlast the saga that owns the row. Default: none.
        references: the attributes that contain the provider's own names of what it did, such as the id of a payment.
            The calls of the step store them and receive them. They never outlast the saga that owns the row.
            Default: none.
        key_lifetime: how long the provider knows an idempotency key. Default: none, for ever.
    """

    action: str
    schema: Schema
    entity: str
    live: str
    compensated: str
    confirmed: str | None = None
    in_progress: str | None = None
    compensating: str | None = None
    rejected: str | None = None
    stores: Mapping[str, Rule] = field(default_factory=lambda: MappingProxyType({}))
    answer_stores: Mapping[str, Rule] = field(default_factory=lambda: MappingProxyType({}))
    references: tuple[str, ...] = ()
    key_lifetime: timedelta | None = None

    def __post_init__(self) -> None:
        _require_free_names(self, [*self.stores, *self.answer_stores, *self.references])
        if twice := sorted(set(self.references) & {*self.stores, *self.answer_stores}):
            raise ValueError(f"{self.action} has {', '.join(twice)} twice: a reference needs a name of its own")
        if self.key_lifetime is not None and self.key_lifetime <= KEY_MARGIN:
            raise ValueError(f"{self.action} has the key_lifetime {self.key_lifetime}: must be above {KEY_MARGIN}")
        statuses = (self.in_progress, self.live, self.confirmed, self.rejected, self.compensating, self.compensated)
        names = [status for status in statuses if status]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.action} has equal statuses: {', '.join(names)}: give each another name")

    @property
    def name(self) -> str:
        """The name of the action's state."""
        return state_name(self.action)

    @property
    def of_one_saga(self) -> tuple[str, ...]:
        """The attributes that a later saga removes when it claims the row, beside those that it replaces."""
        return (*_OF_ONE_SAGA, *self.answer_stores, *self.references) if self.in_progress else ()

    def attributes(self, input_: Input) -> Attributes:
        """Return what the row stores of a valid input. Raises InvalidInput, also if it is too large for the row."""
        attributes = {name: rule(input_) for name, rule in self.stores.items()}
        if (size := _size(attributes)) > MAX_STORED:
            raise InvalidInput(f"the row {self.entity} would have {size:,} bytes: expected at most {MAX_STORED:,}")
        return attributes

    def answer_attributes(self, details: Input) -> Attributes:
        """Return what the row stores of an accepting answer. Raises InvalidInput, also if it is too large."""
        attributes = {name: rule(details) for name, rule in self.answer_stores.items()}
        if (size := _size(attributes)) > MAX_ANSWER:
            raise InvalidInput(f"the details have {size:,} bytes: expected at most {MAX_ANSWER:,}")
        return attributes

    def require_references(self, attributes: Attributes) -> Attributes:
        """Return references that a call stores if they are declared and the row has room, else raise ValueError."""
        if unknown := sorted(attributes.keys() - {*self.references}):
            raise ValueError(f"{self.entity} cannot store {', '.join(unknown)}: name it in references=")
        if (size := _size(attributes)) > MAX_ANSWER:
            raise ValueError(f"{self.entity} cannot store {size:,} bytes of references: at most {MAX_ANSWER:,}")
        return attributes

    def require_storable(self, attributes: Attributes) -> Attributes:
        """Return what a provider returned if the row has room for it, else raise ValueError."""
        if (size := _size(attributes)) > MAX_STORED:
            raise ValueError(f"{self.entity} cannot store {size:,} bytes of a response: at most {MAX_STORED:,}")
        return attributes


def _size(attributes: Attributes) -> int:
    return sum(len(f"{name}{value}".encode(errors="surrogatepass")) for name, value in attributes.items())


def _require_free_names(step: StepSpec, names: Iterable[str]) -> None:
    """Raise ValueError if an attribute has a name that the write barrier uses."""
    if taken := sorted({*names} & {*RESERVED_ATTRIBUTES, step.schema.key}):
        raise ValueError(f"{step.entity} cannot store {', '.join(taken)}: the write barrier uses the name")


def by_entity(*steps: StepSpec) -> Mapping[str, StepSpec]:
    """Return the steps of a saga by their entities. Raises ValueError if two steps have the same row."""
    found: dict[str, StepSpec] = {}
    for step in steps:
        if other := found.get(step.entity):
            raise ValueError(f"{other.action} and {step.action} have one row, {step.entity}: give each its own entity")
        found[step.entity] = step
    return MappingProxyType(found)
