"""Which runs belong together."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.party import Parties
from ec_jupyter.flow.topology import Root, Topology
from tests.pure.simulation import Simulation, wiring

STRANGERS = wiring("A() B() J(one, two)", "A -> J.one; B -> J.two")
THREE = wiring(
    "A() B() C() J(one, two) K(one, two) S(x)", "A -> J.one; B -> J.two; J -> K.one; C -> K.two; A -> S.x; B -> S.x"
)


def root(topology: Topology, name: str) -> Root:
    return topology.names[name], None


def members(parties: Parties) -> list[list[int]]:
    return [sorted(p.runs) for p in sorted(parties.all.values(), key=lambda p: p.id)]


def test_a_run_enters_the_oldest_party_that_lacks_it() -> None:
    parties = Parties(STRANGERS)
    for run, name in enumerate("AAABAB", 1):
        parties.enter(run, root(STRANGERS, name))
    assert members(parties) == [[1, 4], [2, 6], [3], [5]]


def test_three_strangers_make_one_party_in_any_order() -> None:
    for names in ("ABC", "CBA", "BCA"):
        parties = Parties(THREE)
        for run, name in enumerate(names, 1):
            parties.enter(run, root(THREE, name))
        assert members(parties) == [[1, 2, 3]], names


def test_a_party_that_ended_takes_nobody() -> None:
    parties = Parties(STRANGERS)
    parties.end(parties.enter(1, root(STRANGERS, "A")))
    parties.enter(2, root(STRANGERS, "B"))
    assert members(parties) == [[2]]


def test_the_place_of_a_run_that_left_is_taken_by_the_next() -> None:
    parties = Parties(STRANGERS)
    first = parties.enter(1, root(STRANGERS, "A"))
    parties.enter(2, root(STRANGERS, "B"))
    parties.leave(first, 1)
    parties.enter(3, root(STRANGERS, "A"))
    assert members(parties) == [[2, 3]]


def test_a_run_that_stays_alone_meets_nobody() -> None:
    parties = Parties(STRANGERS)
    parties.enter(1, root(STRANGERS, "A"), alone=True)
    parties.enter(2, root(STRANGERS, "B"))
    parties.enter(3, root(STRANGERS, "B"), alone=True)
    assert members(parties) == [[1], [2], [3]]
    assert list(parties.revise(STRANGERS)) == []


def test_parties_that_an_edit_brings_together_are_found_by_either_identity() -> None:
    apart = wiring("A() B() J(one, two)", "A -> J.one")
    parties = Parties(apart)
    for run, name in enumerate("AABB", 1):
        parties.enter(run, root(apart, name))
    merged = [(party.id, older.id) for party, older in parties.revise(STRANGERS)]
    assert merged == [(3, 1), (4, 2)]
    assert members(parties) == [[1, 3], [2, 4]]
    assert parties.find(4) is parties.all[2]
    assert parties.find(5) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("ABC"), max_size=12))
def test_parties_are_what_asking_each_party_in_turn_gives(names: list[str]) -> None:
    parties = Parties(THREE)
    found: list[dict[int, Root]] = []
    for run, name in enumerate(names, 1):
        parties.enter(run, root(THREE, name))
        mine = root(THREE, name)
        party = next((p for p in found if _meets(mine, p.values())), None)
        if party is None:
            found.append({run: mine})
        else:
            party[run] = mine
    assert members(parties) == [sorted(p) for p in found]


def _meets(mine: Root, others: Iterable[Root]) -> bool:
    """Of these three flows each brings what the others lack, so only one of each fits in."""
    return mine not in list(others)


def test_runs_whose_party_has_ended_are_not_brought_back_by_an_edit() -> None:
    flow = Simulation(STRANGERS)
    for name in "AB":
        flow.end(flow.submit(name))
    flow.end(flow.one("J"))
    flow.edit(wiring("A() B() J(one, two)", "A -> J.one; B -> J.two", revision=2))
    assert flow.table.parties.all == {}
