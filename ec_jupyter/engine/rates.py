"""How quickly sockets work: the calls of the last minute, in memory. Read-only."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from ec_jupyter.flow.topology import Topology

WINDOW = 60
"""Seconds that count."""

SAMPLES = 1024
"""Durations a socket remembers, the newest; more would not move a percentile by much."""


class Ring:
    """Ends of one socket's calls: how many in each second, and how long the newest took."""

    __slots__ = ("ends", "seconds")

    def __init__(self) -> None:
        self.ends: deque[list[int]] = deque(maxlen=WINDOW + 1)
        self.seconds: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    def add(self, now: float, seconds: Sequence[float]) -> None:
        """More calls have ended."""
        second = int(now)
        if self.ends and self.ends[-1][0] == second:
            self.ends[-1][1] += len(seconds)
        else:
            self.ends.append([second, len(seconds)])
        self.seconds.extend(zip(repeat(now), seconds))

    def rate(self, now: float) -> dict[str, float | None]:
        """Calls a second over the window, and how long half and 95 % of them took at most."""
        since = now - WINDOW
        ended = sum(n for second, n in self.ends if second > since)
        took = sorted(seconds for at, seconds in self.seconds if at > since)
        if not took:
            return {"per_second": 0.0, "p50": None, "p95": None}
        last = len(took) - 1
        return {"per_second": ended / WINDOW, "p50": took[last // 2], "p95": took[round(last * 0.95)]}


class Rates:
    """A ring for every socket that has worked since the engine began."""

    def __init__(self) -> None:
        self.rings: dict[int, Ring] = {}

    def note(self, socket: int, now: float, seconds: Sequence[float]) -> None:
        """Calls of a socket have ended, however they did; `seconds` is how long each took."""
        ring = self.rings.get(socket)
        if ring is None:
            ring = self.rings[socket] = Ring()
        ring.add(now, seconds)

    def by_socket(self, topology: Topology) -> dict[str, dict[str, Any]]:
        """Calls a second in the last minute, and percentiles of their seconds; null where nothing ran."""
        now, idle = time.time(), Ring()
        live = [s for s in topology.sockets.values() if not s.parked]
        return {s.name: self.rings.get(s.id, idle).rate(now) for s in live}
