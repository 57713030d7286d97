"""What is measured in a process of its own: ``python -m benchmarks.worker TASK WHAT GIVEN`` prints JSON.

``time FUNCTION``: CPU seconds of a call, by who makes it, for each round.
``peak order|bare``: peak of memory in bytes after many calls of one function, or of a bare client.
``count order|plain``: what each function of the saga asks of DynamoDB and writes to its log; the functions on the path
of each scenario are GIVEN as JSON.
"""

import contextlib
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from unittest import mock

from botocore.client import BaseClient

from benchmarks import canned
from benchmarks.billing import row_size, write_units
from benchmarks.calls import REPORTER, event, handler
from benchmarks.memory import peak
from local.demo import scenario

ROUNDS = 30
CALLS = 20
PEAK_CALLS = 500
FUNCTION_OF_PEAK = "create_order"

Requests: TypeAlias = list[tuple[str, str, dict[str, Any]]]
Make: TypeAlias = Callable[[Any, str, dict[str, Any]], Any]


def main(task: str, what: str, given: str) -> None:
    """Run one task. What functions print is taken for their log and goes nowhere else."""
    tasks: dict[str, Callable[[str, Any], object]] = {"time": _time, "peak": _peak, "count": _count}
    with contextlib.redirect_stdout(io.StringIO()):
        found = tasks[task](what, json.loads(given))
    print(json.dumps(found))


def _time(function: str, _given: None) -> dict[str, list[float]]:
    canned.install()
    calls = {"order": _call("order", function), "bare": _bare(function)}
    if function != REPORTER:
        calls["plain"] = _call("plain", function)
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    for number in range(ROUNDS + 1):
        for who, call in calls.items():
            took = _seconds(call)
            if number:
                seconds[who].append(took)
    return seconds


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        call()
    # What was printed would make the next round's buffer longer.
    sys.stdout = io.StringIO()
    return (time.process_time() - began) / CALLS


def _peak(who: str, _given: None) -> int:
    canned.install()
    call = _call("order", FUNCTION_OF_PEAK) if who == "order" else _bare(FUNCTION_OF_PEAK, captured=False)
    for _ in range(PEAK_CALLS):
        call()
    return peak()


def _call(saga: str, function: str) -> Callable[[], object]:
    called, with_ = handler(saga, function), event(saga, function)
    return lambda: called(with_, None)


def _bare(function: str, *, captured: bool = True) -> Callable[[], object]:
    """The requests that the function makes, made again by boto3's clients and nothing around them."""
    import boto3  # noqa: PLC0415 (only a process that measures it may import it)
    from botocore import xform_name  # noqa: PLC0415

    requests = _captured(function) if captured else [_A_WRITE]
    clients: dict[str, Any] = {service: boto3.client(service) for service, _, _ in requests}
    calls = [(getattr(clients[service], xform_name(operation)), params) for service, operation, params in requests]

    def call() -> None:
        for make, params in calls:
            make(**params)

    return call


_A_WRITE = (
    "dynamodb",
    "UpdateItem",
    {
        "TableName": "orders",
        "Key": {"order_id": {"S": "1"}, "entity": {"S": "ORDER"}},
        "UpdateExpression": "SET total = :total",
        "ExpressionAttributeValues": {":total": {"N": "100"}},
    },
)


def _captured(function: str) -> Requests:
    """What the function asks for in one call: service, operation and parameters."""
    seen: Requests = []

    def note(make: Make, client: Any, operation: str, params: dict[str, Any]) -> Any:
        seen.append((client.meta.service_model.service_name, operation, dict(params)))
        return make(client, operation, params)

    with _around_requests(note):
        _call("order", function)()
    return seen


def _count(saga: str, paths: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, Any]]]:
    """By scenario, each function of its path: requests, write units and bytes of log of its call, over moto's table."""
    from moto import mock_aws  # noqa: PLC0415 (it replaces what the other tasks measure)

    with mock_aws():
        _create_table()
        return {
            name: [_counted(saga, function, scenario(name)) for function in functions]
            for name, functions in paths.items()
        }


def _counted(saga: str, function: str, order: Mapping[str, object]) -> dict[str, Any]:
    requests = units = 0

    def note(make: Make, client: Any, operation: str, params: dict[str, Any]) -> Any:
        nonlocal requests, units
        requests += 1
        before = _size(make, client, params)
        answer = make(client, operation, params)
        units += write_units(before, _size(make, client, params))
        return answer

    log = io.StringIO()
    with contextlib.redirect_stdout(log), _around_requests(note):
        called = handler(saga, function)
        try:
            called(event(saga, function, order), None)
        except Exception as error:  # noqa: BLE001 (as in Lambda, whatever it is; the runtime logs it)
            print(f"[ERROR] {type(error).__name__}: {error}\n{traceback.format_exc()}")
    return {"function": function, "requests": requests, "write_units": units, "log_bytes": len(log.getvalue().encode())}


def _size(make: Make, client: Any, params: Mapping[str, Any]) -> int:
    key = params.get("Key") or {name: params["Item"][name] for name in ("order_id", "entity")}
    found = make(client, "GetItem", {"TableName": params["TableName"], "Key": key, "ConsistentRead": True})
    return row_size(found.get("Item", {}))


@contextlib.contextmanager
def _around_requests(note: Callable[[Make, Any, str, dict[str, Any]], Any]) -> Iterator[None]:
    """Have ``note`` called for each request of every client, with the function that makes it."""
    made = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 (private: there is no public one place)

    def through(client: Any, operation: str, params: dict[str, Any]) -> Any:
        return note(made, client, operation, params)

    with mock.patch.object(BaseClient, "_make_api_call", through):
        yield


def _create_table() -> None:
    import boto3  # noqa: PLC0415 (likewise)

    boto3.client("dynamodb").create_table(
        TableName=os.environ["TABLE_NAME"],
        KeySchema=[
            {"AttributeName": "order_id", "KeyType": "HASH"},
            {"AttributeName": "entity", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "order_id", "AttributeType": "S"},
            {"AttributeName": "entity", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
