"""Calls that come alone: answered first, and booked a moment later, many of them together.

Where nothing else goes on in a flow, one call of a socket from which no plug leads needs little of it: a number, and a
worker. Its submit is on disk, in its client's log, so it starts at once; its result goes into the result log, and then
to the client. What the flow keeps of it (states, rows, figures) follows for many calls as one lot. Whatever else comes
in first makes these calls what they would be without that: `LoneCalls.interrupt`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ec_jupyter.engine import lots
from ec_jupyter.engine.acceptance import check
from ec_jupyter.engine.call_specs import Plan
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.parts import Loop
from ec_jupyter.engine.result_log import LOG_BYTES, ResultLog, head_of, record_of
from ec_jupyter.engine.row_values import MOST_ARGUMENTS, ROW_BYTES
from ec_jupyter.engine.rpc import Rpc
from ec_jupyter.engine.statistics import Statistics
from ec_jupyter.engine.submit_log import Connection, SubmitLogs
from ec_jupyter.engine.submit_records import Lot
from ec_jupyter.errors import EcError
from ec_jupyter.flow import schema
from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.wire import Block, Header

MOST = 1024  # calls that are booked together: each time the next one waits for it, so it must be one of very many
# how long a call may run before it is known to run, and how long no other may have come before one is booked
LOOK_SECONDS = 0.02
BOOK_SECONDS = 0.25  # how long a call that was answered may wait for others to be booked with it
SURE_SECONDS = 0.005  # how long a flow that was where it belongs is believed to be there, as by its clients


Begun = tuple[float, int, int]


@dataclass(slots=True, eq=False)
class Kind:
    """What calls of one shape share, for as long as nothing else comes in."""

    shape: Header  # theirs
    # socket, processor: whose they are, and where they run
    socket: int
    processor: str
    plan: Plan  # how they are made
    head: bytes  # what their results share


@dataclass(slots=True, eq=False)
class Lone:
    """A call that came alone."""

    client: Connection  # who submitted it
    kind: Kind  # what it is
    item: Lot  # the submit
    request: int
    # at, since: when it was taken in: wall clock, and that of the loop
    at: float
    since: float
    begun: Begun | None = None  # when it began, its slot and process, once that is known
    part: Block | None = None  # its result
    ended: float = 0.0  # wall clock


def _alike(run: Lone) -> tuple[Any, ...]:
    """What calls share that are booked as one lot; numbers of submits and requests go on together."""
    assert run.part is not None
    return run.client.id, run.kind, run.part.slot, run.part.pid, run.request - run.item.first


class LoneCalls:
    """The calls of a flow that came alone and are not booked.

    `core`, `clock`, `logs`, `log`: the flow, its loop, the logs of its clients, and its result log. `rpc` takes the
    calls in, `local` runs them, and `statistics` are told of those that ended.
    """

    def __init__(
        self, core: Core, clock: Loop, logs: SubmitLogs, log: ResultLog, rpc: Rpc, local: Agent, statistics: Statistics
    ) -> None:
        self._core, self._clock, self._logs, self._log = core, clock, logs, log
        self._rpc, self._local, self._statistics = rpc, local, statistics
        self._loop = asyncio.get_running_loop()
        self.calm = False  # nothing else is going on
        self._seen = 0.0
        self._kind: Kind | None = None
        self._running: Lone | None = None
        self._ended: list[Lone] = []
        self._timer: asyncio.TimerHandle | None = None

    # -- a call comes and ends -------------------------------------------------------
    def take(self, rung: str | None = None) -> bool:
        """Start what clients have submitted, or that which has `rung`, if it is one call and nothing else goes on."""
        found = self._logs.lone(self._fits, rung) if self.calm and self._running is None else None
        kind, core = self._kind, self._core
        if found is None or kind is None:
            return False
        client, item = found
        run = self._running = Lone(client, kind, item, core.new_request(), time.time(), self._loop.time())
        # one that is queued first, for it is watched, is told of meanwhile
        run.begun = self._local.start_now(kind.processor, core.specs.lone(kind.plan, run.request, item)) or run.begun
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        if len(self._ended) >= MOST or self._log.size > LOG_BYTES // 2:
            # while it runs
            self._write()
        return True

    def rung(self, client: str) -> bool:
        """Start what a client has submitted, if it is like the last call that came alone; whether it is."""
        return self._kind is not None and self.take(client)

    def started(self, request: int, at: float, slot: int, pid: int) -> bool:
        """Note that a call has begun; False if it did not come alone."""
        run = self._running
        if run is None or run.request != request:
            return False
        run.begun = at, slot, pid
        return True

    def done(self, part: Block) -> bool:
        """Take the result of a call that came alone, and tell of it; False if it is none, or more is to be done."""
        run = self._running
        if run is None or len(part) != 1 or part.requests[0] != run.request or part.attempts[0] != 1:
            return False
        if len(part.values[0]) > ROW_BYTES or len(part.types[0]) > ROW_BYTES or not run.client.free:
            return False
        run.part, run.ended = part, time.time()
        item = run.item
        facts = item.first, run.request, part.slot, part.pid, run.at, run.ended, part.started[0], part.seconds[0]
        values = [column[0] for column in item.columns]
        if not self._log.append(record_of(facts, run.kind.head, part.types[0], values, part.values[0])):
            return False
        self._running = None
        self._ended.append(run)
        # written where nobody will find it: nobody is told
        if self._found_there():
            run.client.answer(item.first, run.request, part.types[0], part.values[0])
        return True

    def _found_there(self) -> bool:
        """Whether the flow is where it was, as far as was seen a moment ago."""
        now = self._loop.time()
        if now - self._seen > SURE_SECONDS and self._clock.look_around():
            self._seen = now
        return now - self._seen <= SURE_SECONDS

    def _fits(self, client: str, item: Lot) -> bool:
        """Whether a call needs no more than a number and a worker."""
        if self._kind is None or self._kind.shape is not item.shape:
            self._kind = self._found(client, item.shape)
        return self._kind is not None and not [1 for column in item.columns if len(column[0]) > ROW_BYTES]

    def _found(self, client: str, shape: Header) -> Kind | None:
        core, topology, names = self._core, self._core.topology, shape.get("names", ())
        try:
            schema.check_shape(shape)
            socket = check(core, shape["socket"], names)
        except EcError:
            return None
        record, processor = topology.sockets[socket], topology.processor(socket)
        plain = not (
            record.once or record.fresh or record.rate or record.cache or record.limit or record.callback
            or record.concurrent > 1 or processor.nodes
            or shape.get("partial") or shape.get("priority")
            or topology.results.get(socket) or topology.errors.get(socket)
            or not core.joins.apart((socket, None))
        )  # fmt: skip
        known = shape.get("revision") == topology.revision and len(names) <= MOST_ARGUMENTS
        full = all(name in names for name in topology.needed[socket])
        short = all(len(kind) <= ROW_BYTES for kind in shape["types"])
        if plain and known and full and short and core.startable(socket):
            plan = core.specs.plan(socket, names, topology)
            return Kind(shape, socket, record.processor, plan, head_of(client, socket, record.task, shape))
        return None

    # -- the books -------------------------------------------------------------------
    def settle(self) -> None:
        """Look whether anything goes on, once all is written."""
        if self._log.size and not self._ended:
            self._log.clear()
        self.calm = self._clock.quiet

    def interrupt(self) -> bool:
        """Have calls that came alone be as any others: something else comes in; whether some were booked."""
        self.calm, self._kind = False, None
        self._local.let_go()
        some = bool(self._ended)
        if some:
            self._book()
        run, self._running = self._running, None
        if run is not None:
            self._join(run)
        return some

    def _write(self) -> None:
        """Book what has ended."""
        self.calm = False
        self._book()
        self._clock.commit()

    def _book(self) -> None:
        ended, self._ended = self._ended, []
        for _, some in groupby(ended, _alike):
            self._book_alike(list(some))
        self._core.suspects.end()

    def _book_alike(self, some: list[Lone]) -> None:
        core, first = self._core, some[0]
        parts = [run.part for run in some if run.part is not None]
        ids = range(first.request, first.request + len(some))
        columns = [[run.item.columns[at][0] for run in some] for at in range(len(first.item.columns))]
        item = replace(first.item, frames=len(some), columns=columns)
        core.now = first.at
        self._logs.booked(first.client.id, some[-1].item.first)
        self._rpc.book(first.client.id, item, ids)
        lot = core.jobs.peek(ids[0])
        assert isinstance(lot, JobLot)
        lot.times = [run.at for run in some], [run.ended for run in some]
        lots.begun(core, lot, ids)
        for run, part in zip(some, parts, strict=True):
            self._statistics.ran(lot.socket, "local", part.pid, part.seconds, part.started, run.at)
        core.now = some[-1].ended
        started, seconds = [part.started[0] for part in parts], [part.seconds[0] for part in parts]
        values, types = [part.values[0] for part in parts], [part.types[0] for part in parts]
        attempts, slot, pid = [1] * len(some), parts[0].slot, parts[0].pid
        lots.take(core, Block(ids, attempts, values, types, started, seconds, slot, pid), lambda *_: None)

    def _join(self, run: Lone) -> None:
        """Have one that runs be known to run."""
        core, ids = self._core, range(run.request, run.request + 1)
        core.now = run.at
        self._logs.taken(run.client.id, run.item.first)
        self._rpc.submit(run.client, run.item, ids)
        lot = core.jobs.peek(run.request)
        assert isinstance(lot, JobLot)
        lots.begun(core, lot, ids)
        if run.begun is not None:
            core.started(run.request, 1, *run.begun)
        core.now = time.time()
        self._clock.schedule()

    def _look(self) -> None:
        """Book what has waited long enough, and take what was logged by who did not see that it is to ring."""
        self._timer = None
        self._local.let_go()
        run, now = self._running, self._loop.time()
        if run is not None and now - run.since >= LOOK_SECONDS:
            self.interrupt()
            self._clock.schedule()
        elif self._ended:
            first, last = self._ended[0].since, self._ended[-1].since
            if now - last >= LOOK_SECONDS or now - first >= BOOK_SECONDS:
                self._write()
        if self._running is not None or self._ended:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        if self._logs.news:
            self._clock.rouse()
