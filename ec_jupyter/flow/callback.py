"""What an address is told of the end of a request, and how often. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

LONGEST = 2_000  # characters in an address
POST_SECONDS = 10.0  # how long an address may take to answer
GIVE_UP_SECONDS = 24 * 3600.0  # how long after its end a request is told of in vain, at most
MOST_PAUSE = 300.0
MOST_AT_ONCE = 16

FIELDS = ("id", "socket", "run", "state", "attempt", "created", "started", "finished", "seconds", "error")
"""What is told of a request; its result is where the request is read."""


def is_url(value: Any) -> bool:
    """Whether a callback may have this address."""
    if not (isinstance(value, str) and len(value) <= LONGEST and value.isprintable() and " " not in value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def pause_after(tries: int) -> float:
    """Seconds until the next try: 1, 2, 4, ... and then every five minutes."""
    return float(min(2 ** min(tries - 1, 20), MOST_PAUSE))


def final(problem: str) -> bool:
    """Whether an address has said that it is not there any more, and not to come back."""
    return problem.startswith("410 ")
