"""Which queued request starts next. Pure.

Every socket has a lane in order of acceptance; a processor takes from the lane whose head was
accepted first. A lane holds at most `limit` requests; the rest stays on disk until there is room.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LANE_LIMIT = 50_000
"""Requests of one socket that are kept in memory."""


@dataclass(slots=True)
class Lane:
    """The queue of one socket: its head in memory, and how many requests lie on disk behind it.

    Attributes
    ----------
    queue : deque of int
        Requests in memory, smallest first.
    late : list of int
        A heap of those that were queued after younger ones: given back, or tried again.
    members : set of int
        Those of both that are still queued; the others were removed and are passed over.
    spilled : int
        Queued requests that are only on disk.
    ceiling : int
        The last request in memory when spilling began; only older ones may join it.
    """

    queue: deque[int] = field(default_factory=deque)
    late: list[int] = field(default_factory=list)
    members: set[int] = field(default_factory=set)
    spilled: int = 0
    ceiling: int = 0

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


class Dispatch:
    """The lanes of all sockets."""

    def __init__(self, limit: int = LANE_LIMIT) -> None:
        self.limit = limit
        self.lanes: dict[int, Lane] = {}

    def push(self, socket: int, request: int) -> bool:
        """Queue a request; False if the lane is full, so that it has to be fetched from disk later."""
        lane = self.lanes.get(socket)
        if lane is None:
            lane = self.lanes[socket] = Lane()
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

    def push_all(self, socket: int, requests: Sequence[int]) -> int:
        """Queue requests, the oldest first; how many of them are in memory, for the others lie on disk behind those."""
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

    def first(self, sockets: Iterable[int]) -> tuple[int, int] | None:
        """Of these sockets, the one whose head was accepted first, and that request."""
        heads = [(head, s) for s in sockets if (lane := self.lanes.get(s)) and (head := lane.head()) is not None]
        return (min(heads)[1], min(heads)[0]) if heads else None

    def take(self, sockets: Iterable[int], n: int) -> list[int]:
        """Up to `n` requests of these sockets, in order of acceptance."""
        lanes = [lane for socket in sockets if (lane := self.lanes.get(socket)) is not None and lane.members]
        if len(lanes) == 1:
            return lanes[0].take(n)
        heads = [(head, i) for i, lane in enumerate(lanes) if (head := lane.head()) is not None]
        heapq.heapify(heads)
        taken: list[int] = []
        while heads and len(taken) < n:
            _, i = heapq.heappop(heads)
            # all that it has before the head of the next lane
            taken += lanes[i].take(n - len(taken), heads[0][0] if heads else 1 << 62)
            head = lanes[i].head()
            if head is not None:
                heapq.heappush(heads, (head, i))
        return taken

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

