"""Parties: runs that meet at joins, and in which order they may.

A run enters the oldest open party that it meets at a join and with which it has no argument in
common before that join; else it opens one. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ec_jupyter.flow.topology import Root, Topology

if TYPE_CHECKING:
    from ec_jupyter.flow.meeting import Meeting

Shape = frozenset[Root]


@dataclass(slots=True)
class Party:
    """Runs that belong together, and what waits for company among them.

    Attributes
    ----------
    id : int
        The oldest run's.
    runs : dict of int to Root
        Its runs and where each began.
    live : int
        Requests of it that are not finished; failed ones hold it too.
    waiting : int
        Arrivals of it that wait.
    meetings : dict
        Joins of it, by socket.
    fans : dict of str to int
        Size of each split of it that has closed.
    """

    id: int
    runs: dict[int, Root] = field(default_factory=dict)
    live: int = 0
    waiting: int = 0
    meetings: dict[int, Meeting] = field(default_factory=dict)
    fans: dict[str, int] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Nothing of it can happen any more."""
        return not self.live and not self.waiting

    @property
    def shape(self) -> Shape:
        """Where its runs began: parties of one shape take the same runs."""
        return frozenset(self.runs.values())


class Parties:
    """The parties of a flow that still have something to do.

    Notes
    -----
    Open parties are kept by shape, so that finding one costs a look at each shape, however
    many parties wait in it.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.all: dict[int, Party] = {}
        self._open: dict[Shape, list[int]] = {}
        self._meet: dict[tuple[Root, Shape], bool] = {}
        self._complete: dict[Shape, bool] = {}

    def enter(self, run: int, root: Root) -> Party:
        """The party that a new run belongs to, made if no open one takes it."""
        party = self._oldest(root)
        if party is None:
            party = self.all[run] = Party(run)
        party.runs[run] = root
        self.file(party)
        return party

    def file(self, party: Party) -> None:
        """Put a party where the next run that fits will find it, if it can take one."""
        shape = party.shape
        complete = self._complete.get(shape)
        if complete is None:
            complete = self._complete[shape] = self.topology.complete(shape)
        if not complete:
            heapq.heappush(self._open.setdefault(shape, []), party.id)

    def _oldest(self, root: Root) -> Party | None:
        heads = (self._head(shape) for shape in list(self._open) if self._fits(root, shape))
        return min((p for p in heads if p), key=lambda p: p.id, default=None)

    def _fits(self, root: Root, shape: Shape) -> bool:
        known = self._meet.get((root, shape))
        if known is None:
            known = self._meet[root, shape] = self.topology.meet(root, shape)
        return known

    def _head(self, shape: Shape) -> Party | None:
        # parties that ended or changed shape since are dropped when they come up
        heap = self._open[shape]
        while heap:
            party = self.all.get(heap[0])
            if party is not None and party.shape == shape:
                return party
            heapq.heappop(heap)
        del self._open[shape]
        return None

    def leave(self, party: Party, run: int) -> None:
        """Take a run out of its party, which may then take another in its place."""
        party.runs.pop(run, None)
        self.file(party)

    def end(self, party: Party) -> None:
        """Forget a party of which nothing can happen any more."""
        self.all.pop(party.id, None)

    def revise(self, topology: Topology) -> Iterator[tuple[Party, Party]]:
        """Take a new topology; each pair is a party and the older one that it must go into."""
        self.topology = topology
        self._open, self._meet, self._complete = {}, {}, {}
        for party in sorted(self.all.values(), key=lambda p: p.id):
            older = self._takes(party)
            if older is not None:
                yield party, older
                older.runs.update(party.runs)
                self.all.pop(party.id)
                self.file(older)
            else:
                self.file(party)

    def _takes(self, party: Party) -> Party | None:
        shapes = [s for s in self._open if all(self._fits(root, s) for root in party.runs.values())]
        heads = (self._head(shape) for shape in shapes)
        return min((p for p in heads if p), key=lambda p: p.id, default=None)
