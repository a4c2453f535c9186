"""Edits, submits, restarts and values by hand between any two events: nothing is lost, nothing comes twice."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.flow.topology import Topology
from tests.pure.drawing import Case, Pick, by_chance, flows
from tests.pure.play import Play, accounted
from tests.pure.simulation import Call, wiring
from tests.pure.test_join_oracle import FLOWS, search


@dataclass(frozen=True)
class Edits:
    """Other wirings of the same sockets: which plugs are there, and who has an argument more."""

    kept: tuple[tuple[bool, ...], ...]
    extra: tuple[tuple[int, str], ...]

    def topology(self, case: Case, n: int) -> Topology:
        kept, (socket, argument) = self.kept[n % len(self.kept)], self.extra[n % len(self.extra)]
        texts = enumerate(filter(None, case.plugs.split("; ")), 1)
        plugs = [f"{i}: {text}" for i, text in texts if kept[i % len(kept)]]
        sockets = case.sockets.replace(") ", ")|").split("|")
        at = socket % len(sockets)
        if argument:
            sockets[at] = sockets[at].replace(")", f"{', ' if '()' not in sockets[at] else ''}{argument})")
        return wiring(" ".join(sockets), "; ".join(plugs), revision=n + 2)


def edits(pick: Pick) -> Edits:
    """Some wirings of a flow's sockets."""
    kept = [tuple(pick([True, True, False]) for _ in range(pick(range(1, 7)))) for _ in range(3)]
    return Edits(tuple(kept), tuple((pick(range(10)), pick(["", "", "z", "z="])) for _ in range(3)))


class Chaos(Play):
    """Runs a flow while people change it."""

    def __init__(self, case: Case, edits: Edits, random: Random) -> None:
        super().__init__(case.topology(), case.fates, random, restarts=True)
        self.simulation.lags = True
        self.case, self.edits, self.done = case, edits, 0

    def _meanwhile(self) -> None:
        super()._meanwhile()
        if self.done < 12 and self.random.random() < 0.4:
            self.done += 1
            self.random.choice([self._edit, self._edit, self._submit, self._partial, self._supply, self._discard])()
            accounted(self)

    def _edit(self) -> None:
        self.simulation.edit(self.edits.topology(self.case, self.done))

    def _submit(self) -> None:
        self.simulation.submit(self.random.choice(self.case.roots))

    def _partial(self) -> None:
        topology = self.simulation.topology
        several = [s for s in topology.sockets if len(topology.needed[s]) > 1]
        if several:
            socket = self.random.choice(several)
            name = self.random.choice(topology.needed[socket])
            self.simulation.submit(topology.sockets[socket].name, **{name: "given"})

    def _supply(self) -> None:
        flow = self.simulation
        for party in flow.table.parties.all.values():
            for arrival in party.waits():
                missing = [n for n in flow.topology.needed[arrival.socket] if n != arrival.argument]
                if missing:
                    name = flow.name(arrival.socket)
                    flow.supply(name, missing[0], self._anyone(party.id), "by hand", arrival.tag)
                    return

    def _anyone(self, party: int) -> Call:
        return next(c for c in self.simulation.calls.values() if self.simulation.party(c) == party)

    def _discard(self) -> None:
        flow = self.simulation
        waiting = [a for p in flow.table.parties.all.values() for a in p.waits()]
        if waiting:
            flow.discard(self.random.choice(waiting))


def _survives(case: Case, changes: Edits, seed: int) -> None:
    play = Chaos(case, changes, Random(seed))
    for name in case.roots:
        play.simulation.submit(name)
    play.run()
    accounted(play)
    fired = [f.request for f in play.simulation.fired]
    assert len(fired) == len(set(fired))


def test_nothing_is_lost_or_called_twice_whatever_people_do_meanwhile() -> None:
    for seed in range(FLOWS):
        _survives(by_chance(seed), edits(Random(seed).choice), seed)


@search
@given(st.data(), st.integers(0, 1_000))
def test_no_flow_is_found_in_which_something_is_lost_or_called_twice(data: st.DataObject, seed: int) -> None:
    case = data.draw(flows())
    _survives(case, edits(lambda choices: data.draw(st.sampled_from(choices))), seed)
