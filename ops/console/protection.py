"""The checks of each request and the security headers of each response.

The console acts with its user's credentials, so no other web page in the same browser may use it. The Host header is
checked against DNS rebinding, a token and the origin against forged requests. Each console has its own token, so a page
from before a restart does not show or change another stack under the old name. No other page may frame the console, and
its pages load and run only its own files.
"""

import hmac
from collections.abc import Collection

from flask import Response, abort, request

TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105 (the name of a header)
MAX_BODY = 300_000
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Mermaid writes style elements and attributes. It runs in a sandboxed frame without an origin, which can reach neither
# the page nor the server; the page copies the shapes of its drawing, not its styles.
DRAWING_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-scripts"
)
# The frame without an origin loads these, which is cross-origin.
DRAWING_SCRIPTS = ("/mermaid.js", "/static/drawing.js")


def require_known_host(hosts: Collection[str]) -> None:
    """Abort the request with 421 unless it was sent to one of ``hosts``, each ``NAME:PORT``."""
    if request.host.lower() not in hosts:
        abort(421, "unknown host name: open the address that the console printed when it started")


def require_own_page(token: str) -> None:
    """Abort a request for data or for a change with 403 or 415 unless a page of this console sent it."""
    is_change = request.method not in ("GET", "HEAD", "OPTIONS")
    if not is_change and not request.path.startswith("/api/"):
        return
    sent = request.headers.get(TOKEN_HEADER, "")
    origin = request.headers.get("Origin", f"http://{request.host}")
    if not hmac.compare_digest(sent.encode(), token.encode()) or origin.lower() != f"http://{request.host.lower()}":
        abort(403, "the request did not come from a page of this console: reload the page")
    if is_change and request.mimetype != "application/json":
        abort(415, "invalid content type: must be application/json")


def protected(response: Response) -> Response:
    """Add the security headers to a response."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    is_drawing_script = request.path in DRAWING_SCRIPTS
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if is_drawing_script else "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if request.endpoint not in ("static", "mermaid"):
        response.headers["Cache-Control"] = "no-store"
    return response
