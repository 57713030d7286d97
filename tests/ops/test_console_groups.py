"""The stuck sagas of the console in a real browser, on a stack in this process: groups, and how they are resumed."""

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ops.console.views import Views
from tests import browser as browsers
from tests.consoles import console_of_client
from tests.ops.conftest import World
from tests.pages import WITHIN, Page

pytestmark = [
    # One browser for all of them.
    pytest.mark.xdist_group("console-groups"),
    pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or ""),
]

GROUP = '[data-group="RefundPayment: RuntimeError"]'
CLEAN = {"status": "FAILED", "error": "OrderFailed", "cause": "rolled back"}
RUNNING = {"status": "RUNNING"}


@pytest.fixture(scope="module")
def driver() -> Iterator[WebDriver]:
    with browsers.browser() as driver:
        yield driver


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with console_of_client(world.client) as url:
        yield url


class Group:
    """A group of stuck sagas on the first page. ``redriven`` are those that were resumed, in order."""

    def __init__(self, world: World, driver: WebDriver, url: str, *, count: int) -> None:
        self.world = world
        self.arns = [world.run_into_a_stop(str(number), name=f"saga-{number}").arn for number in range(count)]
        for arn in self.arns:
            world.report(arn)
        self.ends: Callable[[str], Mapping[str, Any]] = lambda _arn: CLEAN
        self.redriven = world.redrive_to(self._end)
        self.page = Page(driver, url)
        self.page.until("#stuck-summary", f"{count} sagas are stuck.")

    def _end(self, arn: str) -> Mapping[str, Any]:
        return self.ends(arn)

    def resume(self) -> None:
        self.page.click(f"{GROUP} p button")
        self.page.until("#dialog-what", "waits for its clean end, then the others")
        self.page.click("#dialog-yes")

    def ask_about(self, name: str) -> None:
        """Open the question whether to resume one saga."""
        self.page.click(f'[data-execution="{name}"] button')
        self.page.until("#dialog-what", name)

    def refresh(self) -> None:
        """Read the stuck sagas again, also while a question is open."""
        self.page.driver.execute_script('document.getElementById("refresh").click()')

    def until_redriven(self, count: int) -> None:
        WebDriverWait(self.page.driver, WITHIN, 0.05).until(lambda _: len(self.redriven) >= count)


