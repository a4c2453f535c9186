"""What bounds the calls that may start: the rates of sockets."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ec_jupyter.engine.core import Core
from ec_jupyter.flow.dispatch import PLAIN, Order
from ec_jupyter.flow.rate import Bucket


class Bounds:
    """The bounds of one flow's sockets.

    Parameters
    ----------
    core : Core
        The flow.

    Attributes
    ----------
    clock : callable
        Seconds, by a clock that goes forward.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._buckets: dict[int, Bucket] = {}
        self.clock: Callable[[], float] = time.monotonic
        self.reload()

    def reload(self) -> None:
        """Go on from what is on disk: an engine that starts lets nothing start sooner than the last one would have."""
        core, now = self._core, self.clock()
        for socket, rate in core.topology.rates.items():
            # what is queued may have been about to start, or may have started
            (last,) = (core.now,) if core.dispatch.queued(socket) else core.store.one("last_start", (socket,))
            self._buckets[socket] = Bucket(rate, now, None if last is None else core.now - last)

    def order(self, sockets: Sequence[int]) -> Order:
        """What else than acceptance says which calls of some sockets start now."""
        topology = self._core.topology
        if not (topology.priorities or topology.rates):
            return PLAIN
        now = self.clock()
        most = {socket: self._bucket(socket, now).most(now) for socket in sockets if socket in topology.rates}
        return Order(topology.priorities, most)

    def took(self, requests: Iterable[int]) -> None:
        """Note that calls start."""
        jobs, rates, now = self._core.jobs, self._core.topology.rates, self.clock()
        found = Counter(job.socket for request in requests if (job := jobs.peek(request)) is not None)
        for socket, n in found.items():
            if socket in rates:
                self._bucket(socket, now).take(n)

    @property
    def next(self) -> list[float]:
        """When calls may start that cannot yet; empty if none is queued."""
        core = self._core
        rates = core.topology.rates
        queued = [s for s in rates if (lane := core.dispatch.lanes.get(s)) and lane.members and core.startable(s)]
        now = self.clock() if queued else 0.0
        return [bucket.next(now) for s in queued if (bucket := self._bucket(s, now)).most(now) < 1]

    def _bucket(self, socket: int, now: float) -> Bucket:
        rate, bucket = self._core.topology.rates[socket], self._buckets.get(socket)
        if bucket is None:
            bucket = self._buckets[socket] = Bucket(rate, now)
        elif bucket.rate != rate:
            bucket.change(rate, now)
        return bucket
