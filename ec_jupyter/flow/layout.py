"""Places for the cards of a picture: ranks from left to right, processors as groups that do not overlap.

Pure and deterministic. Cards that a person placed stay; the others are placed around them.

Notes
-----
Ranks by longest path and order by barycentre are the layered method of Sugiyama, Tagawa & Toda;
heights within a group come from merging blocks, as in Brandes & Köpf's predecessors. Groups differ:
each takes a run of whole columns, and is moved up or down as one until it is free of the others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from graphlib import TopologicalSorter
from math import ceil, sqrt

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # x, y, width, height
SIDE = 20.0  # margin of a group's rectangle left, right and below its cards
HEAD = 48.0  # its margin above them: the title bar
CARD_WIDTH = 232
CARD_VALUE = 76
"""Height of the last value on a card; its place is there from the start, so that nothing jumps when one comes."""

CARD_HEAD = 76 + CARD_VALUE  # height of a card without arguments
CARD_ROW = 24  # height of one argument
INNER_SIDE = 12.0
INNER_HEAD = 38.0  # the same margins of a group of sockets, which lies inside its processor's rectangle
COLUMN_GAP = 100.0
ROW_GAP = 24.0
GROUP_GAP = 36.0
_SWEEPS = 4
_WIDE = 2.0
"""Width of a view in its heights, roughly: what nothing else decides is placed so that most of it is seen large."""

_SQUARE = 1.1
"""Columns of a block of that shape, in square roots of its cards."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card to be placed."""

    group: str
    # width, height: its size
    width: float
    height: float
    place: Place | None = None  # where a person put it
    inner: str | None = None  # the group of sockets that it is in

    @classmethod
    def of(cls, group: str, arguments: int, place: Place | None, inner: str | None = None) -> Card:
        """A socket's card: as high as its arguments need."""
        return cls(group, CARD_WIDTH, CARD_HEAD + CARD_ROW * max(1, arguments), place, inner)


def layout(cards: Mapping[str, Card], links: Iterable[tuple[str, str]]) -> dict[str, Place]:
    """The upper left corner of every card.

    `cards`: by name; their order decides where nothing else does. `links`: source and target; loops, and links with an
    end that is no card, are ignored.
    """
    graph = _Graph(cards, links)
    if not graph.names:
        return {}
    if any(card.place is not None for card in cards.values()):
        return _around(graph)
    return _afresh(graph)


def group_boxes(cards: Mapping[str, Card], places: Mapping[str, Place]) -> dict[str, Box]:
    """The rectangle of every processor that has cards: around them, and around the groups that are whole in it."""
    on: dict[str | None, set[str]] = {}
    for card in cards.values():
        on.setdefault(card.inner, set()).add(card.group)
    apart = {inner for inner, groups in on.items() if inner is None or len(groups) > 1}
    found: dict[str, Box] = {}
    for name, card in cards.items():
        box = _box(card, places[name])
        box = _margin(box if card.inner in apart else _margin(box, INNER_HEAD, INNER_SIDE), HEAD, SIDE)
        found[card.group] = _union(found[card.group], box) if card.group in found else box
    return found


def inner_boxes(cards: Mapping[str, Card], places: Mapping[str, Place]) -> dict[str, Box]:
    """The rectangle of every group of sockets: around their cards, with its title bar."""
    found: dict[str, Box] = {}
    for name, card in cards.items():
        if card.inner is not None:
            box = _margin(_box(card, places[name]), INNER_HEAD, INNER_SIDE)
            found[card.inner] = _union(found[card.inner], box) if card.inner in found else box
    return found


def _margin(box: Box, head: float, side: float) -> Box:
    x, y, width, height = box
    return x - side, y - head, width + 2 * side, height + head + side


def _union(a: Box, b: Box) -> Box:
    x, y = min(a[0], b[0]), min(a[1], b[1])
    return x, y, max(a[0] + a[2], b[0] + b[2]) - x, max(a[1] + a[3], b[1] + b[3]) - y


