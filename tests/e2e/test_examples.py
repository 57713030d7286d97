"""Another saga than the order saga, deployed by the real CDK CLI: its demo, and how it is operated."""

import itertools
import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from examples.trip_booking.demo import EXAMPLE
from local.cloud import HOST, free_port
from tests import browser as browsers
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


@dataclass(frozen=True, kw_only=True)
class Trips:
    """The trip saga as ``make local`` serves it: its console, and what to type in another terminal."""

    console: str
    commands: list[str]

    def ops(self, command: str) -> str:
        """What an operator's command prints."""
        settings = [line for line in self.commands if "export" in line]
        return typed([*settings, f"python -m ops {command} --stack TripSaga-dev\n"])

    def outcomes(self) -> dict[str, str]:
        """How the trips have ended."""
        listed = json.loads(self.ops("list --json"))["executions"]
        return {execution["order_id"]: execution["outcome"] for execution in listed}


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trips]:
    folder, port, console = tmp_path_factory.mktemp("trips"), free_port(), free_port()
    options = ("--example", "trip_booking", "--port", str(port), "--console-port", str(console))
    with local(folder, "serve", *options) as process:
        wait_until(lambda: process.poll() is not None or is_taken(console), "the console answers", within_seconds=120)
        yield Trips(console=f"http://{HOST}:{console}/", commands=what_to_type(process))
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(folder.iterdir())


def test_what_make_local_says_to_type_operates_the_trip_saga(trips: Trips) -> None:
    *others, show = trips.commands
    typed(others)
    typed([line.replace("1-success", "2-failed-flight") for line in others])
    wait_until(
        lambda: {"1": "fulfilled", "2": "rolled_back"}.items() <= trips.outcomes().items(), "both trips have ended"
    )
    shown = typed([*(line for line in others if "export" in line), show])
    assert shown.startswith("trip 1\n")
    assert "PAYMENT  CHARGED" in shown
    assert trips.ops("stuck --scan") == "no saga is stuck\n"


@pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or "")
def test_a_trip_is_typed_in_as_json_and_watched_to_its_end(trips: Trips) -> None:
    with browsers.browser() as driver:

        def until(selector: str, text: str) -> None:
            WebDriverWait(driver, 30).until(lambda _: text in driver.find_element(By.CSS_SELECTOR, selector).text)

        def type_in(trip: str) -> None:
            driver.find_element(By.ID, "input").clear()
            driver.find_element(By.ID, "input").send_keys(trip)

        driver.get(trips.console)
        until("header", "Trip saga TripSaga-dev")
        type_in("{")
        until("#verdict", "the input is no JSON object")
        type_in(json.dumps({**EXAMPLE.scenario("4-failed-payment"), "trip_id": "in a browser"}))
        until("#verdict", "This can be sent")
        assert driver.find_element(By.ID, "name").get_attribute("value") == "in-a-browser"
        driver.find_element(By.ID, "submit").click()
        until("#outcome", "rolled back")
        until("#meaning", "The trip was refused or a step failed")
        until("#rows", "PAYMENT VOIDED")
        until("#graph .node", "Reserve")
        driver.get(trips.console)
        until("#executions", "in a browser")
        # The browser itself logs the answer 400, and nothing else.
        assert all(" 400 " in problem for problem in browsers.logged(driver, "browser"))


@pytest.mark.parametrize("name", ["none", "..", "trip_booking/lambdas"])
def test_an_example_that_is_none_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with local(tmp_path, "demo", "--example", name) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == f"error: there is no example {name!r}: use EXAMPLE= with one of ticket_sale, trip_booking\n"
