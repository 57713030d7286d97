"""The write barrier: one conditional write for each kind of call, be it an action or what undoes it.

A step that calls a service outside makes two, one before and one after (outside.py says when and why).

A step of an order is one row: ``status``, ``saga_id``, ``fence``, ``history`` and what the step stores.
``fence`` is the newest start time of any saga that wrote here or was barred here (see clock.py for its form).

In whatever order actions and compensations are delivered, and however often:

* an action that arrives after its compensation is refused,
* a compensation with nothing to undo succeeds, and bars its late action,
* a repeated delivery of what was done changes nothing and succeeds again,
* no saga changes a row that another one holds, but for raising its fence,
* a pivot that was resolved is either done or barred, and stays so.

Nothing is read first: DynamoDB returns the row together with a refusal
(``ReturnValuesOnConditionCheckFailure``, Amazon DynamoDB API Reference, UpdateItem).
"""

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.config import Config

from lambdas.shared import clock
from lambdas.shared.aws import client
from lambdas.shared.errors import OrderConflict, StepCompensated
from lambdas.shared.rows import Entity, Key, Row, attribute_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# A call ends within 7 s, well inside the function's timeout; the patient retrying is the state machine's.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})

_TABLE_NAME = os.environ["TABLE_NAME"]
_dynamodb: "DynamoDBClient" = client("dynamodb", CLIENT_CONFIG)


@dataclass(frozen=True, kw_only=True)
class Saga:
    """The execution that asks: its id, and when it started in the form of clock.py."""

    id: str
    started_at: str


def act(entity: Entity, key: Key, saga: Saga, stored: Row) -> None:
    """Make the row live for this saga, holding ``stored``; done already is success.

    Raises StepCompensated if this saga has undone the row, OrderConflict if another saga holds it or one
    that started no earlier has undone or barred it, botocore's errors if DynamoDB fails.
    """
    _take(entity, key, saga, entity.live, stored)


def begin_action(entity: Entity, key: Key, saga: Saga, stored: Row) -> bool:
    """Make the row this saga's, ``doing``, before its service is called; whether the call is still to be made.

    Raises as ``act`` does, and then nothing may be called.
    """
    found = _take(entity, key, saga, _named(entity, entity.doing, "doing"), stored)
    return found is None or found["status"] == entity.doing


def end_action(entity: Entity, key: Key, saga: Saga, told: Row) -> None:
    """Make the row live, holding what its service has told too; done already is success. Raises as ``act`` does."""
    row = _update(
        entity,
        key,
        f"SET {_STAMP}{_each(told)}",
        # This saga's row, and nothing came in between: neither the same call, nor the compensation, behind
        # whose back a slow answer would make the row live again.
        "saga_id = :saga_id AND #status = :doing",
        {**_stamp(entity.live, saga), ":doing": _named(entity, entity.doing, "doing"), **_values(told)},
    )
    _require_own(entity, saga, row)


def compensate(entity: Entity, key: Key, saga: Saga) -> None:
    """Leave the row not live for this saga, now and for ever; nothing to undo is success.

    Raises botocore's errors if DynamoDB fails.
    """
    # No row: leave the mark that bars the late action. A row of this saga, live: undo it. A row that this saga has
    # undone, or that another one holds, is not touched.
    _bar(entity, key, saga, "attribute_not_exists(#entity) OR (saga_id = :saga_id AND #status <> :status)")


def begin_compensation(entity: Entity, key: Key, saga: Saga) -> bool:
    """Bar the action before its service is told to undo it; whether there may be anything to undo there.

    Until ``end_compensation`` no other saga can have the row. Raises botocore's errors if DynamoDB fails.
    """
    # No row, or another saga's: this saga's action has not come so far as to call its service, for it would have
    # left a row, and from now on it never will.
    row = _bar(entity, key, saga, "attribute_not_exists(#entity)")
    if row is None or row["saga_id"] != saga.id:
        return False
    row = _update(
        entity,
        key,
        f"SET {_STAMP}",
        # This saga's row, and not being undone or undone already: a repeated delivery adds nothing to the history.
        "saga_id = :saga_id AND #status <> :status AND #status <> :undone",
        {**_stamp(_named(entity, entity.undoing, "undoing"), saga), ":undone": entity.undone},
    )
    return row is None or (row["saga_id"], row["status"]) == (saga.id, entity.undoing)


def end_compensation(entity: Entity, key: Key, saga: Saga, told: Row) -> None:
    """Make the row undone, holding what its service has told too; done already is success.

    Raises botocore's errors if DynamoDB fails.
    """
    _update(
        entity,
        key,
        f"SET {_STAMP}{_each(told)}",
        # This saga's row, of which nobody knew yet that it is undone: a repeated delivery may find it so, or find
        # the row of a later saga, which is not to be touched.
        "saga_id = :saga_id AND #status = :undoing",
        {**_stamp(entity.undone, saga), ":undoing": _named(entity, entity.undoing, "undoing"), **_values(told)},
    )


