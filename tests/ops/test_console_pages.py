"""The pages of the console in a real browser, on a stack in this process."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from ops.console import views
from ops.errors import OpsError
from tests import browser as browsers
from tests.consoles import console_of_client
from tests.ops.conftest import World
from tests.pages import WITHIN, Page

pytestmark = [
    # One browser for all of them.
    pytest.mark.xdist_group("console-pages"),
    pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or ""),
]


@pytest.fixture(scope="module")
def driver() -> Iterator[WebDriver]:
    with browsers.browser() as driver:
        yield driver


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with console_of_client(world.client) as url:
        yield url


def double_click(page: Page, selector: str) -> None:
    """Click twice before the page can get a response."""
    page.driver.execute_script("for (const _ of [1, 2]) document.querySelector(arguments[0]).click()", selector)


def test_a_double_click_turns_one_page(
    world: World, driver: WebDriver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PAGE_SIZE", 1)
    for number in range(4):
        world.run(str(number), name=f"saga-{number}")
    page = Page(driver, url)
    page.until("#executions", "saga-3")
    double_click(page, "#older")
    page.until("#page", "Page 2")
    page.until("#executions", "saga-2")
    page.click("#older")
    page.until("#page", "Page 3")
    page.until("#executions", "saga-1")
    double_click(page, "#newer")
    page.until("#page", "Page 2")
    page.until("#executions", "saga-2")


class BrokenSwitch:
    """A switch of the local cloud that cannot be used."""

    state = "RefundPayment"
    is_on = False

    def begin(self) -> None:
        raise OpsError("the role cannot be changed")

    def end(self) -> None:
        raise NotImplementedError


def test_the_error_of_the_switch_stays_while_the_list_is_read_again(world: World, driver: WebDriver) -> None:
    with console_of_client(world.client, BrokenSwitch()) as url:
        page = Page(driver, url)
        page.until("#outage", "Nothing is broken")
        page.click("#outage-switch")
        page.until(".error", "the role cannot be changed")
        requests = world.requests()
        WebDriverWait(driver, WITHIN).until(lambda _: requests["ListExecutions"] > 1)
        page.until(".error", "the role cannot be changed")


def test_a_replay_that_cannot_be_drawn_ends(
    world: World, driver: WebDriver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("1", name="saga-1")
    frame = {"states": [], "graphs": dict.fromkeys(views.DIRECTIONS, "not a graph")}
    monkeypatch.setattr(views.Views, "replay", lambda _self, _name: {"frames": [frame]})
    page = Page(driver, f"{url}/execution?name=saga-1")
    page.until("#outcome", "fulfilled")
    page.click("#replay-button")
    page.until("#error", "the graph cannot be drawn")
    page.until("#replay-button", "Replay")
    assert set(page.states().values()) == {"done"}


def test_a_page_from_before_a_restart_shows_no_data_of_another_stack(world: World, driver: WebDriver) -> None:
    with console_of_client(world.client) as url:
        page = Page(driver, url)
        page.until("#list-summary", "No executions.")
    world.run("1", name="of another stack")
    with console_of_client(world.client, port=urlsplit(url).port or 0):
        page.click("#refresh")
        page.until("#error", "reload the page")
        page.until("#stuck-summary", "cannot be read", "reload the page")
        assert page.texts("#executions tr") == []
        driver.refresh()
        page.until("#executions", "of another stack")


def test_a_closed_saga_has_no_button_to_resume_it(world: World, driver: WebDriver, url: str) -> None:
    world.report(world.run_into_a_stop("1").arn)
    name = world.client.stuck().sagas[0].execution.name
    page = Page(driver, f"{url}/execution?name={name}")
    page.until("#resume-button", "Resume")
    world.client.close(world.client.closable(name), "refunded by hand")
    driver.refresh()
    page.until("#meaning", "refunded by hand")
    assert page.texts("#resume-button") == []
