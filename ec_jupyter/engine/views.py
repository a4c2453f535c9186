"""The questions a client may ask, by name. Read-only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from ec_jupyter.engine import log_lines, looks, requests, story, waits
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.counts import Counts
from ec_jupyter.engine.member import Members
from ec_jupyter.engine.parts import Answer
from ec_jupyter.engine.schedules import Schedules
from ec_jupyter.engine.statistics import Statistics
from ec_jupyter.errors import FrameError, SocketNotFoundError, by_name
from ec_jupyter.flow.placement import caps
from ec_jupyter.flow.schedule import named
from ec_jupyter.wire import Header, unpacked


class Views:
    """Answers questions."""

    def __init__(
        self, core: Core, members: Members, counts: Counts, statistics: Statistics, schedules: Schedules
    ) -> None:
        self._core, self._members, self._counts, self._statistics = core, members, counts, statistics
        self._schedules = schedules

    def find(self, what: str) -> Callable[[Header], Answer]:
        """Who answers a kind of question. Raises FrameError: there is no such kind."""
        if what in _OF_CORE:
            return partial(_OF_CORE[what], self._core)
        if what in _OF_RUNNING:
            return lambda header: _OF_RUNNING[what](self._core, header, self._members.running())
        if what in _OF_ALL:
            return partial(_OF_ALL[what], self)
        raise FrameError(f"no query is called {what!r}")

    def request(self, key: int) -> dict[str, Any] | None:
        """What is known of one request; None where there is none."""
        rows = unpacked(self.find("requests")({"ids": [key], "limit": 1})[0])
        return rows[0] if rows else None

    def schedules(self, header: Header) -> Answer:
        """When each schedule ticks next."""
        names, times = named(self._core.topology), self._schedules.times
        return {"next": {name: times[one.id] for name, one in names.items() if one.id in times}}, []

    def tree(self, header: Header) -> Answer:
        """Nodes > agents > workers > processors > sockets > task > arguments."""
        wiring = self._core.topology
        pools: dict[str, list[dict[str, Any]]] = {name: [] for name in wiring.processors}
        for s in wiring.sockets.values():
            if not s.parked:
                task = wiring.tasks[s.task]
                stale = {"stale": " ".join(s.stale)} if s.stale else {}
                facts = {"socket": s.name, "task": f"v{task.version}", **stale, "arguments": task.arguments}
                pools[s.processor].append(facts)
        shares = {name: caps(processor, self._members.lent()) for name, processor in wiring.processors.items()}
        nodes = []
        for node in self._members.facts():
            name = node["name"]
            workers = [
                {"worker": p, "processor": p, "cpus": shares[p][name], "sockets": sockets}
                for p, sockets in pools.items()
                if name in shares[p]
            ]
            nodes.append({"node": name, "cpus": node["cpus"], "agents": [{"agent": name, "workers": workers}]})
        return {"nodes": nodes}, []


def versions(core: Core, header: Header) -> Answer:
    """Versions of a socket's task, oldest first."""
    rows = core.store.rows("versions", (by_name(core.topology.names, header["socket"], SocketNotFoundError),))
    return {"rows": [json.loads(record) | {"created": created} for record, created in rows]}, []


def run(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """State of a run: how many of its party's requests are in which state, and what waits."""
    party = requests.party_of(core, header["id"])
    states = Counter(dict(core.store.rows("party_states", {"party": party})))
    # on disk they are queued here, and at another node they run, until they have ended
    busy = states["queued"] + states["running"]
    runs = min(busy, sum(job is not None and job.party == party for job in map(core.jobs.get, running)))
    states.update(queued=busy - runs - states["queued"], running=runs - states["running"])
    return {**story.run_state(core, party, +states), "party": party}, []


_OF_CORE: dict[str, Callable[[Core, Header], Answer]] = {
    "arguments": requests.arguments, "task": requests.task, "result": requests.result, "results": requests.results,
    "beside": looks.beside, "output": requests.output, "attempts": requests.attempts, "waiting": waits.waiting,
    "value": waits.value, "versions": versions, "runs": story.runs, "began": story.began,
    "log": log_lines.lines,
}  # fmt: skip
# questions about requests of which some run at the moment
_OF_RUNNING: dict[str, Callable[[Core, Header, dict[int, float]], Answer]] = {
    "requests": requests.requests, "run": run, "lineage": requests.lineage, "way": story.way, "spans": story.spans,
    "past": story.past,
}  # fmt: skip
_OF_ALL: dict[str, Callable[[Views, Header], Answer]] = {
    "tree": Views.tree, "schedules": Views.schedules,
    "counts": lambda views, header: (views._counts.now(asked=True), []),
    "rates": lambda views, header: ({"sockets": views._statistics.minute()}, []),
    "statistics": lambda views, header: (views._statistics.answer(header), []),
    "wiring": lambda views, header: story.wiring(views._core, views._counts, header),
}  # fmt: skip