def resolve(entity: Entity, key: Key, saga: Saga) -> bool:
    """Whether the action of this saga was done; if it was not, it is barred for ever. The answer never changes.

    Raises botocore's errors if DynamoDB fails.
    """
    # No row: leave the mark that bars the late action. Any other row is left as it is.
    row = _bar(entity, key, saga, "attribute_not_exists(#entity)")
    return row is not None and row["saga_id"] == saga.id and row["status"] != entity.undone


def confirm(entity: Entity, key: Key, saga: Saga, status: str) -> None:
    """Give the live row of this saga its last status; done already is success.

    Raises OrderConflict if this saga does not hold the row, botocore's errors if DynamoDB fails.
    """
    row = _update(
        entity,
        key,
        f"SET {_STAMP}",
        "saga_id = :saga_id AND #status = :live",
        {**_stamp(status, saga), ":live": entity.live},
    )
    if row is not None and (row.get("saga_id"), row.get("status")) != (saga.id, status):
        raise OrderConflict(f"this saga does not hold {entity.name}: nothing was confirmed")


def _take(entity: Entity, key: Key, saga: Saga, status: str, stored: Row) -> Row | None:
    """Give the row to this saga, if nobody has it. Returns None if it was given, else the row, which is its already."""
    row = _update(
        entity,
        key,
        f"SET {_STAMP}, #fence = :started_at{_each(stored)}",
        # A row that nobody holds, and that no saga as new as this one has passed: without the fence, a late
        # action would outlive the compensation that came before it to a row of an earlier attempt. A row that is
        # being undone is held: else two sagas would be at its service at once.
        "attribute_not_exists(#entity) OR (#status = :undone AND #fence < :started_at)",
        {**_stamp(status, saga), ":started_at": saga.started_at, ":undone": entity.undone, **_values(stored)},
    )
    _require_own(entity, saga, row)
    return row


def _require_own(entity: Entity, saga: Saga, row: Row | None) -> None:
    """Raise StepCompensated or OrderConflict if the row that refused a write is not live for this saga."""
    if row is None or (row.get("saga_id") == saga.id and row["status"] not in entity.barred):
        return
    if row.get("saga_id") == saga.id:
        raise StepCompensated(f"this saga has already compensated {entity.name}: its action comes too late")
    raise OrderConflict(
        f"another saga ({row.get('saga_id')}) has {entity.name} of this order, {row.get('status')}: "
        "nothing was changed; use another order_id, or try again in case that saga is undone"
    )


def _bar(entity: Entity, key: Key, saga: Saga, condition: str) -> "Mapping[str, str] | None":
    """Make the row undone on the condition, or else see that this saga's action cannot come to it later.

    Returns None if it was made so, else the row that refused it: this saga's own or, barred, another's.
    """
    while True:
        row = _update(
            entity,
            key,
            # The fence never goes down: a newer saga may have been barred here while this one held the row.
            f"SET {_STAMP}, #fence = if_not_exists(#fence, :started_at)",
            condition,
            {**_stamp(entity.undone, saga), ":started_at": saga.started_at},
        )
        if row is None or row["saga_id"] == saga.id:
            return row
        barred = _update(
            entity,
            key,
            # Another saga's row: bar this saga's late action from it and touch nothing else.
            "SET #fence = :started_at",
            "saga_id <> :saga_id AND #fence < :started_at",
            {":saga_id": saga.id, ":started_at": saga.started_at},
        )
        # Refused because the fence is high enough already: barred. Refused because this saga's own action
        # landed between the two writes: start over.
        if barred is None or barred.get("saga_id") != saga.id:
            return row


# What every change of status writes: who did it, and one more line of the audit trail in the same request.
_STAMP = "#status = :status, saga_id = :saga_id, history = list_append(if_not_exists(history, :nothing), :event)"


def _stamp(status: str, saga: Saga) -> Row:
    event: Row = {"status": status, "saga_id": saga.id, "at": clock.now()}
    return {":status": status, ":saga_id": saga.id, ":nothing": [], ":event": [event]}


def _each(stored: Row) -> str:
    return "".join(f", #{name} = :{name}" for name in stored)


def _values(stored: Row) -> Row:
    return {f":{name}": value for name, value in stored.items()}


def _named(entity: Entity, status: str | None, field: str) -> str:
    if status is None:
        raise ValueError(f"{entity.name} has no status `{field}`: name one in its Entity")
    return status


def _update(entity: Entity, key: Key, update: str, condition: str, values: Row) -> "Mapping[str, str] | None":
    """One conditional write. Returns None if it was made, else the texts in the row that refused it."""
    try:
        _dynamodb.update_item(
            TableName=_TABLE_NAME,
            Key={key[0]: {"S": key[1]}, "entity": {"S": entity.name}},
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=_names(update + condition),
            ExpressionAttributeValues={name: attribute_value(value) for name, value in values.items()},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException as refusal:
        # The stubs of botocore do not know that this error brings the row.
        item = cast("Mapping[str, Mapping[str, AttributeValueTypeDef]]", refusal.response).get("Item", {})
        return {name: value["S"] for name, value in item.items() if "S" in value}
    return None


@functools.cache
def _names(expressions: str) -> dict[str, str]:
    """A ``#name`` in an expression stands for the attribute ``name``, which may be a reserved word."""
    return {token: token[1:] for token in re.findall(r"#\w+", expressions)}
