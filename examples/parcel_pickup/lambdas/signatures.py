"""The signature of the carrier's webhook.

As many services do, the carrier sends the time in seconds since 1970 in the header ``webhook-timestamp``, and in
``webhook-signature`` the HMAC-SHA256 of ``<timestamp>.<body>`` in hexadecimal, with a secret that both sides know.
"""

import hashlib
import hmac


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a request."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def is_signed(secret: str, timestamp: str, body: bytes, sent: str) -> bool:
    """Return whether the signature that was sent is that of the request."""
    # A comparison that stops at the first difference would reveal by its time how much of a guess is right.
    return hmac.compare_digest(signature(secret, timestamp, body).encode(), sent.encode(errors="surrogatepass"))
