"""Calls a function as Lambda does, in a process of its own; functions.py starts it with the function on its path.

The argument is JSON, the arguments of ``main``. So is the last line printed: the CPU seconds of a cold start, those of
a warm call, and the bytes that the first call logs.
"""

import importlib
import json
import os
import sys
import time
import traceback
from types import ModuleType, SimpleNamespace

CONTEXT = SimpleNamespace(function_name="f", memory_limit_in_mb="256", invoked_function_arn="f", aws_request_id="1")


def imported(module: str, depth: int) -> ModuleType:
    """Import the module ``depth`` calls deeper than here."""
    return imported(module, depth - 1) if depth else importlib.import_module(module)


def main(module: str, handler: str, event: object, calls: int, depth: int) -> None:
    """Call the function once, then ``calls`` times."""
    function = getattr(imported(module, depth), handler)

    def call() -> None:
        try:
            function(event, CONTEXT)
        except Exception as error:  # noqa: BLE001 (as in Lambda, which logs this)
            print(f"[ERROR] {type(error).__name__}: {error}\n{traceback.format_exc()}")

    call()
    sys.stdout.flush()
    log_bytes = os.fstat(1).st_size
    cold = time.process_time()
    for _ in range(calls):
        call()
    warm = (time.process_time() - cold) / calls
    print(json.dumps([cold, warm, log_bytes]))


main(*json.loads(sys.argv[1]))
