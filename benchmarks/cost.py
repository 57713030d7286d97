"""Cost of a million orders: what the executions' histories, the functions and the rows say, times the price list."""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.billing import (
    DYNAMODB_MILLISECONDS,
    MB_OF_ONE_VCPU,
    Bill,
    Used,
    bill,
    billed_milliseconds,
    gb_seconds,
    oldest,
    prices,
)
from benchmarks.deployed import Sagas, run_one
from benchmarks.document import Part, Plot, Table
from benchmarks.measuring import spread, worker
from benchmarks.warm_call import measured as warm
from local.demo import EXPECTED, scenario
from local.orders import Orders

ORDERS = 1_000_000
# What Lambda itself writes to the log at each call, in its own form; a traced function's report names the trace too.
PLATFORM_LINES = (
    "START RequestId: 00000000-0000-0000-0000-000000000000 Version: $LATEST\n"
    "END RequestId: 00000000-0000-0000-0000-000000000000\n"
    "REPORT RequestId: 00000000-0000-0000-0000-000000000000\tDuration: 12.34 ms\tBilled Duration: 13 ms\t"
    "Memory Size: 256 MB\tMax Memory Used: 90 MB\t\n"
)
TRACE_LINE = "XRAY TraceId: 1-00000000-000000000000000000000000\tSegmentId: 0000000000000000\tSampled: true\t\n"


@dataclass(frozen=True, kw_only=True)
class Path:
    """What an execution's history says: transitions, the functions called in order, and events by type."""

    transitions: int
    functions: Sequence[str]
    writes_of_its_own: int
    events: Mapping[str, int]


def run(progress: Callable[[str], None], sagas: Sagas) -> Part:
    """Run the four orders through both sagas and count. Raises BenchmarkError if something cannot be measured."""
    progress("CPU time of a warm call")
    cpu = warm(progress)
    listed = prices()
    used: dict[str, dict[str, Used]] = {}
    busy: dict[str, float] = {}
    for saga in ("order", "plain"):
        progress(f"four orders, {saga}")
        paths = {name: _path(sagas.named(saga), scenario(name)) for name in EXPECTED}
        counted = worker("count", saga, {name: path.functions for name, path in paths.items()})
        used[saga] = {name: _used(saga, path, counted[name], cpu, sagas.memory_mb) for name, path in paths.items()}
        busy[saga] = used[saga]["1-success"].gb_seconds / sagas.memory_mb * 1024
    bills = {saga: {name: bill(of, listed, orders=ORDERS) for name, of in by.items()} for saga, by in used.items()}
    return Part(
        name="cost",
        title="Cost of a million orders",
        text=[
            (
                f"List prices of us-east-1, read on {oldest(listed)} (`benchmarks/prices.toml` names each source),"
                " without free tiers. State transitions are the states entered, and the retries, in the histories"
                " of executions on the local cloud. Requests, write units and log lines are counted from the"
                " functions themselves; the log also has what Lambda and Step Functions write. Not in it: storage,"
                " alarms, and X-Ray, which samples a few in a hundred."
            ),
            (
                f"A call is billed for its measured CPU time on the share of a CPU that {sagas.memory_mb} MB get"
                f" (one CPU at {MB_OF_ONE_VCPU:,} MB), and {DYNAMODB_MILLISECONDS} ms for each request to DynamoDB,"
                " an assumption that is the same for both sagas; rounded up to a millisecond. CPU time is of this"
                " machine."
            ),
        ],
        tables=[
            Table(
                title="US dollars for a million orders",
                columns=[
                    "order",
                    "total",
                    "Step Functions",
                    "Lambda",
                    "DynamoDB",
                    "logs",
                    "plain saga",
                    "of the plain",
                ],
                rows=[_bill_row(name, bills["order"][name], bills["plain"][name]) for name in EXPECTED],
            ),
            Table(
                title="What one order uses (in brackets: the plain saga)",
                columns=["order", "transitions", "calls", "billed ms", "write units", "log bytes"],
                rows=[_used_row(name, used, sagas.memory_mb) for name in EXPECTED],
            ),
        ],
        plots=[_plot(bills)],
        figures={
            "used": {saga: {name: asdict(of) for name, of in by.items()} for saga, by in used.items()},
            "dollars": {
                saga: {name: asdict(of) | {"total": of.total} for name, of in by.items()} for saga, by in bills.items()
            },
            "busy_seconds": busy,
        },
    )


