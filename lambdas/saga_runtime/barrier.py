"""The write barrier: each call of a function is one conditional write to the row of its step.

In whatever order actions and compensations arrive, and however often:

* an action that arrives after its compensation is rejected,
* a compensation that finds nothing to compensate succeeds, and leaves a tombstone that rejects the late action,
* a repeated call changes nothing and gives the same answer,
* no saga changes a row that another saga owns, except that it may raise the fence,
* a pivot is resolved once: it happened, or it never will.

Nothing is read first: DynamoDB returns the row with the rejection (``ReturnValuesOnConditionCheckFailure``, Amazon
DynamoDB API Reference, UpdateItem). The functions of a step that calls a provider write before and after the call, and
read the row from their first write (provider_calls.py). An answer to a step that waits reads which saga waits, and its
write repeats that as a condition (callbacks.py). All functions here raise botocore's errors if DynamoDB fails.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, cast

from boto3.dynamodb.types import TypeSerializer

from lambdas.saga_runtime import clock
from lambdas.saga_runtime.errors import SagaConflict, StepCompensated
from lambdas.saga_runtime.steps import Key, StepSpec, Stored

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# The text attributes of a stored row.
Item: TypeAlias = Mapping[str, str]

_serialize = TypeSerializer().serialize

# The conditions. Each excludes one anomaly.
#
# Two sagas that own one row: an action claims only a row that does not exist or is compensated.
MISSING = "attribute_not_exists(entity)"
COMPENSATED = "#status = :compensated"
# A late action that claims a row after its own compensation has passed: the compensation has raised the fence.
FENCE_IS_OLDER = "fence < :fence"
# A change to the row of another saga. AWS allows the name of an execution again after 90 days, with the same ARN, so
# only the ARN together with the start time names a saga. A start time in a whole second has two forms (clock.py).
OWN = "saga_id = :saga_id AND (saga_started_at = :saga_started_at OR saga_started_at = :same_start)"
FOREIGN = "(saga_id <> :saga_id OR (saga_started_at <> :saga_started_at AND saga_started_at <> :same_start))"
# A second entry in the history for a repeated call.
NOT_COMPENSATED = "#status <> :compensated"
NOT_COMPENSATING = "#status <> :compensating"
# A slow response that makes the row live again behind the compensation, or compensates the row of a later call.
IN_PROGRESS = "#status = :in_progress"
COMPENSATING = "#status = :compensating"
# A confirmation of a row that is not complete.
LIVE = "#status = :live"
# A repeated write or a late delivery that removes the token of the task that waits: the row has this one already.
TASK_IS_NEW = "NOT (task_token = :token OR previous_task_token = :token)"
# A response that an action stores behind its compensation, which has read the row without it.
BEFORE_COMPENSATION = f"{NOT_COMPENSATED} AND {NOT_COMPENSATING}"

# Every change of the status also records who made it, and when.
_OWNER = "#status = :status, saga_id = :saga_id, saga_started_at = :saga_started_at"
_CHANGE = f"SET {_OWNER}, history = list_append(if_not_exists(history, :no_entries), :entry)"
# A new owner starts a new history and keeps only the previous one, and nothing that only the previous one means
# (``StepSpec.of_one_saga``). So the row stays small however often an input is tried again, and a compensation always
# fits.
_CLAIM = (
    f"SET {_OWNER}, fence = :fence, history = :entry, previous_history = if_not_exists(history, :no_entries), "
    "attempts = if_not_exists(attempts, :zero) + :one"
)
# The last request of the previous owner: an answer to it is late, not early.
_CLAIM_AND_REQUEST = f"{_CLAIM}, previous_request = if_not_exists(idempotency_key, :empty)"
# The status stays, and so does the history.
_KEEP = "SET #status = #status"
# The call that a confirmation makes has a key of its own, and its age counts from here.
_BEGIN_CONFIRMATION = f"{_KEEP}, confirmation_requested_at = if_not_exists(confirmation_requested_at, :now)"
# A task has a new token after a retry or a redrive. The one before is kept: a late delivery of an earlier attempt could
# otherwise remove the token of the task that waits.
_TOKEN = f"{_KEEP}, task_token = :token, previous_task_token = if_not_exists(task_token, :empty)"
# The fence never goes down: a newer saga may have raised it while this one owned the row.
_COMPENSATE = f"{_CHANGE}, fence = if_not_exists(fence, :fence)"
# Who raised it, and why: the saga has no row here, and other systems learn from this write that it was rolled back.
_FENCE = "SET #fence = :fence, fenced_by = :entry"


@dataclass(frozen=True, kw_only=True, eq=False)
class SagaIdentity:
    """A saga: the ARN of its execution together with the execution's start time.

    Two identities are equal, and have the same idempotency keys, however their start times are written: with zero
    milliseconds or without them.

    Args:
        id: the ARN.
        started_at: the start time as Step Functions writes it.
    """

    id: str
    started_at: str

    @property
    def fence(self) -> str:
        """The start time in the form of clock.py, so that fences can be compared."""
        return clock.normalized(self.started_at)

    @property
    def _start(self) -> str:
        return clock.with_milliseconds(self.started_at)

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same saga."""
        return isinstance(other, SagaIdentity) and (self.id, self._start) == (other.id, other._start)

    def __hash__(self) -> int:
        """Return the same number for equal identities."""
        return hash((self.id, self._start))

    def request_id(self, key: str, state: str) -> str:
        """Return the idempotency key of a step, by the partition key's value and the state of its action."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.id}/{self._start}/{key}/{state}"))


@dataclass(frozen=True, kw_only=True)
class Write:
    """A conditional write.

    Args:
        was_made: whether the condition was true.
        item: the text attributes of the item after the write if they were requested, or of the item that rejected it.
    """

    was_made: bool
    item: Item

    @property
    def rejected_by(self) -> Item | None:
        """The item that rejected the write; None if it was made."""
        return None if self.was_made else self.item


@dataclass(frozen=True, kw_only=True)
class Table:
    """The table that contains the rows, and a client of DynamoDB."""

    name: str
    client: "DynamoDBClient"


@dataclass(frozen=True, kw_only=True)
class Row:
    """The row of a step, as one saga addresses it.

    Args:
        step: the step.
        key: the partition key.
        saga: the saga.
        reason: why the saga is rolled back; the history records it. Default: none.
    """

    step: StepSpec
    key: Key
    saga: SagaIdentity
    table: Table
    reason: str | None = None

    def owns(self, item: Item) -> bool:
        """Return whether this saga owns the stored item."""
        return self.saga == SagaIdentity(id=item.get("saga_id", ""), started_at=item.get("saga_started_at", ""))


def act(row: Row, attributes: Stored) -> None:
    """Claim the row as live for this saga and store the attributes. Idempotent.

    Raises StepCompensated if this saga has compensated the step, and SagaConflict if another saga owns the row or a
    saga that started no earlier has compensated or fenced it.
    """
    _claim(row, row.step.live, attributes)


def begin_action(row: Row, attributes: Stored) -> Item | None:
    """Claim the row as in progress. Return it if the provider must be called, else None. Raises as ``act`` does."""
    item = _claim(row, _required(row.step.in_progress), attributes).item
    return item if item["status"] == row.step.in_progress else None


def end_action(row: Row, attributes: Stored) -> None:
    """Make the row live and store what the provider returned. Idempotent. Raises as ``act`` does."""
    rejected_by = _update(row, _CHANGE, f"{OWN} AND {IN_PROGRESS}", status=row.step.live, stores=attributes).rejected_by
    if rejected_by is not None:
        require_own_and_not_compensated(row, rejected_by)


def begin_waiting(row: Row, attributes: Stored, token: str | None) -> Item:
    """Claim the row as in progress, with the token of the task that waits; return the row. Raises as ``act`` does.

    If the row is in progress already, a new token replaces the one that it has. If it has its answer, nothing changes.

    Args:
        row: the row.
        attributes: what it stores.
        token: the token; None if no task waits, as in a direct call.
    """
    in_progress = _required(row.step.in_progress)
    waiting = {"task_token": token} if token is not None else {}
    write = _claim(row, in_progress, {**attributes, **waiting})
    if token is not None and not write.was_made and write.item["status"] == in_progress:
        condition = f"{OWN} AND {IN_PROGRESS} AND {TASK_IS_NEW}"
        write = _update(row, _TOKEN, condition, token=token, returns_item=True)
        if not write.was_made:
            # An answer or the compensation came between the two writes, or the row has the token already.
            require_own_and_not_compensated(row, write.item)
    return write.item


def store(row: Row, attributes: Stored, *, compensates: bool = False) -> None:
    """Store what the provider returned, if anything. The status stays.

    Raises SagaConflict if another saga owns the row, and StepCompensated if its compensation has begun, or has ended.

    Args:
        row: the row.
        attributes: what it stores.
        compensates: whether the call is that of the compensation. Default: that of an action or a confirmation.
    """
    phase = COMPENSATING if compensates else BEFORE_COMPENSATION
    rejected_by = _update(row, _KEEP, f"{OWN} AND {phase}", stores=attributes).rejected_by if attributes else None
    if rejected_by is not None:
        require_own_and_not_compensated(row, rejected_by)


def answer(row: Row, status: str, attributes: Stored) -> None:
    """Give the row in progress the status of its answer, and store the attributes. The first answer counts. Idempotent.

    Raises as ``act`` does, and SagaConflict if the row has another answer.
    """
    rejected_by = _update(row, _CHANGE, f"{OWN} AND {IN_PROGRESS}", status=status, stores=attributes).rejected_by
    if rejected_by is None:
        return
    require_own_and_not_compensated(row, rejected_by)
    # A live row may have been confirmed since.
    same = (row.step.live, row.step.confirmed) if status == row.step.live else (status,)
    if rejected_by["status"] not in same:
        raise SagaConflict(f"{row.step.entity} is {rejected_by['status']} by an earlier answer: the first one counts")


def read(table: Table, step: StepSpec, key: Key) -> Item:
    """Return the text attributes of a row, none if it does not exist. Only for what a conditional write repeats."""
    found = table.client.get_item(TableName=table.name, Key=_item_key(step, key), ConsistentRead=True)
    return _texts(found.get("Item", {}))


def compensate(row: Row) -> None:
    """Compensate the row, or leave a tombstone that rejects a late action. Idempotent."""
    _compensate_if(row, f"{MISSING} OR ({OWN} AND {NOT_COMPENSATED})")


def begin_compensation(row: Row) -> Item | None:
    """Reject a late action from now on. Return the row if the provider must be called, else None.

    The action may store attributes until the last write, so the row is what that write made or was rejected by. No
    other saga can claim the row before ``end_compensation``.
    """
    # A missing or foreign row: this saga's action has not called the provider, and from now on it never will.
    rejected_by = _compensate_if(row, MISSING)
    if rejected_by is None or not row.owns(rejected_by):
        return None
    compensating = _required(row.step.compensating)
    item = _update(row, _CHANGE, f"{OWN} AND {BEFORE_COMPENSATION}", status=compensating, returns_item=True).item
    return item if row.owns(item) and item["status"] == compensating else None


def end_compensation(row: Row, attributes: Stored) -> None:
    """Compensate the row and store what the provider returned. Idempotent."""
    _update(row, _CHANGE, f"{OWN} AND {COMPENSATING}", status=row.step.compensated, stores=attributes)


def resolve(row: Row) -> bool:
    """Return whether the action of this saga happened; if it did not, reject it from now on. The answer is final."""
    rejected_by = _compensate_if(row, MISSING)
    failed = (row.step.rejected, row.step.compensating, row.step.compensated)
    return rejected_by is not None and row.owns(rejected_by) and rejected_by["status"] not in failed


def begin_confirmation(row: Row) -> Item | None:
    """Return the live row if the provider must be called, None if the row is confirmed. Raises as ``confirm`` does.

    The write that returns the row rejects nothing: after the point of no return nothing compensates the row.
    """
    write = _update(row, _BEGIN_CONFIRMATION, f"{OWN} AND {LIVE}", returns_item=True)
    if write.was_made:
        return write.item
    _require_confirmed(row, write.item)
    return None


def confirm(row: Row, attributes: Stored = MappingProxyType({})) -> None:
    """Give the live row its last status, and store what the provider returned, if it was called. Idempotent.

    Raises SagaConflict if this saga does not own the row as live.
    """
    write = _update(row, _CHANGE, f"{OWN} AND {LIVE}", status=_required(row.step.confirmed), stores=attributes)
    if not write.was_made:
        _require_confirmed(row, write.item)


def _require_confirmed(row: Row, item: Item) -> None:
    if not (row.owns(item) and item["status"] == row.step.confirmed):
        raise SagaConflict(f"this saga does not own {row.step.entity}: nothing was confirmed")


def _claim(row: Row, status: str, attributes: Stored) -> Write:
    """Claim a free row. The item of the write is this saga's, whether this call claimed it or an earlier one."""
    write = _update(
        row,
        _CLAIM_AND_REQUEST if row.step.in_progress else _CLAIM,
        f"{MISSING} OR ({COMPENSATED} AND {FENCE_IS_OLDER})",
        status=status,
        stores=attributes,
        # What the previous owner's provider returned must not be taken for this saga's.
        removes=[name for name in row.step.of_one_saga if name not in attributes],
        returns_item=row.step.in_progress is not None,
    )
    if not write.was_made:
        require_own_and_not_compensated(row, write.item)
    return write


