"""Questions about points and the arrows between them. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
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
    after: dict[_P, list[_P]] = {point: [] for point in points}
    leading = dict.fromkeys(after, 0)
    for source, target in ends:
        if source in after and target in after:
            after[source].append(target)
            leading[target] += 1
    free = [point for point, n in leading.items() if not n]
    while free:
        for target in after.pop(free.pop()):
            leading[target] -= 1
            if not leading[target]:
                free.append(target)
    return set(after)
