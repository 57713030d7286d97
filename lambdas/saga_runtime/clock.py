"""Times as the rows store them: ISO 8601 text in UTC with milliseconds and ``Z``, so text order is time order."""

from datetime import UTC, datetime


def now() -> str:
    """Return the present time, for instance ``2026-01-31T09:30:00.123Z``."""
    return _as_text(datetime.now(UTC))


def normalized(time: str) -> str:
    """Return the same time in the form of this module. AWS sends this form already; emulators differ.

    Raises ValueError if the text is not an ISO 8601 time.
    """
    return _as_text(datetime.fromisoformat(time).astimezone(UTC))


def _as_text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
