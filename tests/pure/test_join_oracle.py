"""Whatever comes first, the join table comes to what the oracle says; and nothing is lost on the way."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug
from tests.pure.oracle import Ambiguous, Fates, Oracle, blurred
from tests.pure.simulation import SKIP, Call, Simulation, wiring

LONG = os.environ.get("EC_HYPOTHESIS") == "long"
slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
EXAMPLES = int(os.environ.get("EC_EXAMPLES", "20000")) if LONG else 150
usual = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=slow, derandomize=not LONG)


@dataclass(frozen=True, repr=False)
class Case:
    """A flow, what its calls come to, and where its runs begin."""

    sockets: str
    plugs: str
    fates: Fates
    roots: tuple[str, ...]

    def topology(self) -> Topology:
        return wiring(self.sockets, self.plugs)

    def __repr__(self) -> str:
        ends = {name: letters for name, letters in self.fates.outcomes.items() if set(letters) != {"v"}}
        fates = f"Fates({ends}, {self.fates.sizes}, {self.fates.whens})"
        return f"Case({self.sockets!r}, {self.plugs!r}, {fates}, {self.roots})"


@dataclass
class Drawing:
    """A flow that grows by one socket at a time, each with the depth its calls stand at."""

    sockets: list[str] = field(default_factory=list)
    plugs: list[str] = field(default_factory=list)
    depth: dict[str, int] = field(default_factory=dict)
    many: set[str] = field(default_factory=set)
    whens: dict[int, tuple[bool, ...]] = field(default_factory=dict)

    def add(self, arguments: str, depth: int, *, generator: bool = False, many: bool = False) -> str:
        name = f"S{len(self.sockets)}"
        self.sockets.append(f"{name}{'*' * generator}({arguments})")
        self.depth[name] = depth
        if many:
            self.many.add(name)
        return name

    def plug(self, source: str, target: str, options: str = "", when: tuple[bool, ...] | None = None) -> None:
        self.plugs.append(f"{source} -> {target} {options} {'when' if when else ''}")
        if when:
            self.whens[len(self.plugs)] = when

    def behind(self, source: str) -> int:
        """How deep what a socket's plugs carry stands."""
        return self.depth[source] + any(s.startswith(f"{source}*") for s in self.sockets)


booleans = st.lists(st.booleans(), min_size=1, max_size=3).map(tuple)


def _grow(draw: st.DrawFn, flow: Drawing) -> None:
    kind = draw(st.sampled_from(["plain", "map", "generator", "gather", "join", "join", "arms", "fallback", "twice"]))
    names = list(flow.depth)
    source = draw(st.sampled_from(names))
    other = draw(st.sampled_from(names))
    level, many = flow.behind(source), source in flow.many
    when = draw(st.none() | booleans)
    if kind == "plain":
        flow.plug(source, f"{flow.add('x', level, many=many)}.x", when=when)
    elif kind in ("map", "generator") and not many and level < 2:
        plain = kind == "generator" or flow.behind(source) != flow.depth[source]
        target = flow.add("x", level + (not plain), generator=kind == "generator" and level < 2)
        flow.plug(source, f"{target}.x", "" if plain else "map", when=when)
    elif kind == "gather" and not many:
        flow.plug(source, f"{flow.add('x', max(0, level - 1))}.x", "gather", when=when)
    elif kind == "join":
        target = flow.add("a, b", max(level, flow.behind(other)), many=many or other in flow.many)
        flow.plug(source, f"{target}.a", when=when)
        flow.plug(other, f"{target}.b")
    elif kind == "arms" and flow.behind(source) == flow.depth[source]:
        _arms(draw, flow, source, other)
    elif kind == "fallback" and flow.behind(source) == flow.depth[source]:
        _fallback(draw, flow, source, other)
    elif kind == "twice" and flow.behind(other) == level:
        target = flow.add("x", level, many=True)
        flow.plug(source, f"{target}.x")
        flow.plug(other, f"{target}.x", when=when)


def _meets(draw: st.DrawFn, flow: Drawing, level: int, other: str, many: bool) -> str:
    """A socket with one argument, or one that another feeds as well."""
    if draw(st.booleans()) and flow.behind(other) <= level:
        target = flow.add("a, b", level, many=many or other in flow.many)
        flow.plug(other, f"{target}.b")
    else:
        target = flow.add("a", level, many=many)
    return target


def _arms(draw: st.DrawFn, flow: Drawing, source: str, other: str) -> None:
    when = draw(booleans)
    level, many = flow.depth[source], source in flow.many
    yes, no = flow.add("x", level, many=many), flow.add("x", level, many=many)
    flow.plug(source, f"{yes}.x", when=when)
    flow.plug(source, f"{no}.x", when=tuple(not w for w in when))
    gather = draw(st.booleans()) and level > 0 and not many
    target = _meets(draw, flow, level - gather, other, many)
    for arm in (yes, no):
        flow.plug(arm, f"{target}.a", "gather" if gather else "")


def _fallback(draw: st.DrawFn, flow: Drawing, source: str, other: str) -> None:
    level, many = flow.depth[source], source in flow.many
    rescue = flow.add("x", level, many=many)
    flow.plug(source, f"{rescue}.x", "error")
    target = _meets(draw, flow, level, other, many)
    flow.plug(source, f"{target}.a")
    flow.plug(rescue, f"{target}.a")


