"""What an edit does to what is under way, counted: where it goes, what stays, waits, is stranded or lost.

Before an edit it is what would become of everything; after one, what was lost is counted too, on disk.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.member import Members
from ec_jupyter.engine.rows import id_list
from ec_jupyter.flow.arrival import Arrival
from ec_jupyter.flow.draft import Touched
from ec_jupyter.flow.placement import caps
from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.tag import Path, Tag, from_text, path
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Socket

_LOST = ("dropped", "discarded", "left", "superseded")
_ENDED_BY_IT = ("cancelled", "failed", "skipped")

Facts = dict[str, Any]


class Receipt:
    """What an edit does to what is under way. `new`: the wiring that the edit makes."""

    def __init__(self, core: Core, new: Topology, touched: list[Touched], members: Members) -> None:
        self._core, self._old, self._new, self._members = core, core.topology, new, members
        self._ways: dict[tuple[int, str], bool] = {}
        # `to`: results that are there already, or come from calls under way, by the socket that they go to; `nowhere`:
        # calls under way, by the socket whose results no plug takes any more; `moved`: calls that have not begun, by
        # the socket that has another processor; `stays`: those of it that run, and end where they are; `unplaced`:
        # those that its new processor has no CPU for at present; `parked`: requests and values by the socket that is
        # gone; `held_back`: queued requests by the socket whose task asks for more; `stranded`: waiting values and
        # calls, by the socket, that nothing completes any more; `lost`
        self.facts: Facts = {"to": {}, "nowhere": {}, "moved": {}, "stays": {}, "unplaced": {}}
        self.facts |= {"parked": {}, "held_back": {}, "stranded": {}, "lost": 0}
        plugs = [(before, after) for kind, _, before, after in touched if kind == "plug"]
        sockets = [(before, after) for kind, _, before, after in touched if kind == "socket" and before and after]
        # places, names and options change nothing of what is under way
        self._matters = bool(plugs) or any(_flowing(before) != _flowing(after) for before, after in sockets)
        self._waiting = list(core.joins.all_waiting()) if self._matters else []
        self._before = {state: self._sum(state) for state in _ENDED_BY_IT}
        if not self._matters:
            return
        gone = {after.id for before, after in sockets if after.parked and not before.parked}
        self._plugs({p.source for pair in plugs for p in pair if p is not None} - gone, gone)
        self._sockets(sockets)
        self._stranded(gone)

    # -- what it says --------------------------------------------------------------
    @property
    def told(self) -> Facts:
        """The facts, with a ``text`` that tells them; empty where nothing is under way that the edit is about."""
        return self.facts | {"text": said(self.facts)}

    def settle(self) -> Facts:
        """The same once the edit is in force: what is lost is what is there no more, or has ended by it."""
        if not self._matters:
            return self.told
        core = self._core
        core.journal.commit()
        there = {arrival.id for arrival in core.joins.all_waiting()}
        gone = id_list(arrival.id for arrival in self._waiting if arrival.id not in there and arrival.kind == "value")
        marks = ",".join("?" * len(_LOST))
        query = f"SELECT count(*) FROM arrival WHERE id IN (SELECT value FROM json_each(?)) AND state IN ({marks})"
        (values,) = core.store.db.execute(query, (gone, *_LOST)).fetchone()
        ended = sum(max(0, self._sum(state) - n) for state, n in self._before.items())
        self.facts["lost"] = values + ended
        return self.told

    def _sum(self, state: str) -> int:
        return sum(counter[state] for counter in self._core.states.counts.values())

    def _under_way(self, socket: int) -> int:
        """Requests of a socket that have not ended."""
        counter = self._core.states.counts.get(socket, Counter())
        return counter["waiting"] + counter["queued"]

    # -- plugs -----------------------------------------------------------------------
    def _plugs(self, sources: Collection[int], gone: Collection[int]) -> None:
        old, new, names = self._old, self._new, {s.id: s.name for s in self._new.sockets.values()}
        to: Counter[str] = Counter()
        left = {
            p.target
            for source in sources
            for p in old.results.get(source, ())
            if p.id not in {q.id for q in new.results.get(source, ())}
        }
        for target in left - set(gone):
            # what has come stays where it is
            to[names[target]] += self._core.load(target)
        for source in sources:
            calls = self._under_way(source)
            targets = {p.target for p in new.results.get(source, ())}
            if calls and not targets and old.results.get(source):
                self.facts["nowhere"][names[source]] = calls
            for target in targets:
                to[names[target]] += calls
        self.facts["to"] = {name: n for name, n in sorted(to.items()) if n}

    # -- sockets ---------------------------------------------------------------------
    def _sockets(self, pairs: Iterable[tuple[Socket, Socket]]) -> None:
        for before, after in pairs:
            if after.parked and not before.parked:
                self._put("parked", after.name, self._core.load(after.id))
            elif not after.parked and before.processor != after.processor:
                self._moved(after)
            if not after.parked and before.task != after.task:
                self._put("held_back", after.name, self._lacking(after))

    def _moved(self, socket: Socket) -> None:
        """Count calls of a socket that has another processor now."""
        jobs = [self._core.jobs.peek(request) for request in self._members.running()]
        runs = sum(job is not None and job.socket == socket.id for job in jobs)
        calls = max(0, self._under_way(socket.id) - runs)
        processor, lent = self._new.processors.get(socket.processor), self._members.lent()
        room = caps(processor, lent) if processor is not None else {}
        placed = any(cpus and lent.get(node) for node, cpus in room.items())
        self._put("moved" if placed else "unplaced", socket.name, calls)
        self._put("stays", socket.name, runs)

    def _put(self, what: str, name: str, n: int) -> None:
        if n:
            self.facts[what][name] = n

    def _lacking(self, socket: Socket) -> int:
        """Queued requests that have no value for what the new version of a task cannot do without."""
        if socket.join in ("latest", "key"):
            return 0
        wanted = set(self._new.tasks[socket.task].lacking(socket.fixed))
        if not wanted - {p.name for p in self._old.task(socket.id).signature if p.required}:
            return 0
        return sum(bool(wanted - set(names)) for names in self._queued(socket.id))

    def _queued(self, socket: int) -> Iterator[Iterable[str]]:
        """Names of the arguments of each queued request of a socket that no agent has."""
        core = self._core
        lane = core.dispatch.lanes.get(socket)
        for request in lane.members if lane else ():
            found = core.jobs.peek(request)
            yield found.names if isinstance(found, JobLot) else found.arguments if found is not None else ()
        if lane and lane.spilled:
            for row in core.store.rows("queued", (socket, lane.ceiling, lane.spilled)):
                yield json.loads(row[10])

    # -- what cannot be completed any more ----------------------------------------------
    def _stranded(self, gone: Collection[int]) -> None:
        """Count values at arguments that vanish, and calls that lack what no way leads to any more."""
        groups: dict[tuple[int, int, tuple[int, ...]], set[str]] = {}
        stranded: Counter[int] = Counter()
        for arrival in self._waiting:
            if arrival.socket in gone or arrival.kind != "value":
                continue
            if arrival.argument not in self._new.task(arrival.socket).arguments:
                stranded[arrival.socket] += 1
            elif (arrival.socket, arrival.argument) not in self._new.run_independent:
                groups.setdefault((arrival.party, arrival.socket, _at(arrival)), set()).add(arrival.argument)
        lacking = {
            group: missing
            for group, came in groups.items()
            if (missing := [name for name in self._new.needed[group[1]] if name not in came])
            and self._differs(group[1], missing)
        }
        tokens = self._tokens({party for party, _, _ in lacking})
        # most parties stand alike: what can still come is asked once for each kind
        known: dict[Any, bool] = {}
        for (party, socket, at), missing in lacking.items():
            own = frozenset(tokens[party])
            kind = (own, self._core.joins.standing.shape(party), socket, *missing, at)
            if kind not in known:
                known[kind] = any(self._cut(party, own, (socket, name), at) for name in missing)
            stranded[socket] += known[kind]
        self.facts["stranded"] = {self._new.sockets[socket].name: n for socket, n in stranded.items() if n}

    def _differs(self, socket: int, missing: Iterable[str]) -> bool:
        """Whether the ways to one of these arguments are others now."""
        for key in ((socket, name) for name in missing):
            if key not in self._ways:
                self._ways[key] = _ways(self._old, key) != _ways(self._new, key)
            if self._ways[key]:
                return True
        return False

    def _tokens(self, parties: Collection[int]) -> dict[int, list[tuple[int, Tag]]]:
        """Where something of each party stands that may still bring a value."""
        core = self._core
        found = {party: core.joins.standing.tokens(party) for party in parties}
        tags: dict[str, Tag] = {}
        for party, socket, tag in core.store.rows("unfinished_of_parties", (id_list(parties),)):
            if tag not in tags:
                tags[tag] = from_text(tag)
            found[party].append((socket, tags[tag]))
        for route in core.evaluation.routes:
            if route.source.party in found:
                found[route.source.party].append((route.source.socket, route.place.tag))
        return found

    def _cut(self, party: int, tokens: Collection[tuple[int, Tag]], key: tuple[int, str], at: tuple[int, ...]) -> bool:
        """Whether something of a party could come to an argument, and cannot any more."""
        return self._comes(self._old, party, tokens, key, at) and not self._comes(self._new, party, tokens, key, at)

    def _comes(
        self, wiring: Topology, party: int, tokens: Collection[tuple[int, Tag]], key: tuple[int, str], at: Path
    ) -> bool:
        there = [(socket, tag) for socket, tag in tokens if socket in wiring.sockets]
        if Reachability(wiring, there).can_come_by(wiring.into.get(key, ()), at):
            return True
        # or by a run that has yet to join the party
        own = any(key in wiring.reach(root) for root in self._core.joins.standing.shape(party))
        return not own and bool(wiring.into.get(key))


def _at(arrival: Arrival) -> tuple[int, ...]:
    return tuple(path(arrival.tag))


def _flowing(socket: Socket) -> tuple[Any, ...]:
    """What of a socket decides what becomes of what is under way."""
    return socket.parked, socket.task, socket.processor, socket.fixed.keys()


def _ways(wiring: Topology, key: tuple[int, str]) -> set[int]:
    """Plugs that lead to an argument: the last ones, and those before them."""
    before = wiring.leading_to(*key)
    return {plug.id for plug in wiring.live if plug.target in before or (plug.target, plug.argument) == key}


# -- in words ---------------------------------------------------------------------------
_SAYS = {
    "to": "{n} to {name!r}",
    "nowhere": "{n} of {name!r} to nothing",
    "moved": "{n} of {name!r} on its new processor",
    "stays": "{n} of {name!r} run on where they are",
    "unplaced": "{n} of {name!r} wait, for its new processor has no CPU now",
    "parked": "{n} parked with {name!r} until the removal is undone",
    "held_back": "{n} of {name!r} wait for what its new version asks for",
    "stranded": "{n} stranded at {name!r}",
}


def said(facts: Facts) -> str:
    """What a receipt tells, in one line: ``120 to 'clean', 80 to 'clean2', 0 lost``."""
    parts = [says.format(n=n, name=name) for what, says in _SAYS.items() for name, n in facts[what].items()]
    return ", ".join([*parts, f"{facts['lost']} lost"]) if parts or facts["lost"] else ""
