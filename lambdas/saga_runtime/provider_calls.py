"""A step that calls an external service, such as a payment provider: it writes the row before and after the call.

The write barrier guards the row. It cannot guard the provider, whose calls may be lost, late or repeated. Therefore:

* An action writes ``in_progress``, calls, and writes ``live`` with what the provider returned. If the first write is
  rejected, nothing is called. After it, a compensation knows that a call may have been made.
* A compensation writes ``compensating``, calls, and writes ``compensated``. The first write rejects the action from now
  on and keeps the row from other sagas. The last one says that the provider, too, has nothing left. If there was no
  row, the action has called nothing and never will: the compensation writes once and calls nothing.

* A confirmation (``confirm``) calls and then writes the last status, for what may happen only after the point of no
  return, such as the capture of an authorized payment. It is retried until the call succeeds.

Action and compensation carry the same idempotency key. Wherever a function crashes, its next delivery finishes the
work, provided that the service

1. performs a request once for each key, and answers a repetition with the same response,
2. compensates by that key whatever it has done with it, which may be nothing,
3. rejects every later request with that key: a call that has passed the barrier may arrive after the compensation's.

Most services promise the first only, and for a time only. For them a step has ``key_lifetime``, after which no request
relies on the key, and ``references``: a call stores the service's own id of what it made before it makes that take
effect, and the compensation ends it by that id for good (examples/ticket_sale/lambdas/stripe_payments.py).
docs/tutorial.md says what to do if a service lacks more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from lambdas.saga_runtime import barrier, clock
from lambdas.saga_runtime.barrier import Item, Row
from lambdas.saga_runtime.errors import KeyExpired
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.steps import (
    ACTION_RESPONSE,
    COMPENSATION_RESPONSE,
    CONFIRMATION_RESPONSE,
    KEY_MARGIN,
    Attributes,
    Stored,
)
from lambdas.saga_runtime.validation import Input

# What a message says to people who settle a saga at the provider. The other way round, a redrive could come in between.
CLOSE_FIRST = "close the saga with `ops close`, check with `ops show` that it does not run, then"


@dataclass(frozen=True, kw_only=True)
class ProviderRequest:
    """What a call of the provider works with.

    Args:
        row: the row of the step.
        input: the input of the saga.
        id: a UUID that names this request for ever, to find it at the provider by. A repeated call has the same one.
            That of a confirmation differs from that of the action and its compensation, which share one.
        stored: the references that the row has when the call begins.
        requested_at: when the first call with this id began.
        compensates: whether this is the call of the compensation.
    """

    row: Row
    input: Input
    id: str
    stored: Mapping[str, str]
    requested_at: str
    compensates: bool

    @property
    def key(self) -> str:
        """The idempotency key, which is the id while the provider knows it. Raises KeyExpired after that."""
        if self.key_expired:
            key, step = self.row.key, self.row.step
            references = "".join(f", {name} {value}" for name, value in self.stored.items())
            raise KeyExpired(
                f"{step.entity} of {key[0]} {key[1]}: the provider may have forgotten the idempotency key {self.id} of "
                f"{self.requested_at}, so nothing was requested: {CLOSE_FIRST} look up at the provider what this "
                f"key{references} has done, and end it there"
            )
        return self.id

    @property
    def key_expired(self) -> bool:
        """Whether the provider may have forgotten the key, and would take a repeated request for a new one."""
        lifetime = self.row.step.key_lifetime
        return lifetime is not None and clock.age(self.requested_at) > lifetime - KEY_MARGIN

    def store(self, attributes: Attributes) -> None:
        """Store references at once, so that every later call of the step receives them, whatever this one does next.

        Raises StepCompensated if the compensation has begun: then it has not seen them, and nothing more may be
        requested. Raises SagaConflict if another saga owns the row, ValueError if the references are not the step's.
        """
        barrier.store(self.row, self.row.step.require_references(attributes), compensates=self.compensates)


# Calls the provider; the row stores what it returns in a map of its own (steps.py). It must give up well before the
# function's timeout. After an error that is not a business error, the outcome is unknown and the call is made again. No
# error may repeat a sensitive value.
ProviderCall: TypeAlias = Callable[[ProviderRequest], Attributes]


def idempotency_key(row: Row, *, confirms: bool = False) -> str:
    """Return the key of this step of this saga, the same for its action and its compensation, and for no other step.

    It is a UUID: every service accepts one, and it contains no account and no names.

    Args:
        row: the row of the step.
        confirms: whether it is for the confirmation, which makes another request. Default: false.
    """
    state = f"{row.step.name}/{row.step.confirmed}" if confirms else row.step.name
    return row.saga.request_id(row.key[1], state)


def requested(row: Row, input_: Input) -> Attributes:
    """Return what the first write of an action stores. The key is there for people, who find the request by it."""
    return {**row.step.attributes(input_), "idempotency_key": idempotency_key(row), "requested_at": clock.now()}


def request_of(row: Row, input_: Input, item: Item, *, compensates: bool = False) -> ProviderRequest:
    """Return the request of an action or its compensation, from the row as its first write has left it."""
    return ProviderRequest(
        row=row,
        input=input_,
        id=idempotency_key(row),
        stored=_references(row, item),
        # A row that an earlier version of this library wrote has no such time; the saga began before it.
        requested_at=item.get("requested_at", row.saga.fence),
        compensates=compensates,
    )


def response(row: Row, name: str, returned: Attributes) -> Stored:
    """Return the attribute that stores what a call returned; none if it returned nothing. Raises ValueError."""
    return {name: row.step.require_storable(returned)} if returned else {}


def act(row: Row, input_: Input, call: ProviderCall) -> None:
    """Have the provider perform the step, once. Raises as ``barrier.act`` does, and what the call raises."""
    item = barrier.begin_action(row, requested(row, input_))
    if item is not None:
        barrier.end_action(row, response(row, ACTION_RESPONSE, call(request_of(row, input_, item))))


def compensate(row: Row, input_: Input, call: ProviderCall) -> None:
    """Have the provider compensate the step, if the step may have called it. Raises what the call raises."""
    item = barrier.begin_compensation(row)
    if item is not None:
        returned = call(request_of(row, input_, item, compensates=True))
        barrier.end_compensation(row, _response_if_storable(row, returned))


def confirm(row: Row, input_: Input, call: ProviderCall) -> None:
    """Have the provider complete the step, then confirm the row. Raises as ``barrier.confirm`` and the call do."""
    item = barrier.begin_confirmation(row)
    if item is not None:
        request = ProviderRequest(
            row=row,
            input=input_,
            id=idempotency_key(row, confirms=True),
            stored=_references(row, item),
            requested_at=item["confirmation_requested_at"],
            compensates=False,
        )
        barrier.confirm(row, response(row, CONFIRMATION_RESPONSE, call(request)))


def _references(row: Row, item: Item) -> Mapping[str, str]:
    return {name: item[name] for name in row.step.references if name in item}


def _response_if_storable(row: Row, returned: Attributes) -> Stored:
    """Return what the row can store of a response to a compensation: no response may prevent the last write."""
    try:
        return response(row, COMPENSATION_RESPONSE, returned)
    except ValueError:
        logger.exception("the response of the provider is not stored")
        return {}
