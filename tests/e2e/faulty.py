"""Wraps the handler of a function with faults. Only the functions of a test's stack contain it.

The file FAULTS maps order ids to functions to faults; the id "" stands for all other orders. It is read at each call.
``random`` draws a fault from the order and the function, always the same one. ``hold before`` delays the call until the
file says otherwise. ``return credentials`` is not a fault: the function returns the credentials that it runs with.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

# Weights. Mostly crashes: a killed function takes a second to start again, and calls at the same time may fail too.
FAULTS = {"crash before": 5, "crash after": 5, "kill before": 1, "kill after": 1}
# The share of the calls that have the fault, and its weight.
SHARES = {0.0: 12, 0.5: 3, 1.0: 1}
# Like the functions' own settings, it is read when the module is imported.
REAL_HANDLER = os.environ["REAL_HANDLER"]
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def handler(event: Any, context: Any) -> Any:
    """Call the real handler, with the fault of this order and function before or after it."""
    name = os.environ["AWS_LAMBDA_FUNCTION_NAME"].split("-")[-1]
    module, _, attribute = REAL_HANDLER.rpartition(".")
    input_ = event.get("input")
    order_id = str(input_.get("order_id")) if isinstance(input_, dict) else ""
    while (fault := _fault(order_id, name)) == "hold before":
        time.sleep(0.05)
    if fault == "random":
        fault, share = drawn(order_id, name)
        fault = fault if random.random() < share else "none"
    if fault == "return credentials":
        return {name: os.environ[name] for name in CREDENTIALS}
    _fail(fault, "before")
    answer = getattr(importlib.import_module(module), attribute)(event, context)
    _fail(fault, "after")
    return answer


def _fault(order_id: str, name: str) -> str:
    faults = json.loads(Path(os.environ["FAULTS"]).read_text())
    return str(faults.get(order_id, faults[""]).get(name, "none"))


def drawn(order_id: str, name: str) -> tuple[str, float]:
    """Return the fault of this order in this function, and the share of its calls that have it."""
    draw = random.Random(f"{order_id} {name}")
    (fault,) = draw.choices(list(FAULTS), list(FAULTS.values()))
    (share,) = draw.choices(list(SHARES), list(SHARES.values()))
    return fault, share


def _fail(fault: str, moment: str) -> None:
    if fault == f"crash {moment}":
        raise RuntimeError("injected")
    if fault == f"kill {moment}":
        sys.stderr.write(f"killed {moment} the call\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == f"sleep {moment}":
        time.sleep(60)
