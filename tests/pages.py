"""A page of the console in a browser, as a person uses it and sees it."""

import json
import uuid
from urllib.parse import urlsplit

from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests import browser as browsers

WITHIN = 30
TEXTS = """
return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())
  .map((one) => one.innerText ?? one.textContent);
"""
STATES = """
return [...document.querySelectorAll("#timeline > li")]
  .map((one) => [one.dataset.state, one.querySelector(".badge").innerText.split(" ").at(-1)]);
"""


class Page:
    """A page as a person uses it and sees it."""

    def __init__(self, driver: WebDriver, url: str) -> None:
        self.driver = driver
        self.url = url
        browsers.resize(driver, width=1280, height=900)
        driver.get(url)

    def text(self, selector: str) -> str:
        return " ".join(self.texts(selector))

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts, read at once, because the page changes meanwhile."""
        found: list[str] = self.driver.execute_script(TEXTS, selector)
        return found

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def write(self, selector: str, text: str) -> None:
        field = self.driver.find_element(By.CSS_SELECTOR, selector)
        field.clear()
        field.send_keys(text)

    def until(self, selector: str, *words: str) -> str:
        """Wait until the text contains the words; return it."""

        def complete(_driver: WebDriver) -> str | bool:
            text = " ".join(" ".join(self.texts(selector)).split())
            return text if text and all(word in text for word in words) else False

        return str(WebDriverWait(self.driver, WITHIN, 0.05).until(complete, f"{words} in {selector}"))

    def choose(self, preset: str, **fields: str) -> str:
        """Choose a preset and fill in a new order id and the fields; return the order id."""
        (button,) = (one for one in self.driver.find_elements(By.CSS_SELECTOR, ".preset") if one.text == preset)
        button.click()
        order_id = str(uuid.uuid4())
        for name, text in {"order_id": order_id, **fields}.items():
            self.write(f"#field-{name}", text)
        return order_id

    def states(self) -> dict[str, str]:
        """Return the words of the timeline by state, in order."""
        return dict(self.driver.execute_script(STATES))

    def problems(self) -> list[str]:
        """Return the messages of the browser's log since it was last read."""
        return browsers.logged(self.driver, "browser")

    def requested(self) -> set[str]:
        """Return the hosts that the pages sent requests to since this was last read."""
        sent = [json.loads(message)["message"] for message in browsers.logged(self.driver, "performance")]
        urls = [one["params"]["request"]["url"] for one in sent if one["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in urls if url.startswith(("http", "ws"))}
