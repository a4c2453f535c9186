"""What follows from a wiring: needed arguments, simple plugs, what reaches what, which runs meet."""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.tag import Path, Tag, deeper, from_text, path, to_text, united
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug, Socket
from tests.pure.simulation import wiring

usual = settings(max_examples=5_000 if os.environ.get("EC_HYPOTHESIS") == "long" else 80, deadline=None)
splits = st.lists(st.sampled_from(["1", "2", "34"]), min_size=1, max_size=2, unique=True).map(sorted).map(tuple)
levels = st.tuples(splits, st.integers(0, 9))
tags = st.lists(levels, max_size=3).map(tuple)


def keys(topology: Topology, found: frozenset[tuple[int, str]]) -> list[str]:
    return sorted(f"{topology.sockets[s].name}.{a}" for s, a in found)


# -- tags ----------------------------------------------------------------------
@usual
@given(tags)
def test_a_tag_survives_its_text(tag: Tag) -> None:
    assert from_text(to_text(tag)) == tag


def test_a_join_belongs_to_the_splits_of_all_that_came_to_it() -> None:
    one, two = deeper((), "1", 4), deeper((), "2", 4)
    assert united([one, two]) == united([two, one]) == ((("1", "2"), 4),)
    assert united([(), deeper(one, "3", 0), one]) == deeper(one, "3", 0)
    assert path(deeper(one, "3", 0)) == (4, 0)


# -- needed, simple, ignores silent tombstones ---------------------------------
def test_needed_are_plugged_arguments_and_those_without_default_or_fixed_value() -> None:
    topology = wiring("A() J(one, two=, three, four=)", "A -> J.four", fixed={"J": "three"})
    assert topology.needed[topology.names["J"]] == ("one", "four")


def test_simple_are_plugs_to_an_only_argument_that_nothing_else_feeds() -> None:
    topology = wiring(
        "A() B(x) C(x, y) D(x) E(x) F(x)",
        "1: A -> B.x; 2: A -> C.x; 3: A -> C.y; 4: A -> D.x; 5: B -> D.x; 6: A -> E.x gather; 7: D -> F.x",
    )
    assert topology.simple == {1}


def test_a_plug_from_behind_several_plugs_or_a_cycle_is_not_simple() -> None:
    topology = wiring("A(x=) B(x) C(x)", "1: A -> B.x; 2: B -> A.x; 3: B -> C.x")
    assert topology.repeats == {topology.names[n] for n in "ABC"}
    assert topology.simple == frozenset()


def test_a_silent_tombstone_changes_nothing_on_a_plug_to_the_only_argument_of_a_socket_that_feeds_nobody() -> None:
    topology = wiring("A() B(x) C(x) D(x, y)", "1: A -> B.x; 2: B -> C.x; 3: A -> C.x error; 4: A -> D.x; 5: B -> D.y")
    assert topology.ignores_silent == {2, 3}


def test_parked_sockets_take_their_plugs_with_them() -> None:
    topology = wiring("A() B(x) C(x)", "1: A -> B.x; 2: B -> C.x")
    parked = replace(topology.sockets[2], parked=True)
    after = replace(topology, sockets={**topology.sockets, 2: parked})
    assert after.live == []
    assert list(after.names) == ["A", "C"]


# -- depth -----------------------------------------------------------------------
def test_depth_counts_splits_that_were_not_gathered_again() -> None:
    topology = wiring("R() G*(x) M(x) J(x, y) Z(x)", "R -> G.x map; G -> M.x; M -> J.x; R -> J.y; J -> Z.x gather")
    depths = topology.depths(frozenset({(topology.names["R"], None)}))
    assert [depths[topology.names[n]] for n in ("R", "G", "M", "J", "Z")] == [0, 1, 2, 2, 1]


def test_depth_in_a_party_is_counted_from_its_own_roots() -> None:
    topology = wiring("R() M(x) J(x, y) H()", "R -> M.x map; M -> J.x; H -> J.y")
    from_m = frozenset({(topology.names["M"], None), (topology.names["H"], None)})
    from_r = frozenset({(topology.names["R"], None), (topology.names["H"], None)})
    j = topology.names["J"]
    assert (topology.depths(from_m)[j], topology.depths(from_r)[j]) == (0, 1)


def test_depth_of_a_map_in_a_cycle_is_bounded() -> None:
    topology = wiring("A(x=) B(x)", "A -> B.x map; B -> A.x")
    assert topology.depths(frozenset({(topology.names["A"], None)}))[topology.names["B"]] <= 64


