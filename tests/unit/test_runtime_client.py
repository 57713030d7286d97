"""awslambdaric where its native module is missing, as on macOS: ours in its place, against a runtime API of our own."""

import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.deployment import RUNTIME_CLIENT, runtime_files

FUNCTION = """
import runtime_client

def handler(event, context):
    if "fail" in event:
        raise LookupError(event["fail"])
    return {"event": event, "id": context.aws_request_id, "ms": context.get_remaining_time_in_millis(),
            "client": runtime_client.__file__}
"""


@dataclass
class RuntimeApi:
    """Hands out the events in turn, then refuses; ``told`` keeps what it was told, by path."""

    port: int = 0
    events: list[object] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    runtime = RuntimeApi()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            left = len(runtime.events)
            self.send_response(200 if left else 410)
            self.send_header("Lambda-Runtime-Aws-Request-Id", f"call-{left}")
            self.send_header("Lambda-Runtime-Deadline-Ms", "99999999999999")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if left:
                self.wfile.write(json.dumps(runtime.events.pop(0)).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            runtime.told[self.path.removeprefix("/2018-06-01/runtime/")] = json.loads(body)
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        runtime.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield runtime
        server.shutdown()
        thread.join()


def run(api: RuntimeApi, folder: Path, *events: object) -> None:
    """Have the function handle the events; the refusal after the last one ends it."""
    shutil.copy(RUNTIME_CLIENT, folder)
    (folder / "function.py").write_text(FUNCTION)
    api.events = list(events)
    subprocess.run(
        [sys.executable, "-m", "awslambdaric", "function.handler"],
        cwd=folder,
        env={**os.environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.port}", "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        timeout=60,
    )


def test_it_hands_over_events_and_answers_one_after_the_other(api: RuntimeApi, tmp_path: Path) -> None:
    run(api, tmp_path, {"order_id": "1"}, {"order_id": "Ü"})
    first, second = (api.told[f"invocation/call-{left}/response"] for left in (2, 1))
    assert (first["event"], first["id"], second["event"]) == ({"order_id": "1"}, "call-2", {"order_id": "Ü"})
    assert first["ms"] > 0
    assert Path(first["client"]).samefile(tmp_path / RUNTIME_CLIENT.name), "not the native module"


def test_an_exception_keeps_its_name_and_message_and_the_function_goes_on(api: RuntimeApi, tmp_path: Path) -> None:
    run(api, tmp_path, {"fail": "no Übel"}, {})
    failed = api.told["invocation/call-2/error"]
    assert (failed["errorType"], failed["errorMessage"]) == ("LookupError", "no Übel")
    assert api.told["invocation/call-1/response"]["event"] == {}


@pytest.mark.parametrize("native", [object(), None], ids=["present", "missing"])
def test_it_is_put_beside_the_functions_code_only_where_the_native_module_is_missing(
    monkeypatch: pytest.MonkeyPatch, native: object
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: native)
    assert ("runtime_client.py" in runtime_files()) is (native is None)