def test_the_page_does_not_claim_that_no_saga_is_stuck(
    world: World, driver: WebDriver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(driver, url)
    assert page.until("#stuck-summary", "No reported") == "No reported saga is stuck."
    world.sqs.send_message(QueueUrl=world.undelivered, MessageBody="{}")
    page.click("#refresh")
    page.until("#stuck-summary", "No reported saga is stuck. About 1 undelivered reports: `python -m ops stuck --scan`")
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueUrl")
    monkeypatch.setattr(world.sqs, "get_queue_url", mock.Mock(side_effect=denied))
    page.click("#refresh")
    page.until("#stuck-summary", "No reported saga is stuck. Whether reports are undelivered cannot be read: `python")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return the event that the requests to resume a saga wait for."""
    event, resume = threading.Event(), Views.resume

    def wait(views: Views, execution: str) -> Any:
        event.wait(WITHIN)
        return resume(views, execution)

    monkeypatch.setattr(Views, "resume", wait)
    return event


def test_a_late_rejection_does_not_appear_in_the_question_about_another_saga(
    world: World, driver: WebDriver, url: str, answers: threading.Event
) -> None:
    group = Group(world, driver, url, count=2)
    page = group.page
    world.lose(group.arns[1])
    group.ask_about("saga-1")
    page.click("#dialog-yes")
    page.click("#dialog-no")
    group.ask_about("saga-0")
    answers.set()
    page.until("#change-error", "saga-1: Step Functions no longer has saga-1")
    assert page.texts("#dialog-error") == []
    assert driver.find_element(By.ID, "dialog-yes").is_enabled()
    page.click("#dialog-yes")
    group.until_redriven(1)
    assert group.redriven == group.arns[:1]


def test_a_late_success_leaves_the_question_about_another_saga_open(
    world: World, driver: WebDriver, url: str, answers: threading.Event
) -> None:
    group = Group(world, driver, url, count=2)
    group.ask_about("saga-1")
    group.page.click("#dialog-yes")
    group.page.click("#dialog-no")
    group.ask_about("saga-0")
    answers.set()
    group.until_redriven(1)
    group.refresh()
    group.page.until("#stuck-summary", "1 saga is stuck.")
    group.page.until("#dialog-what", "saga-0")
    assert urlsplit(driver.current_url).path == "/", "the page is the same"


def test_a_large_group_is_collapsed_and_resumed_one_saga_first(world: World, driver: WebDriver, url: str) -> None:
    group = Group(world, driver, url, count=6)
    page = group.page
    assert page.texts(f"{GROUP} summary, {GROUP} button") == [page.text(f"{GROUP} summary")], "collapsed"
    page.until(f"{GROUP} summary", "6 × RefundPayment: RuntimeError. The oldest stopped", "can be resumed until")
    group.ends = lambda _arn: RUNNING
    page.click(f"{GROUP} summary")
    group.resume()
    page.until(GROUP, "Waiting for the first one.")
    group.until_redriven(1)
    page.click("#refresh")
    page.until(f"{GROUP} summary", "5 × RefundPayment")
    assert len(group.redriven) == 1, "the others wait for its end"
    group.ends = lambda arn: CLEAN if arn == group.redriven[0] else RUNNING
    page.until(GROUP, "1 of 6 ended cleanly.")
    group.until_redriven(5)
    assert len(group.redriven) == 5, "four at a time"
    group.ends = lambda _arn: CLEAN
    page.until("#stuck-summary", "No reported saga is stuck.")
    assert sorted(group.redriven) == sorted(group.arns)
    WebDriverWait(driver, WITHIN).until(lambda _: not world.entries())
    assert world.messages() == []


def test_a_group_stops_when_a_person_asks(world: World, driver: WebDriver, url: str) -> None:
    group = Group(world, driver, url, count=3)
    group.ends = lambda _arn: RUNNING
    group.resume()
    group.until_redriven(1)
    group.page.click(f"{GROUP} .resumption button")
    # The first one still runs.
    group.page.until("#stuck-summary", "2 sagas are stuck.")
    group.page.until(f"{GROUP} p button", "Resume all 2 …")
    assert len(group.redriven) == 1


def test_a_group_waits_on_while_an_outcome_cannot_be_read(
    world: World, driver: WebDriver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group(world, driver, url, count=3)
    throttled = ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeExecution")
    with monkeypatch.context() as patched:
        patched.setattr(Views, "outcome", mock.Mock(side_effect=throttled))
        group.resume()
        group.page.until(GROUP, "Waiting for the first one. saga-2: DescribeExecution is throttled")
    group.page.until("#stuck-summary", "No reported saga is stuck.")
    assert sorted(group.redriven) == sorted(group.arns)


def test_a_group_stops_at_a_saga_that_gets_stuck_again(world: World, driver: WebDriver, url: str) -> None:
    group = Group(world, driver, url, count=3)
    stopped = world.client.execution(group.arns[0]).stopped_at
    assert stopped is not None
    group.ends = lambda _arn: {"stopDate": stopped + timedelta(minutes=1)}
    group.resume()
    reason = "Stopped resuming. saga-2: it is stuck again"
    group.page.until(f"{GROUP} .error", reason)
    assert len(group.redriven) == 1
    # The reason stays when the list changes, also when nothing is left in the group.
    for left in (1, 0):
        world.client.forget(group.arns[left:])
        group.page.click("#refresh")
        group.page.until(f"{GROUP} summary", f"{left} × RefundPayment")
        group.page.until(f"{GROUP} .error", reason)


def test_a_description_from_before_the_redrive_is_not_taken_for_another_stop(
    world: World, driver: WebDriver, url: str
) -> None:
    """The entry and DescribeExecution may round the time of one stop differently."""
    group = Group(world, driver, url, count=2)
    before = {arn: world.client.execution(arn).stopped_at for arn in group.arns}
    # The list of the page may use up one of them.
    old = [{"stopDate": stopped - timedelta(milliseconds=3)} for stopped in before.values() if stopped] * 2
    group.ends = lambda _arn: old.pop() if old else CLEAN
    group.resume()
    group.page.until("#stuck-summary", "No reported saga is stuck.")
    assert (old, len(group.redriven)) == ([], 2)


def test_sagas_that_cannot_be_resumed_do_not_stop_a_group(world: World, driver: WebDriver, url: str) -> None:
    group = Group(world, driver, url, count=3)
    world.lose(group.arns[2])
    group.resume()
    group.page.until(f"{GROUP} .error", "Not resumed: 1. Step Functions no longer has saga-2: `python -m ops settle 2`")
    assert sorted(group.redriven) == group.arns[:2]
