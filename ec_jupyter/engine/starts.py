"""Starts: which of the calls that wait begin now, and on which node; and which are recalled for a node that is idle."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Iterator

from ec_jupyter.engine import lots, recovery
from ec_jupyter.engine.bounds import Bounds
from ec_jupyter.engine.cache import Cache
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.member import Member, Members
from ec_jupyter.engine.parts import Clock
from ec_jupyter.engine.quarantine import Quarantine
from ec_jupyter.engine.value_locator import ValueLocator
from ec_jupyter.flow.dispatch import PLAIN
from ec_jupyter.flow.placement import caps, needed, spread, surplus
from ec_jupyter.model import LOCAL, Processor
from ec_jupyter.wire import Call

STUCK_SECONDS = 0.1  # a call that has waited on its node for so long is worth the way back


class Starts:
    """Gives nodes the calls that may start."""

    def __init__(
        self, core: Core, members: Members, locator: ValueLocator, quarantine: Quarantine, clock: Clock,
        bounds: Bounds, cache: Cache,
    ) -> None:  # fmt: skip
        self._core, self._members, self._locator = core, members, locator
        self._quarantine, self._clock, self._bounds, self._cache = quarantine, clock, bounds, cache

    def everywhere(self) -> None:
        """Give all nodes what may start now."""
        core = self._core
        if core.topology.cached:
            self._cache.let_go()
        if core.dispatch.hungry():
            recovery.feed(core)
        alone = self._quarantine.nodes
        for member in self._members.values():
            if member.apart or member.name in alone:
                self._isolate(member)
        if core.evaluation.pending:
            self._evaluate()
        for name, needs in self._startable().items():
            processor = core.topology.processors[name]
            if processor.nodes or self._overlap(needs):
                self._spread(processor, needs)
            elif self._members[LOCAL].open:
                self._fill(name, needs)
        core.suspects.end()

    def here(self) -> bool:
        """Give this node what may start now and run again, of processors that are here alone; whether that was all."""
        sockets, everything = self._core.topology.sockets, self._members[LOCAL].open
        if self._core.topology.cached:
            self._cache.let_go()
        for name, needs in self._startable().items() if everything else ():
            elsewhere = self._core.topology.processors[name].nodes or self._overlap(needs)
            if elsewhere or any(sockets[s].once for s in needs):
                everything = False
            else:
                self._fill(name, needs)
        self._core.suspects.end()
        return everything

    def _isolate(self, member: Member) -> None:
        """Begin with calls that may have killed an engine or agent, one after the other; nothing else starts there."""
        core, quarantine, node = self._core, self._quarantine, member.name
        while not quarantine.runs(node, core.held) and member.state == "up":
            request = quarantine.turn(node)
            if request is None:
                break
            job = core.jobs.get(request)
            if job is not None and self._starts_at(member, job.socket) and core.dispatch.drop(job.socket, request):
                seconds = quarantine.begin(node, request)
                self._give(core.topology.processor(job.socket).name, {node: [request]})
                asyncio.get_running_loop().call_later(seconds, self._clock.schedule)
        member.apart = node in quarantine.nodes
        if not member.apart:
            self._locator.changed()

    def _starts_at(self, member: Member, socket: int) -> bool:
        processor = self._core.topology.processor(socket)
        return (
            member.name in (processor.nodes or [LOCAL])
            and self._core.startable(socket)
            and member.agent.room(processor.name) > 0
        )

    def _startable(self) -> dict[str, list[int]]:
        core = self._core
        table: dict[str, list[int]] = {}
        for socket, lane in core.dispatch.lanes.items():
            if lane.members and core.startable(socket):
                table.setdefault(core.topology.sockets[socket].processor, []).append(socket)
        return table

    def _overlap(self, sockets: list[int]) -> bool:
        """Whether calls of any of these sockets share a worker, so that they take parts of its place."""
        overlapping = self._core.topology.overlapping
        return bool(overlapping) and not overlapping.keys().isdisjoint(sockets)

    def _fill(self, name: str, sockets: list[int]) -> None:
        """What most flows need: all of a processor's CPUs are here."""
        room, order = self._members[LOCAL].agent.room(name), self._bounds.order(sockets)
        if order is not PLAIN:
            room = self._without_ahead(name, room)
        # what calls that overlap leave of a place is room for one that does not, which waits there
        taken = self._core.dispatch.take(sockets, math.ceil(room), order) if room > 0 else []
        if taken:
            if order.most:
                self._bounds.took(taken)
            self._give(name, {LOCAL: taken})

    def _without_ahead(self, name: str, room: float) -> float:
        """How many more calls a processor takes here if none is to wait there, where no other can pass it."""
        cpus = caps(self._core.topology.processors[name], self._members.lent())[LOCAL]
        idle = room > 0 and not self._core.held.used(LOCAL, name)
        return max(room - cpus, int(idle))

    def _spread(self, processor: Processor, sockets: list[int]) -> None:
        core = self._core
        most = max(caps(processor, self._members.lent()).values())
        parts = core.topology.overlapping
        needs = {s: needed(core.topology.sockets[s].threads, most) * parts.get(s, 1) for s in sockets}
        order = self._bounds.order(sockets)
        spots = self._members.spots(processor)
        for spot in spots if order is not PLAIN and not processor.nodes else ():
            spot.room = self._without_ahead(processor.name, spot.room)
        placed = spread(core.dispatch, needs, spots, self._distance, order, parts)
        if placed:
            if order.most:
                self._bounds.took(request for some in placed.values() for request in some)
            self._give(processor.name, placed)

    def _give(self, processor: str, placed: dict[str, list[int]]) -> None:
        core, locator = self._core, self._locator
        if core.topology.cached:
            wanted = placed
            placed = self._cache.left(placed)
            if placed != wanted:
                # what has ended is written down, and what it leads to begins
                self._clock.schedule()
        if locator.files:
            placed = {node: [r for r in some if locator.usable(core.jobs[r], node)] for node, some in placed.items()}
        calls = {node: lots.start(core, requests, node) for node, requests in placed.items()}
        if not self._claim(calls):
            return
        for node, some in calls.items():
            member = self._members[node]
            if member.spec is not None:
                member.hold(value.file for call in some for value in call.files())
            member.agent.assign(processor, some)

    def _claim(self, calls: dict[str, list[Call]]) -> bool:
        """Write down who starts where that has to be known to the next engine; False where the disk takes nothing."""
        core = self._core
        claimed = [
            core.jobs[call.request] for node, some in calls.items() for call in some if node != LOCAL or call.spec.once
        ]
        for job in claimed:
            core.claim(job)
        try:
            core.journal.commit() if claimed else None
        except sqlite3.OperationalError as error:
            core.journal.forget("claim", lambda row: True)
            core.give_back([call.request for some in calls.values() for call in some])
            self._clock.stall(error)
            return False
        return True

    def _distance(self, request: int, node: str) -> int:
        away, near = self._locator.files, self._members[node].near
        if node == LOCAL and not away:
            return 0
        parts = [v.value for _, values, _ in self._core.jobs[request].arguments.values() for v in values]
        if node == LOCAL:
            return sum(value.size for value in parts if value.file in away)
        return sum(value.size for value in parts if value.file and value.file not in near)

    def _evaluate(self) -> None:
        """Have workers evaluate plugs, on a node of the processor that made the value."""
        for name, calls in self._core.evaluation.calls().items():
            node = self._locator.node_of(name)
            for call in calls:
                self._core.side_calls.placed(call.request, node)
            if node is not None:
                self._members[node].agent.assign(name, [call for call in calls if self._locator.visible(call, node)])


# -- work stealing -------------------------------------------------------------
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
