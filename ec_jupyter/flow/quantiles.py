"""Lengths of time counted in bins, of which quantiles are read. Pure.

Each bin is a tenth longer than the one before, so that a quantile is within 5 % of the exact one, whatever was
counted; bins of several stretches of time are added, and what is read of the sum is as good.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from math import ceil, sqrt

GROWTH = 1.1  # times the one before it that the end of a bin is
LEAST = 1e-6  # seconds at which the first bin ends
_ENDS = [LEAST * GROWTH**at for at in range(320)]

Bins = dict[int, int]  # how many lengths are in each bin that has some


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
