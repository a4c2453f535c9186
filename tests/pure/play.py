"""Runs a flow to its end, in an order that chance decides; and the account of what became of all that came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug
from tests.pure.oracle import Ambiguous, Fates, Oracle, blurred
from tests.pure.simulation import SKIP, Call, Simulation


class Play:
    """Runs a flow's calls in any order, by the fates they have."""

    def __init__(
        self, topology: Topology, fates: Fates, random: Random, *, restarts: bool = False, flow: Any = None
    ) -> None:
        self.simulation = flow or Simulation(topology)
        self.fates, self.random, self.restarts = fates, random, restarts

    def run(self) -> None:
        """Run until nothing more can happen."""
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
        """Calls that were made, also those that were given up later."""
        flow = self.simulation
        made = [c for c in flow.calls.values() if c.run in runs and (c.state != "skipped" or c.failed)]
        return Counter((c.socket, c.path, blurred(flow.topology, c.socket, c.arguments)) for c in made)

    def skips(self, runs: set[int]) -> Counter[object]:
        """Calls that were never made."""
        never = [c for c in self.simulation.calls.values() if c.state == "skipped" and not c.failed]
        return Counter((c.socket, c.path) for c in never if c.run in runs)


def accounted(play: Play) -> None:
    """Check that every value is in just one place, and that each party counts its unfinished calls."""
    flow = play.simulation
    waiting = {a.id for p in flow.table.parties.all.values() for a in p.waits()}
    for row in flow.rows.values():
        if row.kind == "value":
            assert (row.state == "waiting") == (row.id in waiting), row
            assert row.state in ("waiting", "used", "shared", "dropped", "superseded", "discarded", "left"), row
            assert (row.request is not None) >= (row.state in ("used", "shared")), row
    taken: Counter[tuple[int, str, int]] = Counter()
    for fire in flow.fired:
        for name, value in fire.arguments.items():
            for arrival in value.arrivals:
                assert flow.party_of(arrival.run) == flow.party_of(fire.run)
                if len(value.tag) == len(fire.tag):
                    taken[arrival.id, name, 0] += 1
    assert not [key for key, n in taken.items() if n > 1]
    for party in flow.table.parties.all.values():
        unfinished = [c for c in flow.unfinished() if flow.party(c) == party.id]
        assert party.live == len(unfinished), (party.id, party.live, unfinished)
        assert not party.over


def agrees(play: Play, roots: Iterable[str], what: Any) -> bool:
    """Run a flow from its roots and compare it with the oracle; False where that has no answer."""
    topology = play.simulation.topology
    runs = {name: play.simulation.submit(name) for name in roots}
    parties: dict[int, list[str]] = {}
    for name, call in runs.items():
        parties.setdefault(call.party, []).append(name)
    try:
        oracles = {party: Oracle(topology, play.fates, names) for party, names in parties.items()}
    except Ambiguous:
        return False
    play.run()
    for party, names in parties.items():
        mine = {runs[name].id for name in names}
        assert play.calls(mine) == oracles[party].calls, what
        assert play.skips(mine) == oracles[party].skips, what
    return True
