"""The cost of a million orders: what executions, functions and rows use, times the price list."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.billing import Usage, bill, billed_milliseconds, listed, oldest, row_size, write_units
from benchmarks.deployed import Sagas, new_order, run_order
from benchmarks.document import Part, table
from benchmarks.functions import COMPENSATIONS, FUNCTIONS, Invoke, asset, event
from lambdas.saga_runtime.names import state_name
from local.deployment import Deployment
from local.order_demo import ORDER_DEMO

SCENARIOS = tuple(ORDER_DEMO.scenarios)
ATTEMPTS = (0, 1, 50)
# Bytes that Lambda logs of each call (the lines START, END, REPORT and XRAY), and Step Functions of each event at level
# ALL without data, in the forms that their developer guides show.
CALL_LOG = 360
EVENT_LOG = 300


@dataclass(frozen=True, kw_only=True)
class Path:
    """What the history of an execution says of its bill: ``functions`` has one name for each call."""

    functions: Sequence[str]
    transitions: int
    writes: int
    events: int


def run(progress: Callable[[str], None], sagas: Sagas) -> tuple[Part, Usage]:
    """Measure the four scenarios in both sagas; return also what a complete order uses. Raises BenchmarkError."""
    progress("cost, orders of both sagas")
    paths = {saga: {name: _path(deployment, name) for name in SCENARIOS} for saga, deployment in sagas.items()}
    progress("cost, their functions")
    with asset() as invoke:
        usages = {saga: {name: _usage(invoke, saga, name, of[name]) for name in of} for saga, of in paths.items()}
    progress(f"cost, up to {ATTEMPTS[-1]} earlier attempts")
    with ThreadPoolExecutor(len(ATTEMPTS)) as pool:
        attempts = dict(zip(ATTEMPTS, pool.map(lambda count: _attempts(sagas["order"], count), ATTEMPTS), strict=True))
    values = {
        "prices_read": str(oldest(listed("prices"))),
        "bills": table(
            ["order", "order saga", "plain saga", "ratio", "Step Functions", "Lambda", "DynamoDB", "logs"],
            [_bill_row(name, usages["order"][name], usages["plain"][name]) for name in SCENARIOS],
        ),
        "usages": table(
            ["order (plain saga)", "transitions", "calls", "billed ms", "write units", "log bytes"],
            [_usage_row(name, usages["order"][name], usages["plain"][name]) for name in SCENARIOS],
        ),
        "attempts": table(
            ["earlier attempts", "bytes of the rows", "write units"],
            [[str(count), f"{of['bytes']:,}", str(of["units"])] for count, of in attempts.items()],
        ),
    }
    figures = {saga: {name: asdict(usage) for name, usage in of.items()} for saga, of in usages.items()}
    return Part(values=values, figures={"usage": figures, "attempts": attempts}), usages["order"]["1-success"]


def path_of(events: Sequence[Mapping[str, Any]]) -> Path:
    """Read a history. Each state entered and each retry is a transition; each task that succeeds has written once.

    Source: AWS Step Functions pricing, "Standard Workflows".
    """
    states: list[str] = []
    tasks: list[str] = []
    for one in events:
        if "stateEnteredEventDetails" in one:
            states.append(one["stateEnteredEventDetails"]["name"])
        elif one["type"] == "TaskScheduled":
            tasks.append(states[-1])
    functions = {state_name(function): function for function in FUNCTIONS}
    return Path(
        functions=[functions[state] for state in tasks if state in functions],
        transitions=len(states) + len(tasks) - len({*tasks}),
        writes=sum(one["type"] == "TaskSucceeded" for one in events),
        events=len(events),
    )


def _path(deployment: Deployment, scenario: str) -> Path:
    arn, _ = run_order(deployment, new_order(scenario))
    pages = deployment.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    return path_of([one for page in pages for one in page["events"]])


def _usage(invoke: Invoke, saga: str, scenario: str, path: Path) -> Usage:
    order, fails = ORDER_DEMO.input(scenario), ORDER_DEMO.scenarios[scenario].fails
    samples = []
    for function in path.functions:
        is_first = fails == FUNCTIONS[FUNCTIONS.index(function) - len(COMPENSATIONS)]
        payload = event(function, order, is_first=is_first) if saga == "order" else order
        module, handler = (f"lambdas.{function}", "handler") if saga == "order" else ("functions", function)
        samples.append(invoke(module, handler, payload, 0))
    return Usage(
        transitions=path.transitions,
        calls=len(samples),
        milliseconds=sum(billed_milliseconds(sample.warm) for sample in samples),
        write_units=path.writes,  # the rows of a first attempt have less than a KB
        log_bytes=sum(sample.log_bytes + CALL_LOG for sample in samples) + path.events * EVENT_LOG,
    )


def _attempts(deployment: Deployment, count: int) -> dict[str, int]:
    """Roll an order back so often, then complete it; return the bytes of its rows, and the write units of the last."""
    order = new_order()
    for _ in range(count):
        run_order(deployment, new_order("5-failed-shipment") | {"order_id": order["order_id"]})
    run_order(deployment, order)
    dynamodb = deployment.cloud.session().client("dynamodb", endpoint_url=deployment.cloud.endpoint)
    rows = dynamodb.query(
        TableName=deployment.stack.table,
        KeyConditionExpression="order_id = :order_id",
        ExpressionAttributeValues={":order_id": {"S": str(order["order_id"])}},
        ConsistentRead=True,
    )["Items"]
    sizes = {row["entity"]["S"]: row_size(row) for row in rows}
    # The action of each row, and ConfirmOrder.
    units = sum(write_units(size) for size in (*sizes.values(), sizes["ORDER"]))
    return {"bytes": sum(sizes.values()), "units": units}


def _bill_row(name: str, usage: Usage, plain: Usage) -> list[str]:
    prices = listed("prices")
    dollars = [cost * 1e6 for cost in bill(usage, prices).values()]
    total, baseline = sum(dollars), sum(bill(plain, prices).values()) * 1e6
    return [name, f"{total:.0f}", f"{baseline:.0f}", f"{total / baseline:.2f}", *(f"{cost:.1f}" for cost in dollars)]


def _usage_row(name: str, usage: Usage, plain: Usage) -> list[str]:
    counts = zip(asdict(usage).values(), asdict(plain).values(), strict=True)
    return [name, *(f"{ours:,} ({theirs:,})" for ours, theirs in counts)]
