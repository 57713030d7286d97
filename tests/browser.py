"""A headless Chromium, driven by WebDriver; it talks to this machine alone and keeps nothing."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from ops.errors import OpsError
from ops.pictures import BROWSERS, browser_options, find_browser


@functools.cache
def missing() -> str | None:
    """What is missing for a browser, as the reason why a test is skipped; None if nothing is.

    What is on PATH is run: on Ubuntu, the package of that name is but a hint to another way of installing it.
    """
    try:
        programs = [find_browser(), shutil.which("chromedriver")]
    except OpsError:
        return f"there is no browser on PATH (none of {', '.join(BROWSERS)})"
    for program in programs:
        if program is None:
            return "there is no chromedriver on PATH"
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            return f"{program} does not run: {' '.join((done.stderr or done.stdout).split())}"
    return None


@contextmanager
def browser() -> Iterator[WebDriver]:
    """A browser with an empty profile while the block runs. Whatever a page logs can be had as its log."""
    with tempfile.TemporaryDirectory(prefix="order-saga-", ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = find_browser()
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
