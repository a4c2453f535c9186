"""Joins by order, by key and by the newest value, and held arguments, in whole flows in memory with all their options.

What such a join pairs depends on the order in which values come. So each is held to what its policy says of the
arrivals as they came. All else in these flows is held to the oracle: for it whatever comes to such a join ends there,
and each call that one makes begins a run.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.tag import from_text, path
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Parameter, Plug, Socket, Task
from tests.pure.drawing import KINDS, Case, Pick, case, flows
from tests.pure.oracle import Ambiguous, Fates, Oracle, blurred
from tests.pure.test_join_oracle import search
from tests.store.memoryflow import MemoryFlow
from tests.store.test_algebra import Algebra, drawable, keyed

FLOWS = 80
"""Flows that chance draws."""

Call = dict[str, int]
"""What met in a call that begins a run: by argument, the arrival."""
Met = dict[str, list[int]]
"""The same of any call; more than one arrival of a list."""


@dataclass(frozen=True)
class Came:
    """A value that came to an argument that does not match by run."""

    id: int
    plug: Plug
    source: int
    run: int
    at: tuple[int, ...]
    key: str | None
    state: str

    @property
    def argument(self) -> str:
        return self.plug.argument

    @property
    def sink(self) -> str:
        """Where it comes to in the eyes of the oracle."""
        return f"to {self.plug.id}"


# -- what is to be ---------------------------------------------------------------
def calls_of(socket: Socket, matched: list[str], came: Iterable[Came]) -> list[Call]:
    """The calls that a join by order, by key or by the newest makes of what came, in that order."""
    calls: list[Call] = []
    held: Call = {}
    newest: Call = {}
    queues: dict[str | None, dict[str, list[int]]] = defaultdict(lambda: {name: [] for name in matched})
    for one in came:
        if one.argument in socket.hold:
            held[one.argument] = one.id
        else:
            newest[one.argument] = one.id
            queues[one.key][one.argument].append(one.id)
        if len(held) < len(socket.hold):
            continue
        if socket.join == "latest":
            triggers = one.argument in (socket.on or matched) if calls else len(newest) == len(matched)
            calls += [newest | held] if triggers else []
            continue
        for queue in queues.values():
            while all(queue.values()):
                calls.append({name: some.pop(0) for name, some in queue.items()} | held)
    return calls


def states_of(socket: Socket, came: list[Came], calls: list[Call]) -> dict[int, str]:
    """What has become of all that came, of which those calls were made."""
    used = {arrival for call in calls for arrival in call.values()}
    last = {one.argument: one.id for one in came}
    states = {}
    for one in came:
        if socket.join != "latest" and one.argument not in socket.hold:
            states[one.id] = "used" if one.id in used else "waiting"
        elif one.id == last[one.argument]:
            states[one.id] = "held" if one.id in used else "waiting"
        else:
            states[one.id] = "used" if one.id in used else "superseded"
    return states


def independent(wiring: Topology) -> set[tuple[int, str]]:
    """Arguments at which runs do not matter."""
    return {
        (socket.id, name)
        for socket in wiring.sockets.values()
        for name in wiring.task(socket.id).arguments
        if socket.join != "run" or name in socket.hold
    }


def cut(wiring: Topology, stuck: set[int]) -> Topology:
    """The flow as the oracle is to see it; `stuck`: sockets no call of which is ever made, for no held value comes."""
    free = independent(wiring)
    sockets = {s: replace(one, join="run", on=(), hold=(), key=None) for s, one in wiring.sockets.items()}
    tasks = {
        t: replace(one, signature=tuple(p for p in one.signature if (one.socket, p.name) not in free))
        for t, one in wiring.tasks.items()
    }
    plugs = {}
    for plug in wiring.plugs.values():
        if (plug.target, plug.argument) in free:
            sink = 1_000 + plug.id
            sockets[sink] = Socket(sink, f"to {plug.id}", "main", sink)
            tasks[sink] = Task(sink, sink, 1, "", "", "", "", (Parameter("x", "POSITIONAL_OR_KEYWORD", True),))
            plugs[plug.id] = replace(plug, target=sink, argument="x")
        elif plug.source not in stuck or plug.on != "error":
            plugs[plug.id] = plug
    return Topology(1, sockets, plugs, {}, tasks)


class Rest(Oracle):
    """What a party of such a flow must come to, but for what such joins make of what comes."""

    def __init__(self, whole: Topology, stuck: set[int], fates: Fates, roots: list[str]) -> None:
        self.whole = whole
        super().__init__(cut(whole, stuck), fates, roots)
        first, all_of_them = (self.topology.depths(frozenset((s, None) for s in some)) for some in self._begun(roots))
        if any(all_of_them[socket] != depth for socket, depth in first.items()):
            # a stranger splits: what was skipped before it came was not known to be for each of its elements
            raise Ambiguous

    def _begun(self, roots: list[str]) -> tuple[set[int], set[int]]:
        return {self.topology.names[roots[0]]}, self.roots

    def needs(self, socket: int) -> tuple[str, ...]:
        return self.whole.needed.get(socket) or super().needs(socket)


# -- what is ---------------------------------------------------------------------
class Pairing(Algebra):
    """A play whose values say which request they are of, so that one is told from another."""

    times = 6

    def told(self, request: int, *place: Any) -> tuple[Any, ...]:
        return (*place, request)

    @property
    def joins(self) -> list[Socket]:
        """Sockets that do not join by run alone."""
        return [one for one in self.wiring.sockets.values() if one.join != "run" or one.hold]

    def came(self) -> dict[int, list[Came]]:
        """What came regardless of run, by socket, in that order."""
        there = self.simulation.topology
        plugs = {self._ends(self.wiring, plug): plug for plug in self.wiring.plugs.values()}
        rows = self.simulation.core.store.db.execute(
            "SELECT id, plug, source_request, run, tag, key, state FROM arrival WHERE value IS NOT NULL ORDER BY id"
        ).fetchall()
        found: dict[int, list[Came]] = {socket.id: [] for socket in self.joins}
        for key, plug, source, run, tag, by, state in rows:
            mine = plugs[self._ends(there, there.plugs[plug])]
            if (mine.target, mine.argument) in independent(self.wiring):
                found[mine.target].append(Came(key, mine, source, run, path(from_text(tag)), by, state))
        return found

    @staticmethod
    def _ends(topology: Topology, plug: Plug) -> tuple[str, str, str, str]:
        names = topology.sockets
        return names[plug.source].name, names[plug.target].name, plug.argument, plug.on

    def met(self, socket: Socket) -> dict[int, Met]:
        """Calls of a socket that were made, and of which arrivals."""
        made = [c for c in self.simulation.calls.values() if c.socket == socket.name and c.given != "{}"]
        return {c.id: {name: ids for name, (_, _, ids) in json.loads(c.given).items()} for c in made}

    def pairs(self) -> None:
        """Hold each join to its policy."""
        everything = self.came()
        waiting = {arrival.id for arrival in self.simulation.core.joins.all_waiting()}
        for socket in self.joins:
            came, met = everything[socket.id], self.met(socket)
            calls = (self._by_run if socket.join == "run" else self._by_policy)(socket, came, met)
            assert {one.id: one.state for one in came} == states_of(socket, came, calls), socket
            assert {one.id for one in came if one.state == "waiting"} == waiting & {one.id for one in came}, socket
            self._really(socket, {one.id: one for one in came}, met)

    def _by_policy(self, socket: Socket, came: list[Came], met: dict[int, Met]) -> list[Call]:
        """The calls of a join of strangers, which are those that its policy makes."""
        matched = [name for name in self.wiring.needed[socket.id] if name not in socket.hold]
        calls = [{name: one for name, (one,) in call.items()} for call in met.values()]
        assert _counted(calls) == _counted(calls_of(socket, matched, came)), socket
        return calls

    def _by_run(self, socket: Socket, came: list[Came], met: dict[int, Met]) -> list[Call]:
        """Calls that match by run; of what is held they have the newest as they were complete, or else the first."""
        calls = []
        for call in met.values():
            complete = max(one for name, ids in call.items() if name not in socket.hold for one in ids)
            had = {name: ids[0] for name, ids in call.items() if name in socket.hold}
            for name in socket.hold:
                there = [one.id for one in came if one.argument == name]
                before = [one for one in there if one < complete]
                assert had[name] == (before[-1] if before else there[0]), (socket, call)
            calls.append(had)
        return calls

    def _really(self, socket: Socket, came: dict[int, Came], met: dict[int, Met]) -> None:
        """What a call was given when it ran is what its arrivals were."""
        requests = self.simulation.calls
        for request in met.keys() & self.given.keys():
            values = {
                name: (came[ids[0]], self.given[request][name]) for name, ids in met[request].items() if ids[0] in came
            }
            for one, value in values.values():
                if one.plug.on == "result":
                    source = requests[one.source]
                    assert value[:-1] == (source.socket, source.path, *one.at[len(source.path) :]), (socket, one)
                    assert requests[value[-1]].socket == source.socket
            if socket.join == "key":
                assert len({keyed(value) for one, value in values.values() if one.argument not in socket.hold}) == 1

    # -- the rest ------------------------------------------------------------------
    def parties(self) -> Iterable[tuple[list[str], set[int]]]:
        """The roots and runs of each party."""
        found: dict[int, list[Any]] = defaultdict(list)
        for call in self.simulation.calls.values():
            if call.id == call.run and call.socket in self.wiring.names:
                found[call.party].append(call)
        return [([c.socket for c in some], {c.id for c in some}) for some in found.values()]

    def agrees(self) -> bool:
        """Hold the rest to the oracle; False where that has no answer."""
        came = self.came()
        stuck = {s.id for s in self.joins if s.join == "run" and {c.argument for c in came[s.id]}.isdisjoint(s.hold)}
        names = {self.wiring.sockets[socket].name for socket in stuck}
        fates = replace(self.fates, outcomes={**self.fates.outcomes, **dict.fromkeys(names, ("x",))})
        arrivals = [one for some in came.values() for one in some]
        for roots, runs in self.parties():
            try:
                oracle = Rest(self.wiring, stuck, fates, roots)
            except Ambiguous:
                return False
            expected = Counter[object]()
            for (name, at, arguments), n in oracle.calls.items():
                if name not in names:
                    expected[(name, at) if name not in self.wiring.names else (name, at, arguments)] += n
            found = Counter[object]((one.sink, one.at) for one in arrivals if one.run in runs)
            assert self._made(oracle.topology, runs) + found == expected
            skips = {key: n for key, n in oracle.skips.items() if key[0] in self.wiring.names}
            assert self.skips(runs) == skips
        return True

    def _made(self, wiring: Topology, runs: set[int]) -> Counter[object]:
        made = Counter[object]()
        for call in self.simulation.calls.values():
            if call.run in runs and (call.state != "skipped" or call.failed):
                known = {p.name for p in wiring.task(wiring.names[call.socket]).signature}
                given = {name: _place(value) for name, value in call.arguments.items() if name in known}
                made[call.socket, call.path, blurred(wiring, call.socket, given)] += 1
        return made


def _counted(calls: Iterable[Call]) -> Counter[object]:
    return Counter(tuple(sorted(call.items())) for call in calls)


def _place(value: Any) -> Any:
    """A value without its request, as the oracle has it."""
    if isinstance(value, list):
        return [_place(one) for one in value]
    return value if value[0] == "error" else value[:-1]


def drawn(pick: Pick) -> Case:
    return case(pick, [*KINDS, *["policy"] * 8])


def pairs_as_it_says(case: Case, seed: int) -> bool:
    """Play a flow to its end and compare; False where nothing of it joins by a policy, or the oracle has no answer."""
    if not case.policies or not drawable(case):
        return False
    with tempfile.TemporaryDirectory() as folder:
        play = Pairing(case, MemoryFlow(Path(folder) / "flow"), seed)
        play.wire()
        play.submit()
        play.run()
        assert {call.state for call in play.simulation.calls.values()} <= {"done", "skipped", "failed"}, (case, seed)
        play.pairs()
        return play.agrees()


def test_joins_pair_what_came_as_their_policy_says_with_options_and_whatever_happens_meanwhile() -> None:
    answered = sum(pairs_as_it_says(drawn(Random(seed).choice), seed) for seed in range(FLOWS))
    assert answered > FLOWS * 0.6


@settings(search, max_examples=search.max_examples // 5)
@given(flows(drawn), st.integers(0, 1_000))
def test_no_flow_is_found_whose_joins_pair_otherwise_than_their_policy_says(case: Case, seed: int) -> None:
    assume(pairs_as_it_says(case, seed))
