"""The trip saga as ``make local EXAMPLE=trip_booking`` serves it: its demo, its commands and its console."""

import io
import itertools
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console
from selenium.webdriver.common.by import By

from examples.trip_booking.demo import DEMO
from local.cloud import HOST, LocalCloud, free_port
from local.demo import run
from local.deployment import Deployment, deployment_of
from local.executions import start_and_wait, statuses, wait
from local.stuck_saga import no_writes
from tests import browser as browsers
from tests.e2e.orders import wait_until
from tests.e2e.test_commands import local
from tests.pages import Page

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("commands")]

STACK = "TripSaga-dev"


def is_used(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def commands_printed_by(process: "subprocess.Popen[str]") -> list[str]:
    """Return the commands for another terminal; the last line that it prints comes after them."""
    assert process.stdout
    lines = list(itertools.takewhile(lambda line: line != "Ctrl-C stops it.\n", iter(process.stdout.readline, "")))
    begin = next(index for index, line in enumerate(lines) if line.startswith("In another terminal"))
    return [line for line in lines[begin:] if line.startswith("  ")]


def type_in(commands: list[str]) -> str:
    """Type the commands into a terminal of their own; return what they print."""
    script = ["/bin/sh", "-e", "-c", "".join(commands)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Trips:
    """The served saga: its deployment, the URL of its console, and the commands for another terminal."""

    deployment: Deployment
    console: str
    commands: list[str]

    def outcomes(self) -> Mapping[str | None, str]:
        """Return the outcome of each trip."""
        return {execution.order_id: execution.outcome for execution in self.deployment.client.executions().executions}


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trips]:
    folder, port, console = tmp_path_factory.mktemp("trips"), free_port(), free_port()
    options = ("--example", "trip_booking", "--port", str(port), "--console-port", str(console))
    with local(folder, "serve", *options, SFN_WAIT_SCALE="0") as process:
        wait_until(lambda: process.poll() is not None or is_used(console), "the console responds", within_seconds=120)
        commands = commands_printed_by(process)
        cloud = LocalCloud(port=port, folder=folder, process=cast("subprocess.Popen[bytes]", process))
        yield Trips(deployment=deployment_of(cloud, STACK), console=f"http://{HOST}:{console}/", commands=commands)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(folder.iterdir())


def test_the_printed_commands_operate_the_trip_saga(trips: Trips) -> None:
    *others, list_, show = trips.commands
    type_in(others)
    wait_until(lambda: trips.outcomes().get("1") == "fulfilled", "the trip has ended")
    shown = type_in([*(line for line in others if "export" in line), list_, show])
    assert "trip 1\n" in shown
    assert "PAYMENT  CHARGED" in shown


def test_the_trips_of_the_demo_end_as_the_contract_says(trips: Trips, tmp_path: Path) -> None:
    for name in DEMO.scenarios:
        (tmp_path / f"{name}.json").write_text(json.dumps({**DEMO.input(name), "trip_id": f"demo-{name}"}))
    shown = io.StringIO()
    assert not run(trips.deployment, Console(file=shown), replace(DEMO, folder=tmp_path), DEMO.expected_ends())
    assert "123-1234" not in shown.getvalue()
    assert not trips.deployment.client.stuck_by_scan().sagas


def test_of_a_stuck_group_a_redrive_runs_only_the_compensation_that_failed(trips: Trips) -> None:
    deployment = trips.deployment
    trip = {**DEMO.input("4-failed-payment"), "trip_id": "stuck"}
    with no_writes(deployment, "cancel_hotel"):
        stuck = start_and_wait(deployment, trip)
    assert (stuck.error, stuck.states[-1]) == ("ClientError", "UndoReservations")
    compensated = DEMO.expected_ends()["4-failed-payment"].statuses
    assert statuses(deployment, "stuck") == {**compensated, "HOTEL": "RESERVED"}
    stepfunctions = deployment.stepfunctions
    stepfunctions.redrive_execution(executionArn=stuck.arn)
    ended = wait(deployment, stuck.arn)
    assert (ended.error, ended.states[-2:]) == ("TripFailed", ("UndoReservations", "TripFailed"))
    assert statuses(deployment, "stuck") == compensated
    events = stepfunctions.get_execution_history(executionArn=stuck.arn, maxResults=1000)["events"]
    types = [event["type"] for event in events]
    assert types[types.index("ExecutionRedriven") :].count("TaskScheduled") == 1


@pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or "")
def test_a_trip_is_started_from_a_preset_and_watched_to_its_end(trips: Trips) -> None:
    with browsers.browser() as driver:
        page = Page(driver, trips.console)
        page.until("header", f"Trip saga {STACK}")
        (preset,) = (one for one in driver.find_elements(By.CSS_SELECTOR, ".preset") if one.text == "4-failed-payment")
        preset.click()
        page.write("#field-trip_id", "in a browser")
        page.until("#verdict", "TakePayment will reject this: card_no is missing")
        assert driver.find_element(By.ID, "name").get_attribute("value") == "in-a-browser"
        page.click("#submit")
        page.until("#outcome", "rolled back")
        page.until("#meaning", "everything that was done for the trip is compensated")
        page.until("#rows", "PAYMENT", "VOIDED")
        page.until("#graph .node", "Reserve")
        driver.get(trips.console)
        page.until("#executions", "in a browser")
        assert page.problems() == []
