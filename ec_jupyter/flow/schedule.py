"""Schedules: when they tick, which of the ticks that are due make calls, and what an edit means for them. Pure.

Notes
-----
The times of a cron line are `cronsim`'s, which has the rules of Debian's cron for daylight saving: a tick in an hour
that is left out comes right after it, one in an hour that comes twice comes once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from itertools import islice, takewhile

from ec_jupyter.errors import DeclarationError, ScheduleNotFoundError, by_name
from ec_jupyter.flow.draft import Change, Draft
from ec_jupyter.flow.options import checked_name
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Schedule

MISSED = ("once", "all", "skip")
"""What becomes of ticks in whose time no engine ran: one call makes up for all, each has its own, or none has."""

LATE = 10.0  # seconds by which a tick may be late that was not missed
MOST = 1_000  # of missed ticks so many calls are made, the newest


def first(schedule: Schedule, after: float, zone: tzinfo) -> float:
    """The first tick after a time, by the wall clock."""
    if schedule.every is not None:
        n = max(1, math.floor((after - schedule.since) / schedule.every))
        while schedule.since + n * schedule.every <= after:
            n += 1
        return schedule.since + n * schedule.every
    from cronsim import CronSim

    # of an hour that comes twice the second time is asked for as well
    return next(t for t in map(datetime.timestamp, CronSim(schedule.cron or "", _clock(after, zone))) if t > after)


def ticks(schedule: Schedule, due: float, now: float, zone: tzinfo) -> tuple[list[float], int, float]:
    """The ticks that make a call each, oldest first, how many do not, and when the next one is.

    `due`: its oldest tick that has not been handled. `now`: the time, at or after that. `zone`: where its cron line is.
    """
    following = first(schedule, now, zone)
    known = list(islice(takewhile(lambda tick: tick >= due, _back(schedule, now, zone)), MOST))
    # a clock that was set, or a zone whose rules have changed: the tick that was told is one
    known = known or [due]
    if schedule.missed == "all":
        made = known[::-1]
    elif schedule.missed == "once" or now - known[0] <= LATE:
        made = known[:1]
    else:
        made = []
    return made, len(known) - len(made), following


def _back(schedule: Schedule, now: float, zone: tzinfo) -> Iterator[float]:
    """Ticks up to a time, newest first."""
    if schedule.every is not None:
        for n in range(math.floor((now - schedule.since) / schedule.every), 0, -1):
            yield schedule.since + n * schedule.every
        return
    from cronsim import CronSim

    before, start = math.inf, math.floor(now) + 1.0
    while True:
        tick = next(CronSim(schedule.cron or "", _clock(start, zone), reverse=True)).timestamp()
        if tick < min(before, math.floor(now) + 1):
            yield tick
            before = start = tick
        else:
            # it stands for one in an hour that was left out
            start -= 60.0


def _clock(moment: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(math.floor(moment), zone)


def text(schedule: Schedule) -> str:
    """When it ticks, in words: ``every 5m``, ``cron 0 6 * * 1-5 Europe/Berlin``, ``every 5m, paused``."""
    paused = ", paused" if schedule.paused else ""
    if schedule.every is None:
        return " ".join(filter(None, ("cron", schedule.cron, schedule.zone))) + paused
    left, parts = timedelta(seconds=schedule.every), []
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        n, left = divmod(left, size)
        parts += [f"{n}{unit}"] if n else []
    parts += [f"{left.total_seconds():g}s"] if left else []
    return f"every {''.join(parts)}{paused}"


def lacking(topology: Topology, socket: int) -> str | None:
    """Why a call without arguments could never start; None where it can."""
    record = topology.sockets[socket]
    needed = " and ".join([repr(name) for name in topology.needs(socket) if name not in record.hold])
    return f"{record.name!r} needs {needed}; give them defaults, or fix them with flow.fix" if needed else None


# -- edits ---------------------------------------------------------------------
def schedule(draft: Draft, change: Change) -> None:
    """Make a schedule, or change the one of that name."""
    socket = draft.socket(change["socket"])
    name = checked_name("schedule", change.get("name") or socket.name)
    every, cron = change.get("every"), change.get("cron")
    if (every is None) == (cron is None):
        raise DeclarationError(f"schedule {name!r}: one of every= and cron= says when it ticks")
    if change.get("zone") is not None and cron is None:
        raise DeclarationError(f"schedule {name!r}: zone= goes with cron=; a period is the same everywhere")
    why = lacking(draft.topology, socket.id)
    if why is not None:
        raise DeclarationError(f"schedule {name!r}: a tick brings no arguments, and {why}")
    old = named(draft.topology).get(name)
    key, since = (old.id, old.since) if old else (draft.new_id(), change.get("since", 0.0))
    missed, paused = change.get("missed") or "once", bool(change.get("paused"))
    made = Schedule(key, name, socket.id, every, cron, change.get("zone"), missed, since, paused)
    if old is not None and replace(old, missed=missed, paused=paused) != made:
        made = replace(made, since=change.get("since", 0.0))
    draft.put("schedule", key, made)
    draft.says.append(f"schedule {name}: {text(made)}")


def unschedule(draft: Draft, change: Change) -> None:
    """Take a schedule away."""
    found = by_name(named(draft.topology), change["name"], ScheduleNotFoundError)
    draft.put("schedule", found.id, None)
    draft.says.append(f"unschedule {found.name}")


def drop(draft: Draft, socket: int) -> None:
    """Take the schedules of a socket away that goes."""
    for found in list(draft.topology.schedules.values()):
        if found.socket == socket:
            draft.put("schedule", found.id, None)


def named(topology: Topology) -> dict[str, Schedule]:
    """Schedules by name."""
    return {found.name: found for found in topology.schedules.values()}
