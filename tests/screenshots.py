"""Takes the pictures of the web console in docs/images: ``python -m tests.screenshots``.

It starts a local cloud, runs the orders of the demo in the console, and takes a picture of each end.
"""

import os
import sys
from pathlib import Path

from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from local.cloud import PROJECT, free_port, local_cloud
from local.deployment import bootstrap, deploy
from local.order_demo import ORDER_DEMO
from tests import browser as browsers
from tests.consoles import console_of

IMAGES = PROJECT / "docs" / "images"
WIDTH = 1000
PHONE = 390
WITHIN = 30
# The graph of every execution that has ended cleanly, and of no other, has this word.
ENDED = "skipped"


def main() -> int:
    """Take the pictures; return the exit status."""
    if reason := browsers.missing():
        print(f"error: {reason}: install Chromium and chromedriver", file=sys.stderr)
        return 2
    IMAGES.mkdir(exist_ok=True)
    with local_cloud(free_port()) as cloud:
        # The console in this process must not see any other credentials.
        environment = cloud.client_environment()
        os.environ.clear()
        os.environ.update(environment)
        bootstrap(cloud)
        with console_of(deploy(cloud)) as url, browsers.browser() as driver:
            for preset, expected in ORDER_DEMO.expected_ends().items():
                browsers.resize(driver, width=WIDTH, height=900)
                _run(driver, url, preset, succeeds=expected.status == "SUCCEEDED")
                take(driver, IMAGES / f"{preset}.png", width=WIDTH)
            browsers.prefer(driver, "dark")
            browsers.resize(driver, width=PHONE, height=800)
            driver.refresh()
            _until(driver, "#graph", ENDED)
            take(driver, IMAGES / "phone.png", width=PHONE)
            browsers.prefer(driver, "light")
            browsers.resize(driver, width=WIDTH, height=800)
            driver.get(url)
            _until(driver, "#stuck-summary", "no reported saga is stuck")
            _until(driver, "#executions", "fulfilled")
            _until(driver, "#verdict", "owned by")
            take(driver, IMAGES / "home.png", width=WIDTH)
    return 0


def _run(driver: WebDriver, url: str, preset: str, *, succeeds: bool) -> None:
    driver.get(url)
    next(one for one in driver.find_elements(By.CSS_SELECTOR, ".preset") if one.text == preset).click()
    _until(driver, "#verdict", "every step" if succeeds else "will reject")
    driver.find_element(By.ID, "submit").click()
    _until(driver, "#outcome", "fulfilled" if succeeds else "rolled back")
    _until(driver, "#graph", ENDED)


def _until(driver: WebDriver, selector: str, word: str) -> None:
    def has_word(_driver: WebDriver) -> bool:
        found = driver.find_elements(By.CSS_SELECTOR, selector)
        return bool(found) and word.lower() in found[0].text.lower()

    WebDriverWait(driver, WITHIN).until(has_word, f"{word} in {selector}")


def take(driver: WebDriver, file: Path, *, width: int) -> None:
    """Take a picture of the whole page."""
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    browsers.resize(driver, width=width, height=200)
    height = driver.execute_script("return document.documentElement.scrollHeight")
    browsers.resize(driver, width=width, height=height)
    driver.save_screenshot(str(file))
    print(f"{file.relative_to(PROJECT)}: {width}x{height}, {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    sys.exit(main())
