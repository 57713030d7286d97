"""The web console in a real browser, on the local cloud."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit
from urllib.request import Request

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from local.__main__ import _web_console
from local.cloud import HOST, LOOPBACK, free_port
from local.deployment import Deployment
from local.errors import LocalError
from local.order_demo import ORDER_DEMO
from local.outage import Outage
from tests import browser as browsers
from tests.consoles import console_of
from tests.e2e.conftest import Faults
from tests.pages import WITHIN, Page

pytestmark = [
    pytest.mark.e2e,
    # A local cloud of its own: the slowest group decides how long all tests take.
    pytest.mark.xdist_group("console"),
    pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or ""),
]

CARD = "9876-5432-10-4444"


@pytest.fixture(scope="module")
def console(deployment: Deployment) -> Iterator[str]:
    with console_of(deployment) as url:
        yield url


@pytest.fixture(scope="module")
def faulty_console(faulty_stack: Faults) -> Iterator[str]:
    with console_of(faulty_stack.deployment) as url:
        yield url


@pytest.fixture(scope="module")
def driver() -> Iterator[WebDriver]:
    with browsers.browser() as driver:
        yield driver


@pytest.fixture
def page(driver: WebDriver, console: str) -> Page:
    for log in ("browser", "performance"):
        browsers.logged(driver, log)
    return Page(driver, console)


def test_the_console_of_the_local_cloud_serves_until_it_is_interrupted(deployment: Deployment) -> None:
    port = free_port()
    command = [sys.executable, "-m", "local.console", str(os.getpid()), deployment.stack.name, str(port)]
    command += [ORDER_DEMO.specs_module.__name__, str(ORDER_DEMO.folder)]
    environment = deployment.cloud.client_environment()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().decode().split()[-1] == f"http://{HOST}:{port}/"
        with LOOPBACK.open(f"http://{HOST}:{port}/", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, err.decode().strip()) == (130, "Interrupted.")


def test_make_local_serves_the_console_until_it_ends(deployment: Deployment) -> None:
    port = free_port()
    with (
        _web_console(deployment.cloud, deployment, ORDER_DEMO, port, commands="curl a") as process,
        LOOPBACK.open(f"http://{HOST}:{port}/", timeout=10) as home,
    ):
        page = home.read().decode()
        assert "curl a" in page
        token = page.split('name="csrf-token" content="')[1].split('"')[0]
        request = Request(f"http://{HOST}:{port}/api/outage", headers={"X-CSRF-Token": token})
        with LOOPBACK.open(request, timeout=10) as answer:
            assert json.load(answer) == {"broken": False}
    assert process is not None
    assert process.poll() is not None


def test_make_local_reports_why_the_console_does_not_start(deployment: Deployment) -> None:
    unknown = replace(deployment, stack=replace(deployment.stack, name="None"))
    with (
        pytest.raises(LocalError, match="the web console ended with exit status 2: error: no stack None"),
        _web_console(deployment.cloud, unknown, ORDER_DEMO, free_port(), commands=""),
    ):
        pass


@pytest.mark.parametrize("preset", ORDER_DEMO.scenarios)
def test_a_preset_runs_to_its_end_on_the_page(page: Page, preset: str) -> None:
    expected = ORDER_DEMO.expected_ends()[preset]
    succeeds = expected.status == "SUCCEEDED"
    page.choose(preset)
    page.until("#verdict", "will accept this" if succeeds else "will reject this")
    page.click("#submit")
    page.until("#outcome", "fulfilled" if succeeds else "rolled back")
    words = page.states()
    assert tuple(words) == tuple(expected.states)
    if succeeds:
        assert set(words.values()) == {"done"}
        page.until("#graph .node", *(f"{number} ✓ done" for number in (1, 2, 3, 4)))
    else:
        count = list(words.values()).count("compensated")
        assert list(words.values())[-count - 2 :] == ["failed", *["compensated"] * count, "failed"]
        page.until("#graph .node", "∅ skipped")
        assert len(page.driver.find_elements(By.CSS_SELECTOR, "#graph .compensated .label-container")) == count
    page.until("#rows", *(f"{entity} " for entity in expected.statuses), *expected.statuses.values())
    assert page.problems() == []
    assert page.requested() == {urlsplit(page.url).netloc}


def test_a_preset_can_be_started_with_one_button(page: Page) -> None:
    """An earlier test may have used the execution's name."""
    page.click('[aria-label="Start 5-failed-shipment as it is"]')
    WebDriverWait(page.driver, WITHIN).until(
        lambda _: page.text("#outcome") == "↶ rolled back" or "exists already" in page.text("#verdict")
    )


