"""``make demo`` and ``make local`` as a person meets them: what they say, how they end, and what they leave behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.cloud import HOST, LOOPBACK, free_port
from local.demo import EXPECTED

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("commands")]


@contextmanager
def local(temporary: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """``python -m local`` with a temporary folder of its own, so that what is left behind can be seen."""
    process = subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        env={**os.environ, "TMPDIR": str(temporary), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        with LOOPBACK.open(f"http://{HOST}:{port}/_ministack/health", timeout=1):
            return True
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str, within_seconds: float = 90) -> None:
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds} s: {what}"
        time.sleep(0.05)


def test_the_demo_shows_the_four_orders_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with local(tmp_path, "demo") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    for name, expected in EXPECTED.items():
        assert f"{name}: {expected.title}" in out
        assert " > ".join(expected.states) in " ".join(out.split())
    assert "123-1234" not in out
    assert "\x1b[" not in out, "no colour where there is no terminal"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_in_the_middle_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with local(tmp_path, "serve", "--port", str(port)) as process:
        wait_until(lambda: answers(port), "the local cloud answers")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert err.strip() == "Interrupted; the local cloud is stopped."
    assert not answers(port)
    assert not list(tmp_path.iterdir())


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with local(tmp_path, "serve", "--port", str(port)) as process:
            _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == (
        f"error: {HOST}:{port} cannot be used (Address already in use): "
        "end what runs there or choose another port with PORT=\n"
    )


def test_a_taken_port_of_the_console_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with local(tmp_path, "serve", "--port", str(free_port()), "--console-port", str(port)) as process:
            _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"{HOST}:{port} cannot be used" in err
    assert "CONSOLE_PORT=" in err


def test_one_port_for_both_is_told_before_anything_is_started(tmp_path: Path) -> None:
    port = str(free_port())
    with local(tmp_path, "serve", "--port", port, "--console-port", port) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == f"error: PORT and CONSOLE_PORT are both {port}: choose another port with CONSOLE_PORT=\n"


@pytest.mark.parametrize("option", ["--port", "--console-port"])
@pytest.mark.parametrize("port", ["0", "80", "70000", "http", ""])
def test_a_port_that_is_none_is_one_clear_line(tmp_path: Path, option: str, port: str) -> None:
    with local(tmp_path, "serve", option, port) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"{port!r} is no port: expected a number from 1024 to 65535" in err


def test_a_deployment_that_fails_says_so_and_leaves_nothing_running(tmp_path: Path) -> None:
    """The stage that app.py refuses stands for whatever may go wrong in a deployment."""
    program = (
        "from local.cloud import free_port, local_cloud\n"
        "from local.deployment import bootstrap, deploy\n"
        "from local.errors import LocalError\n"
        "try:\n"
        "    with local_cloud(free_port()) as cloud:\n"
        "        bootstrap(cloud)\n"
        "        deploy(cloud, stage='nonsense')\n"
        "except LocalError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.startswith("`cdk deploy` failed with exit status 1: ")
    assert "unknown stage 'nonsense': use -c stage=NAME with one of dev, prod" in done.stderr
    assert not list(tmp_path.iterdir())
