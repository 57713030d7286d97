"""A step that calls an external service, such as a payment provider: it writes the row before and after the call.

The write barrier guards the row. It cannot guard the provider, whose calls may be lost, late or repeated. Therefore:

* An action writes ``in_progress``, calls, and writes ``live`` with what the provider returned. If the first write is
  rejected, nothing is called. After it, a compensation knows that a call may have been made.
* A compensation writes ``compensating``, calls, and writes ``compensated``. The first write rejects the action from now
  on and keeps the row from other sagas. The last one says that the provider, too, has nothing left. If there was no
  row, the action has called nothing and never will: the compensation writes once and calls nothing.

Both calls carry the same idempotency key. Wherever a function crashes, its next delivery finishes the work, provided
that the service

1. performs a request once for each key, and answers a repetition with the same response,
2. compensates by that key whatever it has done with it, which may be nothing,
3. rejects every later request with that key: a call that has passed the barrier may arrive after the compensation's.

docs/tutorial.md says what to do if a service lacks one of these.
"""

from collections.abc import Callable
from typing import TypeAlias

from lambdas.saga_runtime import barrier
from lambdas.saga_runtime.barrier import Row
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.steps import Attributes
from lambdas.saga_runtime.validation import Input

# Calls the provider with an input and the idempotency key; the row stores what it returns. It must give up well before
# the function's timeout. After an error that is not a business error, the outcome is unknown and the call is made
# again. No error may repeat a sensitive value.
ProviderCall: TypeAlias = Callable[[Input, str], Attributes]


def idempotency_key(row: Row) -> str:
    """Return the key of this step of this saga, the same for its action and its compensation, and for no other step.

    It is a UUID: every service accepts one, and it contains no account and no names.
    """
    return row.saga.request_id(row.key[1], row.step.name)


def act(row: Row, input_: Input, call: ProviderCall) -> None:
    """Have the provider perform the step, once. Raises as ``barrier.act`` does, and what the call raises."""
    key = idempotency_key(row)
    # The row stores the key, so that people can find the request at the provider.
    if barrier.begin_action(row, {**row.step.attributes(input_), "idempotency_key": key}):
        barrier.end_action(row, row.step.require_storable(call(input_, key)))


def compensate(row: Row, input_: Input, call: ProviderCall) -> None:
    """Have the provider compensate the step, if the step may have called it. Raises what the call raises."""
    if barrier.begin_compensation(row):
        barrier.end_compensation(row, _storable(row, call(input_, idempotency_key(row))))


def _storable(row: Row, attributes: Attributes) -> Attributes:
    """Return what the row can store of a response to a compensation: no response may prevent the last write."""
    try:
        return row.step.require_storable(attributes)
    except ValueError:
        logger.exception("the response of the provider is not stored")
        return {}
