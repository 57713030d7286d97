"""HTTP requests and responses in API Gateway's payload format 2.0. An error is a problem document (RFC 9457).

Source: API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs".
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.saga_runtime.observability import logger

Event: TypeAlias = dict[str, Any]
Response: TypeAlias = dict[str, Any]
Headers: TypeAlias = Mapping[str, str]
Answer: TypeAlias = Callable[[Event], Response]
Function: TypeAlias = Callable[[Event, object], Response]

TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Invalid input",
    503: "Service unavailable",
}
# How long a client should wait before it repeats a request, in seconds.
RETRY_AFTER = "2"


class ProblemError(Exception):
    """A response that is an error. The detail never contains a value of the request.

    Args:
        status: the HTTP status.
        detail: what is wrong and what was expected.
        errors: the invalid fields, each with its detail. Default: none.
        headers: further headers. Default: none.
    """

    def __init__(
        self, status: int, detail: str, *, errors: Sequence[Mapping[str, str]] = (), headers: Headers | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}


class UnavailableError(ProblemError):
    """The request may be repeated: a service did not answer, or its answer is out of date."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, detail, headers={"Retry-After": RETRY_AFTER})


def function_of(answer: Answer) -> Function:
    """Make a Lambda function that turns ProblemError and botocore's errors into problem documents."""

    def handle(event: Event, _context: object) -> Response:
        # Drop the keys of the request before.
        logger.clear_state()
        try:
            response = answer(event)
        except ProblemError as problem:
            response = _problem(problem)
        except (BotoCoreError, ClientError):
            logger.exception("AWS does not answer")
            response = _problem(UnavailableError("a service did not answer: repeat the request"))
        logger.info("answered", extra={"status": response["statusCode"]})
        return response

    return handle


def json_response(status: int, body: Mapping[str, object], headers: Headers | None = None) -> Response:
    """Return a response with a JSON body."""
    return _response(status, "application/json", body, headers or {})


def cacheable(response: Response, event: Event) -> Response:
    """Add an ETag to a response; without its body and with status 304 if the client has it already."""
    tag = f'"{hashlib.sha256(response["body"].encode()).hexdigest()[:32]}"'
    headers = {**response["headers"], "ETag": tag, "Cache-Control": "no-cache"}
    known = [one.strip().removeprefix("W/") for one in headers_of(event).get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return {"statusCode": 304, "headers": {name: headers[name] for name in ("ETag", "Cache-Control")}}
    return {**response, "headers": headers}


def headers_of(event: Event) -> Headers:
    """Return the headers of a request by their names in lower case."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def path_parameter(event: Event, name: str) -> str:
    """Return a variable of the path. An HTTP API decodes every escape except ``%25``."""
    return unquote((event.get("pathParameters") or {}).get(name, ""))


def json_body(event: Event, *, max_size: int) -> object:
    """Return the JSON value in the body of a request. Raises ProblemError: 415, 413, or 400.

    Args:
        event: the request.
        max_size: the size limit in bytes, as sent and as escaped JSON.
    """
    media_type, _, parameters = headers_of(event).get("content-type", "").lower().partition(";")
    charset = parameters.replace('"', "").strip()
    if media_type.strip() != "application/json" or charset not in ("", "charset=utf-8"):
        raise ProblemError(415, "expected Content-Type: application/json", headers={"Accept": "application/json"})
    body = _decoded(event)
    if len(body) > max_size:
        raise ProblemError(413, f"the body has {len(body):,} bytes: expected at most {max_size:,}")
    value = _parsed(body)
    if (size := len(json.dumps(value))) > max_size:
        raise ProblemError(413, f"the body has {size:,} bytes as escaped JSON: expected at most {max_size:,}")
    return value


def _decoded(event: Event) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise ProblemError(400, "the body is not readable") from None


def _parsed(body: bytes) -> object:
    """Return the value of a JSON text. Raises ProblemError for whatever another program may read differently."""
    if not body.strip():
        raise ProblemError(400, "the body is empty: expected a JSON object")
    try:
        return json.loads(
            body.decode(), parse_constant=_reject, parse_float=_finite, object_pairs_hook=_with_different_names
        )
    except (ValueError, RecursionError):
        # The message of the error may contain a part of the body.
        raise ProblemError(
            400,
            "the body is not JSON in UTF-8, or it has NaN, Infinity, a number that is too large, "
            "a field twice, or too many levels",
        ) from None


def _reject(_constant: str) -> NoReturn:
    raise ValueError


def _finite(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _with_different_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError
    return found


def _problem(problem: ProblemError) -> Response:
    body: dict[str, object] = {"title": TITLES[problem.status], "status": problem.status, "detail": problem.detail}
    if problem.errors:
        body["errors"] = problem.errors
    return _response(problem.status, "application/problem+json", body, problem.headers)


def _response(status: int, media_type: str, body: Mapping[str, object], headers: Headers) -> Response:
    return {
        "statusCode": status,
        "headers": {"Content-Type": media_type, "Cache-Control": "no-store", **headers},
        "body": json.dumps(body),
    }
