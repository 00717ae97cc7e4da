"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import datetime, timezone

from multiedge.formats.fields import Field


def time_text(seconds: float | None) -> str | None:
    """A time as Kubernetes writes it, to the millisecond.

    >>> time_text(1604392762.517)
    '2020-11-03T08:39:22.517Z'
    """
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(round(seconds, 3), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(data: Field) -> float:
    """Seconds since 1970 of a time in RFC 3339."""
    text = data.text()
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise data.expected("a time such as '2020-11-03T08:39:22.517Z'") from None
    if moment.tzinfo is None:
        raise data.expected("a time with its zone, such as '2020-11-03T08:39:22.517Z'")
    return moment.timestamp()
