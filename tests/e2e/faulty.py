"""A handler around the real one that goes wrong as a file says. Added to the functions of a test's stack only.

The file (its path is in FAULTS) maps function names to faults. It is read at each call, so that a test changes what
happens by writing it. `random` is drawn for each order and function, the same whenever it is drawn. `tell credentials`
is no fault: the function answers with those that it runs under, so that a test can try what they are good for.
"""

import importlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

# Mostly crashes: a killed function takes a second to start again, and its neighbours' calls may fail with it.
FAULTS = {"crash before": 5, "crash after": 5, "kill before": 1, "kill after": 1}
# How many of its calls a fault strikes: none of them, one of two, all.
SHARES = {0.0: 12, 0.5: 3, 1.0: 1}
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def handler(event: Any, context: Any) -> Any:
    name = os.environ["AWS_LAMBDA_FUNCTION_NAME"].split("-")[-1]
    real = importlib.import_module(f"lambdas.{name}").handler
    faults = json.loads(Path(os.environ["FAULTS"]).read_text())
    fault = faults.get(name, "none")
    if fault == "random":
        fault, share = drawn(event["order"]["order_id"], name)
        fault = fault if random.random() < share else "none"
    if fault == "tell credentials":
        return {name: os.environ[name] for name in CREDENTIALS}
    _strike(fault, "before")
    answer = real(event, context)
    _strike(fault, "after")
    return answer


def drawn(order_id: str, name: str) -> tuple[str, float]:
    """The fault of this order in this function, and the share of the calls that it strikes."""
    draw = random.Random(f"{order_id} {name}")
    (fault,) = draw.choices(list(FAULTS), list(FAULTS.values()))
    (share,) = draw.choices(list(SHARES), list(SHARES.values()))
    return fault, share


def _strike(fault: str, moment: str) -> None:
    if fault == f"crash {moment}":
        raise RuntimeError("injected")
    if fault == f"kill {moment}":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == f"sleep {moment}":
        time.sleep(60)
