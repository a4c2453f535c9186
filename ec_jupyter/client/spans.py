"""A set of whole numbers that mostly follow each other."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence


class Spans:
    """A set of whole numbers, kept as runs: 16 bytes a run, however long it is. One thread at a time."""

    def __init__(self) -> None:
        self._first = array("q")
        self._end = array("q")

    def __bool__(self) -> bool:
        return bool(self._first)

    def __contains__(self, n: int) -> bool:
        at = bisect_right(self._first, n) - 1
        return at >= 0 and n < self._end[at]

    def extend(self, first: int, end: int) -> None:
        """Take in the numbers from `first` to before `end`; those that are in it are no error."""
        # the runs that they touch
        low, high = bisect_left(self._end, first), bisect_right(self._first, end)
        if low < high:
            first, end = min(first, self._first[low]), max(end, self._end[high - 1])
        self._replace(low, high, [(first, end)])

    def cut(self, first: int, end: int) -> None:
        """Let go of the numbers from `first` to before `end`; those that are not in it are no error."""
        # the runs that have some of them
        low, high = bisect_right(self._end, first), bisect_left(self._first, end)
        if low < high:
            self._replace(low, high, [(self._first[low], first), (end, self._end[high - 1])])

    def _replace(self, low: int, high: int, runs: Sequence[tuple[int, int]]) -> None:
        """Put runs in the place of others; an empty one is none."""
        whole = [(first, end) for first, end in runs if first < end]
        self._first[low:high] = array("q", [first for first, _ in whole])
        self._end[low:high] = array("q", [end for _, end in whole])

    def near(self, n: int, most: int) -> list[int]:
        """Those above a number, in order, then those below it, from the nearest on: `most` in all."""
        found: list[int] = []
        above = bisect_right(self._first, n)
        for at in range(max(0, above - 1), len(self._first)):
            first = max(self._first[at], n + 1)
            found += range(first, min(self._end[at], first + most - len(found)))
            if len(found) == most:
                return found
        for at in range(above - 1, -1, -1):
            end = min(self._end[at], n)
            found += range(end - 1, max(self._first[at], end - most + len(found)) - 1, -1)
            if len(found) == most:
                break
        return found

    def clear(self) -> None:
        """Let all go."""
        del self._first[:], self._end[:]

    def runs(self) -> list[list[int]]:
        """All of it, as [first, how many] each."""
        return [[first, end - first] for first, end in zip(self._first, self._end, strict=True)]
