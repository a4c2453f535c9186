"""A flow without an engine: the join table, and calls that end when a test says so.

What the engine would write down is written down here, so that a restart can be tried at any moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from ec_jupyter.flow.arrival import Arrival
from ec_jupyter.flow.join import Fire, JoinTable, Source
from ec_jupyter.flow.rebuild import restore
from ec_jupyter.flow.tag import ROOT, Path, Tag, deeper, from_text, path, to_text
from ec_jupyter.flow.topology import Root, Topology
from ec_jupyter.model import Condition, Fixed, Parameter, Plug, Socket, Task

SKIP = object()
"""What a call returns that sends no value."""


def wiring(
    sockets: str,
    plugs: str = "",
    *,
    revision: int = 1,
    fixed: Mapping[str, str] = {},
    policies: Mapping[str, Mapping[str, Any]] = {},
) -> Topology:
    """A topology from ``"R() J(a, b=) G*(x)"`` and ``"R -> J.a map; G -> J.b gather"``.

    ``b=`` has a default, ``*`` marks a generator; `fixed` names sockets and an argument each, `policies` sockets and
    how they join.
    """
    names: dict[str, int] = {}
    records, tasks = {}, {}
    for n, (name, star, inside) in enumerate(re.findall(r"(\w+)(\*?)\(([^)]*)\)", sockets), 1):
        words = [w.strip() for w in inside.split(",") if w.strip()]
        signature = tuple(Parameter(w.rstrip("="), "POSITIONAL_OR_KEYWORD", not w.endswith("=")) for w in words)
        names[name] = n
        values = {fixed[name]: Fixed(1, "int", "1")} if name in fixed else {}
        records[n] = Socket(n, name, "main", n, fixed=values, **policies.get(name, {}))
        tasks[n] = Task(n, n, 1, name, "", "", "", signature, generator=bool(star))
    table = {}
    for text in filter(None, (t.strip() for t in plugs.split(";"))):
        match = re.fullmatch(r"(?:(\d+): *)?(\w+) *-> *(\w+)\.(\w+)(.*)", text)
        assert match, text
        key, source, target, argument, options = match.groups()
        words = options.split()
        plug = Plug(
            int(key) if key else len(table) + 1,
            names[source],
            names[target],
            argument,
            "error" if "error" in words else "result",
            "map" in words,
            "done" if "done" in words else "gather" in words,
            Condition("", "") if "when" in words else None,
        )
        table[plug.id] = plug
    return Topology(revision, records, table, {}, tasks)


@dataclass
class Call:
    """One request, as the engine would hold it."""

    id: int
    socket: str
    party: int
    run: int
    tag: Tag
    arguments: dict[str, Any] = field(default_factory=dict)
    state: str = "queued"
    failed: bool = False
    emitted: int = 0

    @property
    def path(self) -> Path:
        return path(self.tag)


class Simulation:
    """A join table, its requests, and the rows that a restart begins from.

    With `lags` the rows say which values are elements of lists; else their plugs have to.
    """

    def __init__(self, topology: Topology, *, lags: bool = False) -> None:
        self.topology = topology
        self.lags = lags
        self.requests, self.arrivals = count(1), count(1)
        self.table = self._new_table()
        self.calls: dict[int, Call] = {}
        self.rows: dict[int, Arrival] = {}
        self.skips: list[tuple[int, int, Tag]] = []
        self.fans: dict[tuple[int, str], int] = {}
        self.runs: dict[int, tuple[int, Root]] = {}
        self.ended: list[int] = []
        self.unshared: list[int] = []
        self.merged: dict[int, int] = {}
        self.fired: list[Fire] = []
        self.key: Callable[[Any], Any] = lambda value: None

    def _new_table(self) -> JoinTable:
        return JoinTable(self.topology, lambda: next(self.requests), lambda: next(self.arrivals))

    def name(self, socket: int) -> str:
        return self.topology.sockets[socket].name

    # -- what a person does ----------------------------------------------------
    def submit(self, name: str, **given: Any) -> Call:
        """Submit with all arguments; with the `given` ones only, if there are any."""
        run, socket = next(self.requests), self.topology.names[name]
        root = (socket, frozenset(given) if given else None)
        party = self.table.accept(run, root)
        self.runs[run] = (party, root)
        call = self.calls[run] = Call(run, name, party, run, ROOT, dict(given), "waiting" if given else "queued")
        if given:
            self.table.wait(run, run, socket, party, ROOT)
            for argument, value in given.items():
                self.table.supply(socket, argument, party, run, ROOT, value)
        self.absorb()
        return call

    def supply(self, name: str, argument: str, call: Call, value: Any, tag: Tag = ROOT) -> None:
        self.table.supply(self.topology.names[name], argument, self.party(call), call.run, tag, value)
        self.absorb()

    def supply_list(self, name: str, argument: str, call: Call, values: list[Any], tag: Tag = ROOT) -> None:
        self.table.supply_list(self.topology.names[name], argument, self.party(call), call.run, tag, values)
        self.absorb()

    def expire(self, arrival: Arrival) -> bool:
        late = self.table.expire(arrival)
        self.absorb()
        return late

    def discard(self, arrival: Arrival) -> None:
        alive = any(c.run == arrival.run for c in self.unfinished())
        self.table.discard(arrival, alone=not alive)
        self.absorb()

    def leave_out(self, name: str, argument: str, call: Call, tag: Tag) -> None:
        self.table.leave_out(self.topology.names[name], argument, self.party(call), tag)
        self.absorb()

    def end_list(self, name: str, argument: str, call: Call, tag: Tag = ROOT) -> None:
        self.table.end_list(self.topology.names[name], argument, self.party(call), tag)
        self.absorb()

    def edit(self, topology: Topology) -> None:
        self.topology = topology
        for call in self.calls.values():
            party = self.party(call)
            if call.state in ("queued", "failed") and topology.joins((topology.names[call.socket], None)):
                self._adopt(party)
        self.table.revise(topology)
        self.absorb()

    def _adopt(self, party: int) -> None:
        if self.table.parties.find(party) is None:
            self._restore([party])

    # -- what calls come to ------------------------------------------------------
    def source(self, call: Call) -> Source:
        return Source(call.id, self.topology.names[call.socket], self.party(call), call.run, call.tag, call.failed)

    def party(self, call: Call) -> int:
        party = call.party
        while party in self.merged:
            party = self.merged[party]
        return party

    def party_of(self, run: int) -> int:
        return self.party(self.calls[run])

    def end(self, call: Call, value: Any = None, when: Callable[[Plug], bool] = lambda plug: True) -> None:
        """A call ends well: `value` is its result, `SKIP`, or the list of what map plugs split."""
        plugs = self.topology.results[self.topology.names[call.socket]]
        self.end_each(call, {} if value is None else {plug.id: value for plug in plugs}, when)

    def end_each(self, call: Call, values: Mapping[int, Any], when: Callable[[Plug], bool] = lambda plug: True) -> None:
        """A call ends well, with one value for each plug; its place where none is named."""
        assert call.state == "queued", call
        call.state = "done"
        source, socket = self.source(call), self.topology.names[call.socket]
        for plug in self.topology.results[socket]:
            value = values.get(plug.id, (call.socket, call.path))
            if value is SKIP or not when(plug):
                self.table.tombstone(source, plug)
            elif plug.map:
                for i, one in enumerate(value):
                    self.table.element(source, plug, one, i, i, str(call.id))
                self.close(source, len(value), [plug])
            else:
                self.table.result(source, plug, value, key=self.key(value))
        if not call.failed:
            for plug in self.topology.errors[socket]:
                self.table.tombstone(source, plug, silent=True)
        self.table.finished(source.party)
        self.absorb()

    def close(self, source: Source, n: int, plugs: Iterable[Plug]) -> None:
        self.fans[source.party, str(source.request)] = n
        self.table.close(source, str(source.request), n, plugs)

    def emit(self, call: Call, value: Any = None) -> None:
        """A generator yields once more."""
        i = call.emitted
        call.emitted += 1
        for plug in self.topology.results[self.topology.names[call.socket]]:
            element = (call.socket, call.path, i) if value is None else value
            self.table.element(self.source(call), plug, element, i, i, str(call.id))
        self.absorb()

    def emit_evaluated(self, call: Call, fates: Mapping[int, Any]) -> None:
        """A generator yields once more: of each plug False (its condition does not hold) or the elements it splits."""
        i = call.emitted
        call.emitted += 1
        source = self.source(call)
        place = replace(source, tag=deeper(source.tag, str(call.id), i))
        for plug in self.topology.results[self.topology.names[call.socket]]:
            if fates[plug.id] is False:
                self.table.tombstone(place, plug, element=i)
            else:
                split = f"{call.id}:{i}"
                for n, one in enumerate(fates[plug.id]):
                    self.table.element(place, plug, one, 1_000 * (i + 1) + n, n, split)
                self.fans[source.party, split] = len(fates[plug.id])
                self.table.close(place, split, len(fates[plug.id]), [plug])
        self.absorb()

    def exhaust(self, call: Call) -> None:
        """A generator ends well."""
        call.state = "done"
        source, socket = self.source(call), self.topology.names[call.socket]
        self.close(source, call.emitted, self.topology.results[socket])
        if not call.failed:
            for plug in self.topology.errors[socket]:
                self.table.tombstone(source, plug, silent=True)
        self.table.finished(source.party)
        self.absorb()

    def fail(self, call: Call) -> None:
        """A call fails for good; its error is delivered once in its life."""
        assert call.state == "queued", call
        call.state = "failed"
        if not call.failed:
            for plug in self.topology.errors[self.topology.names[call.socket]]:
                self.table.result(self.source(call), plug, ("error", call.socket, call.path))
        call.failed = True
        self.absorb()

    def retry(self, call: Call) -> None:
        assert call.state == "failed", call
        call.state = "queued"

    def give_up(self, call: Call) -> None:
        """A person discards a failed call."""
        assert call.state == "failed", call
        call.state = "skipped"
        source, plugs = self.source(call), self.topology.results[self.topology.names[call.socket]]
        if call.emitted:
            self.close(source, call.emitted, plugs)
        else:
            for plug in plugs:
                self.table.tombstone(source, plug)
        self.table.finished(source.party)
        self.absorb()

    def settle(self) -> None:
        """Settle undecided parties, as the engine does when it has nothing else to do."""
        for party in self.table.undecided:
            mine = [c for c in self.unfinished() if self.party(c) == party]
            tokens = [(self.topology.names[c.socket], c.tag) for c in mine]
            failed = [token for token, c in zip(tokens, mine, strict=True) if c.state == "failed"]
            self.table.settle(party, tokens, failed)
        self.absorb()

    # -- the journal ---------------------------------------------------------------
    def absorb(self) -> None:
        """Write down what was decided."""
        out = self.table.drain()
        for arrival in out.arrivals:
            if arrival.kind == "value" or arrival.plug not in self.topology.simple:
                assert arrival.id not in self.rows
                self.rows[arrival.id] = replace(arrival)
        for arrival in out.changed:
            if arrival.id in self.rows:
                self.rows[arrival.id].state, self.rows[arrival.id].request = arrival.state, arrival.request
        for call in out.calls:
            self._called(call) if isinstance(call, Fire) else self._skipped(call)
        self.merged.update(out.merged)
        self.ended += out.ended
        self.unshared += out.unshared

    def _called(self, fire: Fire) -> None:
        self.fired.append(fire)
        arguments = {
            name: [a.value for a in value.arrivals] if value.gathered else value.arrivals[0].value
            for name, value in fire.arguments.items()
        }
        state = "failed" if fire.missing else "queued"
        if fire.begins:
            self.runs[fire.run] = (fire.party, (fire.socket, None))
        if fire.waited:
            self.calls[fire.request].state = state
            self.calls[fire.request].tag = fire.tag
            self.calls[fire.request].arguments = arguments
            for follower in fire.followers:
                self.calls[follower].state = "joined"
        else:
            assert fire.request not in self.calls
            self.calls[fire.request] = Call(
                fire.request, self.name(fire.socket), fire.party, fire.run, fire.tag, arguments, state
            )

    def _skipped(self, skip: Any) -> None:
        self.skips.append((skip.socket, skip.party, skip.tag))
        if skip.waited:
            for request in (skip.request, *skip.followers):
                self.calls[request].state = "skipped"
        else:
            name = self.name(skip.socket)
            self.calls[skip.request] = Call(skip.request, name, skip.party, skip.run, skip.tag, state="skipped")

    def restart(self) -> None:
        """Restart from the rows."""
        before = self._standing()
        parties = list(self.table.parties.all)
        self.table = self._new_table()
        self._restore(parties)
        kept = [r for r in self.rows.values() if r.state in ("waiting", "held") and r.kind == "value"]
        self.table.policies.restore(replace(r) for r in kept if (r.socket, r.argument) in self.topology.run_independent)
        assert self._standing() == before
        out = self.table.drain()
        assert not out.calls
        assert not out.arrivals
        assert not out.changed

    def _standing(self) -> dict[int, tuple[int, int, list[int]]]:
        """By party: live requests, what waits, and which arrivals wait."""
        parties = self.table.parties.all.values()
        known = {p.id: (p.live, p.waiting, sorted(a.id for a in p.waits())) for p in parties}
        return known | {0: (0, 0, sorted(a.id for a in self.table.policies.waiting()))}

    def _restore(self, parties: list[int]) -> None:
        def now(party: int) -> int:
            while party in self.merged:
                party = self.merged[party]
            return party

        rows = []
        for party in parties:
            runs = {run: root for run, (first, root) in self.runs.items() if now(first) == party}
            left = {a.run for a in self.rows.values() if a.state == "left"}
            live = sum(self.party(c) == party for c in self.unfinished())
            rows.append((party, {r: root for r, root in runs.items() if r not in left}, live))
        arrivals = []
        for row in self.rows.values():
            tag = from_text(to_text(row.tag))
            gathers = row.gathers and (self.lags or row.kind != "value")
            arrivals.append(replace(row, party=now(row.party), tag=tag, gathers=gathers))
        given = [
            (c.id, c.run, self.topology.names[c.socket], self.party(c), c.tag)
            for c in self.calls.values()
            if c.state == "waiting" and self.party(c) in parties
        ]
        fans = [(now(party), split, n) for (party, split), n in self.fans.items()]
        skips = [(socket, now(party), tag) for socket, party, tag in self.skips]
        restore(self.table, rows, [a for a in arrivals if a.party in parties], skips, fans, given)

    # -- what there is ---------------------------------------------------------------
    def of(self, name: str, *states: str) -> list[Call]:
        """Calls of a socket in these states (all that were made, without any)."""
        wanted = states or ("queued", "done", "failed")
        return [c for c in self.calls.values() if c.socket == name and c.state in wanted]

    def unfinished(self) -> list[Call]:
        """Requests that are neither done nor skipped."""
        return [c for c in self.calls.values() if c.state in ("waiting", "queued", "failed")]

    def one(self, name: str, *states: str) -> Call:
        """The only such call."""
        (call,) = self.of(name, *(states or ("queued",)))
        return call

    def waits(self, name: str) -> list[Any]:
        """Values that wait at a socket, in order of arrival."""
        return [a.value for a in self.waiting(name)]

    def waiting(self, name: str) -> list[Arrival]:
        """The same as arrivals."""
        socket = self.topology.names[name]
        found = [a for a in self.table.all_waiting() if a.socket == socket]
        return sorted(found, key=lambda a: a.id)

    def states(self, name: str) -> list[str]:
        """States of all that came to a socket."""
        return [a.state for a in self.rows.values() if self.name(a.socket) == name]
