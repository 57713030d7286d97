"""The bill of AWS for what an order uses: counts times the price list, with AWS's own sizes and rounding."""

import datetime as dt
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

# What a service or a quota is named in prices.toml and quotas.toml, and its values with ``source`` and ``read``.
Listed: TypeAlias = Mapping[str, Mapping[str, Any]]

# The memory of the functions in the CDK apps.
MEMORY_MB = 256
# AWS Lambda Developer Guide, "Configure Lambda function memory": one vCPU at this size, a share of it below.
MB_OF_ONE_VCPU = 1769
# An assumption, the same for both sagas: AWS promises single-digit milliseconds.
REQUEST_MILLISECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one order uses of AWS."""

    transitions: int
    calls: int
    milliseconds: int
    write_units: int
    log_bytes: int


def listed(name: str) -> Listed:
    """Return the list ``prices`` or ``quotas``."""
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text())


def oldest(entries: Listed) -> dt.date:
    """Return the earliest date on which an entry was read."""
    dates: list[dt.date] = [entry["read"] for entry in entries.values()]
    return min(dates)


def bill(usage: Usage, prices: Listed) -> dict[str, float]:
    """Return what one such order costs, by service."""
    gb_seconds = usage.milliseconds / 1000 * MEMORY_MB / 1024
    return {
        "Step Functions": usage.transitions * prices["step_functions"]["state_transition"],
        "Lambda": usage.calls * prices["lambda"]["request"] + gb_seconds * prices["lambda"]["gb_second_arm64"],
        "DynamoDB": usage.write_units * prices["dynamodb"]["write_request_unit"],
        "logs": usage.log_bytes / 1024**3 * prices["logs"]["gb_ingested"],
    }


def billed_milliseconds(cpu_seconds: float) -> int:
    """Return the billed time of a warm call: its CPU time on its share of a CPU, and the wait for its one request."""
    return math.ceil(cpu_seconds * 1000 * MB_OF_ONE_VCPU / MEMORY_MB + REQUEST_MILLISECONDS)


def write_units(size: int) -> int:
    """Return the write units of one write to a row of this size in bytes.

    Source: Amazon DynamoDB Developer Guide, "DynamoDB read and write operations".
    """
    return max(1, math.ceil(size / 1024))


def row_size(row: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the bytes that DynamoDB counts for a row.

    Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats".
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in row.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":  # about a byte for two digits, and one more
            return math.ceil(len(content.replace(".", "").strip("0")) / 2) + 1
        case "L":
            return 3 + sum(1 + _value_size(element) for element in content)
        case "M":
            return 3 + len(content) + row_size(content)
    raise ValueError(f"unexpected attribute type {kind}: the sagas store S, N, L and M")
