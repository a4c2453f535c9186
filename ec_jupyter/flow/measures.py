"""What a flow has done in the last hour, by socket, processor and node, in memory that is bounded. Pure.

A ring of half minutes for each of them. What has passed is kept as text, as it lies on disk; sums over the hour are
kept beside it, so that a look at all of them reads no ring.

Lengths of time are counted in bins, each a tenth longer than the one before, so that a quantile is within 5 % of the
exact one, whatever was counted; bins of several stretches of time are added, and what is read of the sum is as good.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any, NamedTuple

STEP = 30  # seconds of one point
POINTS = 120  # points that are kept: an hour
MOST_BYTES = 8 << 20  # bytes that all points together may take; with more, the oldest go before their hour is over
POINT_BYTES = 200  # bytes a point takes beside its text
MOST_SERIES = 2_000
"""Sockets, processors and nodes that are followed at once; more than these are in the sums of their processor alone."""
GROWTH = 1.1  # times the one before it that the end of a bin is
LEAST = 1e-6  # seconds at which the first bin ends
_ENDS = [LEAST * GROWTH**at for at in range(320)]

Bins = dict[int, int]  # how many lengths are in each bin that has some


class Of(NamedTuple):
    """Whose numbers: the ``kind`` is socket, processor or node, the ``key`` a socket's identity or a name."""

    kind: str
    key: str


@dataclass(slots=True)
class Point:
    """What happened in some time."""

    # ended, failed: attempts that ended, and those among them that failed
    ended: int = 0
    failed: int = 0
    # took, waited: how long they ran, and how long after acceptance their requests began first, in bins
    took: Bins = field(default_factory=dict)
    waited: Bins = field(default_factory=dict)
    # queued, running: how many requests were queued, and ran, times the seconds for which they did
    queued: float = 0.0
    running: float = 0.0
    deepest: int = 0  # the most that was queued at once, of what was seen
    cpu: float = 0.0  # CPU seconds that its workers have used
    memory: int = 0  # the most bytes that they were seen to hold

    @property
    def empty(self) -> bool:
        """Whether nothing has happened."""
        return not (self.ended or self.queued or self.running or self.cpu or self.memory)

    def add(self, other: Point, sign: int = 1) -> None:
        """Add sums of another time, or take them off; what is the most of a time is no sum."""
        self.ended += sign * other.ended
        self.failed += sign * other.failed
        # what was added is taken off again, and floats leave a rest
        self.queued = max(0.0, self.queued + sign * other.queued)
        self.running = max(0.0, self.running + sign * other.running)
        self.cpu = max(0.0, self.cpu + sign * other.cpu)
        add_bins(self.took, other.took, sign)
        add_bins(self.waited, other.waited, sign)

    def text(self) -> str:
        """All of it in one short text."""
        flat = [[one for pair in bins.items() for one in pair] for bins in (self.took, self.waited)]
        sums = [round(one, 3) for one in (self.queued, self.running, self.cpu)]
        return json.dumps([self.ended, self.failed, *sums, self.deepest, self.memory, *flat], separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Point:
        """What `text` wrote. Raises ValueError, TypeError: it is none."""
        ended, failed, queued, running, cpu, deepest, memory, *flat = json.loads(text)
        took, waited = (dict(zip(one[::2], one[1::2], strict=True)) for one in flat)
        return cls(ended, failed, took, waited, queued, running, deepest, cpu, memory)


class Past(NamedTuple):
    """A point that is over: when it began, its text, and what is read of it without that."""

    at: int
    text: str
    ended: int
    deepest: int
    memory: int

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.text) + POINT_BYTES


