"""Questions about points and the arrows between them. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

_P = TypeVar("_P", bound=Hashable)


def led_to(starts: Iterable[_P], after: Mapping[_P, Iterable[_P]]) -> set[_P]:
    """The points that are reached from some, step by step; one of those itself only where it is reached again."""
    found: set[_P] = set()
    todo = list(starts)
    while todo:
        new = set(after.get(todo.pop(), ())) - found
        found |= new
        todo += new
    return found


def tied(points: Iterable[_P], ends: Sequence[tuple[_P, _P]]) -> set[_P]:
    """Those of some points that are left when those to which none of them leads are taken away again and again."""
    left = set(points)
    sorter = TopologicalSorter(dict.fromkeys(left, ()))
    for source, target in ends:
        if source in left and target in left:
            sorter.add(target, source)
    with suppress(CycleError):  # what is left
        sorter.prepare()
    while free := sorter.get_ready():
        sorter.done(*free)
        left.difference_update(free)
    return left
