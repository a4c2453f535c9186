"""The engine: one loop that takes frames and outcomes in, commits, and lets the results out.

A tick is: whatever came in since the last one, one commit, then replies, pushes and the calls
that may start. Nothing polls; what piles up while a commit runs is the next tick.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ec_jupyter.engine import missed, open_lots, recovery, result_log
from ec_jupyter.engine.callbacks import Callbacks
from ec_jupyter.engine.clients import Clients
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.counts import Counts
from ec_jupyter.engine.decided import settle
from ec_jupyter.engine.disk import Disk
from ec_jupyter.engine.editing import Editor
from ec_jupyter.engine.fleet import Fleet, Opener, open_node
from ec_jupyter.engine.folder import DATABASE
from ec_jupyter.engine.lone import LoneCalls
from ec_jupyter.engine.open_lots import STEP
from ec_jupyter.engine.quarantine import Quarantine
from ec_jupyter.engine.questions import Questions
from ec_jupyter.engine.reports import Reports
from ec_jupyter.engine.retention import Retention
from ec_jupyter.engine.rpc import Rpc
from ec_jupyter.engine.runtime import Runtime
from ec_jupyter.engine.schedules import Schedules
from ec_jupyter.engine.statistics import Statistics
from ec_jupyter.engine.store import Store
from ec_jupyter.engine.submit_log import SubmitLogs
from ec_jupyter.engine.suspects import REQUEST, Suspects
from ec_jupyter.engine.turns import Ticks
from ec_jupyter.engine.value_preview import ValuePreview
from ec_jupyter.engine.views import Views
from ec_jupyter.errors import EcError, StoreError, StoreLostError, to_wire
from ec_jupyter.model import LOCAL
from ec_jupyter.nodes.agents import Home
from ec_jupyter.nodes.local.agent import Agent

log = logging.getLogger(__name__)

BUSY_ROWS = 16  # where a commit has so many, more is coming:
GATHER_SECONDS = 0.001  # the next one begins no sooner than so long after it began
SOON_SECONDS = 0.002  # how long what a client waits for may wait for its results, to be written with them
LOOK_SECONDS = 1.0  # between looks at whether the folder and the sockets are where they were
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # what a connection may have to wait for
CROWDED_SECONDS = 0.5  # between two looks whether workers can give files back
SHRINK_SECONDS = 0.02  # between two steps in which an idle flow's database gets smaller
CLOCK_SECONDS = 1.0  # by which the wall clock may move by itself, by the look
RETRY_STORE = 1.0  # seconds between tries to write to a disk that was full


def _ahead() -> float:
    """By how much the wall clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()


def _each(waiting: list[Callable[[], object]]) -> None:
    """Do what has gathered; what that asks for gathers anew."""
    gathered = waiting.copy()
    waiting.clear()
    for act in gathered:
        act()


def _reopen(store: Store) -> tuple[Core, Quarantine]:
    try:
        open_lots.read_back(store)
        result_log.read_back(store)
        suspects = Suspects(store)
        quarantine = Quarantine(store, suspects)
        core = recovery.reopen(store, f"{sys.version_info[0]}.{sys.version_info[1]}", suspects)
        core.side_calls.refused = quarantine.refused
        return core, quarantine
    except sqlite3.Error as error:
        raise store.explain(error) from error


