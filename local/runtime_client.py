"""The native module of awslambdaric in plain Python, for systems that it is not built for.

awslambdaric compiles its ``runtime_client`` on Linux alone (its setup.py says so). Elsewhere, as on macOS, it installs
without it and cannot ask for an invocation. These are the four functions that it calls there, over the Lambda runtime
API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. deployment.py puts this file beside the
functions' code; all else (names of errors, stack traces, the context) stays awslambdaric's own.
"""

import http.client
import os
from collections.abc import Mapping

Headers = dict[str, str | int | None]

_PATH = "/2018-06-01/runtime/invocation"
_TOLD = (
    "Lambda-Runtime-Aws-Request-Id",
    "Lambda-Runtime-Trace-Id",
    "Lambda-Runtime-Invoked-Function-Arn",
    "Lambda-Runtime-Client-Context",
    "Lambda-Runtime-Cognito-Identity",
    "Lambda-Runtime-Aws-Tenant-Id",
    "Lambda-Runtime-Invocation-Id",
    "Content-Type",
)
_DEADLINE = "Lambda-Runtime-Deadline-Ms"
_headers: dict[str, str] = {}


def initialize_client(user_agent: str) -> None:
    """Name the client; called once, before the others."""
    _headers["User-Agent"] = user_agent


def next() -> tuple[bytes, Headers]:  # noqa: A001 (awslambdaric calls it so)
    """Wait for an invocation, as long as it takes; returns its event and its headers, the deadline as a number.

    Raises RuntimeError if the runtime API refuses.
    """
    payload, told = _request("GET", f"{_PATH}/next", expected=http.HTTPStatus.OK)
    return payload, {**{name: told.get(name) for name in _TOLD}, _DEADLINE: int(told[_DEADLINE])}


def post_invocation_result(invoke_id: str, result: bytes, content_type: str, invocation_id: str | None = None) -> None:
    """Answer an invocation. Raises RuntimeError if the runtime API refuses."""
    _post(f"{_PATH}/{invoke_id}/response", result, content_type, invocation_id)


def post_error(invoke_id: str, error: str, _xray_fault: str, invocation_id: str | None = None) -> None:
    """Say that an invocation failed; ``error`` is JSON. Raises RuntimeError if the runtime API refuses.

    What is meant for X-Ray is left out: the local cloud has none.
    """
    _post(f"{_PATH}/{invoke_id}/error", error.encode(), "application/json", invocation_id)


def _post(path: str, body: bytes, content_type: str, invocation_id: str | None) -> None:
    headers = {"Content-Type": content_type}
    if invocation_id:
        headers["Lambda-Runtime-Invocation-Id"] = invocation_id
    _request("POST", path, expected=http.HTTPStatus.ACCEPTED, body=body, headers=headers)


def _request(
    method: str,
    path: str,
    *,
    expected: http.HTTPStatus,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        connection.request(method, path, body=body, headers={**_headers, **(headers or {})})
        response = connection.getresponse()
        payload = response.read()
    finally:
        connection.close()
    if response.status != expected:
        raise RuntimeError(f"{method} {path} of the runtime API was answered with {response.status}")
    return payload, response.headers
