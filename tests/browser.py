"""A headless Chromium, driven by WebDriver; it talks to this machine alone and keeps nothing."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from ops.pictures import BROWSERS, browser_options


def missing() -> str | None:
    """What is missing on PATH for a browser, as the reason why a test is skipped; None if nothing is."""
    if not _browser():
        return f"there is no browser on PATH (none of {', '.join(BROWSERS)})"
    return None if shutil.which("chromedriver") else "there is no chromedriver on PATH"


@contextmanager
def browser() -> Iterator[WebDriver]:
    """A browser with an empty profile while the block runs. Whatever a page logs can be had as its log."""
    with tempfile.TemporaryDirectory(prefix="order-saga-", ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = _browser() or ""
        for option in browser_options(Path(folder)):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # A proxy of the environment has no say in loopback addresses.
        driver = webdriver.Chrome(
            options=options, service=Service(shutil.which("chromedriver"), env={**os.environ, "NO_PROXY": "*"})
        )
        try:
            yield driver
        finally:
            driver.quit()


def resize(driver: WebDriver, *, width: int, height: int) -> None:
    """Give the page this size in CSS pixels; a window could not be as narrow as a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(driver: WebDriver, scheme: str) -> None:
    """Have the browser prefer ``light`` or ``dark``."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def logged(driver: WebDriver, log: str) -> list[str]:
    """The messages of the log ``browser`` or ``performance`` since it was read last."""
    entries = driver.get_log(log)  # type: ignore[no-untyped-call]  # Selenium has no types for it
    return [str(entry["message"]) for entry in entries]


def _browser() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)
