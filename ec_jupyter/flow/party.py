"""Parties: runs that meet at joins, and the order in which they do.

A run enters the oldest open party that it meets at a join and with which it has no argument in common before
that join; else it opens one. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator

from ec_jupyter.flow.arrival import NOBODY, Arrival
from ec_jupyter.flow.tag import Path, Tag
from ec_jupyter.flow.topology import Root, Topology
from ec_jupyter.flow.tree import Tree

Shape = frozenset[Root]


class Party:
    """Runs that belong together, and what waits in their joins."""

    __slots__ = (
        "alone", "bound", "closing", "fans", "id", "late", "live", "rescued", "runs", "shares", "trees", "waiting",
    )  # fmt: skip

    def __init__(self, id: int, runs: dict[int, Root], live: int = 0, *, alone: bool = False) -> None:
        # id: the oldest run's
        # runs: its runs, and where each began
        # live: its unfinished requests; a failed one is unfinished
        # waiting: how many of its argument values and list elements wait
        self.id, self.runs, self.live, self.waiting = id, runs, live, 0
        self.trees: dict[int, Tree] = {}  # what has come to each of its joins, by socket
        self.fans: dict[str, int] = {}  # size of each of its splits that has closed
        # by split, the lists (socket, argument, path) that wait for it to close
        self.closing: dict[str, list[tuple[int, str, Path]]] = {}
        # late, rescued: by request, the failed requests whose late success it came of; those whose failure, by an error
        # plug
        self.late: dict[int, frozenset[int]] = {}
        self.rescued: dict[int, frozenset[int]] = {}
        self.bound: set[int] = set()  # runs that took part in a call with another run: they cannot leave any more
        # shares: a value in it is shared by elements
        # alone: it takes no further run, and goes into no other party
        self.shares, self.alone = False, alone

    @property
    def over(self) -> bool:
        """Whether nothing more can happen in it."""
        return not self.live and not self.waiting

    def tree(self, socket: int) -> Tree:
        """What has come to a socket in it."""
        tree = self.trees.get(socket)
        if tree is None:
            tree = self.trees[socket] = Tree(socket)
        return tree

    def waits(self) -> Iterator[Arrival]:
        """Its arrivals that no call has taken, those on their way into lists included."""
        for tree in self.trees.values():
            for node in tree.root.full() if tree.root.load else ():
                for cell in node.cells.values():
                    yield from cell.waits()

    def tokens(self) -> Iterator[tuple[int, Tag]]:
        """Where its waiting arrivals stand; a shared value counts until its first use only."""
        for tree in self.trees.values():
            for _, _, value in tree.waiting():
                if value.counted:
                    yield tree.socket, value.tag
            for element in tree.pending():
                yield tree.socket, element.tag[:-1]

    def trace(self, arrival: Arrival, *, failure: bool) -> None:
        """Note which failures a value from a call came of; `failure`: it is one."""
        source = arrival.source
        if source is None or not (failure or arrival.late or self.late or self.rescued):
            return
        late = self.late.get(source, NOBODY)
        if arrival.late or late:
            arrival.late = True
            arrival.late_of = late if failure else late | {source}
        rescued = self.rescued.get(source, NOBODY)
        arrival.rescue_of = rescued | {source} if failure else rescued

    def inherit(self, arrival: Arrival, request: int) -> None:
        """Note that a call came of the same failures as an argument of it."""
        if arrival.late_of:
            self.late[request] = self.late.get(request, NOBODY) | arrival.late_of
        if arrival.rescue_of:
            self.rescued[request] = self.rescued.get(request, NOBODY) | arrival.rescue_of

    def absorb(self, other: Party) -> None:
        """Take over all that another party has."""
        self.live += other.live
        self.waiting += other.waiting
        self.fans.update(other.fans)
        for split, gathers in other.closing.items():
            self.closing.setdefault(split, []).extend(gathers)
        self.late |= other.late
        self.rescued |= other.rescued
        self.bound |= other.bound
        self.shares = self.shares or other.shares
        for socket, tree in other.trees.items():
            for arrival in tree.arrivals():
                arrival.party = self.id
            self.tree(socket).absorb(tree)

    @property
    def shape(self) -> Shape:
        """Where its runs began; parties of one shape take the same runs."""
        return frozenset(self.runs.values())


class Parties:
    """The parties of a flow in which something can still happen.

    Open parties are kept by shape, so that finding one costs one look-up a shape, however many parties have it.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.all: dict[int, Party] = {}
        self._merged: dict[int, int] = {}
        self._open: dict[Shape, list[int]] = {}
        self._meet: dict[tuple[Root, Shape], bool] = {}
        self._complete: dict[Shape, bool] = {}

    def find(self, party: int) -> Party | None:
        """The party of that identity, or the older one that it went into."""
        record = self.all.get(party)
        while record is None and party in self._merged:
            party = self._merged[party]
            record = self.all.get(party)
        return record

    def known(self, party: int) -> Party:
        """The same of a party to whose joins something comes."""
        record = self.find(party)
        if record is None:
            raise RuntimeError(f"party {party} comes to a join and was never adopted")
        return record

    def enter(self, run: int, root: Root, *, alone: bool = False) -> Party:
        """The party that a new run enters, a new one if no open one takes it; `alone`: one of its own, for good."""
        party = None if alone else self._oldest((root,))
        if party is None:
            party = self.all[run] = Party(run, {}, alone=alone)
        party.runs[run] = root
        self.file(party)
        return party

    def awaited(self, root: Root) -> bool:
        """Whether a request with arguments missing waits for just such a run."""
        if not self._open or all(given is None for shape in self._open for _, given in shape):
            return False
        return self._oldest((root,)) is not None

    def file(self, party: Party) -> None:
        """Put a party where the next run that fits will find it, if it can take one."""
        if party.alone:
            return
        shape = party.shape
        complete = self._complete.get(shape)
        if complete is None:
            complete = self._complete[shape] = self.topology.complete(shape)
        if not complete:
            heapq.heappush(self._open.setdefault(shape, []), party.id)

    def _oldest(self, roots: Collection[Root]) -> Party | None:
        """The oldest open party that takes runs from these roots."""
        heads = [self._head(shape) for shape in list(self._open) if all(self._fits(root, shape) for root in roots)]
        return min(filter(None, heads), key=lambda p: p.id, default=None)

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
            if party is not None and not party.alone and party.shape == shape:
                return party
            heapq.heappop(heap)
        del self._open[shape]
        return None

    def leave(self, party: Party, run: int) -> None:
        """Take a run out of its party, which may then take another in its place."""
        party.runs.pop(run, None)
        self.file(party)

    def end(self, party: Party) -> None:
        """Forget a party in which nothing more can happen."""
        self.all.pop(party.id, None)

    def revise(self, topology: Topology) -> Iterator[tuple[Party, Party]]:
        """Take a new topology; each pair yielded is a party and the older one that it goes into."""
        self.topology = topology
        self._open, self._meet, self._complete = {}, {}, {}
        for party in sorted(self.all.values(), key=lambda p: p.id):
            older = None if party.alone else self._oldest(party.runs.values())
            if older is not None:
                yield party, older
                older.runs.update(party.runs)
                self.all.pop(party.id)
                self._merged[party.id] = older.id
                self.file(older)
            else:
                self.file(party)
