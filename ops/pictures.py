"""Renders Mermaid text as an SVG picture, in a headless Chromium."""

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ops.errors import OpsError

MERMAID = Path(__file__).parent.parent / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# On macOS browsers are not on PATH.
_APPLICATIONS = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",)
SECONDS = 60
# Without HTML in labels, viewers other than browsers can show the picture.
SETTINGS = {
    "startOnLoad": False,
    "theme": "neutral",
    "look": "classic",
    "htmlLabels": False,
    "flowchart": {"htmlLabels": False, "wrappingWidth": 300},
}
_PAGE = """<!doctype html><meta charset="utf-8"><pre id="picture"></pre><script src="{mermaid}"></script><script>
mermaid.initialize({settings});
mermaid.render("graph", {text}).then(
  (rendered) => {{ document.getElementById("picture").textContent = rendered.svg; }},
  (error) => {{ document.getElementById("picture").textContent = "error:" + error.message; }});
</script>"""


def svg(text: str) -> str:
    """Return the picture of a Mermaid text. Raises OpsError without a browser or Mermaid, or if they fail."""
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="order-saga-") as name:
        page = Path(name) / "page.html"
        page.write_text(
            _PAGE.format(mermaid=mermaid_script().as_uri(), settings=_script(SETTINGS), text=_script(text)),
            encoding="utf-8",
        )
        match = re.search(r'<pre id="picture">(.*?)</pre>', _document(browser, page, Path(name)), re.DOTALL)
    result = html.unescape(match[1]) if match else ""
    if not result.startswith("<svg"):
        raise OpsError(f"Mermaid failed: {result.removeprefix('error:').strip() or 'it returned nothing'}")
    return result + "\n"


def find_browser() -> str:
    """Return the path of a Chromium or Chrome. Raises OpsError if none is found."""
    for name in (*BROWSERS, *_APPLICATIONS):
        if path := shutil.which(name):
            return path
    raise OpsError(f"no browser found: put one of {', '.join(BROWSERS)} on PATH, or use --format mermaid")


def mermaid_script() -> Path:
    """Return the path of Mermaid. Raises OpsError if it is not installed."""
    if not MERMAID.is_file():
        raise OpsError(f"{MERMAID} is missing: run `make install`")
    return MERMAID


def browser_options(profile: Path) -> list[str]:
    """Return the options of a headless browser with its own profile that makes no requests of its own."""
    options = [
        "--headless=new",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
    ]
    # Chromium has no sandbox for root.
    return [*options, "--no-sandbox"] if os.geteuid() == 0 else options


def _document(browser: str, page: Path, folder: Path) -> str:
    command = [browser, *browser_options(folder / "profile"), "--virtual-time-budget=20000", "--dump-dom"]
    try:
        done = subprocess.run(
            [*command, page.as_uri()], capture_output=True, text=True, encoding="utf-8", timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OpsError(f"{browser} did not draw the graph: {error}") from None
    if done.returncode and not done.stdout:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise OpsError(f"{browser} did not draw the graph: {reason}")
    return done.stdout


def _script(value: object) -> str:
    """Return a value as JavaScript that a page can contain."""
    return json.dumps(value).replace("<", "\\u003c")
