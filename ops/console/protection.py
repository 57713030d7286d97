"""What a request must be, and what every answer says about itself.

The console acts with its user's credentials, so a page of somebody else in the same browser must not be able to use it:
the Host header is checked against DNS rebinding, a token and the origin against forged requests, and no page
may be framed by others, load anything from elsewhere, or run a script that is not a file of the console.
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
# Mermaid writes style elements and attributes. It runs in a frame of its own, of no origin: it can reach neither the
# page nor the server, and the page takes the shapes of its drawing, not its styles.
DRAWING_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-scripts"
)
# What that frame loads: having no origin, it is another one's.
OF_DRAWING = ("/mermaid.js", "/static/drawing.js")


def require_known_host(hosts: Collection[str]) -> None:
    """End the request with 421 unless it was sent to one of ``hosts``, each ``NAME:PORT``."""
    if request.host.lower() not in hosts:
        abort(421, "this address is not the console's: open it by the address that it was started with")


def require_own_page(token: str) -> None:
    """End a request that changes something with 403 unless a page of this very console has sent it."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    given = request.headers.get(TOKEN_HEADER, "")
    origin = request.headers.get("Origin", f"http://{request.host}")
    if not hmac.compare_digest(given.encode(), token.encode()) or origin.lower() != f"http://{request.host.lower()}":
        abort(403, "the request did not come from a page of this console: reload the page")
    if request.mimetype != "application/json":
        abort(415, "expected application/json")


def protected(response: Response) -> Response:
    """The response with the headers that bind browsers."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    shared = request.path in OF_DRAWING
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if shared else "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if request.endpoint not in ("static", "mermaid"):
        response.headers["Cache-Control"] = "no-store"
    return response