def test_an_execution_is_shown_within_a_second_of_its_events(page: Page) -> None:
    page.choose("1-success")
    page.until("#verdict", "accept")
    watch = """
      new MutationObserver(() => {
        for (const item of document.querySelectorAll("#timeline > li")) {
          window.seen ??= {};
          window.seen[item.dataset.state] ??= Date.now();
        }
      }).observe(document, { childList: true, subtree: true });"""
    page.driver.execute_cdp_cmd("Page.enable", {})
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": watch})
    page.click("#submit")
    page.until("#outcome", "fulfilled")
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    seen = page.driver.execute_script("return window.seen")
    entered = page.driver.execute_async_script("""
      const done = arguments[0], query = new URLSearchParams({name: document.querySelector("#name").textContent});
      const headers = {"X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content};
      fetch(`/api/execution?${query}`, {headers}).then((answer) => answer.json()).then(
        ({path}) => done(Object.fromEntries(path.map((step) => [step.state, Date.parse(step.entered_at)]))));""")
    late = {state: seen[state] - entered[state] for state in entered}
    print(f"shown after its event: {late} ms")  # noqa: T201 (a measurement, shown with -rP)
    # It includes the time to load the page, which a busy machine needs longer for.
    assert max(list(late.values())[1:]) < 2000


def test_a_duplicate_is_explained(page: Page) -> None:
    order_id = page.choose("1-success")
    page.until("#verdict", "accept")
    page.click("#submit")
    page.until("#outcome", "fulfilled")
    page.driver.get(page.url)
    page.choose("1-success", order_id=order_id)
    page.until("#verdict", f"owned by execution {order_id}", "SagaConflict")
    page.click("#submit")
    page.until("#verdict", f"An execution named {order_id} exists already")
    page.write("#name", f"{order_id}-2")
    page.click("#submit")
    page.until(".summary", "rolled back", "Another saga owns this order")
    # The browser logs only the response 409.
    assert all("409" in problem for problem in page.problems())


def test_an_invalid_input_is_explained_and_can_be_sent_anyway(page: Page) -> None:
    page.choose("1-success", total="-5", card_no=CARD)
    page.until("#verdict", "CreateOrder will reject", "total is out of range: expected a number above 0")
    page.click("summary")
    page.write("#more", "{")
    page.until("#verdict", "invalid JSON")
    page.write("#more", '{"note": "x"}')
    page.until("#verdict", "unknown field 'note'")
    page.click("#submit")
    page.until("#cause", "CreateOrder failed: InvalidInput: unknown field 'note'")
    assert CARD not in page.driver.page_source


def test_a_stuck_saga_is_on_top_and_resuming_asks_first(driver: WebDriver, faulty_console: str, faults: Faults) -> None:
    faults.set({"process_shipment": "crash before", "refund_payment": "crash before"})
    page = Page(driver, faulty_console)
    order_id = page.choose("1-success")
    page.until("#verdict", "accept")
    page.click("#submit")
    page.until("#outcome", "stuck")
    page.until("#meaning", "it stopped in RefundPayment")
    assert page.states()["RefundPayment"] == "stuck"
    page.until("#graph .not_reached", "DeleteOrder", "◌ not reached")
    page.until("#timeline", "3 times RuntimeError: injected")
    driver.get(faulty_console)
    item = f'#stuck [data-execution="{order_id}"]'

    def is_listed(_driver: WebDriver) -> bool:
        page.click("#refresh")
        return bool(page.texts(item))

    WebDriverWait(driver, WITHIN).until(is_listed)
    page.until(item, "Stopped in RefundPayment", "injected")
    assert "stuck" in page.text("#stuck-summary")
    page.click(f"{item} button")
    page.until("#dialog-what", order_id, "resumes in RefundPayment, with its original input")
    assert driver.switch_to.active_element.get_attribute("id") == "dialog-no", "Enter changes nothing"
    faults.set({})
    page.click("#dialog-yes")
    page.until("#outcome", "rolled back")
    assert page.states()["RefundPayment"] == "compensated"
    page.until("#timeline", "3 times RuntimeError: injected")


def test_a_saga_gets_stuck_on_purpose_and_is_resumed(driver: WebDriver, deployment: Deployment) -> None:
    cloud = deployment.cloud
    outage = Outage(cloud.session(), cloud.endpoint, stack=deployment.stack.name, function="refund_payment")
    with console_of(deployment, outage) as url:
        page = Page(driver, url)
        page.problems()  # those of earlier tests
        page.until("#outage", "Nothing is broken")
        page.click("#outage-switch")
        page.until("#outage", "RefundPayment may not write")
        order_id = page.choose("5-failed-shipment")
        page.until("#verdict", "will reject")
        page.click("#submit")
        page.until("#meaning", "it stopped in RefundPayment")
        driver.get(url)
        page.until("#outage", "RefundPayment may not write")
        page.click("#outage-switch")
        page.until("#outage", "Nothing is broken")
        driver.get(f"{url}/execution?name={order_id}")
        page.until("#outcome", "stuck")
        page.click("#resume-button")
        page.click("#dialog-yes")
        page.until("#outcome", "rolled back")
        assert page.problems() == []


