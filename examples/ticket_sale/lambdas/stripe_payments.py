"""The payment of a sale at Stripe: authorized before the ticket is issued, captured after it, or cancelled.

Stripe keeps an idempotency key for 24 hours, and cancels by its own id of a PaymentIntent only. Therefore:

* ``authorize`` creates an intent, which moves no money, stores its id, and only then confirms it by that id. A row
  without an id never confirmed anything, and a confirmation is idempotent by the state of the intent, without a key.
* ``cancel`` cancels by the id, which is final: Stripe rejects a later confirmation. Without an id nothing is
  authorized, and nothing ever will be, because the row stores no id any more. What may be left is an unconfirmed
  intent: the same request with the same key returns it, or makes one that uses up the key. Once the key has expired,
  or if Stripe answers the key with a server error for good, the intent is looked up by its metadata. Search lags behind
  by a minute or so (Stripe API, "Search"), so it may miss an intent, but none that can be confirmed.
* ``capture`` captures by the id. It comes after the point of no return, so it is retried until the money is captured.

Refunds after the capture, which take back a confirmed sale, are outside this saga.

Every function here raises StripeFault if the outcome is unknown or Stripe does not perform the request.
"""

from collections.abc import Sequence
from http.client import INTERNAL_SERVER_ERROR
from typing import TYPE_CHECKING

import stripe

from examples.ticket_sale.lambdas.stripe_client import StripeCall, StripeFault, faults
from lambdas.saga_runtime.errors import InvalidInput, StepCompensated
from lambdas.saga_runtime.provider_calls import CLOSE_FIRST, ProviderRequest
from lambdas.saga_runtime.steps import Attributes
from lambdas.saga_runtime.validation import amount, line

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCreateParams

# The attribute of the row with the id of the intent.
INTENT = "payment_intent"
CURRENCY = "eur"
# In the smallest unit of the currency.
CENTS = 100
# The fields of a sale by the parameters that are made of them.
FIELDS = {"payment_method": "payment_method", "amount": "price"}


@faults()
def authorize(request: ProviderRequest) -> Attributes:
    """Authorize the price on the card, once.

    Raises InvalidInput if the card is declined, StepCompensated if the payment is cancelled, and KeyExpired.
    """
    call = StripeCall()
    id_ = request.stored.get(INTENT)
    if id_ is None:
        found = _found(call, request) if request.key_expired else []
        id_ = found[0] if found else _created(call, request)
        request.store({INTENT: id_})
    match _confirmed(call, id_):
        case "requires_capture":
            return {}
        case "canceled":
            raise StepCompensated(f"the payment {id_} is cancelled: the late authorization is rejected")
        case "requires_payment_method":
            raise InvalidInput("payment_method was declined: use another one")
        case "requires_action":
            raise InvalidInput("payment_method needs the buyer's authentication: use another one")
        case status:
            raise StripeFault(f"the payment {id_} is {status} after its confirmation")


@faults()
def cancel(request: ProviderRequest) -> Attributes:
    """Cancel the payment for ever, whatever the authorization has done. Raises StripeFault if it is captured."""
    call = StripeCall()
    for id_ in _to_cancel(call, request):
        _cancel(call, request, id_)
    return {}


@faults()
def capture(request: ProviderRequest) -> Attributes:
    """Capture the authorized payment, once. Raises StripeFault if Stripe has released the money: the saga is stuck."""
    call, id_ = StripeCall(), request.stored[INTENT]
    try:
        call.make(lambda client: client.v1.payment_intents.capture(id_))
    except stripe.InvalidRequestError:
        status = _status(call, id_)
        if status == "canceled":
            raise StripeFault(
                f"{_row(request)}: {id_} was cancelled before its capture, as Stripe does after 7 days: {CLOSE_FIRST} "
                "have the buyer pay in another way or take back the ticket"
            ) from None
        if status != "succeeded":
            raise
    return {}


def _created(call: StripeCall, request: ProviderRequest) -> str:
    """Create the intent without confirming it, once for each key; return its id.

    Raises KeyExpired, and InvalidInput if Stripe rejects a field of the sale.
    """
    sale, row = request.input, request.row
    params: PaymentIntentCreateParams = {
        "amount": int(amount("price")(sale) * CENTS),
        "currency": CURRENCY,
        "capture_method": "manual",
        "payment_method": line("payment_method", longest=100)(sale),
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "metadata": {
            "request": request.id,
            "saga_id": row.saga.id,
            "saga_started_at": row.saga.started_at,
            row.key[0]: row.key[1],
            "entity": row.step.entity,
        },
    }
    key = request.key
    try:
        return call.make(lambda client: client.v1.payment_intents.create(params, {"idempotency_key": key})).id
    except stripe.InvalidRequestError as error:
        if field := FIELDS.get(error.param or ""):
            raise InvalidInput(f"{field} was rejected by the payment provider: use another one") from None
        raise


def _found(call: StripeCall, request: ProviderRequest) -> Sequence[str]:
    """Return the ids of the intents that were created by this request, found by their metadata."""
    query = f'metadata["request"]:"{request.id}"'
    found = call.make(lambda client: client.v1.payment_intents.search({"query": query}))
    return [intent.id for intent in found.data]


def _to_cancel(call: StripeCall, request: ProviderRequest) -> Sequence[str]:
    """Return the ids of the intents that the authorization has created or may still create."""
    if INTENT in request.stored:
        return [request.stored[INTENT]]
    if request.key_expired:
        return _found(call, request)
    try:
        id_ = _created(call, request)
    except (InvalidInput, stripe.InvalidRequestError):
        # Stripe would have repeated its response if the authorization had created an intent with this key.
        return []
    except stripe.APIError as error:
        if not _is_final(error):
            raise
        return _found(call, request)
    request.store({INTENT: id_})
    return [id_]


def _is_final(error: stripe.APIError) -> bool:
    """Return whether it is the server error that Stripe repeats for the key: no request with it creates anything more.

    Source: Stripe API, "Idempotent requests".
    """
    return (error.http_status or 0) >= INTERNAL_SERVER_ERROR and (error.headers or {}).get(
        "idempotent-replayed"
    ) == "true"


def _cancel(call: StripeCall, request: ProviderRequest, id_: str) -> None:
    try:
        call.make(lambda client: client.v1.payment_intents.cancel(id_))
    except stripe.InvalidRequestError:
        status = _status(call, id_)
        if status == "succeeded":
            raise StripeFault(f"{_row(request)}: {id_} is captured: {CLOSE_FIRST} refund it") from None
        if status != "canceled":
            raise


def _confirmed(call: StripeCall, id_: str) -> str:
    """Confirm the intent; return its status, whether this confirmation or an earlier one led to it."""
    try:
        return call.make(lambda client: client.v1.payment_intents.confirm(id_)).status
    except stripe.CardError:
        return "requires_payment_method"
    except stripe.InvalidRequestError as error:
        if error.code != "payment_intent_unexpected_state":
            raise
        return _status(call, id_)


def _status(call: StripeCall, id_: str) -> str:
    return call.make(lambda client: client.v1.payment_intents.retrieve(id_)).status


def _row(request: ProviderRequest) -> str:
    key, value = request.row.key
    return f"{request.row.step.entity} of {key} {value}"
