"""Which calls go to which node. Pure.

A call goes where a CPU is free for it: of several such nodes to the one its values are nearest to, then to the
local one, then to the least loaded. Where none is free, the least loaded node that takes more queues it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ec_jupyter.flow.dispatch import PLAIN, Dispatch, Order
from ec_jupyter.model import LOCAL, Processor

NOTHING = 1e-6  # what is left of a place, or a CPU, where parts of it have been taken that make it up


def caps(processor: Processor, cpus: Mapping[str, int]) -> dict[str, int]:
    """How many CPUs a processor may use on each of its nodes; `cpus`: what nodes lend, as far as they have said so."""
    wanted = processor.nodes or {LOCAL: None}
    found = {}
    for name in sorted(wanted, key=lambda name: name != LOCAL):
        count = wanted[name]
        if count is None and len(wanted) == 1:
            count = processor.cpus
        lent = cpus.get(name, 0)
        found[name] = lent if count is None else min(count, lent) if lent else count
    return found


def needed(threads: float, cpus: int) -> float:
    """CPUs that a call takes where there are so many."""
    return threads if threads < 1 else max(1, min(threads, cpus))


class Holdings:
    """Where calls are, and the CPUs they hold there; a call on its way, or queued there, holds them too."""

    def __init__(self) -> None:
        self._where: dict[int, tuple[str, str, float]] = {}
        self._used: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, request: int) -> bool:
        return request in self._where

    def __iter__(self) -> Iterator[int]:
        return iter(self._where)

    def hold(self, request: int, node: str, processor: str, cpus: float) -> None:
        """Count a call of a processor on a node."""
        self.hold_all((request,), node, processor, cpus)

    def hold_all(self, requests: Sequence[int], node: str, processor: str, cpus: float) -> None:
        """Count calls of a processor on a node, of so many CPUs each."""
        self._where.update(dict.fromkeys(requests, (node, processor, cpus)))
        key = (node, processor)
        self._used[key] = self._used.get(key, 0) + cpus * len(requests)

    def release(self, request: int) -> None:
        """A call has left its node; no error if no node had it."""
        held = self._where.pop(request, None)
        if held is not None:
            self._used[held[0], held[1]] -= held[2]

    def has_all(self, requests: Iterable[int]) -> bool:
        """Whether all of these calls are on nodes."""
        return all(map(self._where.__contains__, requests))

    def release_all(self, requests: Iterable[int]) -> None:
        """Calls have left their nodes; each is on one."""
        for node, processor, cpus in map(self._where.pop, requests):
            self._used[node, processor] -= cpus

    @property
    def nodes(self) -> set[str]:
        """Nodes that have calls."""
        return {node for node, _, _ in self._where.values()}

    def used(self, node: str, processor: str | None = None) -> float:
        """CPUs that calls hold on a node: of one processor, or of all."""
        if processor is not None:
            found = self._used.get((node, processor), 0)
        else:
            found = sum(cpus for (where, _), cpus in self._used.items() if where == node)
        # thirds of a CPU that came and went leave nothing behind
        return round(found, 6)

    def at(self, node: str, processor: str | None = None) -> list[int]:
        """Requests a node has, in the order in which it got them."""
        return [
            request
            for request, (where, whose, _) in self._where.items()
            if where == node and processor in (None, whose)
        ]

    def clear(self) -> None:
        """Forget all calls."""
        self._where.clear()
        self._used.clear()


@dataclass(slots=True)
class Spot:
    """A node as the calls of one processor see it."""

    node: str
    cap: int  # CPUs the processor may use there
    used: float  # CPUs its calls hold there
    free: float  # CPUs of the node that nobody holds
    room: float  # how many more calls it takes: places, of which calls that share a worker take parts

    def idle(self, cpus: float) -> bool:
        """Whether a call could start there at once."""
        return min(self.cap - self.used, self.free) >= cpus - NOTHING

    @property
    def load(self) -> float:
        """CPUs that calls hold for each that the processor may use."""
        return self.used / self.cap if self.cap else float("inf")

    def take(self, cpus: float, part: float = 1) -> None:
        """Count a call in, which takes a part of a place."""
        left = self.room - part
        self.room = left if abs(left) > NOTHING else 0
        self.used += cpus
        self.free -= cpus


def choose(spots: Sequence[Spot], cpus: float, distance: Callable[[str], int] = lambda node: 0) -> Spot | None:
    """The node for a call that takes `cpus`; None if no node can take it now."""
    fitting = [spot for spot in spots if spot.room > 0 and spot.cap >= cpus]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    idle = [spot for spot in fitting if spot.idle(cpus)]
    if idle:
        return min(idle, key=lambda spot: (distance(spot.node), spot.node != LOCAL, spot.load))
    return min(fitting, key=lambda spot: (spot.load, spot.node != LOCAL))


def spread(
    queue: Dispatch,
    needs: Mapping[int, float],  # sockets of one processor that may start calls, and the CPUs a call of each takes
    spots: Sequence[Spot],  # the processor's nodes; their counts grow as calls are placed
    # bytes that have to travel before a request can start on a node
    distance: Callable[[int, str], int] = lambda request, node: 0,
    order: Order = PLAIN,
    parts: Mapping[int, float] = {},  # which part of a place a call of a socket takes, where that is less than one
) -> dict[str, list[int]]:
    """Take the calls that have a place from the queue, in its order; requests by node.

    One that waits for a larger node is passed by those that fit now.
    """
    placed: dict[str, list[int]] = {}
    left = dict(order.most)
    order = order._replace(most=left)
    while True:
        there = [spot for spot in spots if spot.room > 0]
        most = max((spot.cap for spot in there), default=0)
        fitting = [socket for socket, cpus in needs.items() if cpus <= most]
        if len(there) == 1 and parts.keys().isdisjoint(fitting):
            taken = queue.take(fitting, math.ceil(there[0].room), order)
            if taken:
                placed.setdefault(there[0].node, []).extend(taken)
            return placed
        head = queue.first(fitting, order) if there else None
        if head is None:
            return placed
        socket, request = head
        spot = choose(there, needs[socket], lambda node: distance(request, node))  # noqa: B023 - called at once
        assert spot is not None
        queue.take(fitting, 1, order)
        if socket in left:
            left[socket] -= 1
        spot.take(needs[socket], parts.get(socket, 1))
        placed.setdefault(spot.node, []).append(request)


def surplus(spots: Sequence[Spot]) -> dict[str, float]:
    """CPUs of calls to take back, by node: of those queued on a full one while another has unused CPUs."""
    free = sum(max(0, min(spot.cap - spot.used, spot.free)) for spot in spots if spot.room > 0)
    table: dict[str, float] = {}
    for spot in sorted(spots, key=lambda spot: -spot.load):
        extra = min(free, spot.used - spot.cap)
        if extra > 0:
            table[spot.node] = extra
            free -= extra
    return table
