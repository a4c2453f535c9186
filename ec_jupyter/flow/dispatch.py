"""Which queued request starts next. Pure.

Every socket has a lane in order of acceptance; a processor takes from the lane whose head was
accepted first. A lane holds at most `limit` requests; the rest stays on disk until there is room.

Where there are priorities, the lanes of the highest one that have something go first. None waits for ever: a lane that
`PASSES` requests of a higher priority have passed has one turn.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

LANE_LIMIT = 50_000  # requests of one socket that are kept in memory
PASSES = 15  # requests of a higher priority that start before a lane of a lower one has its turn


@dataclass(slots=True)
class Lane:
    """The queue of one socket: its head in memory, and how many requests lie on disk behind it."""

    queue: deque[int] = field(default_factory=deque)  # requests in memory, smallest first
    # a heap of those that were queued after younger ones: given back, or tried again
    late: list[int] = field(default_factory=list)
    # those of both that are still queued; the others were removed and are passed over
    members: set[int] = field(default_factory=set)
    spilled: int = 0  # queued requests that are only on disk
    ceiling: int = 0  # the last request in memory when spilling began; only older ones may join it
    # those of its requests whose runs have a priority, by that; they are among its members, and none of them spills
    ranks: dict[int, Lane] = field(default_factory=dict)
    passed: int = 0  # requests of a higher priority that started since one of this lane did

    def head(self) -> int | None:
        """The request that was accepted first."""
        queue, late, members = self.queue, self.late, self.members
        while queue and queue[0] not in members:
            queue.popleft()
        while late and late[0] not in members:
            heapq.heappop(late)
        if late and not (queue and queue[0] < late[0]):
            return late[0]
        return queue[0] if queue else None

    def late_for(self, request: int) -> bool:
        """Whether younger requests were queued before it."""
        return bool(self.queue) and request < self.queue[-1]

    def add(self, request: int) -> None:
        """Queue a request in memory."""
        self.members.add(request)
        if self.late_for(request):
            heapq.heappush(self.late, request)
        else:
            self.queue.append(request)

    def of(self, rank: int) -> Lane:
        """The lane of its requests whose runs have a priority."""
        found = self.ranks.get(rank)
        if found is None:
            found = self.ranks[rank] = Lane(members=self.members)
        return found

    def take(self, n: int, below: int = 1 << 62) -> list[int]:
        """Up to `n` requests that were accepted before `below`, in order."""
        taken: list[int] = []
        queue, members = self.queue, self.members
        while len(taken) < n and (head := self.head()) is not None and head < below:
            if not self.late:
                # nearly always: nothing was given back
                first = min(n - len(taken), len(queue) if queue[-1] < below else bisect_left(queue, below))
                # one that was dropped and queued again is there twice
                some = dict.fromkeys([queue.popleft() for _ in range(first)])
                taken += filter(members.__contains__, some)
                members.difference_update(some)
                continue
            members.discard(head)
            taken.append(head)
        return taken


class Order(NamedTuple):
    """What else than the order of acceptance says which requests of some sockets start."""

    priorities: Mapping[int, int] = {}  # priorities of sockets, of those that have one
    most: Mapping[int, int] = {}  # how many requests of a socket may start, where that is bounded


PLAIN = Order()  # nothing else
_Ranked = tuple[int, int, Lane]  # priority, socket, lane


class Dispatch:
    """The lanes of all sockets."""

    def __init__(self, limit: int = LANE_LIMIT) -> None:
        self.limit = limit
        self.lanes: dict[int, Lane] = {}
        self._ranked: set[int] = set()

    def push(self, socket: int, request: int, rank: int = 0) -> bool:
        """Queue a request; False if its lane is full: fetched from disk later. One with a `rank` is always kept."""
        lane = self.lanes.get(socket)
        if lane is None:
            lane = self.lanes[socket] = Lane()
        if rank:
            self._ranked.add(socket)
            lane.of(rank).add(request)
            return True
        if lane.spilled and request > lane.ceiling:
            lane.spilled += 1
            return False
        if len(lane.members) >= self.limit and not lane.spilled:
            lane.spilled, lane.ceiling = 1, max(lane.members)
            if request > lane.ceiling:
                return False
            lane.spilled = 0
        lane.add(request)
        return True

    def push_all(self, socket: int, requests: Sequence[int], rank: int = 0) -> int:
        """Queue requests, the oldest first; how many of them are in memory, for the others lie on disk behind those."""
        if rank:
            return sum([self.push(socket, request, rank) for request in requests])
        lane = self.lanes.get(socket)
        if lane is None:
            lane = self.lanes[socket] = Lane()
        if not (lane.spilled or len(lane.members) + len(requests) > self.limit or lane.late_for(requests[0])):
            lane.queue.extend(requests)
            lane.members.update(requests)
            return len(requests)
        for at, request in enumerate(requests):
            if not self.push(socket, request):
                lane.spilled += len(requests) - at - 1
                return at
        return len(requests)

    def first(self, sockets: Iterable[int], order: Order = PLAIN) -> tuple[int, int] | None:
        """Of these sockets, the one whose request starts next, and that request; `take` takes it."""
        if order != PLAIN or self._ranked:
            lanes = [(s, lane) for _, s, lane in self._turn(sockets, order.priorities, order.most)[0]]
        else:
            lanes = [(s, lane) for s in sockets if (lane := self.lanes.get(s))]
        heads = [(head, s) for s, lane in lanes if (head := lane.head()) is not None]
        return (min(heads)[1], min(heads)[0]) if heads else None

    def take(self, sockets: Iterable[int], n: int, order: Order = PLAIN) -> list[int]:
        """Up to `n` requests of these sockets, in order of acceptance where nothing else is said."""
        if order != PLAIN or self._ranked:
            return self._take_ranked(list(sockets), n, order)
        lanes = [(s, lane) for s in sockets if (lane := self.lanes.get(s)) is not None and lane.members]
        return _merged(lanes, n, {})

    def _take_ranked(self, sockets: Sequence[int], n: int, order: Order) -> list[int]:
        taken, left = list[int](), dict(order.most)
        while len(taken) < n:
            now, behind = self._turn(sockets, order.priorities, left)
            if not now:
                break
            due = now[0][2].passed >= PASSES
            room = 1 if due else min([n - len(taken), *(PASSES - lane.passed for _, _, lane in behind)])
            some = _merged([(socket, lane) for _, socket, lane in now], room, left)
            for _, _, lane in now:
                lane.passed = 0
            for _, _, lane in behind:
                lane.passed += len(some)
            taken += some
        self._forget_ranks()
        return taken

    def _turn(
        self, sockets: Iterable[int], priorities: Mapping[int, int], left: Mapping[int, int]
    ) -> tuple[list[_Ranked], list[_Ranked]]:
        """The lanes that are next, and those of lower priority that wait behind them."""
        ready = [one for s in sockets if left.get(s, 1) > 0 for one in self._ready(s, priorities.get(s, 0))]
        due = [one for one in ready if one[2].passed >= PASSES]
        if due:
            return [min(due, key=lambda one: one[2].head() or 0)], []
        highest = max((priority for priority, _, _ in ready), default=0)
        return [one for one in ready if one[0] == highest], [one for one in ready if one[0] < highest]

    def _ready(self, socket: int, priority: int) -> Iterator[_Ranked]:
        """The lanes of a socket that have something."""
        lane = self.lanes.get(socket)
        if lane is None or not lane.members:
            return
        for rank, some in ((0, lane), *lane.ranks.items()):
            if some.head() is not None:
                yield priority + rank, socket, some
            else:
                some.passed = 0

    def _forget_ranks(self) -> None:
        """Let go of lanes of priorities that no request has any more."""
        for socket in list(self._ranked):
            ranks = self.lanes[socket].ranks
            for rank in [rank for rank, lane in ranks.items() if lane.head() is None]:
                del ranks[rank]
            if not ranks:
                self._ranked.discard(socket)

    def drop(self, socket: int, request: int) -> bool:
        """Remove a request from its lane; False if it is not in memory there."""
        lane = self.lanes.get(socket)
        if lane is None or request not in lane.members:
            return False
        lane.members.discard(request)
        return True

    def spilled(self, socket: int, n: int, ceiling: int) -> None:
        """Note that `n` requests of a socket lie on disk, all of them younger than `ceiling`."""
        lane = self.lanes.setdefault(socket, Lane())
        lane.spilled, lane.ceiling = n, ceiling

    def hungry(self) -> list[tuple[int, int]]:
        """Sockets whose lane has room for what lies on disk, and after which request to look."""
        return [
            (socket, lane.ceiling)
            for socket, lane in self.lanes.items()
            if lane.spilled and len(lane.members) <= self.limit // 2
        ]

    def fed(self, socket: int, requests: list[int], left: int, ceiling: int) -> None:
        """Requests were fetched from disk, in order; `left` remain there, all of them younger than `ceiling`."""
        lane = self.lanes[socket]
        if requests and lane.late_for(requests[0]):
            for request in requests:
                lane.add(request)
        else:
            lane.queue.extend(requests)
            lane.members.update(requests)
        lane.spilled = left
        lane.ceiling = ceiling

    def queued(self, socket: int) -> int:
        """How many requests of a socket are queued."""
        lane = self.lanes.get(socket)
        return len(lane.members) + lane.spilled if lane else 0


def _merged(lanes: Sequence[tuple[int, Lane]], n: int, left: dict[int, int]) -> list[int]:
    """Up to `n` requests of lanes, in order of acceptance, and of each socket no more than are `left` of it."""
    if len(lanes) == 1 and not left:
        return lanes[0][1].take(n)
    heads = [(head, i) for i, (_, lane) in enumerate(lanes) if (head := lane.head()) is not None]
    heapq.heapify(heads)
    taken: list[int] = []
    while heads and len(taken) < n:
        _, i = heapq.heappop(heads)
        socket, lane = lanes[i]
        # all that it has before the head of the next lane
        some = lane.take(min(n - len(taken), left.get(socket, n)), heads[0][0] if heads else 1 << 62)
        taken += some
        if socket in left:
            left[socket] -= len(some)
        head = lane.head()
        if head is not None and left.get(socket, 1) > 0:
            heapq.heappush(heads, (head, i))
    return taken