# -- reach, and runs that meet ----------------------------------------------------
def test_reach_goes_through_error_plugs_and_includes_what_was_given() -> None:
    topology = wiring("A() B(x) J(one, two)", "A -> B.x error; B -> J.one")
    names = topology.names
    assert keys(topology, topology.reach((names["A"], None))) == ["B.x", "J.one"]
    assert keys(topology, topology.reach((names["J"], frozenset({"two"})))) == ["J.two"]
    assert topology.reaches(names["A"], names["J"])
    assert not topology.reaches(names["J"], names["A"])


def test_a_root_joins_when_arrivals_have_to_be_kept_ahead_of_it() -> None:
    topology = wiring("A() B(x) C(x) J(one, two)", "A -> B.x; A -> C.x; B -> J.one; C -> J.two")
    names = topology.names
    assert topology.joins((names["A"], None))
    assert topology.joins((names["B"], None))
    assert not topology.joins((names["J"], None))
    assert topology.joins((names["J"], frozenset({"one"})))


def test_roots_meet_where_each_brings_an_argument_that_the_other_does_not() -> None:
    topology = wiring("A() B() C() J(one, two)", "A -> J.one; B -> J.two; C -> J.one; C -> J.two")
    a, b, c = ((topology.names[n], None) for n in "ABC")
    assert topology.meet(a, [b])
    assert not topology.meet(a, [a])
    assert not topology.meet(a, [c])
    assert topology.complete([a, b])
    assert not topology.complete([a])


def test_roots_do_not_meet_at_a_join_behind_an_argument_that_both_reach() -> None:
    topology = wiring("A() B() K(x) J(one, two)", "A -> K.x; B -> K.x; K -> J.one; A -> J.two")
    assert not topology.meet((topology.names["B"], None), [(topology.names["A"], None)])


def test_an_argument_that_has_a_default_and_no_plug_leaves_a_party_complete() -> None:
    topology = wiring("A() J(one, two=)", "A -> J.one")
    assert topology.complete([(topology.names["A"], None)])


# -- what can still come -----------------------------------------------------------------
NESTED = wiring(
    "R() M(x) N(x) J(x, y) Z(x)", "1: R -> M.x map; 2: M -> N.x; 3: N -> J.x; 4: R -> J.y; 5: N -> Z.x gather"
)
standing = st.lists(st.tuples(st.sampled_from("RMN"), st.integers(0, 2)), max_size=4)


def test_an_element_reaches_its_own_path_and_not_its_neighbours() -> None:
    m, j = NESTED.names["M"], NESTED.names["J"]
    x, y = NESTED.into[j, "x"], NESTED.into[j, "y"]
    one, root = Reachability(NESTED, [(m, deeper((), "1", 0))]), Reachability(NESTED, [(NESTED.names["R"], ())])
    assert one.can_come_by(x, (0,))
    assert one.can_come_by(x, ())
    assert not one.can_come_by(x, (1,))
    assert not one.can_come_by(y, (0,))
    assert root.can_come_by(x, (1,))


def test_an_element_of_a_list_can_come_only_from_its_own_place() -> None:
    reachability = Reachability(NESTED, [(NESTED.names["N"], deeper((), "1", 0))])
    gathering = [NESTED.plugs[5]]
    assert reachability.can_come_by(gathering, (0,), element=True)
    assert not reachability.can_come_by(gathering, (1,), element=True)
    assert reachability.can_come_by(gathering, (1,))


@usual
@given(standing, st.sampled_from(["x", "y"]), st.lists(st.integers(0, 2), max_size=1))
def test_reachability_says_what_each_token_says(tokens: list[tuple[str, int]], argument: str, at: list[int]) -> None:
    stand = [(NESTED.names[n], () if n == "R" else deeper((), "1", i)) for n, i in tokens]
    key, where = (NESTED.names["J"], argument), tuple(at)
    found = Reachability(NESTED, stand).can_come_by(NESTED.into[key], where)
    assert found == any(_naive(s, path(tag), key, where) for s, tag in stand)


def _naive(socket: int, at: Path, key: tuple[int, str], where: Path) -> bool:
    return any(
        ((p.target, p.argument) == key and all(a == b for a, b in zip(at, where, strict=False)))
        or _naive(p.target, at[:-1] if p.gather else at, key, where)
        for p in NESTED.out[socket]
    )


@usual
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), max_size=12))
def test_cycles_are_those_sockets_that_lead_to_each_other(ends):
    sockets = {n: Socket(n, str(n), "main", n) for n in range(1, 7)}
    plugs = {n: Plug(n, source, target, f"x{n}") for n, (source, target) in enumerate(ends, 1)}
    topology = Topology(1, sockets, plugs)
    expected = {
        s: frozenset(t for t in sockets if topology.leads(s, t) and topology.leads(t, s))
        for s in sockets
        if topology.leads(s, s)
    }
    assert topology.cycles == expected
