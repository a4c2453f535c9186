"""What bounds the calls that may start, and those that may come: rates and limits of sockets."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ec_jupyter.engine import failures
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job
from ec_jupyter.engine.parts import Asker
from ec_jupyter.errors import QueueFullError, SocketNotFoundError, by_name
from ec_jupyter.flow.backpressure import NOTHING, Load, room
from ec_jupyter.flow.dispatch import PLAIN, Order
from ec_jupyter.flow.rate import Bucket
from ec_jupyter.wire import Header

MOST_AHEAD = 1_000  # for so many submits a client is told that there is room, at most, beyond those that it asks for
PROMISE_SECONDS = 2.0  # how long there is room for a submit that was told so: whoever asked may have been interrupted


@dataclass(slots=True)
class Promise:
    """Room for submits of a client that have not come yet."""

    socket: int
    client: str
    n: int
    until: float


class Bounds:
    """The bounds of one flow's sockets."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._buckets: dict[int, Bucket] = {}
        self._promises: list[Promise] = []
        self._asking: list[tuple[Asker, Header]] = []
        self.held: set[int] = set()  # sockets of which nothing may start at present, for what they feed is full
        self.clock: Callable[[], float] = time.monotonic  # seconds, by a clock that goes forward
        self.reload()

    def reload(self) -> None:
        """Go on from what is on disk: an engine that starts lets nothing start sooner than the last one would have."""
        core, now = self._core, self.clock()
        for socket, rate in core.topology.rates.items():
            # what is queued may have been about to start, or may have started
            (last,) = (core.now,) if core.dispatch.queued(socket) else core.store.one("last_start", (socket,))
            self._buckets[socket] = Bucket(rate, now, None if last is None else core.now - last)

    # -- what may start --------------------------------------------------------
    def order(self, sockets: Sequence[int]) -> Order:
        """What else than acceptance says which calls of some sockets start now."""
        topology = self._core.topology
        if not (topology.priorities or topology.rates or topology.bounded):
            self.held.clear()
            return PLAIN
        most = self._room() if topology.bounded else {}
        self.held = {socket for socket, n in most.items() if n <= 0}
        now = self.clock() if topology.rates else 0.0
        for socket in sockets if topology.rates else ():
            if socket in topology.rates:
                n = self._bucket(socket, now).most(now)
                most[socket] = min(n, most.get(socket, n))
        return Order(topology.priorities, {socket: most[socket] for socket in sockets if socket in most})

    def took(self, requests: Iterable[int]) -> None:
        """Note that calls start."""
        jobs, rates = self._core.jobs, self._core.topology.rates
        if not rates:
            return
        now = self.clock()
        found = Counter(job.socket for request in requests if (job := jobs.peek(request)) is not None)
        for socket, n in found.items():
            if socket in rates:
                self._bucket(socket, now).take(n)

    @property
    def next(self) -> list[float]:
        """When something may start or be let in that cannot yet; empty if nothing waits for that."""
        core = self._core
        rates = core.topology.rates
        queued = [s for s in rates if (lane := core.dispatch.lanes.get(s)) and lane.members and core.startable(s)]
        now = self.clock() if queued else 0.0
        times = [bucket.next(now) for s in queued if (bucket := self._bucket(s, now)).most(now) < 1]
        return times + [one.until for one in self._promises if self._asking]

    def _bucket(self, socket: int, now: float) -> Bucket:
        rate, bucket = self._core.topology.rates[socket], self._buckets.get(socket)
        if bucket is None:
            bucket = self._buckets[socket] = Bucket(rate, now)
        elif bucket.rate != rate:
            bucket.change(rate, now)
        return bucket

    # -- what sockets hold -------------------------------------------------------
    def _room(self) -> dict[int, int]:
        return room(self._core.topology, self._loads(), self._promised())

    def _loads(self) -> dict[int, Load]:
        core = self._core
        delayed = Counter(job.socket for one in core.delayed if (job := core.jobs.peek(one)) is not None)
        arrived: dict[int, Counter[str]] = {socket: Counter() for socket in core.topology.limited_joins}
        for arrival in core.joins.all_waiting() if arrived else ():
            if arrival.socket in arrived:
                arrived[arrival.socket][arrival.argument] += 1
        measured = core.topology.measured
        return {socket: self._load(socket, delayed[socket], arrived.get(socket, {})) for socket in measured}

    def _load(self, socket: int, delayed: int, arrived: Mapping[str, int]) -> Load:
        core, lane = self._core, self._core.dispatch.lanes.get(socket)
        counts = core.states.counts.get(socket)
        if counts is None:
            return Load(arrived=arrived) if arrived else NOTHING
        queued = core.dispatch.queued(socket) + delayed
        running = counts["queued"] + counts["running"] - queued
        head = lane.head() if lane is not None else None
        return Load(queued, max(0, running), core.startable(socket), arrived, head or 0)

    # -- what comes --------------------------------------------------------------
    def trim(self) -> None:
        """Let go of what is too much: before it is written that it has come."""
        core = self._core
        if not core.topology.trimmed:
            return
        loads = self._loads()
        for socket, record in core.topology.trimmed.items():
            lane, over = core.dispatch.lanes.get(socket), loads[socket].holds - (record.limit or 0)
            if lane is None or over <= 0:
                continue
            if record.full == "drop-oldest":
                # what runs is not stopped, and the newest has nothing newer to make room for
                for request in heapq.nsmallest(min(over, len(lane.members) - 1), lane.members):
                    core.drop(core.jobs[request], failures.dropped(record))
                continue
            # submits have asked for room, so what is too much was made by plugs
            newest = [core.jobs[request] for request in heapq.nlargest(over, lane.members)]
            for job in filter(_plugged, newest):
                core.dispatch.drop(socket, job.id)
                core.fail(job, failures.full(record))

    def ask(self, client: Asker, header: Header) -> None:
        """Tell a client for how many submits a socket has room, once it has for one.

        Raises SocketNotFoundError: there is no such socket; QueueFullError: it is full, and the client does not wait,
        or the socket says that it may not.
        """
        core = self._core
        record = core.topology.sockets[by_name(core.topology.names, header["socket"], SocketNotFoundError)]
        waits = header.get("wait", True) and record.full == "block"
        if not waits and not self._free(record.id, self._loads()):
            raise QueueFullError(failures.full(record)["message"])
        self._asking.append((client, header))

    def let_in(self) -> None:
        """Answer clients whose submits there is room for, in order of their questions."""
        if not self._asking:
            return
        core, asking, self._asking = self._core, self._asking, []
        loads, passed = self._loads(), set[int]()
        for client, header in asking:
            socket = core.topology.names.get(header["socket"])
            if not client.here:
                continue
            n = header["calls"] if socket not in core.topology.limited else self._free(socket, loads)
            if socket in passed or not n:
                # nobody passes who has waited for longer
                passed.add(socket or 0)
                self._asking.append((client, header))
                continue
            # more than it asks for, where there is much: its next submits need no question
            n = min(n, max(header["calls"], min(MOST_AHEAD, n // 8)))
            if socket is not None and socket in core.topology.limited:
                self._promises.append(Promise(socket, client.id, n, self.clock() + PROMISE_SECONDS))
            client.reply({"calls": n}, to=header)

    def full(self, socket: int) -> str | None:
        """Why a socket takes no further call; None where it takes one."""
        record = self._core.topology.limited.get(socket)
        if record is None or self._free(socket, self._loads()) > 0:
            return None
        return str(failures.full(record)["message"])

    def _free(self, socket: int, loads: Mapping[int, Load]) -> int:
        record = self._core.topology.limited.get(socket)
        if record is None or record.limit is None or record.full == "drop-oldest":
            return 1 << 30
        load = loads[socket]
        left = record.limit - load.holds - self._promised()[socket]
        # where all of it waits for company, only more of it frees any
        waits_alone = load.arrived and not (load.queued or load.running)
        return max(left, 1 if waits_alone else 0)

    def _promised(self) -> Counter[int]:
        now = self.clock() if self._promises else 0.0
        self._promises = [one for one in self._promises if one.until > now]
        found: Counter[int] = Counter()
        for one in self._promises:
            found[one.socket] += one.n
        return found

    def came(self, client: str, names: Mapping[str, int]) -> None:
        """Note that submits of a client have come: so many to each socket."""
        for name, n in names.items() if self._promises else ():
            left = n
            for one in self._promised_to(client, name):
                taken = min(left, one.n)
                one.n -= taken
                left -= taken
            self._promises = [one for one in self._promises if one.n > 0]

    def check(self, client: str, names: Mapping[str, int]) -> None:
        """Refuse submits that do not wait, so many to each socket, where a socket has no room for all of them."""
        core = self._core
        for name, n in names.items() if core.topology.limited else ():
            record = core.topology.sockets.get(core.topology.names.get(name, 0))
            told = sum(one.n for one in self._promised_to(client, name))
            if record is not None and told < n and self._free(record.id, self._loads()) < n - told:
                raise QueueFullError(failures.full(record)["message"])

    def _promised_to(self, client: str, name: str) -> list[Promise]:
        socket = self._core.topology.names.get(name)
        return [one for one in self._promises if (one.socket, one.client) == (socket, client)]


def _plugged(job: Job) -> bool:
    """Whether values that came by plugs have made a call."""
    return job.run != job.id or any(arrivals for _, _, arrivals in job.arguments.values())
