"""awslambdaric with local/runtime_client.py instead of its native module, against a fake runtime API."""

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
    """A fake that serves the events in order, then status 410. ``received`` has the responses by path."""

    port: int = 0
    events: list[object] = field(default_factory=list)
    received: dict[str, Any] = field(default_factory=dict)


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
            runtime.received[self.path.removeprefix("/2018-06-01/runtime/")] = json.loads(body)
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
    """Run the function with the events; status 410 after the last one ends it."""
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


def test_it_receives_events_and_sends_answers_in_order(api: RuntimeApi, tmp_path: Path) -> None:
    run(api, tmp_path, {"order_id": "1"}, {"order_id": "Ü"})
    first, second = (api.received[f"invocation/call-{left}/response"] for left in (2, 1))
    assert (first["event"], first["id"], second["event"]) == ({"order_id": "1"}, "call-2", {"order_id": "Ü"})
    assert first["ms"] > 0
    assert Path(first["client"]).samefile(tmp_path / RUNTIME_CLIENT.name), "not the native module"


def test_an_exception_keeps_its_name_and_message_and_the_next_event_is_handled(api: RuntimeApi, tmp_path: Path) -> None:
    run(api, tmp_path, {"fail": "no Übel"}, {})
    failed = api.received["invocation/call-2/error"]
    assert (failed["errorType"], failed["errorMessage"]) == ("LookupError", "no Übel")
    assert api.received["invocation/call-1/response"]["event"] == {}


@pytest.mark.parametrize("native", [object(), None], ids=["present", "missing"])
def test_the_replacement_is_deployed_only_where_the_native_module_is_missing(
    monkeypatch: pytest.MonkeyPatch, native: object
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: native)
    assert ("runtime_client.py" in runtime_files()) is (native is None)
