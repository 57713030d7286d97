"""Cold starts and warm calls of the six functions, against an ordinary function that makes the same write."""

import contextlib
import http.server
import itertools
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, TypeAlias

from benchmarks.document import Goal, Part, table
from benchmarks.measuring import environment, interleaved, output_of, ratios, shown
from local.order_demo import ORDER_DEMO
from saga_stack.construct import packaging

LIMIT = 1.05
ROUNDS = 32
# Each round imports at another depth of the call stack. Python keeps its frames in chunks, and a loop of calls across
# the end of a chunk makes an import up to a tenth slower, by chance.
DEPTHS = range(0, 2 * ROUNDS, 2)
WARM_CALLS = 40

COMPENSATIONS = ("delete_order", "refund_payment", "cancel_shipment")
FUNCTIONS = ("create_order", "process_payment", "process_shipment", *COMPENSATIONS)
HERE = Path(__file__).parent
EXECUTION = f"arn:aws:states:us-east-1:000000000000:execution:OrderSaga-dev-OrderFulfilment:{'0' * 36}"
CAUSE = {"errorMessage": "address is missing", "errorType": "InvalidInput", "stackTrace": ["  File ..."] * 3}
CAUGHT = {"Error": "InvalidInput", "Cause": json.dumps(CAUSE)}
PASSED_ON = {"step": "ProcessShipment", "error": "InvalidInput", "reason": "address is missing"}


@dataclass(frozen=True)
class Sample:
    """CPU seconds of a cold start and of a warm call, and the bytes that the call logs."""

    cold: float
    warm: float
    log_bytes: int


# Calls a function, given by its module, name and event, in a process of its own, imported at a depth of the call stack.
Invoke: TypeAlias = Callable[[str, str, object, int], Sample]


class _Aws(http.server.BaseHTTPRequestHandler):
    """Answers every request with what its operation is given, or an empty object, in one packet."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    answers: Mapping[str, object] = MappingProxyType({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        body = json.dumps(self.answers.get(operation, {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def asset(
    answers: Mapping[str, object] = MappingProxyType({}), variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Invoke]:
    """Build the functions' asset, with the baseline's functions in it, and a server in the place of AWS.

    Args:
        answers: what the server answers, by operation. Default: an empty object to all.
        variables: further environment variables of the functions. Default: none.
    """
    handler = type("_AwsWithAnswers", (_Aws,), {"answers": answers})
    with (
        tempfile.TemporaryDirectory(prefix="order-saga-") as folder,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        packaging.build(Path(folder), packaging.source_of(()))
        for file in ("ordinary.py", "functions.py"):
            shutil.copy(HERE / "baseline" / file, folder)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = environment() | {
            "PYTHONPATH": folder,
            "PYTHONDONTWRITEBYTECODE": "1",  # as in Lambda, where it cannot be kept
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
            "TABLE_NAME": "orders",
            "POWERTOOLS_METRICS_NAMESPACE": "OrderSaga-dev",
            **variables,
        }

        def invoke(module: str, handler: str, event: object, depth: int) -> Sample:
            call = json.dumps([module, handler, event, WARM_CALLS, depth])
            lines = output_of([sys.executable, "-P", HERE / "invoke.py", call], env=env).splitlines()
            return Sample(*json.loads(lines[-1]))

        try:
            yield invoke
        finally:
            server.shutdown()


def event(function: str, order: Mapping[str, object], *, is_first: bool = True) -> dict[str, Any]:
    """Return what the state machine sends; ``is_first`` says of a compensation that its own step failed."""
    failure = {"failure": CAUGHT if is_first else PASSED_ON} if function in COMPENSATIONS else {}
    return {"saga": {"id": EXECUTION, "started_at": "2026-01-31T09:30:00.123Z"}, "input": order, **failure}


def run(progress: Callable[[str], None]) -> Part:
    """Measure all six functions and the ordinary one. Raises BenchmarkError if one fails."""
    order = ORDER_DEMO.input("1-success")
    modules = {"ordinary": "ordinary", **{name: f"lambdas.{name}" for name in FUNCTIONS}}
    depths = {name: itertools.cycle(DEPTHS) for name in modules}
    with asset() as invoke:
        runs = {
            name: (lambda name=name, module=module: invoke(module, "handler", event(name, order), next(depths[name])))
            for name, module in modules.items()
        }
        samples = interleaved(ROUNDS, runs, lambda doing: progress(f"functions, {doing}"))
    cold = {name: [sample.cold for sample in of] for name, of in samples.items()}
    warm = {name: [sample.warm for sample in of] for name, of in samples.items()}
    cold_ratios, warm_ratios = ({name: ratios(of[name], of["ordinary"]) for name in FUNCTIONS} for of in (cold, warm))
    rows = [[f"`{name}`", shown(cold_ratios[name]), shown(warm_ratios[name])] for name in FUNCTIONS]
    absolute = [f"{median(cold['ordinary']) * 1e3:.0f} ms", f"{median(warm['ordinary']) * 1e3:.2f} ms"]
    return Part(
        values={"functions": table(["", "cold start", "warm call"], [*rows, ["the ordinary function", *absolute]])},
        figures={name: [asdict(sample) for sample in of] for name, of in samples.items()},
        goals=[
            Goal("slowest cold start, relative to an ordinary function", max(map(median, cold_ratios.values())), LIMIT),
            Goal("slowest warm call, relative to an ordinary function", max(map(median, warm_ratios.values())), LIMIT),
        ],
    )
