"""A Mermaid text as an SVG picture, rendered by Mermaid in a headless Chromium of this machine."""

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
# Labels as text of the SVG itself, so that it can be shown where there is no HTML.
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
  (made) => {{ document.getElementById("picture").textContent = "made:" + made.svg; }},
  (error) => {{ document.getElementById("picture").textContent = "error:" + error.message; }});
</script>"""


def svg(text: str) -> str:
    """The picture of a Mermaid text. Raises OpsError if there is no browser, no Mermaid, or it fails."""
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="order-saga-") as name:
        page = Path(name) / "page.html"
        page.write_text(
            _PAGE.format(mermaid=mermaid_script().as_uri(), settings=_script(SETTINGS), text=_script(text)),
            encoding="utf-8",
        )
        found = re.search(r'<pre id="picture">(.*?)</pre>', _document(browser, page, Path(name)), re.DOTALL)
    told = html.unescape(found[1]) if found else ""
    if not told.startswith("made:"):
        raise OpsError(f"Mermaid has drawn nothing: {told.removeprefix('error:').strip() or 'it said nothing'}")
    return told.removeprefix("made:") + "\n"


def find_browser() -> str:
    """The path of a Chromium or Chrome. Raises OpsError if there is none."""
    for name in (*BROWSERS, *_APPLICATIONS):
        if found := shutil.which(name):
            return found
    raise OpsError(
        f"there is no browser to draw with: put one of {', '.join(BROWSERS)} on PATH, or use --format mermaid"
    )


def mermaid_script() -> Path:
    """Where Mermaid lies. Raises OpsError if it is not installed."""
    if not MERMAID.is_file():
        raise OpsError(f"Mermaid is not installed: {MERMAID} is missing: run `make install`")
    return MERMAID


def browser_options(profile: Path) -> list[str]:
    """What has a headless browser run alone: a profile of its own, and no calls home."""
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
        said = " ".join(done.stderr.split()) or f"it ended with exit status {done.returncode}"
        raise OpsError(f"{browser} did not draw the graph: {said}")
    return done.stdout


def _script(value: object) -> str:
    """A value as JavaScript within a page."""
    return json.dumps(value).replace("<", "\\u003c")