def require_own_and_not_compensated(row: Row, item: Item) -> None:
    """Raise StepCompensated or SagaConflict unless this saga owns the item and has not begun to compensate it."""
    if not row.owns(item):
        raise SagaConflict(
            f"another saga ({item.get('saga_id')}) owns {row.step.entity}, status {item.get('status')}: nothing was "
            f"changed; use another {row.step.schema.key}, or try again once that saga is compensated"
        )
    if item["status"] in (row.step.compensating, row.step.compensated):
        raise StepCompensated(f"this saga has already compensated {row.step.entity}: the late action is rejected")


def _compensate_if(row: Row, condition: str) -> Item | None:
    """Compensate the row on the condition; otherwise raise the fence, so that this saga's late action is rejected.

    Return None if the row was compensated, else the item that rejected it: this saga's own, or a foreign one.
    """
    while True:
        rejected_by = _update(row, _COMPENSATE, condition, status=row.step.compensated).rejected_by
        if rejected_by is None or row.owns(rejected_by):
            return rejected_by
        fenced_by = _update(row, _FENCE, f"{FOREIGN} AND {FENCE_IS_OLDER}").rejected_by
        # A rejection by a foreign item means that the fence is high enough. A rejection by an own item means that
        # this saga's action arrived between the two writes: start over.
        if fenced_by is None or not row.owns(fenced_by):
            return rejected_by


