"""The web console in a real browser: what a person sees and does, on the local cloud."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from local.__main__ import _web_console
from local.cloud import HOST, LOOPBACK, free_port
from local.demo import EXPECTED
from local.deployment import Deployment
from local.errors import LocalError
from tests import browser as browsers
from tests.consoles import console_of
from tests.e2e.conftest import Faults

pytestmark = [
    pytest.mark.e2e,
    # A cloud of its own, beside that of the other tests: the slowest group decides how long all of them take.
    pytest.mark.xdist_group("console"),
    pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or ""),
]

WITHIN = 30
ALL_DONE = {"CreateOrder": "done", "ProcessPayment": "done", "ProcessShipment": "done", "ConfirmOrder": "done"}
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


TEXTS = """
return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())
  .map((one) => one.innerText ?? one.textContent);
"""
STATES = """
return [...document.querySelectorAll("#timeline > li")]
  .map((one) => [one.dataset.state, one.querySelector(".badge").innerText.split(" ").at(-1)]);
"""


class Page:
    """What a person does with the page, and sees of it."""

    def __init__(self, driver: WebDriver, url: str) -> None:
        self.driver = driver
        self.url = url
        browsers.resize(driver, width=1280, height=900)
        driver.get(url)

    def text(self, selector: str) -> str:
        return " ".join(self.texts(selector))

    def texts(self, selector: str) -> list[str]:
        """What can be read there; all at once, since the page changes while it is looked at."""
        found: list[str] = self.driver.execute_script(TEXTS, selector)
        return found

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def write(self, selector: str, text: str) -> None:
        field = self.driver.find_element(By.CSS_SELECTOR, selector)
        field.clear()
        field.send_keys(text)

    def until(self, selector: str, *words: str) -> str:
        """The text there as soon as it has these words."""

        def there(_driver: WebDriver) -> str | bool:
            text = " ".join(" ".join(self.texts(selector)).split())
            return text if text and all(word in text for word in words) else False

        found = WebDriverWait(self.driver, WITHIN, 0.05, ignored_exceptions=None).until(there, f"{words} in {selector}")
        return str(found)

    def choose(self, preset: str, **fields: str) -> str:
        """Choose a preset under an order id of its own, which is returned."""
        (button,) = (one for one in self.driver.find_elements(By.CSS_SELECTOR, ".preset") if one.text == preset)
        button.click()
        order_id = str(uuid.uuid4())
        for name, text in {"order_id": order_id, **fields}.items():
            self.write(f"#field-{name}", text)
        return order_id

    def states(self) -> dict[str, str]:
        """The states of the timeline and the words beside them, in order."""
        return dict(self.driver.execute_script(STATES))

    def problems(self) -> list[str]:
        """What the browser's log has against the pages since it was read last."""
        return browsers.logged(self.driver, "browser")

    def requested(self) -> set[str]:
        """The hosts that were asked for anything since this was read last, by the network."""
        sent = [json.loads(message)["message"] for message in browsers.logged(self.driver, "performance")]
        urls = [one["params"]["request"]["url"] for one in sent if one["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in urls if url.startswith(("http", "ws"))}


@pytest.fixture
def page(driver: WebDriver, console: str) -> Page:
    for log in ("browser", "performance"):
        browsers.logged(driver, log)
    return Page(driver, console)


def test_the_console_of_the_local_cloud_serves_until_it_is_interrupted(deployment: Deployment) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "local.console",
        str(os.getpid()),
        "--stack",
        deployment.stack,
        "--port",
        str(port),
    ]
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


def test_make_local_tells_of_the_console_when_it_answers(deployment: Deployment) -> None:
    port = free_port()
    with (
        _web_console(deployment.cloud, deployment, port) as process,
        LOOPBACK.open(f"http://{HOST}:{port}/", timeout=10) as answer,
    ):
        assert answer.status == 200
    assert process is not None
    assert process.poll() is not None, "it ends with the block"


def test_make_local_says_why_the_console_does_not_start(deployment: Deployment) -> None:
    with (
        pytest.raises(LocalError, match="the web console ended with exit status 2: error: there is no stack None"),
        _web_console(deployment.cloud, replace(deployment, stack="None"), free_port()),
    ):
        pass


@pytest.mark.parametrize("preset", EXPECTED)
def test_a_preset_runs_to_its_end_before_the_eyes_of_who_started_it(page: Page, preset: str) -> None:
    expected = EXPECTED[preset]
    page.choose(preset)
    # It says what will happen before it is started.
    page.until("#verdict", "will accept this" if expected.status == "SUCCEEDED" else "will refuse this")
    page.click("#submit")
    page.until("#outcome", "fulfilled" if expected.status == "SUCCEEDED" else "rolled back")
    words = page.states()
    assert tuple(words) == expected.states
    if expected.status == "SUCCEEDED":
        assert words == ALL_DONE
        page.until("#graph .node", *(f"{number} ✓ done" for number in (1, 2, 3, 4)))
    else:
        undone = [state for state, word in words.items() if word == "undone"]
        assert list(words.values())[-len(undone) - 2 :] == ["failed", *["undone"] * len(undone), "failed"]
        page.until("#graph .node", "∅ skipped")
        assert len(page.driver.find_elements(By.CSS_SELECTOR, "#graph .node.undone .label-container")) == len(undone)
    rows = page.until("#rows", *expected.statuses.values())
    assert all(f"{entity} " in rows for entity in expected.statuses)
    assert page.problems() == []
    assert page.requested() == {urlsplit(page.url).netloc}


def test_a_preset_can_be_started_with_one_button(page: Page) -> None:
    """Its order may be held by a run before; what is shown is the execution of its name."""
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
      fetch(`/api/execution?${query}`).then((answer) => answer.json()).then(
        ({path}) => done(Object.fromEntries(path.map((step) => [step.state, Date.parse(step.entered_at)]))));""")
    late = {state: seen[state] - entered[state] for state in entered}
    print(f"shown after its event: {late} ms")  # noqa: T201 (a measurement, shown with -rP)
    # The page itself is loaded in between; a busy machine takes longer for that.
    assert max(list(late.values())[1:]) < 2000


def test_a_duplicate_is_explained(page: Page) -> None:
    order_id = page.choose("1-success")
    page.until("#verdict", "accept")
    page.click("#submit")
    page.until("#outcome", "fulfilled")
    page.driver.get(page.url)
    page.choose("1-success", order_id=order_id)
    page.until("#verdict", f"held by {order_id}", "OrderConflict")
    page.click("#submit")
    told = page.until("#verdict", "exists already")
    assert f"An execution named {order_id} exists already" in told
    page.write("#name", f"{order_id}-2")
    page.click("#submit")
    told = page.until(".summary", "rolled back")
    assert "Another saga holds this order" in told
    # The browser itself logs the answer 409, and nothing else.
    assert all("409" in problem for problem in page.problems())


def test_a_bad_input_is_explained_and_can_be_sent_all_the_same(page: Page) -> None:
    page.choose("1-success", total="-5", card_no=CARD)
    page.until("#verdict", "CreateOrder will refuse", "total is out of range: expected a number above 0")
    page.click("summary")
    page.write("#more", "{")
    page.until("#verdict", "no JSON object")
    page.write("#more", '{"note": "x"}')
    page.until("#verdict", "unknown field 'note'")
    page.click("#submit")
    page.until("#because", "CreateOrder failed: InvalidOrder: unknown field 'note'")
    assert CARD not in page.driver.page_source


def test_a_stuck_saga_is_on_top_and_its_resumption_is_asked_for(
    driver: WebDriver, faulty_console: str, faults: Faults
) -> None:
    faults.strike({"process_shipment": "crash before", "refund_payment": "crash before"})
    page = Page(driver, faulty_console)
    order_id = page.choose("1-success")
    page.until("#verdict", "accept")
    page.click("#submit")
    page.until("#outcome", "stuck")
    page.until("#meaning", "stopped half way in RefundPayment")
    assert page.states()["RefundPayment"] == "stuck"
    page.until("#timeline", "6 times RuntimeError: injected")
    driver.get(faulty_console)
    deadline = time.monotonic() + WITHIN
    mine = f'#stuck [data-execution="{order_id}"]'
    while not driver.find_elements(By.CSS_SELECTOR, mine) and time.monotonic() < deadline:
        page.click("#look-again")
        time.sleep(0.5)
    assert "Stopped in RefundPayment" in page.until(mine, "injected")
    assert "stuck" in page.text("#stuck-summary")
    page.click(f"{mine} button")
    page.until("#resume-what", order_id, "will go on in RefundPayment")
    assert "the local cloud has no RedriveExecution" in page.text("#resume-note")
    assert driver.switch_to.active_element.get_attribute("id") == "resume-no", "who presses Enter changes nothing"
    page.click("#resume-yes")
    page.until("#resume-error", "has no RedriveExecution")
    page.click("#resume-no")
    assert not driver.find_element(By.ID, "resume").is_displayed()


def test_the_list_is_paged_filtered_and_searched(page: Page, deployment: Deployment) -> None:
    states = deployment.cloud.session().client("stepfunctions", endpoint_url=deployment.cloud.endpoint)
    for _ in range(21):
        states.start_execution(stateMachineArn=deployment.state_machine_arn, input="{}")
    order_id = page.choose("1-success")
    page.until("#verdict", "accept")
    page.click("#submit")
    page.until("#outcome", "fulfilled")
    page.driver.get(page.url)
    page.until("#executions", order_id, "fulfilled")
    first = page.texts("#executions tr")
    assert len(first) == 20
    page.click("#older")
    page.until("#page", "Page 2")
    WebDriverWait(page.driver, WITHIN).until(lambda _: order_id not in page.text("#executions"))
    page.click("#newer")
    page.until("#executions", order_id)
    page.driver.find_element(By.CSS_SELECTOR, "#status option:nth-child(3)").click()
    WebDriverWait(page.driver, WITHIN).until(lambda _: "rolled back" not in page.text("#executions"))
    assert order_id in page.text("#executions")
    page.write("#order-id", order_id + Keys.ENTER)
    page.until("#sagas", order_id, "CreateOrder → ProcessPayment → ProcessShipment → ConfirmOrder")
    page.until("#rows", "ORDER ✓ CONFIRMED", "PENDING")


def test_everything_can_be_done_by_keyboard_alone(page: Page) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(60):
            focused = page.driver.switch_to.active_element
            if page.driver.execute_script("return arguments[0].matches(arguments[1])", focused, selector):
                return
            focused.send_keys(Keys.TAB)
        raise AssertionError(f"the keyboard does not get to {selector}")

    tab_to(".pair:nth-of-type(2) .preset")
    page.driver.switch_to.active_element.send_keys(Keys.SPACE)
    tab_to("#field-order_id")
    order_id = str(uuid.uuid4())
    page.driver.switch_to.active_element.send_keys(Keys.CONTROL + "a", Keys.NULL, order_id)
    tab_to("#submit")
    page.until("#verdict", "CreateOrder will refuse")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until("#outcome", "rolled back")
    tab_to("#graph")
    tab_to("#order-link")
    label = page.driver.find_element(By.ID, "graph").get_attribute("aria-label") or ""
    assert "CreateOrder failed, DeleteOrder undone" in label
    assert "OrderFailed failed" in str(page.driver.find_element(By.ID, "live").get_attribute("textContent"))


def test_every_field_has_a_label(page: Page) -> None:
    unnamed = page.driver.execute_script("""
      return [...document.querySelectorAll("input, select, textarea, button")]
        .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel))
        .map((one) => one.outerHTML)""")
    assert unnamed == []
    assert page.driver.find_element(By.ID, "field-card_no").get_attribute("autocomplete") == "off"
    assert page.driver.find_element(By.ID, "field-card_no").get_attribute("type") == "password"


def test_on_a_phone_nothing_is_wider_than_the_page(page: Page) -> None:
    page.choose("5-failed-shipment")
    page.until("#verdict", "refuse")
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
def test_texts_stand_out_from_their_background(page: Page, scheme: str) -> None:
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
