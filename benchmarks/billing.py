"""What AWS charges for what an order uses: counts times the price list. Sizes and rounding are AWS's."""

import datetime as dt
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES = Path(__file__).parent / "prices.toml"

KIB = 1024
GIB = 1024**3
# AWS Lambda Developer Guide, "Configure Lambda function memory": one vCPU at this size, a share of it below.
MB_OF_ONE_VCPU = 1769
# An assumption, the same for every request of every saga: AWS promises single-digit milliseconds.
DYNAMODB_MILLISECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Used:
    """What one order uses of AWS."""

    state_transitions: float
    requests: float
    gb_seconds: float
    write_units: float
    read_units: float
    log_bytes: float


@dataclass(frozen=True, kw_only=True)
class Bill:
    """US dollars, by what they are paid for."""

    step_functions: float
    functions: float
    dynamodb: float
    logs: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.step_functions + self.functions + self.dynamodb + self.logs


def prices(path: Path = PRICES) -> Mapping[str, Mapping[str, Any]]:
    """The price list, by service."""
    return tomllib.loads(path.read_text())


def oldest(entries: Mapping[str, Mapping[str, Any]]) -> dt.date:
    """The date of the entry that was read longest ago."""
    dates: list[dt.date] = [entry["read"] for entry in entries.values()]
    return min(dates)


def bill(used: Used, listed: Mapping[str, Mapping[str, Any]], *, orders: int = 1) -> Bill:
    """What so many such orders cost."""
    functions, dynamodb = listed["lambda"], listed["dynamodb"]
    return Bill(
        step_functions=orders * used.state_transitions * listed["step_functions"]["state_transition"],
        functions=orders * (used.requests * functions["request"] + used.gb_seconds * functions["gb_second_arm64"]),
        dynamodb=orders
        * (used.write_units * dynamodb["write_request_unit"] + used.read_units * dynamodb["read_request_unit"]),
        logs=orders * used.log_bytes / GIB * listed["logs"]["gb_ingested"],
    )


def billed_milliseconds(cpu_seconds: float, *, memory_mb: int, requests: int) -> int:
    """What a warm call is billed for: its CPU time on the share of a CPU that it gets, and waiting for its requests."""
    return math.ceil(cpu_seconds * 1000 * MB_OF_ONE_VCPU / memory_mb + requests * DYNAMODB_MILLISECONDS)


def gb_seconds(milliseconds: int, *, memory_mb: int) -> float:
    """What so many billed milliseconds are at this memory size."""
    return milliseconds / 1000 * memory_mb / 1024


def write_units(before: int, after: int) -> int:
    """Write units of one write of a row with these sizes in bytes before and after it; refused or made, at least one.

    Source: Amazon DynamoDB Developer Guide, "DynamoDB read and write operations".
    """
    return max(1, math.ceil(max(before, after) / KIB))


def row_size(row: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes that DynamoDB counts for a row: names and values of its attributes.

    Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats".
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in row.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(str(content).encode())
        case "N":
            # About a byte for two digits and one more; a sign takes another.
            digits = content.lstrip("-").replace(".", "").strip("0")
            return math.ceil(len(digits) / 2) + 1 + int(content.startswith("-"))
        case "L":
            return 3 + sum(1 + _value_size(element) for element in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(element) for name, element in content.items())
        case "BOOL" | "NULL":
            return 1
    raise ValueError(f"an attribute of type {kind}: expected S, N, L, M, BOOL or NULL")
