"""Full sockets hold back what feeds them, and no flow stands still for that, whatever joins and cycles it has."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from ec_jupyter.flow.backpressure import Load, room
from ec_jupyter.flow.topology import Topology
from tests.pure.drawing import Case, by_chance
from tests.pure.play import Play, agrees
from tests.pure.simulation import Call, Simulation, wiring
from tests.store.coreflow import CoreFlow

FLOWS = 300
"""Flows that chance draws."""


def limited(topology: Topology, random: Random) -> Topology:
    """The wiring with limits that chance gives to most of its sockets."""
    limits = {key: random.choice([None, 1, 1, 2, 3]) for key in topology.sockets}
    return replace(topology, sockets={k: replace(s, limit=limits[k]) for k, s in topology.sockets.items()})


def loads(flow: Any) -> dict[int, Load]:
    """What sockets have: calls that have not begun, generators that have, and values that wait."""
    topology, table = flow.topology, {}
    for name, socket in topology.names.items():
        mine = [c for c in flow.calls.values() if c.socket == name and c.state == "queued"]
        waiting = [c for c in mine if not c.emitted]
        arrived: Counter[str] = Counter(a.argument for a in joins(flow).all_waiting() if a.socket == socket)
        head = min((c.id for c in waiting), default=0)
        table[socket] = Load(len(waiting), len(mine) - len(waiting), arrived=arrived, head=head)
    return table


def joins(flow: Any) -> Any:
    return flow.table if isinstance(flow, Simulation) else flow.core.joins


def test_a_socket_that_has_nothing_yet_takes_no_more_than_what_runs_is_about_to_bring():
    topology = wiring("S() T(x)", "S -> T.x")
    source, target = topology.names["S"], topology.names["T"]
    limited = replace(topology.sockets[target], limit=5)
    topology = replace(topology, sockets={**topology.sockets, target: limited})
    assert room(topology, {source: Load(queued=95, running=5)}) == {source: 0}
    assert room(topology, {source: Load(queued=95, running=3), target: Load(running=1)}) == {source: 1}


class Bounded(Play):
    """A play in which calls begin that may."""

    def _events(self) -> list[Call]:
        flow, events = self.simulation, super()._events()
        most = room(flow.topology, loads(flow))
        free = [c for c in events if c.state == "failed" or c.emitted or most.get(flow.topology.names[c.socket], 1)]
        assert bool(free) == bool(events), "the flow stands still"
        return free


def comes_to_its_end(case: Case, seed: int, kind: Any) -> bool:
    topology = limited(case.topology(), Random(seed))
    flow = kind(topology)
    return agrees(Bounded(topology, case.fates, Random(seed), restarts=True, flow=flow), case.roots, (case, seed))


def test_a_flow_of_full_sockets_comes_to_what_one_without_limits_does() -> None:
    answered = sum(comes_to_its_end(by_chance(seed), seed, Simulation) for seed in range(FLOWS))
    assert answered > FLOWS * 0.9


def test_so_does_one_of_the_engines_own_rows_and_over_restarts() -> None:
    assert sum(comes_to_its_end(by_chance(seed), seed, CoreFlow) for seed in range(30)) > 25


# -- where runs do not keep calls apart, and in cycles ---------------------------------------
ZIP = {"join": "zip"}
JOINS = (
    ("a() b() j(x, y)", "a -> j.x; b -> j.y", {"j": ZIP}),
    ("s() a(v) b(v) c(v) j(x, y)", "s -> a.v; s -> b.v; a -> j.x; b -> c.v; c -> j.y", {"j": ZIP}),
    ("s() a(v) b(v) j(x, y) k(x, y)", "s -> a.v; s -> b.v; a -> j.x; b -> j.y; j -> k.x; a -> k.y", {"k": ZIP}),
    ("a() b(v) j(x, y)", "a -> b.v when; a -> j.x; b -> j.y", {"j": ZIP}),
    ("a() b() c() j(x, y) k(x, y)", "a -> j.x; b -> j.y; j -> k.x; c -> k.y; b -> k.y", {"k": {"join": "latest"}}),
    ("s() r(v) j(x, y) e(v)", "s -> r.v; r -> r.v when; r -> j.x; s -> j.y; j -> e.v", {}),
    ("s() r(v) q(v) j(x, y)", "s -> r.v; r -> q.v; q -> r.v when; q -> j.x; r -> j.y", {"j": ZIP}),
)


@pytest.mark.parametrize(("sockets", "plugs", "policies"), JOINS)
def test_no_join_and_no_cycle_stands_still_whatever_is_full(
    sockets: str, plugs: str, policies: dict[str, dict[str, Any]]
) -> None:
    for seed in range(60):
        random = Random(seed)
        flow = Simulation(limited(wiring(sockets, plugs, policies=policies), random))
        for name in [name for name in flow.topology.names if f".{name}" not in plugs and f"{name}()" in sockets] * 4:
            flow.submit(name)
        rounds: Counter[int] = Counter()
        while queued := [c for c in flow.calls.values() if c.state == "queued"]:
            most = room(flow.topology, loads(flow))
            free = [c for c in queued if most.get(flow.topology.names[c.socket], 1)]
            assert free, (sockets, plugs, seed)
            call = random.choice(free)
            rounds[call.run] += 1
            flow.end(call, when=lambda plug: random.random() < 0.5 and rounds[call.run] < 20)  # noqa: B023 - at once
            flow.settle()


# -- and they hold ----------------------------------------------------------------------------
@pytest.mark.parametrize("policy", ["run", "zip"])
def test_a_limit_holds_along_a_chain_and_at_a_join_one_side_of_which_is_slow(policy: str) -> None:
    plugs = "s -> a.v; s -> b.v; a -> j.x; b -> j.y; j -> e.v"
    limits: dict[str, dict[str, Any]] = {name: {"limit": 3} for name in "abe"}
    limits["j"] = {"limit": 3, "join": policy}
    topology = wiring("s() a(v) b(v) j(x, y) e(v)", plugs, policies=limits)
    flow, random = Simulation(topology), Random(1)
    for _ in range(40):
        flow.submit("s")
    most_seen: Counter[str] = Counter()
    while queued := [c for c in flow.calls.values() if c.state == "queued"]:
        most = room(topology, loads(flow))
        free = [c for c in queued if most.get(topology.names[c.socket], 1)]
        fast = [c for c in free if c.socket not in ("b", "e")]
        flow.end(random.choice(fast if fast and random.random() < 0.9 else free))
        for socket, load in loads(flow).items():
            most_seen[flow.name(socket)] = max(most_seen[flow.name(socket)], load.holds)
    # a value of each side that wait for each other's are one too many at the most
    assert {name: most_seen[name] <= 4 for name in "abje"} == dict.fromkeys("abje", True), most_seen
    assert len([c for c in flow.calls.values() if c.socket == "e"]) == 40


def test_sources_share_the_room_and_the_oldest_call_goes_first() -> None:
    topology = wiring("a() b() c() j(v)", "a -> j.v; b -> j.v; c -> j.v", policies={"j": {"limit": 4}})
    assert room(topology, {1: Load(5, head=3), 2: Load(5, head=1), 3: Load(5, head=2)}) == {2: 2, 3: 1, 1: 1}
    assert room(topology, {1: Load(5, 2, head=3), 2: Load(5, head=1), 4: Load(1)}) == {2: 1, 1: 0}
    assert room(topology, {1: Load(5, head=3), 2: Load(5, head=1), 4: Load(3)}, {4: 1}) == {1: 0, 2: 0, 3: 0}
    assert room(topology, {1: Load(5, goes=False), 2: Load(5, head=1), 4: Load(3)}) == {2: 1}


def test_a_cycle_is_never_held_back_by_itself() -> None:
    limits = {name: {"limit": 1} for name in "sab"}
    topology = wiring("s() a(v) b(v)", "s -> a.v; a -> b.v; b -> a.v", policies=limits)
    assert room(topology, {1: Load(1), 2: Load(1), 3: Load(1)}) == {1: 0}


def test_a_full_join_holds_back_what_cannot_bring_what_it_lacks_and_all_behind_it() -> None:
    limits = {name: {"limit": 1} for name in "jab"}
    topology = wiring("s() a(v) b(v) j(x, y)", "s -> a.v; s -> b.v; a -> j.x; b -> j.y", policies=limits)
    s, a, b, j = 1, 2, 3, 4
    loads = {s: Load(5), a: Load(1), b: Load(1), j: Load(arrived={"x": 1})}
    assert room(topology, loads) == {a: 0, s: 0}, "b is full, and goes on"
    assert room(topology, {**loads, b: Load()}) == {a: 0, s: 1}, "s is on the way of what lacks"
    assert a not in room(topology, {**loads, b: Load(), s: Load()}), "nothing is under way that could bring it"
    assert a not in room(topology, {**loads, b: Load(1, goes=False), s: Load()})


def test_two_full_joins_do_not_wait_for_each_other() -> None:
    policies = {name: {"limit": 1, "join": "zip"} for name in "jk"}
    topology = wiring("a() b() j(x, y) k(x, y)", "a -> j.x; b -> j.y; b -> k.x; a -> k.y", policies=policies)
    a, b, j, k = 1, 2, 3, 4
    loads = {a: Load(1), b: Load(1), j: Load(arrived={"x": 1}), k: Load(arrived={"x": 1})}
    assert room(topology, loads) == {b: 0}
