"""How often calls of a socket may start: a bucket that fills with tokens, one for each call. Pure."""

from __future__ import annotations

import re

FASTEST = 1_000_000.0  # calls a second that a rate may be
SLOWEST = 1.0 / (366 * 86_400.0)

HELD_SECONDS = 0.02
"""A bucket holds what comes in so long, or one token: calls are spread out, at most fifty groups of them a second."""

_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*([smhd])\s*")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def per_second(text: str) -> float:
    """Calls a second that a rate such as ``"10/s"``, ``"90/m"`` or ``"1/30s"`` comes to. Raises ValueError."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    calls, n, unit = found.groups()
    seconds = float(n or 1) * _SECONDS[unit]
    rate = float(calls) / seconds if seconds else 0.0
    if not SLOWEST <= rate <= FASTEST:
        raise ValueError(text)
    return rate


class Bucket:
    """Tokens for the calls of one socket.

    `rate`: tokens that come in a second. `now`: by any clock that goes forward, in seconds. `since`: seconds since the
    last call started; None: none ever has.
    """

    def __init__(self, rate: float, now: float, since: float | None = None) -> None:
        self.rate, self._at = rate, now
        self._tokens = self._size if since is None else min(self._size, max(0.0, since) * rate)

    @property
    def _size(self) -> float:
        return max(1.0, self.rate * HELD_SECONDS)

    def change(self, rate: float, now: float) -> None:
        """Have another rate from now on."""
        self._fill(now)
        self.rate = rate
        self._tokens = min(self._tokens, self._size)

    def most(self, now: float) -> int:
        """How many calls may start now."""
        self._fill(now)
        # what adds up to a token in many steps may lack its last bit
        return int(self._tokens + 1e-9)

    def take(self, n: int) -> None:
        """Note that so many calls have started."""
        self._tokens -= n

    def next(self, now: float) -> float:
        """When the next call may start."""
        self._fill(now)
        return now + max(0.0, 1.0 - self._tokens) / self.rate

    def _fill(self, now: float) -> None:
        self._tokens = min(self._size, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)