def _required(status: str | None) -> str:
    assert status is not None  # noqa: S101 (handlers.py checks the statuses of a step when the function is loaded)
    return status


def _update(
    row: Row,
    update: str,
    condition: str,
    *,
    status: str | None = None,
    token: str | None = None,
    stores: Stored = MappingProxyType({}),
    removes: Sequence[str] = (),
    returns_item: bool = False,
) -> Write:
    """Make one conditional write.

    Args:
        row: the row.
        update: the update expression.
        condition: the condition expression.
        status: the value of ``:status``. Default: the expressions do not use it.
        token: the value of ``:token``. Default: the expressions do not use it.
        stores: attributes that the update also sets. Default: none.
        removes: attributes that the update also removes. Default: none.
        returns_item: whether the item is returned after the write too. Default: only if it rejects the write.
    """
    step, saga, now = row.step, row.saga, clock.now()
    texts = {
        ":saga_id": saga.id,
        ":saga_started_at": saga.started_at,
        ":same_start": clock.other_form(saga.started_at),
        ":fence": saga.fence,
        ":status": status,
        ":live": step.live,
        ":compensated": step.compensated,
        ":in_progress": step.in_progress,
        ":compensating": step.compensating or step.compensated,
        ":empty": "",
        ":token": token,
        ":now": now,
    }
    values: dict[str, AttributeValueTypeDef] = {name: {"S": text} for name, text in texts.items() if text is not None}
    entry = {"status": status, "saga_id": saga.id, "at": now, "reason": row.reason}
    values |= {
        ":zero": {"N": "0"},
        ":one": {"N": "1"},
        ":no_entries": {"L": []},
        ":entry": {"L": [{"M": {name: {"S": text} for name, text in entry.items() if text is not None}}]},
    }
    # DynamoDB rejects a value that no expression uses.
    used = set(re.findall(r":\w+", f"{update} {condition}"))
    # Names of their own, so that an attribute can have the name of a reserved word or of one of the values above.
    update += "".join(f", #stored_{index} = :stored_{index}" for index in range(len(stores)))
    names = {f"#stored_{index}": name for index, name in enumerate(stores)}
    if removes:
        update += f" REMOVE {', '.join(f'#removed_{index}' for index in range(len(removes)))}"
        names |= {f"#removed_{index}": name for index, name in enumerate(removes)}
    # Never empty: DynamoDB rejects that.
    names |= {name: name.removeprefix("#") for name in ("#status", "#fence") if name in update + condition}
    values = {name: value for name, value in values.items() if name in used}
    values |= {f":stored_{index}": _serialize(value) for index, value in enumerate(stores.values())}
    client = row.table.client
    try:
        response = client.update_item(
            TableName=row.table.name,
            Key=_item_key(step, row.key),
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW" if returns_item else "NONE",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except client.exceptions.ConditionalCheckFailedException as rejection:
        # The type stubs do not know that this error has the item.
        stored = cast("Mapping[str, Mapping[str, AttributeValueTypeDef]]", rejection.response).get("Item", {})
        return Write(was_made=False, item=_texts(stored))
    return Write(was_made=True, item=_texts(response.get("Attributes", {})))


def _item_key(step: StepSpec, key: Key) -> "dict[str, AttributeValueTypeDef]":
    return {key[0]: {"S": key[1]}, "entity": {"S": step.entity}}


def _texts(item: "Mapping[str, AttributeValueTypeDef]") -> Item:
    return {name: value["S"] for name, value in item.items() if "S" in value}
