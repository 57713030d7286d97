"""``make demo`` and ``make local``: what they print, how they end, and that they leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.__main__ import main
from local.cloud import HOST, LOOPBACK, free_port
from local.order_demo import ORDER_DEMO
from local.sagas import example_names
from tests.e2e.orders import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("commands")]


@contextmanager
def local(temporary: Path, *arguments: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """Run ``python -m local`` as a terminal does, with a temporary folder and environment variables of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        env={**os.environ, "TMPDIR": str(temporary), "COLUMNS": "100", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def responds(port: int) -> bool:
    try:
        with LOOPBACK.open(f"http://{HOST}:{port}/_ministack/health", timeout=1):
            return True
    except OSError:
        return False


def test_the_demo_shows_the_orders_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with local(tmp_path, "demo") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    for name, expected in ORDER_DEMO.expected_ends().items():
        assert f"{name}: {ORDER_DEMO.title(name)}" in out
        assert " > ".join(expected.states) in " ".join(out.split())
    assert "FAILED (ClientError)" in out
    assert "a message in the queue of stuck sagas: RefundPayment failed" in out
    assert "resumed 6-stuck-refund in RefundPayment" in out
    assert "123-1234" not in out
    assert "\x1b[" not in out, "no colour without a terminal"
    assert not list(tmp_path.iterdir())


NAMES = " or ".join(example_names())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with local(tmp_path, "serve", "--port", str(port)) as process:
        wait_until(lambda: responds(port), "the local cloud responds")
        # To the whole process group, as a terminal sends it.
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert err.strip() == "Interrupted; the local cloud is stopped."
    assert not responds(port)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def used_port() -> Iterator[str]:
    """Listen on a port."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield str(listener.getsockname()[1])


@pytest.fixture
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the signal handlers of the tests alone."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)


@pytest.mark.usefixtures("no_signals")
def test_a_used_port_is_reported_in_one_line(used_port: str, capsys: pytest.CaptureFixture[str]) -> None:
    reason = f"error: cannot listen on {HOST}:{used_port} (Address already in use): "
    advice = "stop what uses it or choose another port with"
    assert main(["serve", "--port", used_port]) == 2
    assert capsys.readouterr().err == f"{reason}{advice} PORT=\n"
    assert main(["serve", "--port", str(free_port()), "--console-port", used_port]) == 2
    assert capsys.readouterr() == ("", f"{reason}{advice} CONSOLE_PORT=\n"), "before anything is started"


@pytest.mark.usefixtures("no_signals")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["serve", "--port", "8080", "--console-port", "8080"],
            "PORT and CONSOLE_PORT are both 8080: choose another port with CONSOLE_PORT=\n",
        ),
        *(
            (
                ["demo", "--example", name],
                f"invalid example {name!r}: use EXAMPLE= with {NAMES}\n",
            )
            for name in ("none", "..", "trip_booking/lambdas")
        ),
    ],
)
def test_an_invalid_option_is_reported_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}"), "before anything is started"


@pytest.mark.parametrize("option", ["--port", "--console-port"])
@pytest.mark.parametrize("port", ["0", "80", "70000", "http", ""])
def test_an_invalid_port_is_reported_in_one_line(option: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", option, port])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"{option}: invalid port {port!r}: must be 1024 to 65535" in err
