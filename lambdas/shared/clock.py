"""Times as the ledger keeps them: ISO 8601 text, UTC, milliseconds, ``Z``; so text order is time order."""

from datetime import UTC, datetime


def now() -> str:
    """The present moment, for instance ``2026-01-31T09:30:00.123Z``."""
    return _as_text(datetime.now(UTC))


def normalised(moment: str) -> str:
    """The same moment in the ledger's form. Step Functions writes it so already; emulators differ.

    Raises ValueError if the text is no ISO 8601 time.
    """
    return _as_text(datetime.fromisoformat(moment).astimezone(UTC))


def _as_text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
