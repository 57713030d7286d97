"""A handler around the real one that goes wrong as a file says. Added to the functions of a test's stack only.

The file (its path is in FAULTS) maps function names to faults; `*` stands for every function. It is read at each
call, so that a test changes what happens by writing it. `random` strikes one call of eight, mostly with a crash:
a killed function takes a second to start again. `tell credentials` is no fault: the function answers with those
that it runs under, so that a test can try what they are good for.
"""

import importlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

FAULTS = {"crash before": 5, "crash after": 5, "kill before": 1, "kill after": 1}
RATE = 0.125
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def handler(event: Any, context: Any) -> Any:
    name = os.environ["AWS_LAMBDA_FUNCTION_NAME"].split("-")[-1]
    real = importlib.import_module(f"lambdas.{name}").handler
    faults = json.loads(Path(os.environ["FAULTS"]).read_text())
    fault = faults.get(name, faults.get("*", "none"))
    if fault == "random":
        fault = random.choices(list(FAULTS), list(FAULTS.values()))[0] if random.random() < RATE else "none"
    if fault == "tell credentials":
        return {name: os.environ[name] for name in CREDENTIALS}
    _strike(fault, "before")
    answer = real(event, context)
    _strike(fault, "after")
    return answer


def _strike(fault: str, moment: str) -> None:
    if fault == f"crash {moment}":
        raise RuntimeError("injected")
    if fault == f"kill {moment}":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == f"sleep {moment}":
        time.sleep(60)
