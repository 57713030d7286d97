"""A headless Chromium, driven by WebDriver. It connects only to this machine and keeps no profile."""

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
    """Return what is missing to drive a browser, as the reason to skip a test; None if nothing is.

    The programs on PATH are run: on Ubuntu, ``chromium-browser`` may only print how to install it.
    """
    try:
        programs = [find_browser(), shutil.which("chromedriver")]
    except OpsError:
        return f"no browser on PATH ({', '.join(BROWSERS)})"
    for program in programs:
        if program is None:
            return "no chromedriver on PATH"
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            return f"{program} does not run: {' '.join((done.stderr or done.stdout).split())}"
    return None


@contextmanager
def browser() -> Iterator[WebDriver]:
    """Run a browser with an empty profile while the block runs. It logs the pages' messages and requests."""
    with tempfile.TemporaryDirectory(prefix="order-saga-", ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = find_browser()
        for option in browser_options(Path(folder)):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # No proxy of the environment for loopback addresses.
        driver = webdriver.Chrome(
            options=options, service=Service(shutil.which("chromedriver"), env={**os.environ, "NO_PROXY": "*"})
        )
        try:
            yield driver
        finally:
            driver.quit()


def resize(driver: WebDriver, *, width: int, height: int) -> None:
    """Give the page this size in CSS pixels; a window cannot be as narrow as a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(driver: WebDriver, scheme: str) -> None:
    """Set the color scheme that the browser prefers: ``light`` or ``dark``."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def logged(driver: WebDriver, log: str) -> list[str]:
    """Return the messages of the log ``browser`` or ``performance`` since it was last read."""
    entries = driver.get_log(log)  # type: ignore[no-untyped-call]  # Selenium has no types for it
    return [str(entry["message"]) for entry in entries]