@st.composite
def flows(draw: st.DrawFn) -> Case:
    flow = Drawing()
    roots = [flow.add("", 0, generator=draw(st.integers(0, 4)) == 0) for _ in range(draw(st.integers(1, 2)))]
    for _ in range(draw(st.integers(1, 8))):
        _grow(draw, flow)
    letters = st.lists(st.sampled_from("vvvvvsfdx"), min_size=1, max_size=3).map(tuple)
    outcomes = {name: draw(letters) for name in flow.depth}
    sizes = {name: draw(st.lists(st.integers(0, 3), min_size=1, max_size=2).map(tuple)) for name in flow.depth}
    return Case(" ".join(flow.sockets), "; ".join(flow.plugs), Fates(outcomes, sizes, flow.whens), tuple(roots))


class Play:
    """Runs a flow's calls in any order, by the fates they have."""

    def __init__(self, topology: Topology, fates: Fates, random: Random, *, restarts: bool = False) -> None:
        self.simulation = Simulation(topology)
        self.fates, self.random, self.restarts = fates, random, restarts

    def run(self) -> None:
        """Until nothing is left to happen."""
        while True:
            while events := self._events():
                call = self.random.choice(events)
                self._step(call)
                self._meanwhile()
            before = len(self.simulation.rows), len(self.simulation.calls)
            self.simulation.settle()
            if not self._events() and before == (len(self.simulation.rows), len(self.simulation.calls)):
                return

    def _meanwhile(self) -> None:
        if self.random.random() < 0.1:
            self.simulation.settle()
        if self.restarts and self.random.random() < 0.3:
            self.simulation.restart()

    def _events(self) -> list[Call]:
        return [
            c
            for c in self.simulation.calls.values()
            if c.state == "queued" or (c.state == "failed" and self.fates.outcome(c.socket, c.path) != "x")
        ]

    def _step(self, call: Call) -> None:
        flow = self.simulation
        outcome = self.fates.outcome(call.socket, call.path)
        generator = flow.topology.task(flow.topology.names[call.socket]).generator
        if call.state == "failed":
            flow.retry(call) if outcome == "f" else flow.give_up(call)
        elif outcome == "s":
            flow.end(call, SKIP)
        elif generator and call.emitted < self.fates.size(call.socket, call.path) and not self._breaks(call, outcome):
            flow.emit(call)
        elif outcome in ("f", "d", "x") and not call.failed:
            flow.fail(call)
        elif generator:
            flow.exhaust(call)
        else:
            self._end(call)

    def _breaks(self, call: Call, outcome: str) -> bool:
        return outcome == "f" and not call.failed and self.random.random() < 0.3

    def _end(self, call: Call) -> None:
        def when(plug: Plug) -> bool:
            return self.fates.when(plug, call.path)

        socket = self.simulation.topology.names[call.socket]
        elements = [(call.socket, call.path, i) for i in range(self.fates.size(call.socket, call.path))]
        plugs = self.simulation.topology.results[socket]
        self.simulation.end_each(call, {p.id: elements for p in plugs if p.map}, when)

    # -- what it came to ---------------------------------------------------------
    def calls(self, runs: set[int]) -> Counter[object]:
        """Calls that were made, those that were given up later among them."""
        flow = self.simulation
        made = [c for c in flow.calls.values() if c.run in runs and (c.state != "skipped" or c.failed)]
        return Counter((c.socket, c.path, blurred(flow.topology, c.socket, c.arguments)) for c in made)

    def skips(self, runs: set[int]) -> Counter[object]:
        """Calls that were never made."""
        never = [c for c in self.simulation.calls.values() if c.state == "skipped" and not c.failed]
        return Counter((c.socket, c.path) for c in never if c.run in runs)


def accounted(play: Play) -> None:
    """Every value that came is in just one place; nothing is live where nothing is unfinished."""
    flow = play.simulation
    waiting = {a.id for p in flow.table.parties.all.values() for a in flow.table.waiting(p)}
    for row in flow.rows.values():
        if row.kind == "value":
            assert (row.state == "waiting") == (row.id in waiting), row
            assert row.state in ("waiting", "used", "shared", "dropped", "superseded", "discarded", "left"), row
            assert (row.request is not None) >= (row.state in ("used", "shared")), row
    taken: Counter[tuple[int, str, int]] = Counter()
    for fire in flow.fired:
        for name, parcel in fire.parcels.items():
            for arrival in parcel.arrivals:
                assert flow.party_of(arrival.run) == flow.party_of(fire.run)
                if len(parcel.tag) == len(fire.tag):
                    taken[arrival.id, name, 0] += 1
    assert not [key for key, n in taken.items() if n > 1]
    for party in flow.table.parties.all.values():
        unfinished = [c for c in flow.unfinished() if flow.party(c) == party.id]
        assert party.live == len(unfinished), (party.id, party.live, unfinished)
        assert not party.over


def _same_as_oracle(case: Case, seed: int, *, restarts: bool) -> None:
    topology, fates, roots = case.topology(), case.fates, case.roots
    play = Play(topology, fates, Random(seed), restarts=restarts)
    runs = {name: play.simulation.submit(name) for name in roots}
    parties: dict[int, list[str]] = {}
    for name, call in runs.items():
        parties.setdefault(call.party, []).append(name)
    try:
        oracles = {party: Oracle(topology, fates, names) for party, names in parties.items()}
    except Ambiguous:
        assume(False)
    play.run()
    for party, names in parties.items():
        mine = {runs[name].id for name in names}
        assert play.calls(mine) == oracles[party].calls
        assert play.skips(mine) == oracles[party].skips
    accounted(play)


@usual
@given(flows(), st.integers(0, 1_000))
def test_calls_and_skips_are_the_oracles_in_any_order_of_completions(case: Case, seed: int) -> None:
    _same_as_oracle(case, seed, restarts=False)


@usual
@given(flows(), st.integers(0, 1_000))
def test_restarts_between_any_two_events_change_nothing(case: Case, seed: int) -> None:
    _same_as_oracle(case, seed, restarts=True)
