"""Structured logs and business metrics, the same for every function.

A log line carries the order's id, the saga's id and the step; never the order itself, which holds the card.
Metrics are printed in CloudWatch's embedded metric format, so that counting costs no call.

The standard library is enough for both. A library that does more takes a third of a cold start to import, and
makes up nearly all of the asset (docs/performance.md).
"""

import json
import os
import time
import traceback
from collections.abc import Mapping

from lambdas.shared import clock

SERVICE = "order-saga"
# The stack's name where it is deployed, so that stages of one account are counted apart.
NAMESPACE = os.environ.get("METRICS_NAMESPACE", "OrderSaga")


class Logger:
    """Prints one line of JSON for each event, with the keys of the invocation that is going on."""

    def __init__(self) -> None:
        self._keys: dict[str, str | None] = {}

    def append_keys(self, **keys: str | None) -> None:
        """Carry these keys on all lines from now on; a key that is None is left out."""
        self._keys |= keys

    def info(self, message: str, extra: Mapping[str, object] | None = None) -> None:
        """What went as it should."""
        self._print("INFO", message, extra or {})

    def warning(self, message: str, extra: Mapping[str, object] | None = None) -> None:
        """What somebody may want to look at."""
        self._print("WARNING", message, extra or {})

    def exception(self, message: str) -> None:
        """What went wrong, with the exception that is being handled."""
        self._print("ERROR", message, {"exception": traceback.format_exc()})

    def _print(self, level: str, message: str, extra: Mapping[str, object]) -> None:
        line = {"level": level, "message": message, "timestamp": clock.now(), "service": SERVICE, **self._keys, **extra}
        # Lambda sets this at each invocation: Root=1-...;Parent=...;Sampled=...
        if trace := os.environ.get("_X_AMZN_TRACE_ID"):
            line["xray_trace_id"] = trace.split(";")[0].removeprefix("Root=")
        _emit({name: value for name, value in line.items() if value is not None})


logger = Logger()


def count(name: str, **dimensions: str) -> None:
    """Count one business event under its dimensions, for instance ``count("OrderConflict", step="CreateOrder")``.

    Source of the format: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
    """
    dimensions["service"] = SERVICE
    metric = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": "Count"}],
    }
    _emit(
        {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [metric]}, **dimensions, name: [1]},
    )


def _emit(line: Mapping[str, object]) -> None:
    print(json.dumps(line, default=str, separators=(",", ":")), flush=True)  # noqa: T201 (Lambda's way to the log)
