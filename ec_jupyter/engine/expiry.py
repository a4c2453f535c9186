"""Values that may wait only so long: `wait=` of their socket."""

from __future__ import annotations

import time
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from ec_jupyter.engine.rows import id_list
from ec_jupyter.engine.suspects import VALUE
from ec_jupyter.flow.arrival import Arrival

if TYPE_CHECKING:
    from ec_jupyter.engine.core import Core


class Expiry:
    """Waiting values with a time limit."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._heap: list[tuple[float, int, Arrival]] = []

    @property
    def next(self) -> list[float]:
        """When the next one is due, by the monotonic clock; empty if none is."""
        return [self._heap[0][0]] if self._heap else []

    def add(self, arrival: Arrival, since: float) -> None:
        """Note a value that has waited since then, by the wall clock, if it may wait only so long."""
        core = self._core
        wait = core.topology.sockets[arrival.socket].wait
        if wait is not None and arrival.kind == "value" and not core.suspects.out(VALUE, arrival.id):
            # never longer than it was asked to, wherever the wall clock has been set meanwhile
            left = min(wait, max(0.0, since + wait - core.now))
            heappush(self._heap, (time.monotonic() + left, arrival.id, arrival))

    def reload(self) -> None:
        """Read waiting values again, with their times from disk, where all of them must be."""
        core = self._core
        self._heap.clear()
        limited = {s.id for s in core.topology.sockets.values() if s.wait is not None and not s.parked}
        if not limited:
            return
        since = dict(core.store.rows("arrival_times", (id_list(limited),)))
        for arrival in core.joins.all_waiting():
            if arrival.socket in limited:
                self.add(arrival, since.get(arrival.id, core.now))

    def due(self, now: float) -> None:
        """Let calls fail whose values have waited too long."""
        core = self._core
        while self._heap and self._heap[0][0] <= now:
            arrival = heappop(self._heap)[2]
            core.suspects.begin(VALUE, arrival.id)
            if not core.topology.sockets[arrival.socket].parked and core.joins.expire(arrival):
                core.touched.add(arrival.party)
            core.absorb()
        core.suspects.end()
