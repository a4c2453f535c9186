"""The wiring and the numbers on it, as pictures and tables show them. Read-only."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from ec_jupyter.engine import asides
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.disk import Sizes
from ec_jupyter.engine.fleet import Fleet
from ec_jupyter.engine.job import Job
from ec_jupyter.engine.quarantine import Quarantine
from ec_jupyter.engine.waits import Gaps
from ec_jupyter.flow.rows import plug_row, processor_row, schedule_row, socket_row
from ec_jupyter.flow.states import ASKED, DELAYED, STATES
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug, Socket

_NUMBERS = ("used", "others", "round_trip", "memory", "since")

LIST_SHARE = 20  # lists of which nothing has come are counted at most this part of the time

Rows = dict[tuple[str, int], tuple[tuple[Any, ...], dict[str, Any]]]


class Counts:
    """The wiring and the numbers as of now; `size`, bytes of files by kind, is as of a while ago."""

    def __init__(
        self, core: Core, fleet: Fleet, quarantine: Quarantine, idle: Callable[[], bool],
        size: Callable[[], Sizes | None],
    ) -> None:  # fmt: skip
        self._core, self._fleet, self._quarantine, self._idle = core, fleet, quarantine, idle
        self._size = size
        self.lists = EmptyLists()  # lists of which nothing has come
        # rows of sockets and plugs as they were shown last, with what they were made of
        self._rows: Rows = {}

    def topology(self, wiring: Topology | None = None) -> dict[str, Any]:
        """A wiring, or that in force, as clients show it; rows that have not changed since are the very same."""
        wiring, core, rows = wiring or self._core.topology, self._core, self._rows
        names = {s.id: s.name for s in wiring.sockets.values()}
        there = [s for s in wiring.sockets.values() if not s.parked]
        return {
            "revision": wiring.revision,
            "processors": {p.name: processor_row(p) for p in wiring.processors.values()},
            "sockets": {s.name: _socket_row(wiring, core.python, s, rows) for s in there},
            "plugs": [_plug_row(p, names, rows) for p in wiring.live],
            "nodes": [_node_row(facts) for facts in self._fleet.members.facts()],
            "notes": [{"id": n.id, "text": n.text, "place": list(n.place)} for n in wiring.notes.values()],
            "schedules": [schedule_row(one, names[one.socket]) for one in wiring.schedules.values()],
        }

    def now(self, *, asked: bool = False) -> dict[str, Any]:
        """Requests by state and socket, what waits at arguments and plugs, what processors and nodes are doing.

        Where somebody has `asked`, all of it is as of now; what is told unasked may have lists as of a while ago.
        """
        core = self._core
        jobs = [core.jobs[request] for request in self._fleet.members.running() if request in core.jobs]
        running = Counter(job.socket for job in jobs)
        progress = _progress(jobs)
        arrived, on_the_way = _arrived(core)
        lists, aside = self.lists.count(core, anew=asked), asides.shown(core)
        delayed = delays(core)
        sockets = {}
        for socket in core.topology.sockets.values():
            if not socket.parked:
                counter = core.states.counts.get(socket.id, Counter())
                row: dict[str, Any] = {state: counter.get(state, 0) for state in STATES}
                row["running"] = running[socket.id]
                row["queued"] = max(0, row["queued"] - running[socket.id])
                row[ASKED] = row["queued"] if socket.id in core.topology.asking else 0
                row[DELAYED] = row["queued"] if socket.id in core.topology.sleeping else delayed[socket.id]
                row["queued"] -= row[ASKED] + row[DELAYED]
                row["arrived"] = arrived.get(socket.id, {})
                row["progress"] = progress.get(socket.id)
                row["lists"] = lists.get(socket.id, {})
                row["aside"] = asides.of_socket(core, socket.id, aside)
                sockets[socket.name] = row
        return {
            "time": time.time(), "sockets": sockets, "plugs": on_the_way,
            "processors": _pools(core, sockets, jobs, self._fleet.troubles),
            "nodes": self._nodes(jobs), "idle": self._idle(), "aside": aside,
            "alone": self._quarantine.shown(), "size": self._size(),
        }  # fmt: skip

    def _nodes(self, jobs: list[Job]) -> list[dict[str, Any]]:
        used: dict[str, float] = defaultdict(int)
        for (node, number), calls in Counter((job.node, job.socket) for job in jobs).items():
            socket = self._core.topology.sockets[number]
            used[node] += socket.threads * socket.workers(calls)
        facts = [{key: value for key, value in row.items() if key != "spec"} for row in self._fleet.members.facts()]
        return [{**row, "used": used[row["name"]]} for row in facts]


def _kept(rows: Rows, key: tuple[str, int], made_of: tuple[Any, ...], make: Callable[[], dict[str, Any]]) -> Any:
    """The row that was made of the very same, else a new one; records are never changed, only replaced."""
    known = rows.get(key)
    # tuples are equal where their parts are the same objects, without a look into those
    if known is None or known[0] != made_of:
        known = rows[key] = made_of, make()
    return known[1]


def _plug_row(plug: Plug, names: dict[int, str], rows: Rows) -> Any:
    made_of = plug, names[plug.source], names[plug.target]
    return _kept(rows, ("plug", plug.id), made_of, lambda: plug_row(*made_of))


def _socket_row(wiring: Topology, python: str, socket: Socket, rows: Rows) -> Any:
    made_of = socket, wiring.tasks[socket.task], wiring.needed[socket.id], python
    return _kept(rows, ("socket", socket.id), made_of, lambda: socket_row(wiring, socket, python))


def _node_row(facts: dict[str, Any]) -> dict[str, Any]:
    """A node without what changes from one look to the next."""
    return {key: value for key, value in facts.items() if key not in _NUMBERS}


class EmptyLists:
    """How many lists are awaited of which nothing has come, as the calls that should have made their elements failed.

    To count them is to look at every failed call ahead of a list, so that it is not done each time.
    """

    def __init__(self) -> None:
        self._table: dict[int, dict[str, int]] = {}
        self._next = 0.0
        # monotonic clock at which what was told last is to be counted anew; None where it was counted just then
        self.due: float | None = None

    def count(self, core: Core, *, anew: bool = False) -> dict[int, dict[str, int]]:
        """By socket and argument; as of a while ago, where there are very many failed calls."""
        began = time.monotonic()
        self.due = self._next if began < self._next and not anew else None
        if self.due is None:
            self._table = self._counted(core)
            ended = time.monotonic()
            self._next = ended + LIST_SHARE * (ended - began)
        return self._table

    @staticmethod
    def _counted(core: Core) -> dict[int, dict[str, int]]:
        table: dict[int, dict[str, int]] = {}
        if not any(counter["failed"] or counter["cancelled"] for counter in core.states.counts.values()):
            return table
        gaps = Gaps(core)
        for party in core.joins.standing.parties():
            for socket in gaps.sockets(party):
                for gap in gaps.of(party, socket):
                    if not gap.begun:
                        port = table.setdefault(socket, {})
                        port[gap.argument] = port.get(gap.argument, 0) + 1
        return table


def _progress(jobs: list[Job]) -> dict[int, dict[str, Any]]:
    """How far the running calls of each socket are, together, where they say so.

    ``calls`` of them say it; `done` and `total` are sums over those that know their total, and `text` is one's.
    `total` is None where none knows it, and `done` the sum of all then.
    """
    said: dict[int, list[dict[str, Any]]] = {}
    for job in jobs:
        if "progress" in job.extra:
            said.setdefault(job.socket, []).append(job.extra["progress"])
    found = {}
    for socket, calls in said.items():
        known = [one for one in calls if one["total"] is not None]
        found[socket] = {
            "calls": len(calls), "done": sum(one["done"] for one in known or calls),
            "total": sum(one["total"] for one in known) if known else None,
            "text": next((one["text"] for one in calls if one["text"]), ""),
        }  # fmt: skip
    return found


def _pools(
    core: Core, sockets: dict[str, dict[str, Any]], jobs: list[Job], troubles: dict[str, str]
) -> dict[str, dict[str, Any]]:
    pools: dict[str, dict[str, Any]] = {}
    for p in core.topology.processors.values():
        mine = {s.id: s.name for s in core.topology.sockets.values() if s.processor == p.name and not s.parked}
        pools[p.name] = {
            "cpus": p.cpus, "paused": p.paused, "running": sum(sockets[name]["running"] for name in mine.values()),
            "queued": sum(sockets[name]["queued"] for name in mine.values()), "trouble": troubles.get(p.name),
            "workers": sum(core.topology.sockets[n].workers(sockets[name]["running"]) for n, name in mine.items()),
        }  # fmt: skip
        if p.nodes:
            there = Counter(job.node for job in jobs if job.socket in mine)
            pools[p.name]["nodes"] = {node: there[node] for node in {**p.nodes, **there}}
    return pools


def _arrived(core: Core) -> tuple[dict[int, dict[str, int]], dict[str, int]]:
    """How many values wait at each argument of each socket, and on each plug."""
    ports: dict[int, dict[str, int]] = {}
    plugs: Counter[int] = Counter(route.plug for route in core.evaluation.routes)
    for arrival in core.joins.all_waiting():
        port = ports.setdefault(arrival.socket, {})
        port[arrival.argument] = port.get(arrival.argument, 0) + 1
        if arrival.plug is not None:
            plugs[arrival.plug] += 1
    return ports, {str(plug): n for plug, n in plugs.items()}


def delays(core: Core) -> Counter[int]:
    """How many requests of each socket wait for their time."""
    found = (core.jobs.get(request) for request, at in core.delayed.items() if at < math.inf)
    return Counter(job.socket for job in found if job is not None and not job.assigned)


def leftover(core: Core) -> dict[str, int]:
    """What is left once nothing runs and nothing may start."""
    # a value that is held waits for no company
    sockets = core.topology.sockets
    arrived = sum(one.argument not in sockets[one.socket].hold for one in core.joins.all_waiting())
    failed = sum(c["failed"] for c in core.states.counts.values())
    asked = sum(core.dispatch.queued(s) for s in core.topology.asking)
    unworked = core.topology.unworked
    paused = sum(core.dispatch.queued(s) for s in core.dispatch.lanes if s not in unworked and not core.startable(s))
    return {"waiting": arrived, "failed": failed, "paused": paused} | ({ASKED: asked} if asked else {})