def _plot(bills: Mapping[str, Mapping[str, Bill]]) -> Plot:
    columns = {
        f"{name}{mark}": bills[saga][name] for name in EXPECTED for saga, mark in (("order", ""), ("plain", ", plain"))
    }
    return Plot(
        name="cost",
        title="Cost of a million orders",
        kind="stacked",
        x=list(columns),
        series={
            "Step Functions": [of.step_functions for of in columns.values()],
            "Lambda": [of.functions for of in columns.values()],
            "DynamoDB": [of.dynamodb for of in columns.values()],
            "logs": [of.logs for of in columns.values()],
        },
        unit="US dollars",
    )


def _path(orders: Orders, order: Mapping[str, Any]) -> Path:
    arn = run_one(orders, dict(order) | {"order_id": str(uuid.uuid4())})["executionArn"]
    pages = orders.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    return path_of([event for page in pages for event in page["events"]])


def path_of(events: Sequence[Mapping[str, Any]]) -> Path:
    """What a history says of what is billed: every state entered and every retry is a state transition.

    Source: AWS Step Functions pricing, "Standard Workflows".
    """
    states: list[str] = []
    scheduled: list[tuple[str, str]] = []
    for event in events:
        if "stateEnteredEventDetails" in event:
            states.append(event["stateEnteredEventDetails"]["name"])
        elif event["type"] in ("TaskScheduled", "LambdaFunctionScheduled"):
            resource = event.get("taskScheduledEventDetails", {}).get("resourceType", "lambda")
            scheduled.append((resource, states[-1]))
    tasks = len({state for _, state in scheduled})
    counted: dict[str, int] = {}
    for event in events:
        counted[event["type"]] = counted.get(event["type"], 0) + 1
    return Path(
        transitions=len(states) + len(scheduled) - tasks,
        functions=[_function(state) for resource, state in scheduled if resource == "lambda"],
        writes_of_its_own=sum(resource != "lambda" for resource, _ in scheduled),
        events=counted,
    )


def _function(state: str) -> str:
    """``CreateOrder`` -> ``create_order``."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", state).lower()


def _used(
    saga: str,
    path: Path,
    calls: Iterable[Mapping[str, Any]],
    cpu: Mapping[str, Mapping[str, Sequence[float]]],
    memory_mb: int,
) -> Used:
    calls = list(calls)
    platform = len(PLATFORM_LINES) + (len(TRACE_LINE) if saga == "order" else 0)
    billed = [
        billed_milliseconds(spread(cpu[call["function"]][saga]).median, memory_mb=memory_mb, requests=call["requests"])
        for call in calls
    ]
    return Used(
        state_transitions=path.transitions,
        requests=len(calls),
        gb_seconds=gb_seconds(sum(billed), memory_mb=memory_mb),
        # The state machine's own write is of a row that a function has just written, of about the same size.
        write_units=sum(call["write_units"] for call in calls) + path.writes_of_its_own,
        read_units=0,
        log_bytes=sum(call["log_bytes"] + platform for call in calls)
        + (_state_machine_log(path) if saga == "order" else 0),
    )


def _state_machine_log(path: Path) -> int:
    """Bytes that Step Functions logs of an execution at level ALL without its data: one line for each event.

    Source of the form: AWS Step Functions Developer Guide, "Logging using CloudWatch Logs".
    """
    return sum(count * len(json.dumps(_log_line(kind))) for kind, count in path.events.items())


def _log_line(kind: str) -> dict[str, Any]:
    details: dict[str, str] = {"name": "ProcessPayment"} if "State" in kind else {}
    if kind.startswith("Task") and "State" not in kind:
        details = {"region": "us-east-1", "resource": "invoke", "resourceType": "lambda", "timeoutInSeconds": "30"}
    return {
        "id": "10",
        "type": kind,
        "details": details,
        "previous_event_id": "9",
        "event_timestamp": "1700000000000",
        "execution_arn": "arn:aws:states:us-east-1:000000000000:execution:OrderSaga-prod-OrderFulfilment:" + "0" * 36,
        "redrive_count": "0",
    }


def _bill_row(name: str, found: Bill, plain: Bill) -> list[str]:
    columns = (found.total, found.step_functions, found.functions, found.dynamodb, found.logs, plain.total)
    return [name, *(f"{dollars:,.2f}" for dollars in columns), f"{found.total / plain.total:.2f}"]


def _used_row(name: str, used: Mapping[str, Mapping[str, Used]], memory_mb: int) -> list[str]:
    pairs = [
        (of.state_transitions, of.requests, of.gb_seconds / memory_mb * 1024 * 1000, of.write_units, of.log_bytes)
        for of in (used["order"][name], used["plain"][name])
    ]
    return [name, *(f"{ours:,.0f} ({plain:,.0f})" for ours, plain in zip(*pairs, strict=True))]
