"""Times as the rows store them: ISO 8601 text in UTC with milliseconds and ``Z``, so text order is time order."""

import re
from datetime import UTC, datetime, timedelta

# How far the clocks of Step Functions and Lambda may differ.
MAX_SKEW = timedelta(minutes=5)


def present() -> datetime:
    """Return the present time. Nothing else in the functions reads the clock."""
    return datetime.now(UTC)


def now() -> str:
    """Return the present time, for instance ``2026-01-31T09:30:00.123Z``."""
    return moment(present())


def age(time: str) -> timedelta:
    """Return how long ago a time was. Raises ValueError as ``normalized`` does."""
    return present() - _with_zone(time)


def normalized(time: str) -> str:
    """Return the same time in the form of this module. Emulators send other forms, and so may AWS (``other_form``).

    Raises ValueError if the text is not an ISO 8601 time with a zone.
    """
    return moment(_with_zone(time))


def with_milliseconds(time: str) -> str:
    """Return the same time in the form of this module if it only lacks its zero milliseconds, else the text itself."""
    return re.sub(r"(?<=:[0-9]{2})Z$", ".000Z", time)


def other_form(time: str) -> str:
    """Return the same time without its zero milliseconds, or with them; the text itself if it has other ones.

    The documentation of Step Functions does not say whether a start time in a whole second has them.
    """
    form = with_milliseconds(time)
    return form if form != time else re.sub(r"\.000Z$", "Z", time)


def require_past(time: str) -> None:
    """Raise ValueError unless the time has a zone and is not later than the present plus MAX_SKEW."""
    if _with_zone(time) > present() + MAX_SKEW:
        raise ValueError(f"the start time {time} is in the future: expected a time that has passed")


def moment(time: datetime) -> str:
    """Return a time in the form of this module."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _with_zone(time: str) -> datetime:
    parsed = datetime.fromisoformat(time)
    if parsed.tzinfo is None:
        raise ValueError(f"the time {time} has no zone: expected such as 2026-01-31T09:30:00.123Z")
    return parsed