class Engine(Reports):
    """Runs one flow; leaves `linger` seconds after the last client, when nothing is to be done."""

    stalled: StoreError | None = None
    lost: StoreLostError | None = None
    broken = _wanted = _gathering = _seeing = False
    _crowded = _ripe = 0.0
    _alarm: asyncio.TimerHandle | None = None
    _retry: asyncio.TimerHandle | None = None
    _lingering: asyncio.TimerHandle | None = None
    _again: asyncio.TimerHandle | None = None
    _looking: asyncio.Task[None] | None = None

    def __init__(
        self, folder: Path, workdir: Path, cpus: int, durability: str = "process", linger: float = 60.0,
        opener: Opener = open_node, alone: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self.folder, self.cpus, self.linger = folder, cpus, linger
        self._ticks = Ticks(alone, self._tick, self.unhandled)
        self.rouse, self.heard = self._ticks.rouse, self._ticks.heard
        self.store, self.runtime = Store(folder, durability), Runtime(folder)
        runtime = self.runtime.folder
        self.core, self.quarantine = _reopen(self.store)
        home = Home(self.store.meta["flow"], folder, runtime, workdir, self.core.epoch, durability == "power")
        local = self._local = Agent(
            self, name=LOCAL, cpus=cpus, folder=folder, runtime=runtime, epoch=home.epoch, workdir=workdir,
            sync=home.sync, shared=True, heard=self.heard,
        )  # fmt: skip
        self.submit_logs = SubmitLogs(self.core, self)
        self.clients = Clients(self.core, self.store, self, self.submit_logs)
        self.fleet = Fleet(self.core, self.quarantine, self, self.clients, self, local, home, opener)
        self.preview = ValuePreview(self.core, self.fleet.locator, folder, runtime, workdir)
        self.statistics = Statistics(self.core, self.fleet.members)
        self.questions = Questions(self.core)
        self.schedules = Schedules(self.core, self.fleet.bounds.full)
        self._clocks = _ahead()
        self.counts = counts = Counts(self.core, self.fleet, self.quarantine, lambda: self.idle, Disk(folder).size)
        views = Views(self.core, self.fleet.members, counts, self.statistics, self.schedules)
        self.callbacks = Callbacks(self.core, self, self.clients.watchers, views.request)
        self.retention = Retention(self.core, self.callbacks)
        self._rpc = Rpc(
            self.core, self, self.clients, self.fleet, Editor(self.core, self.fleet, self, self.clients, cpus), counts,
            views, self.preview, self.submit_logs, cpus, self.callbacks, self.retention,
        )  # fmt: skip
        self.results = result_log.ResultLog(folder)
        self.submit_logs.submit = self._rpc.submit
        self.lone = LoneCalls(self.core, self, self.submit_logs, self.results, self._rpc, local, self.statistics)
        self.rung, self.interrupt = self.lone.rung, self.lone.interrupt
        self._tells_early = durability != "power"
        self.stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._effects, self._looks = list[Callable[[], object]](), list[Callable[[], object]]()

    async def start(self) -> None:
        """Read the flow and begin to work on it."""
        await self.fleet.start()
        await self.preview.start()
        self.core.now = time.time()
        missed.resume(self.core)
        self.submit_logs.read_all()
        self.core.values.sweep((), self.core.epoch, frozenset(self.submit_logs.last))
        self.fleet.begin()
        self.clients.watchers.ask(self.callbacks, list(self.callbacks.kept))
        self._looking = self._loop.create_task(self._look_after())
        self.schedule()

    async def listen(self) -> None:
        """Begin to take connections."""
        await self.clients.listen(self._rpc.serve, self.counts, self.runtime.folder)

    async def close(self) -> None:
        """Write what is left, end the workers and let go of the flow."""
        self.closing = True
        self.interrupt()
        if self._looking is not None:
            self._looking.cancel()
        self.callbacks.close()
        await self.fleet.close()
        await self.preview.agent.close()
        if not self.broken:
            self.statistics.save(surely=True)
            self.commit()
            # whoever reads the database of a flow that is stopped finds each request
            self.store.before_reading(True)
        self.runtime.close()
        if self.lost is None:
            # else SQLite would remove a log by its name, and that name may be another flow's by now
            self.store.close()

    def unhandled(self, context: dict[str, Any]) -> None:
        """Handle an uncaught error: a defect, or a connection that finds no room, which asyncio tries again."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in NO_ROOM and "socket" in context:
            # asyncio says so up to a hundred times in a row
            if self._loop.time() > self._crowded:
                self._crowded = self._loop.time() + CROWDED_SECONDS
                log.warning("a connection has to wait: %s", error)
                self._local.handles.free()  # of workers that have nothing to do
        else:
            self.fall(context)

    def fall(self, context: dict[str, Any]) -> None:
        """End at a defect of ours: the next engine starts from what is on disk, which is whole."""
        log.critical("%s", context.get("message"), exc_info=context.get("exception"))
        self.core.suspects.fell(context.get("exception"))
        self.broken = True
        self.stopped.set()

    # -- its folder ----------------------------------------------------------
    def look_around(self, *, surely: bool = False) -> bool:
        """Whether the flow is where it was; the engine ends where it is not, and keeps nothing more."""
        if self.lost is None and (missing := self.store.hold.missing(surely=surely)):
            self.lost = self.store.hold.lost() if DATABASE in missing else self._mend(missing)
            if self.lost is not None:
                log.critical("%s", self.lost)
                self.broken = True
                self.stopped.set()
        return self.lost is None

    def _mend(self, missing: list[str]) -> StoreLostError | None:
        """Make anew what is missing beside the database; why it cannot be, else None."""
        what = f"{' and '.join(missing)} in {self.folder}"
        try:
            self.store.mend()
        except sqlite3.Error as error:
            return StoreLostError(f"somebody removed or replaced {what}, which cannot be made anew ({error})")
        text = f"somebody removed or replaced {what}; that is made anew, and nothing is lost"
        log.warning("%s", text)
        self.clients.notice(text)
        return None

    async def _look_after(self) -> None:
        """See each second that the flow is where it was, and make anew what others have removed."""
        commits = 0
        while self.look_around(surely=True):
            try:
                self.store.hold.renew()
                if self.results.lost:
                    self.interrupt()
                    self.commit()
                    self.results.open()
                if not self.runtime.there:
                    old, self.runtime = self.runtime, Runtime(self.folder)
                    old.close()
                await self._local.look_after(self.runtime.folder)
                await self.preview.agent.look_after(self.runtime.folder)
                if not self.clients.found:
                    await self.listen()
            except (OSError, EcError) as error:
                # no room on the disk, say: the next look may find some
                log.warning("the engine's sockets cannot be made anew: %s", error)
            self._look_at_clock()
            self.submit_logs.look_again(self.clients.ids)
            self.statistics.look()
            if self.stalled is None and self.statistics.save():
                self.schedule()
            if self.stalled is None and not self.idle and self.retention.wanted:
                self.look(self.retention.due)
            if commits == self.core.journal.position[0]:
                await self._rest(commits)
            commits = self.core.journal.position[0]
            await asyncio.sleep(LOOK_SECONDS)

    async def _rest(self, commits: int) -> None:
        """Do what is put off, now that nothing has been written for a second: it is in the way of no burst."""
        self.store.rest()
        while (
            self.stalled is None
            and self.idle
            and commits == self.core.journal.position[0]
            and (
                self.core.journal.lots.spread_ended(STEP)
                or self.retention.due()
                or self.store.shrink(alone=not self.clients.count)
            )
        ):
            await asyncio.sleep(SHRINK_SECONDS)

    # -- the tick ------------------------------------------------------------
    def schedule(self) -> None:
        """Let a tick, which ends with a commit, follow what has come in by now."""
        self.interrupt()
        self._wanted = True
        self.rouse()

    def after(self, effect: Callable[[], None]) -> None:
        """Do something that others can see, once what was decided is on disk."""
        self._effects.append(effect)
        if not self._seeing:
            self.schedule()

    def look(self, effect: Callable[[], object]) -> None:
        """Do what changes nothing: once this tick is on disk, or at once where it cannot be written."""
        if self.stalled is not None:
            effect()
            return
        self._looks.append(effect)
        self.schedule()

    def see(self, effect: Callable[[], None]) -> None:
        """As `look`, of what answers a client and asks for nothing: at once where nothing is to be written or told."""
        waits = self._wanted or self._effects or self._looks or self.core.ended or not self.core.journal.empty
        if waits or self.stalled is not None or self.closing or self.broken or not self.look_around():
            self.look(effect)
            return
        self._seeing = True
        try:
            effect()
        finally:
            self._seeing = False
        _each(self._effects)
        self.lone.settle()

    def _tick(self) -> None:
        if not self._wanted and self.lone.take():
            self._ticks.due = False
            return
        self.interrupt()
        self.core.now = time.time()
        self.submit_logs.wake()
        going = self.stalled is None and not self.broken
        together = going and self._take_in()
        # what that has asked for is of this tick
        self._ticks.due = self._wanted = False
        if together and not self._gathering:
            self._gathering, self._ripe = True, self._loop.time() + SOON_SECONDS
        elif going and not together:
            self.commit()
        busy = self._loop.time() < self._ticks.not_before
        if (self.submit_logs.rest(busy=busy) or together) and self._again is None:
            self._again = self._loop.call_later(SOON_SECONDS, self._look_again)

    def _take_in(self) -> bool:
        """Take what clients have logged; what may start then is on disk: in the database, or in those logs.

        Returns bool: all of it has started as far as it can, and its clients wait for the results: it may be written
        with these.
        """
        wanted, logged = self._wanted, self.core.journal.empty or (self._gathering and not self._wanted)
        watched = self.submit_logs.look()
        if not logged or self.core.journal.empty or self.closing:
            return False
        # what starts elsewhere, or must not start twice, is on disk first
        return self.fleet.starts.here() and watched and not wanted

    def _look_again(self) -> None:
        """Write what has waited long enough for its results; take what was logged by who did not see it is to ring."""
        self._again = None
        if self._gathering and self._loop.time() < self._ripe:
            self._again = self._loop.call_at(self._ripe, self._look_again)
        elif self._gathering:
            self.schedule()
        if self.stalled is None and self.submit_logs.news:
            self.rouse()

    def commit(self) -> None:
        """Write the journal; then let effects out and start what may start."""
        self._gathering = False
        try:
            self.fleet.bounds.trim()
            settle(self.core)
            self.callbacks.before_commit()
            began, busy = self._loop.time(), self.core.journal.position[1] >= BUSY_ROWS
            self.core.journal.commit()
        except sqlite3.OperationalError as error:
            self.stall(error)
            return
        except Exception:
            # a defect of ours, over which the engine ends: the next one is told which request it was
            request = self.core.journal.culprit()
            if request is not None:
                self.core.suspects.begin(REQUEST, request)
            raise
        if not self.look_around():
            # written where nobody will find it: nobody is told
            return
        self._ticks.not_before = began + GATHER_SECONDS if busy else 0.0
        self.core.submitted.clear()
        if self.stalled is not None:
            self.stalled = None
            self.clients.notice(f"the flow in {self.folder} can be written again and goes on", stalled="")
            self.rouse()
        # workers first: an answer would wake its client, which then wants a CPU too
        self.pump()
        self.fleet.bounds.let_in()
        self.clients.committed()
        _each(self._effects)
        _each(self._looks)
        # what was seen goes out now, not with another tick: it promises nothing
        _each(self._effects)
        if not self.core.journal.empty:
            # what was fetched from disk may have completed joins
            self.schedule()
        self._set_alarm()
        self._look_idle()
        self.lone.settle()

    @property
    def quiet(self) -> bool:
        """Nothing is going on, and nothing is to be written or told; what came alone is not counted."""
        core = self.core
        return not (
            core.held or not self._tells_early or self.stalled is not None or self.closing or self.broken
            or self._effects or self._looks or not core.journal.empty or core.suspects.exact or self.fleet.troubles
            or self.quarantine.calls or self.preview.newest.watched or core.evaluation.busy or self.stopped.is_set()
            or any(lane.members or lane.spilled for lane in core.dispatch.lanes.values())
        )  # fmt: skip

    def stall(self, error: sqlite3.Error) -> None:
        """The disk takes nothing: hold what is decided, refuse new work, try again each second."""
        new, self.stalled = self.stalled is None, self.store.explain(error)
        if new:
            log.error("%s", self.stalled)
            self.clients.refuse(self.stalled)
            self.clients.notice(str(self.stalled), stalled=str(self.stalled), error=to_wire(self.stalled))
        _each(self._looks)
        if not self.closing and (new or self._retry is None or self._retry.when() <= self._loop.time()):
            self._retry = self._loop.call_later(RETRY_STORE, self.commit)

    def pump(self) -> None:
        """Give the nodes what may start now."""
        if not self.closing and self.stalled is None:
            self.fleet.pump()

    # -- time ----------------------------------------------------------------
    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        core = self.core
        asked = core.expiry, self.questions, self.schedules, self.fleet.bounds
        times = [*core.delayed.values(), *(at for one in asked for at in one.next)]
        if times:
            self._alarm = self._loop.call_later(max(0.0, min(times) - time.monotonic()), self._due)

    def _due(self) -> None:
        self.interrupt()
        now = time.monotonic()
        for request in [r for r, at in self.core.delayed.items() if at <= now]:
            self.core.due(request)
        self.core.now = time.time()
        self.core.expiry.due(now)
        self.questions.due(now)
        self.schedules.due(self.core.now)
        self.schedule()

    def _look_at_clock(self) -> None:
        """Follow a wall clock that was set, or has gone on while the machine slept."""
        if abs(_ahead() - self._clocks) > CLOCK_SECONDS:
            self._clocks = _ahead()
            self.core.clock_set()
            self.questions.clock_set()
            self.schedules.clock_set()
            self._due()

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing is queued that may start."""
        core = self.core
        if core.held or core.delayed or core.evaluation.busy or self.fleet.locator.busy:
            return False
        busy = (s for s, lane in core.dispatch.lanes.items() if lane.members or lane.spilled)
        return not any((core.startable(s) and s not in self.fleet.bounds.held) or core.sleeps(s) for s in busy)

    def _look_idle(self) -> None:
        if self.clients.count or self.schedules.live or self.callbacks.live or not self.idle:
            if self._lingering is not None:
                self._lingering.cancel()
                self._lingering = None
        elif self._lingering is None:
            self._lingering = self._loop.call_later(self.linger, self._leave)

    def _leave(self) -> None:
        if not (self.clients.count or self.schedules.live or self.callbacks.live) and self.idle:
            log.info("nothing to do and nobody here for %g s", self.linger)
            self.stopped.set()
