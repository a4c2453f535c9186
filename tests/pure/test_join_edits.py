"""The wiring changes while values wait: nothing is lost, nothing is called twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ec_jupyter.flow.tag import ROOT
from ec_jupyter.flow.topology import Topology
from tests.pure.simulation import SKIP, Simulation, wiring

STRANGERS = "1: A -> J.one; 2: B -> J.two"


def strangers(inside: str = "one, two", plugs: str = STRANGERS) -> Topology:
    return wiring(f"A() B() J({inside}) C(x=)", plugs)


def test_what_has_come_by_a_plug_stays_when_it_is_unplugged() -> None:
    flow = Simulation(strangers())
    flow.end(flow.submit("A"), 1)
    flow.edit(strangers(plugs="2: B -> J.two"))
    assert flow.waits("J") == [1]
    call = next(iter(flow.calls.values()))
    flow.supply("J", "two", call, 2)
    assert flow.one("J").arguments == {"one": 1, "two": 2}


def test_a_join_whose_missing_argument_is_unplugged_and_has_a_default_is_called() -> None:
    flow = Simulation(strangers("one, two="))
    flow.end(flow.submit("A"), 1)
    flow.edit(strangers("one, two=", "1: A -> J.one"))
    assert flow.one("J").arguments == {"one": 1}


def test_a_result_goes_to_the_plugs_in_force_when_it_comes() -> None:
    flow = Simulation(wiring("A() B(x) C(x)", "1: A -> B.x"))
    first = flow.submit("A")
    flow.edit(wiring("A() B(x) C(x)", "2: A -> C.x"))
    flow.end(first)
    assert (len(flow.of("B")), len(flow.of("C"))) == (0, 1)


def test_a_new_plug_feeds_a_join_that_waits_already() -> None:
    flow = Simulation(wiring("R() A(x) B(x) J(one, two)", "1: R -> A.x; 2: R -> B.x; 3: A -> J.one"))
    flow.end(flow.submit("R"))
    flow.end(flow.one("A"), 1)
    flow.edit(wiring("R() A(x) B(x) J(one, two)", "1: R -> A.x; 2: R -> B.x; 3: A -> J.one; 4: B -> J.two"))
    flow.end(flow.one("B"), 2)
    assert flow.one("J").arguments == {"one": 1, "two": 2}


def test_a_flow_that_had_no_join_gets_one_ahead_of_its_runs() -> None:
    flow = Simulation(wiring("R() A(x) B(x) J(one, two)", "1: R -> A.x; 2: R -> B.x"))
    flow.end(flow.submit("R"))
    assert flow.table.parties.all == {}
    flow.edit(wiring("R() A(x) B(x) J(one, two)", "1: R -> A.x; 2: R -> B.x; 3: A -> J.one; 4: B -> J.two"))
    flow.end(flow.one("A"), 1)
    flow.end(flow.one("B"), 2)
    assert flow.one("J").arguments == {"one": 1, "two": 2}
    flow.end(flow.one("J"))
    assert flow.table.parties.all == {}


def test_a_gather_added_while_its_elements_run_gets_them_all() -> None:
    flow = Simulation(wiring("R() M(x) Z(x)", "1: R -> M.x map"))
    flow.end(flow.submit("R"), ["a", "b"])
    flow.edit(wiring("R() M(x) Z(x)", "1: R -> M.x map; 2: M -> Z.x gather"))
    for call in flow.of("M"):
        flow.end(call)
    assert flow.one("Z").arguments == {"x": [("M", (0,)), ("M", (1,))]}


def test_a_new_argument_is_waited_for_by_joins_that_wait() -> None:
    flow = Simulation(strangers())
    flow.end(flow.submit("A"), 1)
    flow.edit(strangers("one, two, three"))
    flow.end(flow.submit("B"), 2)
    assert flow.of("J") == []
    flow.supply("J", "three", next(iter(flow.calls.values())), 3)
    assert flow.one("J").arguments == {"one": 1, "two": 2, "three": 3}


def test_a_join_that_lacked_only_an_argument_that_is_gone_is_called() -> None:
    flow = Simulation(strangers())
    flow.end(flow.submit("A"), 1)
    flow.edit(strangers("one", "1: A -> J.one"))
    assert flow.one("J").arguments == {"one": 1}


def test_arrivals_of_a_vanished_argument_are_kept_until_it_is_back() -> None:
    flow = Simulation(strangers())
    flow.end(flow.submit("A"), 1)
    flow.edit(strangers("uno, two", "2: B -> J.two"))
    b = flow.submit("B")
    flow.end(b, 2)
    assert sorted(flow.waits("J")) == [1, 2]
    flow.edit(strangers())
    assert len(flow.waits("J")) == 0
    assert flow.one("J").arguments == {"one": 1, "two": 2}


def test_an_edit_that_makes_roots_meet_groups_the_open_runs_in_order_of_acceptance() -> None:
    flow = Simulation(wiring("A() B() J(one, two) K(one, two)", "1: A -> J.one; 2: B -> K.two"))
    ones = [flow.submit("A") for _ in range(2)]
    twos = [flow.submit("B") for _ in range(2)]
    flow.end(ones[0], "a")
    flow.end(twos[0], "b")
    flow.edit(wiring("A() B() J(one, two) K(one, two)", "1: A -> J.one; 2: B -> K.two; 3: B -> J.two"))
    assert flow.merged == {twos[0].id: ones[0].id, twos[1].id: ones[1].id}
    flow.end(twos[1], "d")
    flow.end(ones[1], "c")
    assert [c.arguments for c in flow.of("J")] == [{"one": "c", "two": "d"}]
    assert sorted(flow.waits("J")) == ["a"]
    assert sorted(flow.waits("K")) == ["b", "d"]
    assert sorted(a.party for a in flow.waiting("K")) == [ones[0].id, ones[1].id]


def test_a_tombstone_decides_when_the_plug_it_waited_for_is_unplugged() -> None:
    wires = "1: R -> A.x; 2: R -> B.x; 3: A -> J.x; 4: B -> J.x; 5: R -> J.y"
    sockets = "R() A(x) B(x) J(x, y)"
    flow = Simulation(wiring(sockets, wires))
    flow.end(flow.submit("R"))
    flow.end(flow.one("A"), SKIP)
    flow.settle()
    assert flow.of("J", "skipped") == []
    flow.edit(wiring(sockets, wires.replace("4: B -> J.x; ", "")))
    flow.settle()
    assert len(flow.of("J", "skipped")) == 1
    assert sorted(flow.states("J")) == ["decided", "dropped"]


@pytest.mark.parametrize("back", [True, False])
def test_waiting_values_of_a_parked_socket_stay_as_long_as_it_is_parked(back: bool) -> None:
    flow = Simulation(strangers())
    flow.end(flow.submit("A"), 1)
    there = flow.topology
    parked = replace(there.sockets[there.names["J"]], parked=True)
    flow.topology = replace(there, sockets={**there.sockets, parked.id: parked})
    flow.table.revise(flow.topology)
    flow.absorb()
    assert len(list(next(iter(flow.table.parties.all.values())).waits())) == 1
    if back:
        flow.table.revise(there)
        flow.topology = there
        flow.end(flow.submit("B"), 2)
        assert flow.one("J").arguments == {"one": 1, "two": 2}


def test_a_request_put_back_by_a_new_signature_waits_and_goes_on_as_itself() -> None:
    flow = Simulation(wiring("R() A(x) J(one)", "1: R -> A.x; 2: A -> J.one"))
    run = flow.submit("R")
    flow.end(run)
    flow.end(flow.one("A"), 1)
    call = flow.one("J")
    flow.edit(wiring("R() A(x) J(one, two)", "1: R -> A.x; 2: A -> J.one"))
    flow.table.adopt(call.party, {call.run: (flow.topology.names["R"], None)}, 1)
    call.state = "waiting"
    flow.table.wait(call.id, call.run, flow.topology.names["J"], call.party, ROOT)
    flow.supply("J", "one", call, 1)
    flow.supply("J", "two", call, 2)
    assert call.state == "queued"
    assert call.arguments == {"one": 1, "two": 2}
    flow.end(call)
    assert flow.ended == [run.id]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("whole", [False, True])
def test_an_element_that_another_plug_is_to_bring_goes_as_if_it_had_not_come(at: int, whole: bool) -> None:
    flow = Simulation(wiring("R() S() M(x) Z(x, y)", "1: R -> M.x map; 2: M -> Z.x gather; 3: S -> Z.y"), lags=True)
    flow.end(flow.submit("R"), [0, 1, 2])
    for call in flow.of("M")[: 3 if whole else 2]:
        flow.end(call)
    some = flow.waiting("Z")
    taken = some[at % len(some)]
    flow.table.withdraw(taken)
    del flow.rows[taken.id]
    flow.restart()
    assert len(flow.waiting("Z")) == len(some) - 1
    party = flow.party_of(1)
    flow.table.supply(taken.socket, "x", party, 1, taken.tag, "anew", element=True)
    flow.absorb()
    for call in flow.of("M", "queued"):
        flow.end(call)
    flow.end(flow.submit("S"), "y")
    (call,) = flow.of("Z")
    assert call.arguments["x"] == ["anew" if i == taken.tag[-1][1] else ("M", (i,)) for i in range(3)]


def test_a_request_whose_task_asks_for_nothing_more_runs_once_and_what_it_had_brought_stays() -> None:
    flow = Simulation(wiring("J(one, two)"))
    call = flow.submit("J", one=1)
    flow.edit(wiring("J(new)"))
    assert call.state == "waiting"
    flow.edit(wiring("J(new)", fixed={"J": "new"}))
    assert (call.state, call.arguments, flow.waits("J")) == ("queued", {}, [1])
    assert len(flow.calls) == 1
    flow.restart()
    flow.edit(wiring("J(one, two)"))
    assert flow.waits("J") == [1]
    flow.end(call)
