"""Cancels a running saga: rejects an action that has not run yet, so that the saga rolls back by itself.

The action that decides is the last one that can still fail: the pivot, or else the last compensatable step. One
conditional write, which no read precedes, either rejects that action for this saga from now on, or finds that it has
begun. Then the saga is about to be confirmed, and it is too late. A step that waits for its answer can still fail: a
rejecting answer ends it, unless an accepting one came before (callbacks.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from lambdas.saga_runtime import barrier, clock
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.errors import SagaConflict, StepCompensated

# Why, in the history of the rows.
REASON = "cancelled by request"
# The errors of the function that receives answers which say that a row has another answer, or is compensated.
DECIDED = (SagaConflict.__name__, StepCompensated.__name__)
# Sends an answer to that function; returns which of these errors it raised, None for no error.
Answer: TypeAlias = Callable[[Mapping[str, str]], str | None]
# How differently a row and Step Functions may write the same start time.
SAME_START = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Cancellation:
    """The answer to a request to cancel a saga.

    Args:
        rejected: the states whose actions have failed or are rejected from now on; none if it is too late.
        too_late: the states whose actions have begun, if it is too late.
    """

    rejected: tuple[str, ...] = ()
    too_late: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether the saga is rolled back; False if it is too late."""
        return bool(self.rejected)


def cancel(parts: Sequence[Sequence[Row]], answer: Answer) -> Cancellation:
    """Reject the action that decides, and then the earlier ones that have not ended, so that the saga stops soon.

    Idempotent. Raises botocore's errors if DynamoDB fails, and what ``answer`` raises.

    Args:
        parts: the rows of the steps that can fail, in order; those of a parallel group together.
        answer: sends the rejecting answer to a step that waits.
    """
    deciding = parts[-1] if parts else ()
    # One member of a parallel group is enough. The group ends when all of them have.
    rejected = [row.step.name for row in deciding if _is_rejected(row, answer)]
    if not rejected:
        return Cancellation(too_late=tuple(row.step.name for row in deciding))
    earlier = (row.step.name for part in parts[:-1] for row in part if _is_rejected(row, answer))
    return Cancellation(rejected=(*earlier, *rejected))


def identity_of(arn: str, started_at: datetime, owners: Iterable[SagaIdentity]) -> SagaIdentity:
    """Return the saga of an execution, written as in its rows if it is one of their owners."""
    for saga in owners:
        if saga.id == arn and is_execution(saga, started_at):
            return saga
    return SagaIdentity(id=arn, started_at=clock.moment(started_at))


def is_execution(saga: SagaIdentity, started_at: datetime) -> bool:
    """Return whether a saga started then: AWS allows the name of an execution again after 90 days."""
    return abs(datetime.fromisoformat(saga.started_at) - started_at) <= SAME_START


def _is_rejected(row: Row, answer: Answer) -> bool:
    if not barrier.resolve(replace(row, reason=REASON)):
        return True
    if row.step.rejected is None:
        return False
    key, value = row.key
    # The key of provider_calls.py, which can be imported only in a function: operators' tools import this module.
    request = {key: value, "step": row.step.action, "request": row.saga.request_id(value, row.step.name)}
    return answer({**request, "result": "rejected", "reason": REASON}) != SagaConflict.__name__
