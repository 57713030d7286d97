"""Another saga than the order saga, deployed by the real CDK CLI: its demo, and how it is operated."""

import itertools
import json
import socket
import subprocess
from pathlib import Path

import pytest

from examples.trip_booking.demo import EXAMPLE
from local.cloud import HOST, LOOPBACK, free_port
from tests.e2e.test_commands import local, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("commands")]


def test_the_demo_of_the_trip_saga_ends_every_trip_as_it_should_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with local(tmp_path, "demo", "--example", "trip_booking") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    for name, expected in EXAMPLE.expected.items():
        assert f"{name}: {expected.title}" in out
        assert " > ".join(expected.states) in " ".join(out.split())
    assert "123-1234" not in out
    assert not list(tmp_path.iterdir())


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def what_to_type(process: "subprocess.Popen[str]") -> list[str]:
    """The lines that it says to type in another terminal, up to the last one that it prints before it waits."""
    assert process.stdout
    said = list(itertools.takewhile(lambda line: line != "Ctrl-C stops it.\n", iter(process.stdout.readline, "")))
    begin = next(at for at, line in enumerate(said) if line.startswith("In another terminal"))
    return [line for line in said[begin:] if line.startswith("  ")]


def typed(commands: list[str]) -> str:
    """What the commands print, typed into a terminal of their own."""
    script = ["/bin/sh", "-e", "-c", "".join(commands)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_make_local_says_to_type_operates_the_trip_saga(tmp_path: Path) -> None:
    port, console = free_port(), free_port()
    options = ("--example", "trip_booking", "--port", str(port), "--console-port", str(console))
    with local(tmp_path, "serve", *options) as process:
        wait_until(lambda: process.poll() is not None or is_taken(console), "the console answers", within_seconds=120)
        commands = what_to_type(process)
        settings = [line for line in commands if "export" in line]
        *others, show = commands
        typed(others)
        typed([line.replace("1-success", "2-failed-flight") for line in others])

        def outcomes() -> dict[str, str]:
            listed = json.loads(typed([*settings, "python -m ops list --stack TripSaga-dev --json"]))["executions"]
            return {execution["order_id"]: execution["outcome"] for execution in listed}

        wait_until(lambda: outcomes() == {"1": "fulfilled", "2": "rolled_back"}, "both trips have ended")
        shown = typed([*settings, show])
        assert shown.startswith("trip 1\n")
        assert "PAYMENT  CHARGED" in shown
        told = typed([*settings, "python -m ops stuck --scan --stack TripSaga-dev"])
        assert told == "no saga is stuck\n"
        with LOOPBACK.open(f"http://{HOST}:{console}/", timeout=30) as answer:
            assert "<h1>Trips</h1>" in answer.read().decode()
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["none", "..", "trip_booking/lambdas"])
def test_an_example_that_is_none_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with local(tmp_path, "demo", "--example", name) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == f"error: there is no example {name!r}: use EXAMPLE= with one of ticket_sale, trip_booking\n"
