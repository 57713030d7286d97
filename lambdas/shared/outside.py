"""A step that calls a service outside, such as a payment provider: the row is written before the call and after it.

The write barrier guards the row and cannot guard the service, whose calls may be lost, late or doubled like any. So

* an action writes ``doing``, calls, and writes ``live`` with what it was told. The first write is the barrier: where
  it is refused, nothing is called. And from then on, whoever undoes knows that a call may have been made.
* a compensation writes ``undoing``, calls, and writes ``undone``. The first write bars the action for ever, and the
  row from other sagas; the last one says that the service, too, has nothing left of it. If the action had written
  nothing, it has called nothing and never will: then there is one write, and no call.

Both calls carry the same idempotency key. Whatever dies between two of these, its next delivery does all that is
left, on condition that the service

1. does once what it is asked for twice with one key, and answers the same,
2. undoes by that key whatever it has done with it, which may be nothing,
3. refuses from then on to do anything with that key: a call that has passed the barrier may arrive later than the
   compensation's.

docs/your-own-saga.md says what to do where a service lacks one of them.
"""

import uuid
from collections.abc import Callable
from typing import TypeAlias

from lambdas.shared import ledger
from lambdas.shared.fields import Fields
from lambdas.shared.rows import Key, Row
from lambdas.shared.steps import Step

# What calls the service, with a valid input and the idempotency key; the row keeps what it returns. It has to give up
# well before the function's timeout. An error that is no business error means that the outcome is unknown: the
# call is made again. No error may repeat what must not be logged.
Call: TypeAlias = Callable[[Fields, str], Row]


def idempotency_key(step: Step, key: Key, saga: ledger.Saga) -> str:
    """The same for every delivery of this step of this saga, its compensation included, and for no other.

    A UUID: any service takes it, and it tells no account and no names. The order's id is in it because functions
    that are invoked directly all have the same saga id.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{saga.id}/{key[1]}/{step.name}"))


def act(step: Step, key: Key, saga: ledger.Saga, given: Fields, call: Call) -> None:
    """Have the service do the step, once. Raises as ``ledger.act`` does, and whatever the call raises."""
    sent = idempotency_key(step, key, saga)
    # The key is kept, so that people can look for the charge at the provider.
    if ledger.begin_action(step.entity, key, saga, {**step.stored(given), "idempotency_key": sent}):
        ledger.end_action(step.entity, key, saga, call(given, sent))


def compensate(step: Step, key: Key, saga: ledger.Saga, given: Fields, call: Call) -> None:
    """Have the service undo the step, if it may have done it. Raises botocore's errors and what the call raises."""
    if ledger.begin_compensation(step.entity, key, saga):
        ledger.end_compensation(step.entity, key, saga, call(given, idempotency_key(step, key, saga)))
