"""Work stealing: calls queued on a busy node are recalled when another node of their processor is idle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.member import Members
from ec_jupyter.flow.placement import surplus

STUCK_SECONDS = 0.1  # a call that has waited on its node for so long is worth the way back


class WorkStealing:
    """Recalls queued calls for idle nodes."""

    def __init__(self, core: Core, members: Members) -> None:
        self._core, self._members = core, members
        self._asked: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Find nodes that are idle while calls queue at another; recall those that still do a moment later."""
        if self._timer is None and len(self._members) > 1:
            queued = self._queued()
            if queued:
                self._timer = asyncio.get_running_loop().call_later(STUCK_SECONDS, self._act, queued)

    def _queued(self) -> set[int]:
        """The youngest calls that wait at a full node, as many as other nodes could start."""
        core = self._core
        found: set[int] = set()
        self._asked = {request for request in self._asked if request in core.held}
        for processor in core.topology.processors.values():
            if len(processor.nodes) < 2:
                continue
            for node, cpus in surplus(self._members.spots(processor)).items():
                found.update(self._youngest(core.held.at(node, processor.name), cpus))
        return found

    def _youngest(self, requests: list[int], cpus: float) -> Iterator[int]:
        core = self._core
        for request in reversed(requests):
            job = core.jobs[request]
            if cpus > 0 and job.started is None and request not in self._asked:
                cpus -= core.topology.sockets[job.socket].share
                yield request

    def _act(self, before: set[int]) -> None:
        self._timer = None
        stuck = before & self._queued()
        if stuck:
            # one that has begun meanwhile stays where it is; it is asked for no second time
            self._asked |= stuck
            self._members.recall(stuck)
        self.look()