class Series:
    """The points of one socket, processor or node."""

    __slots__ = ("now", "past", "saved", "sums")

    def __init__(self) -> None:
        self.now, self.sums = Point(), Point()
        self.past: deque[Past] = deque()
        self.saved = ""

    def keep(self, at: int, point: Point, text: str = "") -> int:
        """Have a point that is over; how many bytes that takes."""
        past = Past(at, text or point.text(), point.ended, point.deepest, point.memory)
        self.past.append(past)
        self.sums.add(point)
        return past.size

    def drop(self, before: int) -> int:
        """Forget what began before; how many bytes that gives back."""
        freed = 0
        while self.past and self.past[0].at < before:
            old = self.past.popleft()
            self.sums.add(Point.read(old.text), -1)
            freed += old.size
        return freed

    def hour(self) -> Point:
        """All of it as one point."""
        whole = Point()
        for part in (self.sums, self.now):
            whole.add(part)
        whole.deepest = max(self.now.deepest, max((past.deepest for past in self.past), default=0))
        whole.memory = max(self.now.memory, max((past.memory for past in self.past), default=0))
        return whole


class Measures:
    """The last hour of a flow; `at`: when the point began that goes on now, `began`: since when all is here."""

    def __init__(self, now: float, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._begin(now)

    def _begin(self, now: float) -> None:
        self.at, self.began, self._bytes = _start(now), now, 0
        self._series: dict[Of, Series] = {}
        self._over: list[tuple[Of, Past]] = []

    # -- what happens ----------------------------------------------------------
    def ran(self, whose: Iterable[Of], took: list[float], waited: list[float], failed: int) -> None:
        """Calls have ended: seconds that each ran, and that those of them waited which had begun for the first time."""
        took_bins: Bins = {}
        waited_bins: Bins = {}
        add_seconds(took_bins, took)
        add_seconds(waited_bins, waited)
        for one in whose:
            point = self._point(one)
            point.ended += len(took)
            point.failed += failed
            add_bins(point.took, took_bins)
            add_bins(point.waited, waited_bins)

    def stands(self, of: Of, queued: int, running: int, seconds: float) -> None:
        """What is queued and runs, for so many seconds."""
        point = self._point(of)
        point.queued += queued * seconds
        point.running += running * seconds
        point.deepest = max(point.deepest, queued)

    def used(self, of: Of, cpu: float, memory: int) -> None:
        """CPU seconds that workers have used since they were looked at last, and bytes that they hold."""
        point = self._point(of)
        point.cpu += cpu
        point.memory = max(point.memory, memory)

    def _point(self, of: Of) -> Point:
        """The point that goes on now; one that nobody keeps where too many are followed."""
        series = self._series.get(of)
        if series is None:
            series = Series()
            if len(self._series) < MOST_SERIES:
                self._series[of] = series
        return series.now

    # -- time ------------------------------------------------------------------
    def advance(self, now: float) -> bool:
        """Begin another point where its time has come; whether it has."""
        at = _start(now)
        if at < self.at - STEP:
            # the clock was set back: what is to come would lie before what was
            self._begin(now)
            return True
        if at <= self.at:
            return False
        for of, series in self._series.items():
            if not series.now.empty:
                self._bytes += series.keep(self.at, series.now)
                self._over.append((of, series.past[-1]))
            series.now, series.saved = Point(), ""
        self.at = at
        self._forget(at - POINTS * STEP)
        return True

    def _forget(self, before: int) -> None:
        """Drop what is older, and more of it where it takes too many bytes."""
        while True:
            for of in list(self._series):
                series = self._series[of]
                self._bytes -= series.drop(before)
                if not series.past and series.now.empty:
                    del self._series[of]
            self.began = max(self.began, before)
            oldest = min((series.past[0].at for series in self._series.values() if series.past), default=None)
            if self._bytes <= self._most or oldest is None:
                # a disk that takes nothing for long must not make them many
                self._over = [(of, past) for of, past in self._over if past.at >= before]
                return
            before = oldest + STEP

    # -- the disk --------------------------------------------------------------
    def unsaved(self) -> list[tuple[int, str, str, str]]:
        """Points that have changed since they were saved: when each began, kind, key, text. They count as saved."""
        rows = [(past.at, *of, past.text) for of, past in self._over]
        self._over.clear()
        for of, series in self._series.items():
            if series.now.empty:
                continue
            text = series.now.text()
            if text != series.saved:
                series.saved = text
                rows.append((self.at, *of, text))
        return rows

    def restore(self, rows: Iterable[tuple[int, str, str, str]], now: float) -> None:
        """Take up what an engine before this one has saved, oldest first; what cannot be read is left out."""
        earliest = now
        for at, kind, key, text in rows:
            if not self.at - POINTS * STEP <= at <= self.at or len(self._series) >= MOST_SERIES:
                continue
            try:
                point = Point.read(text)
            except (ValueError, TypeError):
                continue
            series = self._series.setdefault(Of(kind, key), Series())
            if at < self.at:
                self._bytes += series.keep(at, point, text)
            else:
                series.now, series.saved = point, text
            earliest = min(earliest, at)
        self.began = earliest

    # -- what is read ----------------------------------------------------------
    def hour(self, of: Of, now: float) -> dict[str, Any]:
        """The last hour of one, in figures."""
        series = self._series.get(of, Series())
        return figures(series.hour(), max(now - self.began, 1.0))

    def minute(self, of: Of, now: float) -> dict[str, Any]:
        """The last minute of one, or a little more, in figures."""
        whole, since = Point(), self.at
        series = self._series.get(of)
        if series is not None:
            whole.add(series.now)
            for past in list(series.past)[-2:]:
                if past.at > now - 3 * STEP:
                    whole.add(Point.read(past.text))
                    since = min(since, past.at)
        return figures(whole, max(now - since, 2.0 * STEP))

    def pulse(self, of: Of) -> list[int]:
        """How many calls of one ended in each of the points of the last hour, oldest first."""
        series = self._series.get(of)
        if series is None:
            return []
        first, found = self.at - (POINTS - 1) * STEP, [0] * POINTS
        for past in series.past:
            if past.at >= first:
                found[(past.at - first) // STEP] = past.ended
        found[-1] = series.now.ended
        return found

    def course(self, of: Of, now: float) -> Iterator[dict[str, Any]]:
        """The points of one, oldest first, each in figures with the time it began, `at`; where nothing was, none."""
        series = self._series.get(of, Series())
        for past in series.past:
            point = Point.read(past.text)
            yield {"at": past.at, **figures(point, STEP)}
        if not series.now.empty:
            yield {"at": self.at, **figures(series.now, max(now - self.at, 1.0))}


def figures(point: Point, seconds: float) -> dict[str, Any]:
    """What happened in so many seconds, as people ask for it: means, rates and quantiles."""
    return {
        "ended": point.ended, "failed": point.failed, "per_second": point.ended / seconds,
        "p50": quantile(point.took, 0.5), "p95": quantile(point.took, 0.95),
        "waited_p50": quantile(point.waited, 0.5), "waited_p95": quantile(point.waited, 0.95),
        "queued": point.queued / seconds, "most_queued": point.deepest, "running": point.running / seconds,
        "cpu": point.cpu / seconds, "memory": point.memory,
    }  # fmt: skip


def _start(now: float) -> int:
    return int(now) // STEP * STEP


# -- lengths of time in bins ---------------------------------------------------
def add_seconds(bins: Bins, seconds: Iterable[float]) -> None:
    """Count more lengths of time, in seconds; a negative one, as of clocks that differ, is none."""
    ordered = sorted(seconds)
    last, at = len(_ENDS) - 1, 0
    while at < len(ordered):
        # one step a bin and not one a length: those of many alike calls are in few
        number = min(bisect_left(_ENDS, ordered[at]), last)
        end = len(ordered) if number == last else bisect_right(ordered, _ENDS[number], at)
        bins[number] = bins.get(number, 0) + end - at
        at = end


def add_bins(bins: Bins, more: Mapping[int, int], sign: int = 1) -> None:
    """Add what was counted elsewhere, or with ``sign=-1`` take it off again."""
    for number, n in more.items():
        left = bins.get(number, 0) + sign * n
        if left:
            bins[number] = left
        else:
            bins.pop(number, None)


def quantile(bins: Mapping[int, int], part: float) -> float | None:
    """Seconds that a part of the lengths is not longer than; None where nothing was counted.

    The nearest-rank quantile: one of the lengths that were counted, as far as its bin tells.
    """
    wanted = max(1, ceil(part * sum(bins.values())))
    for number in sorted(bins):
        wanted -= bins[number]
        if wanted <= 0:
            end = _ENDS[number]
            return end / sqrt(GROWTH) if number else end
    return None
