"""Replaces the native module of awslambdaric where it is missing, in plain Python.

awslambdaric compiles its ``runtime_client`` on Linux only (its setup.py). Elsewhere, as on macOS, it installs without
it and cannot ask for an invocation. This module has the four functions that it calls, over the Lambda runtime API:
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. deployment.py puts it beside the functions' code.
"""

import http.client
import os
from collections.abc import Mapping

Headers = dict[str, str | int | None]

_PATH = "/2018-06-01/runtime/invocation"
_INVOCATION_HEADERS = (
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


def next() -> tuple[bytes, Headers]:  # noqa: A001 (the name that awslambdaric calls)
    """Wait for an invocation; return its event and its headers, the deadline as a number. Raises RuntimeError."""
    payload, headers = _request("GET", f"{_PATH}/next", expected=http.HTTPStatus.OK)
    return payload, {**{name: headers.get(name) for name in _INVOCATION_HEADERS}, _DEADLINE: int(headers[_DEADLINE])}


def post_invocation_result(invoke_id: str, result: bytes, content_type: str, invocation_id: str | None = None) -> None:
    """Send the answer of an invocation. Raises RuntimeError."""
    _post(f"{_PATH}/{invoke_id}/response", result, content_type, invocation_id)


def post_error(invoke_id: str, error: str, _xray_fault: str, invocation_id: str | None = None) -> None:
    """Report that an invocation failed; ``error`` is JSON. Raises RuntimeError.

    The fault for X-Ray is dropped: the local cloud has no X-Ray.
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
        raise RuntimeError(f"the runtime API responded to {method} {path} with status {response.status}")
    return payload, response.headers
