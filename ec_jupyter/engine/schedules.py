"""Schedules: a tick makes a request, and moves the schedule's next time on, in one transaction.

Only the engine that holds the flow ticks, so there is no second one however many machines share the folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ec_jupyter.engine.acceptance import accept
from ec_jupyter.engine.core import Core
from ec_jupyter.flow.schedule import first, lacking, ticks
from ec_jupyter.model import Schedule

NEXT = "next:"  # how the keys of next times begin among the facts of the flow; a schedule's number follows


class Schedules:
    """The schedules of a flow. `full`: why a socket takes no further call; None where it takes one."""

    def __init__(self, core: Core, full: Callable[[int], str | None] = lambda socket: None) -> None:
        self._core, self._full = core, full
        self._known: dict[int, Schedule] = {}
        self._next: dict[int, float] = {}
        for key, schedule in self._ticking.items():
            at = core.store.meta.get(f"{NEXT}{key}")
            self._known[key] = schedule
            self._next[key] = float(at) if at else first(schedule, schedule.since, zone_of(schedule))

    @property
    def live(self) -> bool:
        """Whether something is to happen by itself."""
        return bool(self._ticking)

    @property
    def _ticking(self) -> dict[int, Schedule]:
        return {key: one for key, one in self._core.topology.schedules.items() if not one.paused}

    @property
    def times(self) -> dict[int, float]:
        """When each ticks next, by the wall clock."""
        core, there = self._core, self._ticking
        if self._known != there:
            for key in self._known.keys() - there.keys():
                del self._next[key]
                core.journal.step("drop_meta", (f"{NEXT}{key}",))
            for key, schedule in there.items():
                if self._known.get(key) != schedule:
                    # what it missed before it was declared so is nobody's
                    self._keep(key, first(schedule, time.time(), zone_of(schedule)))
            self._known = there
        return self._next

    @property
    def next(self) -> list[float]:
        """When each ticks next, by the monotonic clock."""
        ahead = time.monotonic() - time.time() if self.live or self._known else 0.0
        return [at + ahead for at in self.times.values()]

    def clock_set(self) -> None:
        """The wall clock has been set: a period does not wait for what it was set back by."""
        now = time.time()
        for key, at in self.times.items():
            every = self._known[key].every
            if every is not None and at > now + every:
                self._keep(key, now + every)

    def due(self, now: float) -> None:
        """Make the calls of ticks whose time has come, by the wall clock."""
        for key, at in list(self.times.items()):
            if at <= now:
                self._tick(self._known[key], at, now)

    def _tick(self, schedule: Schedule, due: float, now: float) -> None:
        core, zone = self._core, zone_of(schedule)
        made, left, following = ticks(schedule, due, now, zone)
        for tick in made:
            why = lacking(core.topology, schedule.socket) or self._full(schedule.socket)
            if why is not None:
                text = f"schedule {schedule.name!r}: a tick makes no call, for {why}"
                core.journal.add("add_event", (core.now, "notice", schedule.name, text))
                continue
            # whatever clocks do, one tick makes one request
            at = datetime.fromtimestamp(tick, UTC).isoformat()
            accept(core, schedule.socket, {}, f"schedule {schedule.id} {at}")
        if left:
            calls = f"{len(made)} call{'' if len(made) == 1 else 's'}"
            text = f"schedule {schedule.name!r}: {left + len(made)} ticks at a time, as no engine ran; {calls} for them"
            core.journal.add("add_event", (core.now, "notice", schedule.name, text))
        self._keep(schedule.id, following)

    def _keep(self, key: int, at: float) -> None:
        self._next[key] = at
        self._core.journal.step("put_meta", (f"{NEXT}{key}", repr(at)))


def zone_of(schedule: Schedule) -> tzinfo:
    """The time zone of a schedule: its own, or this machine's."""
    name = schedule.zone or os.environ.get("TZ", "").lstrip(":")
    try:
        if name:
            return ZoneInfo(name)
        with open("/etc/localtime", "rb") as rules:
            return ZoneInfo.from_file(rules)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return UTC
