"""A set of whole numbers that mostly follow each other."""

from __future__ import annotations

from array import array
from bisect import bisect_right


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

    def add(self, n: int) -> None:
        """Take a number in; one that is in it is no error."""
        at = bisect_right(self._first, n)
        if at and n < self._end[at - 1]:
            return
        below = at > 0 and self._end[at - 1] == n
        above = at < len(self._first) and self._first[at] == n + 1
        if below and above:
            del self._end[at - 1], self._first[at]
        elif below:
            self._end[at - 1] = n + 1
        elif above:
            self._first[at] = n
        else:
            self._first.insert(at, n)
            self._end.insert(at, n + 1)

    def extend(self, first: int, end: int) -> None:
        """Take in the numbers from `first` to before `end`."""
        if first < end and (not self._end or first > self._end[-1]):
            self._first.append(first)
            self._end.append(end)
        elif first < end and first == self._end[-1]:
            self._end[-1] = end
        else:
            for n in range(first, end):
                self.add(n)

    def discard(self, n: int) -> None:
        """Let a number go; one that is not in it is no error."""
        if n not in self:
            return
        at = bisect_right(self._first, n) - 1
        first, end = self._first[at], self._end[at]
        if end - first == 1:
            del self._first[at], self._end[at]
        elif n == first:
            self._first[at] = n + 1
        else:
            self._end[at] = n
            if n + 1 < end:
                self._first.insert(at + 1, n + 1)
                self._end.insert(at + 1, end)

    def cut(self, first: int, end: int) -> None:
        """Let go of the numbers from `first` to before `end`."""
        at = max(0, bisect_right(self._first, first) - 1)
        while at < len(self._first) and self._first[at] < end:
            start, stop = self._first[at], self._end[at]
            if stop <= first:
                at += 1
                continue
            del self._first[at], self._end[at]
            for one, other in ((start, min(stop, first)), (max(start, end), stop)):
                if one < other:
                    self._first.insert(at, one)
                    self._end.insert(at, other)
                    at += 1

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
