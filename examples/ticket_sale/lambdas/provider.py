"""The payment provider, as far as a sale needs it: charge a card, and take a charge back, both by an idempotency key.

No error repeats what was sent or answered: a card number may be in it.
"""

import http.client
import json
import os
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from lambdas.shared.errors import InvalidOrder, StepCompensated
from lambdas.shared.fields import Fields, amount
from lambdas.shared.rows import Row

# For each wait: for the connection, for its encryption, for the answer. All in all well below the function's
# timeout (app.py).
TIMEOUT_SECONDS = 3.0

LOOPBACK = "127.0.0.1"


class ProviderError(Exception):
    """Nobody knows what the provider has done: it did not answer, or not with what it should. Asking again is safe."""


def charge(sale: Fields, key: str) -> Row:
    """Charge the card with the price; with a key that is known, be told what came of it.

    Raises InvalidOrder if the card is declined, StepCompensated if the key was cancelled, else ProviderError.
    """
    status, told = _post(
        "/charges",
        key,
        {"reference": sale["sale_id"], "amount": str(amount(sale, "price")), "card_no": sale["card_no"]},
    )
    match status, told:
        case HTTPStatus.CREATED, {"charge_id": str(charge_id)}:
            return {"charge_id": charge_id}
        case HTTPStatus.PAYMENT_REQUIRED, _:
            raise InvalidOrder("card_no was declined by the payment provider: use another card")
        case HTTPStatus.CONFLICT, _:
            raise StepCompensated("the payment provider has cancelled this charge: it comes too late")
    raise ProviderError(f"the payment provider answered with {status}")


def cancel(_sale: Fields, key: str) -> Row:
    """Give back what was charged with this key, if anything was, and bar it for ever. Raises ProviderError."""
    status, told = _post("/cancellations", key, {})
    match status, told:
        case HTTPStatus.OK, {"refunded": str(refunded)}:
            return {"refunded": refunded}
    raise ProviderError(f"the payment provider answered with {status}")


def _post(path: str, key: str, body: dict[str, object]) -> tuple[int, Any]:
    url = urlsplit(os.environ["PROVIDER_URL"])
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.netloc, timeout=TIMEOUT_SECONDS)
    elif url.hostname == LOOPBACK:
        connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_SECONDS)
    else:
        raise ProviderError("PROVIDER_URL must begin with https://: a card number is sent there")
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    try:
        connection.request("POST", url.path.rstrip("/") + path, json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProviderError(f"the payment provider gave no answer: {type(error).__name__}") from None
    finally:
        connection.close()