def test_only_the_local_console_has_the_switch(page: Page) -> None:
    page.until("#stuck-summary", "stuck")
    assert not page.driver.find_elements(By.ID, "outage")


def test_a_preset_can_be_started_repeatedly(page: Page) -> None:
    for _ in range(2):
        page.driver.get(page.url)
        page.click(".pair .run")
        page.until("#outcome", "fulfilled")
    page.click("#replay-button")
    page.until("#timeline", "CreateOrder", "running")
    WebDriverWait(page.driver, WITHIN).until(lambda _: page.texts("#replay-button"))
    assert list(page.states().values()) == ["done"] * 4
    page.click("#history summary")
    page.until("#events", "ExecutionStarted", "TaskStateEntered CreateOrder")


def test_the_list_is_paged_filtered_and_searched(page: Page, deployment: Deployment) -> None:
    for _ in range(21):
        deployment.client.start({})
    order_id = page.choose("1-success")
    page.until("#verdict", "accept")
    page.click("#submit")
    page.until("#outcome", "fulfilled")
    page.driver.get(page.url)
    page.until("#executions", order_id, "fulfilled")
    assert len(page.texts("#executions tr")) == 20
    page.click("#older")
    page.until("#page", "Page 2")
    WebDriverWait(page.driver, WITHIN).until(lambda _: order_id not in page.text("#executions"))
    page.click("#newer")
    page.until("#executions", order_id)
    page.driver.find_element(By.CSS_SELECTOR, "#outcome-filter option:nth-child(3)").click()
    WebDriverWait(page.driver, WITHIN).until(lambda _: "rolled back" not in page.text("#executions"))
    assert order_id in page.text("#executions")
    assert page.driver.current_url.endswith("?outcome=fulfilled")
    page.driver.refresh()
    page.until("#executions", order_id, "fulfilled")
    assert "rolled back" not in page.text("#executions")
    page.write("#order-id", order_id + Keys.ENTER)
    page.until("#sagas", order_id, "CreateOrder → ProcessPayment → ProcessShipment → ConfirmOrder")
    page.until("#rows", "ORDER ✓ CONFIRMED", "PENDING")


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(60):
            focused = page.driver.switch_to.active_element
            if page.driver.execute_script("return arguments[0].matches(arguments[1])", focused, selector):
                return
            focused.send_keys(Keys.TAB)
        raise AssertionError(f"the keyboard does not reach {selector}")

    tab_to(".pair:nth-of-type(2) .preset")
    page.driver.switch_to.active_element.send_keys(Keys.SPACE)
    tab_to("#field-order_id")
    order_id = str(uuid.uuid4())
    page.driver.switch_to.active_element.send_keys(Keys.CONTROL + "a", Keys.NULL, order_id)
    tab_to("#submit")
    page.until("#verdict", "CreateOrder will reject")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until("#outcome", "rolled back")
    tab_to("#graph")
    tab_to("#order-link")
    label = page.driver.find_element(By.ID, "graph").get_attribute("aria-label") or ""
    assert "CreateOrder failed, DeleteOrder compensated" in label
    assert "OrderFailed failed" in str(page.driver.find_element(By.ID, "live").get_attribute("textContent"))


def test_every_field_has_a_label(page: Page) -> None:
    unnamed = page.driver.execute_script("""
      return [...document.querySelectorAll("input, select, textarea, button")]
        .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel))
        .map((one) => one.outerHTML)""")
    assert unnamed == []
    assert page.driver.find_element(By.ID, "field-card_no").get_attribute("autocomplete") == "off"
    assert page.driver.find_element(By.ID, "field-card_no").get_attribute("type") == "password"


def test_on_a_phone_no_page_is_wider_than_the_screen(page: Page) -> None:
    page.choose("5-failed-shipment")
    page.until("#verdict", "reject")
    page.click("#submit")
    page.until("#outcome", "rolled back")
    browsers.resize(page.driver, width=360, height=740)
    page.until("#graph .node", "CancelShipment")
    order = page.driver.find_element(By.ID, "order-link").get_attribute("href")
    for url in (None, order, page.url):
        if url:
            page.driver.get(url)
            page.until("main", "ORDER" if "order?" in url else "rolled back")
        widths = page.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1] == 360, page.driver.current_url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_enough_contrast(page: Page, scheme: str) -> None:
    browsers.prefer(page.driver, scheme)
    page.until("#executions", "rolled back")
    poor = page.driver.execute_script(CONTRAST)
    browsers.prefer(page.driver, "")
    assert poor == []


# WCAG 2.2, success criterion 1.4.3: 4.5 to 1. Disabled controls are exempt.
CONTRAST = """
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (one) => {
  for (; one; one = one.parentElement) {
    const colour = parts(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll("body *")].filter((one) =>
  one.checkVisibility() && !one.disabled && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .map((one) => {
    const [a, b] = [light(parts(getComputedStyle(one).color)), light(behind(one))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.trim().slice(0, 40), one.className];
  }).filter(([ratio]) => ratio < 4.5);
"""
