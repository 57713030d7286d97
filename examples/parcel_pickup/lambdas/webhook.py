"""The carrier's webhook: checks who sent an answer, has the library receive it, and responds with an HTTP status."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from examples.parcel_pickup.lambdas.signatures import is_signed
from lambdas.saga_runtime.errors import AnswerTooEarly, BusinessError, InvalidInput
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.own_secrets import OwnSecret

# A signature is valid for so many seconds, so that a request that somebody recorded cannot be sent again for long.
TOLERANCE = 300
SECONDS_TO_WAIT = 5
# How long a secret that was replaced may still count.
ROTATED_WITHIN = timedelta(minutes=5)
# The secret is read again for a signature that does not fit, because it may have been rotated, but no sooner: anybody
# can send such requests. So the carrier signs with a new secret a minute after it was put.
READ_AGAIN_AFTER = timedelta(minutes=1)

_SECRET = OwnSecret("WEBHOOK_SECRET")

Response = dict[str, Any]


class InvalidSignatureError(Exception):
    """The request does not come from the carrier, or is too old. The message never repeats what was sent."""


def webhook(receive: Callable[[object], Mapping[str, str]]) -> Callable[[Mapping[str, Any], object], Mapping[str, Any]]:
    """Make the function behind a Lambda function URL that passes signed answers to ``receive``.

    It also passes on the answer of a caller that IAM allows to invoke the function, such as an operator: that event is
    the answer itself, and its caller gets what ``receive`` returns or raises. A sender of a request to the URL cannot
    choose the outer fields of the event (AWS Lambda Developer Guide, "Invoking Lambda function URLs").

    200: the answer counts. 400 and 409: it never will, so the carrier does not send it again. 401: the signature is not
    valid. 503: it came too early, so the carrier sends it again. Lambda responds 502 to an error of the function, after
    which the carrier also sends it again.
    """

    def handle(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
        if "requestContext" not in event:
            return receive(event)
        # Drop the keys of the answer before.
        logger.clear_state()
        try:
            body = _signed_body(event)
            return _response(200, receive(_parsed(body)))
        except InvalidSignatureError as error:
            return _rejection(401, error)
        except InvalidInput as error:
            return _rejection(400, error)
        except BusinessError as error:
            return _rejection(409, error)
        except AnswerTooEarly as error:
            response = _rejection(503, error)
            return response | {"headers": response["headers"] | {"retry-after": str(SECONDS_TO_WAIT)}}

    return handle


def _signed_body(event: Mapping[str, Any]) -> bytes:
    """Return the body of a request that the carrier signed, or raise InvalidSignatureError."""
    headers = event.get("headers", {})
    timestamp, sent = headers.get("webhook-timestamp", ""), headers.get("webhook-signature", "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > len("9999999999"):
        raise InvalidSignatureError("webhook-timestamp is missing or invalid: expected seconds since 1970")
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        raise InvalidSignatureError(f"webhook-timestamp is not within {TOLERANCE} s of now")
    text = event.get("body", "")
    body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode(errors="surrogatepass")
    ages = (ROTATED_WITHIN, READ_AGAIN_AFTER)
    if not any(is_signed(_SECRET.value(max_age=age), timestamp, body, sent) for age in ages):
        raise InvalidSignatureError("webhook-signature is missing or invalid")
    return body


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("the body is not JSON") from None


def _rejection(status: int, error: Exception) -> Response:
    logger.warning("rejected", extra={"error": type(error).__name__, "reason": str(error)})
    return _response(status, {"error": type(error).__name__, "reason": str(error)})


def _response(status: int, content: Mapping[str, str]) -> Response:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(content)}
