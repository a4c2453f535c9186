"""Questions to people, and sleeps: requests that no worker runs stay queued until an answer, or their time is over.

Nothing of them is anywhere but in the queue: no worker, no CPU, no engine has to be there while they wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ec_jupyter.engine import failures
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.suspects import REQUEST


class Questions:
    """The open questions of a flow that may wait only so long, `timeout=` of their socket, and its sleeps."""

    def __init__(self, core: Core) -> None:
        self._core, self._topology = core, core.topology
        # by socket, a time of the monotonic clock before which none of its questions is due
        self._next: dict[int, float] = {}

    @property
    def next(self) -> list[float]:
        """When one may be due, by the monotonic clock; empty if none can be."""
        if self._topology is not self._core.topology:
            self._topology = self._core.topology
            self._next.clear()
        lanes = self._core.dispatch.lanes
        limited = [socket for socket in self._limited() if socket in lanes and lanes[socket].members]
        for socket in self._next.keys() - set(limited):
            del self._next[socket]
        for socket in limited:
            if socket not in self._next:
                self._next[socket] = time.monotonic() + min(left for _, left in self._left(socket))
        # one that is asked later is due later: it changes nothing
        return [self._next[socket] for socket in limited]

    def clock_set(self) -> None:
        """The wall clock has been set, or the machine has slept: look anew when one is due."""
        self._next.clear()

    def due(self, now: float) -> None:
        """Let those fail that nobody has answered in time, and those be done that have slept."""
        core = self._core
        if not self.next:
            return
        ahead = max(0.0, now - time.monotonic())
        for socket in [one for one, at in self._next.items() if at <= now]:
            del self._next[socket]
            for request in sorted(request for request, left in self._left(socket) if left <= ahead):
                core.suspects.begin(REQUEST, request)
                job = core.jobs[request]
                core.dispatch.drop(socket, request)
                if socket in core.topology.sleeping:
                    core.slept(job)
                else:
                    core.fail(job, failures.unanswered(core.topology.sockets[socket]))
        core.suspects.end()

    def _limited(self) -> Iterator[int]:
        sockets = self._core.topology.sockets
        for socket in self._core.topology.unworked:
            if self._core.sleeps(socket) or sockets[socket].timeout is not None:
                yield socket

    def _left(self, socket: int) -> Iterator[tuple[int, float]]:
        """Questions of a socket that are in memory, and in how many seconds each is due."""
        core = self._core
        limit = core.topology.sleeping.get(socket) or core.topology.sockets[socket].timeout or 0.0
        for request in core.dispatch.lanes[socket].members:
            found: Any = core.jobs.peek(request)
            # never longer than it may take, wherever the wall clock has been set meanwhile
            yield request, min(limit, max(0.0, found.created + limit - time.time()))
