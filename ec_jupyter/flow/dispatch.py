"""Which queued request starts next. Pure.

Every socket has a lane in order of acceptance; a processor takes from the lane whose head was
accepted first. A lane holds at most `limit` requests; the rest stays on disk until there is room.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

LANE_LIMIT = 10_000
"""Requests of one socket that are kept in memory."""


@dataclass(slots=True)
class Lane:
    """The queue of one socket: its head in memory, and how many requests lie on disk behind it.

    Attributes
    ----------
    heap : list of int
        Requests in memory, smallest first.
    members : set of int
        Those of them that are still queued; the others were removed and are passed over.
    spilled : int
        Queued requests that are only on disk.
    ceiling : int
        The last request in memory when spilling began; only older ones may join it.
    """

    heap: list[int] = field(default_factory=list)
    members: set[int] = field(default_factory=set)
    spilled: int = 0
    ceiling: int = 0

    def head(self) -> int | None:
        """The request that was accepted first."""
        while self.heap and self.heap[0] not in self.members:
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None


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
        lane.members.add(request)
        heapq.heappush(lane.heap, request)
        return True

    def first(self, sockets: Iterable[int]) -> tuple[int, int] | None:
        """Of these sockets, the one whose head was accepted first, and that request."""
        heads = [(head, s) for s in sockets if (lane := self.lanes.get(s)) and (head := lane.head()) is not None]
        return (min(heads)[1], min(heads)[0]) if heads else None

    def take(self, sockets: Iterable[int], n: int) -> list[int]:
        """Up to `n` requests of these sockets, in order of acceptance."""
        lanes = [lane for socket in sockets if (lane := self.lanes.get(socket)) is not None and lane.members]
        taken: list[int] = []
        while lanes and len(taken) < n:
            lane = min(lanes, key=_head) if len(lanes) > 1 else lanes[0]
            request = lane.head()
            if request is None:
                lanes.remove(lane)
                continue
            heapq.heappop(lane.heap)
            lane.members.discard(request)
            taken.append(request)
            if not lane.members:
                lanes.remove(lane)
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
        lane.members.update(requests)
        for request in requests:
            heapq.heappush(lane.heap, request)
        lane.spilled = left
        lane.ceiling = ceiling

    def queued(self, socket: int) -> int:
        """How many requests of a socket are queued."""
        lane = self.lanes.get(socket)
        return len(lane.members) + lane.spilled if lane else 0


def _head(lane: Lane) -> int:
    head = lane.head()
    return head if head is not None else 1 << 62