# -- the graph -------------------------------------------------------------------
class _Graph:
    """Cards, their links without cycles, and the rank of each."""

    def __init__(self, cards: Mapping[str, Card], links: Iterable[tuple[str, str]]) -> None:
        self.cards = cards
        self.names = list(cards)
        self.after: dict[str, list[str]] = {name: [] for name in cards}
        self.before: dict[str, list[str]] = {name: [] for name in cards}
        for source, target in dict.fromkeys(links):
            if source in cards and target in cards and source != target:
                self.after[source].append(target)
        self._turn_back_links()
        for source, targets in self.after.items():
            for target in targets:
                self.before[target].append(source)
        self.rank = self._ranks()

    def _turn_back_links(self) -> None:
        """Reverse the links that close a cycle on a walk from the first card."""
        seen: set[str] = set()
        fed = {target for targets in self.after.values() for target in targets}
        # cards that nothing feeds first: a cycle is then entered where the flow enters it
        starts = sorted(self.names, key=fed.__contains__)
        turned = [link for start in starts if start not in seen for link in self._back_links(start, seen)]
        for source, target in turned:
            self.after[source].remove(target)
        for source, target in turned:
            if source not in self.after[target]:
                self.after[target].append(source)

    def _back_links(self, start: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """Links on a walk through cards that are not seen yet that lead back onto the way to them."""
        way = {start: iter(self.after[start])}
        while way:
            name, rest = next(reversed(way.items()))
            seen.add(name)
            target = next(rest, None)
            if target is None:
                del way[name]
            elif target in way:
                yield name, target
            elif target not in seen:
                way[target] = iter(self.after[target])

    def _ranks(self) -> dict[str, int]:
        rank: dict[str, int] = {}
        for name in TopologicalSorter(self.before).static_order():
            rank[name] = max((rank[source] + 1 for source in self.before[name]), default=0)
        for name in self.names:
            # what nothing feeds stands beside what it feeds first, not far to the left of it
            if not self.before[name] and self.after[name]:
                rank[name] = min(rank[target] for target in self.after[name]) - 1
        self._spread_lonely(rank)
        return rank

    def _spread_lonely(self, rank: dict[str, int]) -> None:
        """Let cards without any link fill blocks of columns, one group beside the other in the order of the cards."""
        lonely: dict[str, list[str]] = {}
        taken: dict[str, dict[int, int]] = {}
        for name in self.names:
            group = self.cards[name].group
            if self.after[name] or self.before[name]:
                columns = taken.setdefault(group, {})
                columns[rank[name]] = columns.get(rank[name], 0) + 1
            else:
                lonely.setdefault(group, []).append(name)
        count = sum(map(len, lonely.values()))
        across, at = ceil(sqrt(count) * _SQUARE), 0
        for group, some in lonely.items():
            used = taken.setdefault(group, {})
            wide = max(1, round(across * len(some) / count))
            if used:
                first, wide = min(used), max(wide, max(used) - min(used) + 1)
            else:
                first = at if at + wide <= across else 0
                at = first + wide
            for name in some:
                column = min(range(first, first + wide), key=lambda c: (used.get(c, 0), c))
                used[column] = used.get(column, 0) + 1
                rank[name] = column


# -- from nothing ----------------------------------------------------------------
@dataclass(slots=True)
class _Group:
    """The cards of one processor, or of one group of sockets in it: by column, and the height of each within it."""

    name: str
    columns: dict[int, list[str]] = field(default_factory=dict)
    inside: dict[str, float] = field(default_factory=dict)
    height: float = 0.0
    x: float = 0.0
    width: float = 0.0
    y: float = 0.0
    head: float = HEAD
    side: float = SIDE


def _afresh(graph: _Graph) -> dict[str, Place]:
    groups = _ordered(graph)
    lefts = _column_lefts(graph)
    for group in groups:
        _stack(graph, group)
        _span(graph, group, lefts)
        if any(graph.cards[name].inner is not None for name in group.inside):
            _nest(graph, group, lefts)
    _pack(graph, groups)
    lowest = min(group.y for group in groups)
    return {
        name: (round(lefts[rank] + SIDE), round(group.y - lowest + HEAD + group.inside[name]))
        for group in groups
        for rank, column in group.columns.items()
        for name in column
    }


def _span(graph: _Graph, group: _Group, lefts: Mapping[int, float]) -> None:
    """From where to where it lies, from left to right."""
    ranks = sorted(group.columns)
    right = max(lefts[r] + max(graph.cards[n].width for n in group.columns[r]) for r in ranks)
    group.x = lefts[ranks[0]] - group.side
    group.width = right + group.side - group.x


def _nest(graph: _Graph, group: _Group, lefts: Mapping[int, float]) -> None:
    """Heights within a processor anew: its groups of sockets as blocks, and the other cards out of their way."""
    wanted = dict(group.inside)
    blocks: dict[tuple[str, str], _Group] = {}
    for rank, column in group.columns.items():
        for name in column:
            inner = graph.cards[name].inner
            key = ("card", name) if inner is None else ("group", inner)
            margins = (0.0, 0.0) if inner is None else (INNER_HEAD, INNER_SIDE)
            block = blocks.setdefault(key, _Group(name, head=margins[0], side=margins[1]))
            block.columns.setdefault(rank, []).append(name)
    placed: list[_Group] = []
    for block in sorted(blocks.values(), key=lambda one: not one.head):
        _stack(graph, block)
        _span(graph, block, lefts)
        start = sum(wanted[name] - y for name, y in block.inside.items()) / len(block.inside) - block.head
        _put(block, start, placed, ROW_GAP)
    top = min(block.y for block in placed)
    group.inside = {name: block.y - top + block.head + y for block in placed for name, y in block.inside.items()}
    group.height = max(block.y + block.height for block in placed) - top + HEAD + SIDE
    group.x, group.width = group.x - INNER_SIDE, group.width + 2 * INNER_SIDE


def _put(group: _Group, wanted: float | None, placed: list[_Group], gap: float) -> None:
    """Place a group as near to a height as those that are placed above and below it let it; without one, below them."""
    beside = [one for one in placed if one.x < group.x + group.width and group.x < one.x + one.width]
    spans = [(one.y - gap, one.y + one.height + gap) for one in beside]
    if wanted is None:
        wanted = max((end for _, end in spans), default=0.0)
    group.y = float(round(_free(spans, wanted, group.height)))
    placed.append(group)


def _column_lefts(graph: _Graph) -> dict[int, float]:
    widths: dict[int, float] = {}
    for name, rank in graph.rank.items():
        widths[rank] = max(widths.get(rank, 0.0), graph.cards[name].width)
    lefts, x = {}, 0.0
    for rank in sorted(widths):
        lefts[rank] = x
        x += ceil(widths[rank]) + COLUMN_GAP
    return lefts


def _ordered(graph: _Graph) -> list[_Group]:
    """Groups from top to bottom with the cards of each column in order, after sweeps by barycentre."""
    groups: dict[str, _Group] = {}
    for name in graph.names:
        card = graph.cards[name]
        group = groups.setdefault(card.group, _Group(card.group))
        group.columns.setdefault(graph.rank[name], []).append(name)
    order = list(groups.values())
    best, least = _snapshot(order), _length(graph, _heights(order))
    for sweep in range(2 * _SWEEPS):
        _sweep(graph, order, graph.before if sweep % 2 == 0 else graph.after, reverse=sweep % 2 == 1)
        length = _length(graph, _heights(order))
        if length < least:
            best, least = _snapshot(order), length
    return best


def _snapshot(order: Sequence[_Group]) -> list[_Group]:
    return [_Group(g.name, {rank: list(column) for rank, column in g.columns.items()}) for g in order]


def _heights(order: Sequence[_Group]) -> dict[str, float]:
    """Where each card would be if all had the same height and groups were stacked."""
    heights, top = {}, 0.0
    for group in order:
        most = max(len(column) for column in group.columns.values())
        for column in group.columns.values():
            for i, name in enumerate(column):
                heights[name] = top + i + (most - len(column)) / 2
        top += most + 0.5
    return heights


def _length(graph: _Graph, heights: Mapping[str, float]) -> float:
    return sum(abs(heights[name] - heights[target]) for name in graph.names for target in graph.after[name])


def _sweep(graph: _Graph, order: list[_Group], sides: Mapping[str, list[str]], *, reverse: bool) -> None:
    heights = _heights(order)

    def mean(name: str) -> float:
        near = sides[name]
        return sum(heights[n] for n in near) / len(near) if near else heights[name]

    for rank in sorted({r for group in order for r in group.columns}, reverse=reverse):
        for group in order:
            column = group.columns.get(rank)
            if column and len(column) > 1:
                spots = [heights[name] for name in column]
                column.sort(key=mean)
                heights.update(zip(column, spots, strict=True))
    order.sort(key=lambda group: _pull(graph, group, heights))


def _pull(graph: _Graph, group: _Group, heights: Mapping[str, float]) -> float:
    """The mean height of the cards in other groups that this one is linked to."""
    # not a set: the order in which floats are added must not depend on hashes
    mine = {name: None for column in group.columns.values() for name in column}
    near = [heights[n] for name in mine for n in (*graph.before[name], *graph.after[name]) if n not in mine]
    own = sum(heights[name] for name in mine) / len(mine)
    return (sum(near) + own) / (len(near) + 1)


def _stack(graph: _Graph, group: _Group) -> None:
    """Heights within a group: each card level with what it is linked to, as far as the others let it."""
    ranks = sorted(group.columns)
    y = group.inside
    for rank in ranks:
        top = 0.0
        for name in group.columns[rank]:
            y[name] = top
            top += graph.cards[name].height + ROW_GAP
    for sides, way in ((graph.before, ranks), (graph.after, ranks[::-1]), (graph.before, ranks)):
        for rank in way:
            column = group.columns[rank]
            wanted = [_level(graph, name, [n for n in sides[name] if n in y], y) for name in column]
            y.update(zip(column, _separated(wanted, [graph.cards[n].height for n in column]), strict=True))
    top = min(y.values())
    for name in y:
        y[name] = float(round(y[name] - top))
    group.height = max(y[name] + graph.cards[name].height for name in y) + group.head + group.side


def _level(graph: _Graph, name: str, near: Sequence[str], y: Mapping[str, float]) -> float:
    if not near:
        return y[name]
    middle = sum(y[n] + graph.cards[n].height / 2 for n in near) / len(near)
    return middle - graph.cards[name].height / 2


def _separated(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Positions nearest to those wanted, in this order and without overlap."""
    # each block: where its first card wants to stand on average, how many cards, how high in all
    blocks: list[tuple[float, int, float]] = []
    for want, height in zip(wanted, heights, strict=True):
        block = (want, 1, height + ROW_GAP)
        while blocks and blocks[-1][0] + blocks[-1][2] > block[0]:
            mean, n, size = blocks.pop()
            block = ((mean * n + (block[0] - size) * block[1]) / (n + block[1]), n + block[1], size + block[2])
        blocks.append(block)
    places: list[float] = []
    for mean, n, _ in blocks:
        y = mean
        for _ in range(n):
            y, place = y + heights[len(places)] + ROW_GAP, y
            places.append(place)
    return places


def _pack(graph: _Graph, groups: Sequence[_Group]) -> None:
    """Move each group up or down to where it is free of those before it, near what it is linked to."""
    placed: list[_Group] = []
    centres: dict[str, float] = {}
    for group in groups:
        wanted = []
        for name, inside in group.inside.items():
            near = [centres[n] for n in (*graph.before[name], *graph.after[name]) if n in centres]
            own = HEAD + inside + graph.cards[name].height / 2
            wanted += [centre - own for centre in near]
        _put(group, sum(wanted) / len(wanted) if wanted else None, placed, GROUP_GAP)
        for name, inside in group.inside.items():
            centres[name] = group.y + HEAD + inside + graph.cards[name].height / 2


def _free(spans: Iterable[tuple[float, float]], wanted: float, height: float) -> float:
    """The start nearest to `wanted` of a stretch of this height that touches none of the spans."""
    merged: list[list[float]] = []
    for start, end in sorted(spans):
        # skip gaps that are too small for it
        if merged and start - merged[-1][1] < height:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    at = bisect_right(merged, wanted + height, key=lambda span: span[0])
    spots = [wanted]
    for start, end in merged[max(0, at - 2) : at + 1]:
        spots += [end, start - height]
    return min((y for y in spots if _clear(merged, y, height)), key=lambda y: (abs(y - wanted), -y))


def _clear(merged: Sequence[Sequence[float]], y: float, height: float) -> bool:
    return not any(start < y + height and y < end for start, end in merged)


# -- around what a person placed -------------------------------------------------------
def _around(graph: _Graph) -> dict[str, Place]:
    """Cards with a place keep it; each other one goes to a free place near its links or its group."""
    cards = graph.cards
    places = {name: card.place for name, card in cards.items() if card.place is not None}
    taken = [_box(cards[name], place) for name, place in places.items()]
    fields = group_boxes({name: cards[name] for name in places}, places)
    grouped = any(card.inner is not None for card in cards.values())
    for name in sorted((n for n in graph.names if n not in places), key=graph.rank.__getitem__):
        card = cards[name]
        others = [box for group, box in fields.items() if group != card.group]
        inner = inner_boxes({one: cards[one] for one in places}, places) if grouped else {}
        others += [box for group, box in inner.items() if group != card.inner]
        spots = []
        for x, y in _pulled(graph, name, places, fields):
            spot = (x, float(round(_free(_spans(card, x, [*taken, *others]), y, card.height))))
            mine = group_boxes({name: card}, {name: spot})[card.group]
            spots.append((_extent([*fields.values(), mine]), spot[1], spot, mine))
        _, _, places[name], mine = min(spots)
        taken.append(_box(card, places[name]))
        fields[card.group] = _union(fields[card.group], mine) if card.group in fields else mine
    return {name: places[name] for name in graph.names}


def _extent(boxes: Iterable[Box]) -> float:
    """The height of a view that has all of them in it."""
    _, _, width, height = reduce(_union, boxes)
    return max(width / _WIDE, height)


def _box(card: Card, place: Place) -> Box:
    return place[0], place[1], card.width, card.height


def _pulled(graph: _Graph, name: str, places: Mapping[str, Place], fields: Mapping[str, Box]) -> list[Place]:
    """Where a card would be if all were free."""
    cards, card = graph.cards, graph.cards[name]
    before = [n for n in graph.before[name] if n in places]
    after = [n for n in graph.after[name] if n in places]
    if before:
        x = max(places[n][0] + cards[n].width for n in before) + COLUMN_GAP
    elif after:
        x = min(places[n][0] for n in after) - COLUMN_GAP - card.width
    else:
        return _unlinked(graph, card, places, fields)
    near = before or after
    middle = sum(places[n][1] + cards[n].height / 2 for n in near) / len(near)
    return [(float(round(x)), float(round(middle - card.height / 2)))]


def _unlinked(graph: _Graph, card: Card, places: Mapping[str, Place], fields: Mapping[str, Box]) -> list[Place]:
    """The same of a card without links: below its group's shortest column or right of it, or of all groups."""
    if card.group not in fields:
        left, top, width, height = reduce(_union, fields.values())
        return [(left + SIDE, top + height + GROUP_GAP + HEAD), (left + width + COLUMN_GAP - SIDE, top + HEAD)]
    left, top, width, _ = fields[card.group]
    ends: dict[float, float] = {}
    for other, (x, y) in places.items():
        if graph.cards[other].group == card.group:
            ends[x] = max(ends.get(x, y), y + graph.cards[other].height)
    end, x = min((end, x) for x, end in ends.items())
    return [(x, end + ROW_GAP), (left + width - SIDE + COLUMN_GAP, top + HEAD)]


def _spans(card: Card, x: float, taken: Iterable[Box]) -> Iterator[tuple[float, float]]:
    """Heights at which a card at `x` would touch something."""
    for left, top, width, height in taken:
        if left - SIDE < x + card.width and x < left + width + SIDE:
            yield top - ROW_GAP, top + height + ROW_GAP
