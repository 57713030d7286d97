"""The stuck sagas of the console in a real browser, on a stack in this process: groups, and how they are resumed."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

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
    group.ends = lambda _arn: CLEAN
    group.page.until("#stuck-summary", "2 sagas are stuck.")
    group.page.until(f"{GROUP} p button", "Resume all 2 …")
    assert len(group.redriven) == 1


def test_a_group_stops_at_a_saga_that_gets_stuck_again(world: World, driver: WebDriver, url: str) -> None:
    group = Group(world, driver, url, count=3)
    stopped = world.client.execution(group.arns[0]).stopped_at
    assert stopped is not None
    group.ends = lambda _arn: {"stopDate": stopped + timedelta(minutes=1)}
    group.resume()
    group.page.until(f"{GROUP} .error", "Stopped resuming. saga-2: it is stuck again")
    assert len(group.redriven) == 1


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
