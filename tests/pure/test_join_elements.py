"""Maps, generators and gathers: one arrival an element, shared values, lists, splits that pair."""

from __future__ import annotations

import sys
from itertools import permutations
from types import FrameType

import pytest

from tests.pure.simulation import SKIP, Simulation, wiring

GATHER = wiring("R() M(x) Z(x)", "R -> M.x map; M -> Z.x gather")
SHARED = wiring("R() M(x) J(x, y) Z(x)", "R -> M.x map; M -> J.x; R -> J.y; J -> Z.x gather")
NESTED = wiring("R() O(x) I(x) C(x) Z(x)", "R -> O.x map; O -> I.x map; I -> C.x gather; C -> Z.x gather")
PAIRED = wiring("A() B() M(x) N(x) J(x, y) Z(x)", "A -> M.x map; B -> N.x map; M -> J.x; N -> J.y; J -> Z.x gather")
GENERATOR = wiring("G*() M(x) Z(x)", "G -> M.x; M -> Z.x gather")


def gathered(flow: Simulation, name: str = "Z") -> list[object]:
    found = flow.one(name).arguments["x"]
    assert isinstance(found, list)
    return found


# -- map and gather ---------------------------------------------------------------
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_elements_are_gathered_in_their_order_whatever_came_first(order: tuple[int, ...]) -> None:
    flow = Simulation(GATHER)
    flow.end(flow.submit("R"), ["a", "b", "c"])
    calls = flow.of("M")
    for n in order:
        assert flow.of("Z") == []
        flow.end(calls[n])
    assert gathered(flow) == [("M", (0,)), ("M", (1,)), ("M", (2,))]
    flow.end(flow.one("Z"))
    assert flow.table.parties.all == {}


def test_an_empty_list_is_gathered_as_an_empty_list() -> None:
    flow = Simulation(GATHER)
    flow.end(flow.submit("R"), [])
    assert gathered(flow) == []
    flow.end(flow.one("Z"))
    assert flow.table.parties.all == {}


def test_an_empty_list_stays_empty_after_a_restart_and_is_used_once() -> None:
    flow = Simulation(wiring("R() S() M(x) Z(x, y)", "R -> M.x map; M -> Z.x gather; S -> Z.y"))
    flow.end(flow.submit("R"), [])
    flow.restart()
    flow.end(flow.submit("S"))
    assert flow.one("Z").arguments == {"x": [], "y": ("S", ())}
    flow.restart()
    flow.end(flow.one("Z"))
    assert flow.table.parties.all == {}


def test_a_value_that_was_never_split_is_gathered_as_a_list_of_one() -> None:
    flow = Simulation(GATHER)
    flow.end(flow.submit("M"), "alone")
    assert gathered(flow) == ["alone"]


def test_a_skipped_element_is_left_out_of_the_list() -> None:
    flow = Simulation(GATHER)
    flow.end(flow.submit("R"), ["a", "b", "c"])
    for n, call in enumerate(flow.of("M")):
        flow.end(call, SKIP if n == 1 else None)
    assert gathered(flow) == [("M", (0,)), ("M", (2,))]


def test_a_list_of_which_every_element_was_skipped_is_empty() -> None:
    flow = Simulation(GATHER)
    flow.end(flow.submit("R"), ["a", "b"])
    for call in flow.of("M"):
        flow.end(call, SKIP)
    flow.restart()
    assert gathered(flow) == []
    flow.restart()
    flow.end(flow.one("Z"))
    assert flow.table.parties.all == {}


def test_a_split_that_was_skipped_makes_no_list() -> None:
    flow = Simulation(GATHER)
    flow.end(flow.submit("R"), SKIP)
    assert flow.of("Z") == []
    assert len(flow.of("Z", "skipped")) == 1


def test_a_failed_element_holds_the_list_until_it_is_retried_or_given_up() -> None:
    for ending in ("retry", "give up"):
        flow = Simulation(GATHER)
        flow.end(flow.submit("R"), ["a", "b"])
        bad, good = flow.of("M")
        flow.fail(bad)
        flow.end(good)
        flow.settle()
        assert flow.of("Z") == []
        assert flow.waits("Z") == [("M", (1,))]
        if ending == "retry":
            flow.retry(bad)
            flow.end(bad)
        else:
            flow.give_up(bad)
        assert len(gathered(flow)) == (2 if ending == "retry" else 1)


def test_an_element_discarded_on_its_way_is_left_out() -> None:
    flow = Simulation(GATHER)
    flow.end(flow.submit("R"), ["a", "b"])
    first, second = flow.of("M")
    flow.end(first)
    flow.discard(flow.waiting("Z")[0])
    flow.end(second)
    assert gathered(flow) == [("M", (1,))]


def test_an_element_discarded_from_a_list_that_waits_is_left_out() -> None:
    flow = Simulation(wiring("R() S() M(x) Z(x, y)", "R -> M.x map; M -> Z.x gather; S -> Z.y"))
    flow.end(flow.submit("R"), ["a", "b"])
    for call in flow.of("M"):
        flow.end(call)
    flow.discard(flow.waiting("Z")[0])
    flow.restart()
    flow.end(flow.submit("S"))
    assert flow.one("Z").arguments["x"] == [("M", (1,))]


@pytest.mark.parametrize("restarts", [False, True])
def test_an_element_that_will_not_come_is_left_out_and_what_a_retry_brings_is_superseded(restarts: bool) -> None:
    flow = Simulation(GATHER)
    run = flow.submit("R")
    flow.end(run, ["a", "b"])
    for call in flow.of("M"):
        flow.fail(call)
    for i in range(2):
        flow.restart() if restarts else None
        assert flow.of("Z") == []
        flow.leave_out("Z", "x", run, ((("1",), i),))
    assert gathered(flow) == []
    flow.restart() if restarts else None
    for call in flow.of("M"):
        flow.retry(call)
        flow.end(call)
    flow.end(flow.one("Z"))
    assert flow.states("Z") == ["decided", "decided", "superseded", "superseded"]
    assert flow.table.parties.all == {}


@pytest.mark.parametrize("restarts", [False, True])
def test_a_list_that_is_given_up_skips_its_call_and_takes_nothing_more(restarts: bool) -> None:
    flow = Simulation(wiring("R() M(x) Z(x) W(x)", "R -> M.x map; M -> Z.x gather; Z -> W.x"))
    run = flow.submit("R")
    flow.end(run, ["a", "b"])
    for call in flow.of("M"):
        flow.fail(call)
    flow.end_list("Z", "x", run)
    flow.restart() if restarts else None
    assert len(flow.of("W", "skipped")) == 1
    for call in flow.of("M"):
        flow.retry(call)
        flow.end(call)
    assert flow.of("Z") == []
    assert flow.table.parties.all == {}


def test_a_gather_of_what_is_done_does_not_wait_for_failed_elements() -> None:
    wires = "R -> M.x map; M -> N.x; M -> J.y; N -> J.x; J -> Z.x done"
    flow = Simulation(wiring("R() M(x) N(x) J(x, y) Z(x)", wires))
    flow.end(flow.submit("R"), ["a", "b", "c"])
    for call in flow.of("M"):
        flow.end(call)
    bad, good, slow = flow.of("N")
    flow.fail(bad)
    flow.end(good)
    flow.end(flow.one("J"))
    flow.settle()
    assert flow.of("Z") == []
    flow.end(slow)
    flow.restart()
    flow.end(flow.one("J"))
    flow.settle()
    assert gathered(flow) == [("J", (1,)), ("J", (2,))]
    flow.restart()
    flow.retry(bad)
    flow.end(bad)
    flow.end(flow.one("J"))
    flow.settle()
    assert flow.states("Z")[-1] == "superseded"
    flow.end(flow.one("Z"))
    assert flow.table.parties.all == {}


def test_a_gather_of_what_is_done_is_empty_where_every_element_failed() -> None:
    flow = Simulation(wiring("R() M(x) Z(x)", "R -> M.x map; M -> Z.x done"))
    flow.end(flow.submit("R"), ["a", "b"])
    for call in flow.of("M"):
        flow.fail(call)
    flow.restart()
    flow.settle()
    assert gathered(flow) == []
    flow.restart()
    assert len(flow.of("Z")) == 1


def test_a_gather_of_what_is_done_waits_where_what_should_have_been_split_failed() -> None:
    flow = Simulation(wiring("R() M(x) Z(x)", "R -> M.x map; M -> Z.x done"))
    flow.fail(flow.submit("R"))
    flow.settle()
    assert flow.of("Z") == flow.of("Z", "skipped") == []


@pytest.mark.parametrize("values", [[], ["p"], ["p", "q"]])
def test_a_list_brought_by_hand_is_one_argument(values: list[str]) -> None:
    flow = Simulation(wiring("R() S() M(x) Z(x, y)", "R -> M.x map; M -> Z.x gather; S -> Z.y"))
    run = flow.submit("R")
    flow.supply_list("Z", "x", run, values)
    flow.restart()
    flow.end(flow.submit("S"))
    assert flow.one("Z").arguments == {"x": values, "y": ("S", ())}
    flow.restart()
    assert len(flow.of("Z")) == 1


# -- shared values ------------------------------------------------------------------
def test_a_value_from_before_a_split_is_shared_by_every_element() -> None:
    flow = Simulation(SHARED)
    flow.end(flow.submit("R"), ["a", "b"])
    for call in flow.of("M"):
        flow.end(call)
    assert [c.arguments for c in flow.of("J")] == [{"x": ("M", (i,)), "y": ["a", "b"]} for i in (0, 1)]
    for call in flow.of("J"):
        flow.end(call)
    flow.end(flow.one("Z"))
    assert flow.table.parties.all == {}


def test_elements_that_came_first_wait_for_the_value_they_share() -> None:
    flow = Simulation(wiring("R() M(x) S(x) J(x, y)", "R -> M.x map; R -> S.x; M -> J.x; S -> J.y"))
    flow.end(flow.submit("R"), ["a", "b", "c"])
    for call in flow.of("M"):
        flow.end(call)
    assert flow.of("J") == []
    flow.end(flow.one("S"))
    assert [c.path for c in flow.of("J")] == [(0,), (1,), (2,)]


def test_a_shared_value_that_is_absent_skips_each_element_and_the_list_is_empty() -> None:
    for late in (False, True):
        flow = Simulation(
            wiring("R() M(x) S(x) J(x, y) Z(x)", "R -> M.x map; R -> S.x; M -> J.x; S -> J.y; J -> Z.x gather")
        )
        flow.end(flow.submit("R"), ["a", "b"])
        order = [*flow.of("M"), flow.one("S")] if late else [flow.one("S"), *flow.of("M")]
        for call in order:
            flow.end(call, SKIP if call.socket == "S" else None)
        assert [c.path for c in flow.of("J", "skipped")] == [(0,), (1,)]
        assert gathered(flow) == []


def test_a_shared_value_of_which_no_element_came_is_dropped() -> None:
    for ends in ([], ["a", "b"]):
        flow = Simulation(SHARED)
        flow.end(flow.submit("R"), ends)
        for call in flow.of("M"):
            flow.end(call, SKIP)
        assert gathered(flow) == []
        flow.end(flow.one("Z"))
        assert flow.table.parties.all == {}
        assert "dropped" in flow.states("J")


def test_a_shared_value_stays_while_one_element_may_still_come() -> None:
    flow = Simulation(SHARED)
    flow.end(flow.submit("R"), ["a", "b"])
    first, second = flow.of("M")
    flow.end(first, SKIP)
    flow.settle()
    flow.restart()
    flow.end(second)
    assert flow.one("J").arguments["y"] == ["a", "b"]


# -- nested splits --------------------------------------------------------------------
def test_maps_of_maps_are_gathered_level_by_level() -> None:
    flow = Simulation(NESTED)
    flow.end(flow.submit("R"), ["a", "b"])
    first, second = flow.of("O")
    flow.end(second, ["p"])
    flow.end(first, ["q", "r"])
    for call in flow.of("I"):
        flow.end(call)
    assert sorted(c.arguments["x"] for c in flow.of("C")) == [[("I", (0, 0)), ("I", (0, 1))], [("I", (1, 0))]]
    for call in reversed(flow.of("C")):
        flow.end(call)
    assert gathered(flow) == [("C", (0,)), ("C", (1,))]


def test_an_empty_outer_list_makes_one_empty_list_at_the_end() -> None:
    flow = Simulation(NESTED)
    flow.end(flow.submit("R"), [])
    assert flow.of("C") == []
    assert gathered(flow) == []


def test_an_empty_inner_list_is_one_empty_list_among_the_others() -> None:
    flow = Simulation(NESTED)
    flow.end(flow.submit("R"), ["a", "b"])
    for call, value in zip(flow.of("O"), ([], ["p"]), strict=True):
        flow.end(call, value)
    flow.end(flow.one("I"))
    assert [c.arguments["x"] for c in flow.of("C")] == [[], [("I", (1, 0))]]


def test_a_join_below_two_splits_shares_what_is_from_between_and_before_them() -> None:
    flow = Simulation(wiring("R() O(x) I(x) J(x, y, z)", "R -> O.x map; O -> I.x map; I -> J.x; O -> J.y; R -> J.z"))
    flow.end(flow.submit("R"), ["a", "b"])
    for call in flow.of("O"):
        flow.end(call, [call.path, call.path])
    for call in reversed(flow.of("I")):
        flow.end(call)
    found = {c.path: c.arguments for c in flow.of("J")}
    assert sorted(found) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(found[at] == {"x": ("I", at), "y": [at[:1]] * 2, "z": ["a", "b"]} for at in found)


def test_an_empty_outer_list_passes_a_join_of_both_levels() -> None:
    wires = "R -> O.x map; O -> I.x map; I -> J.x; O -> J.y; J -> C.x gather; C -> Z.x gather"
    flow = Simulation(wiring("R() O(x) I(x) J(x, y) C(x) Z(x)", wires))
    flow.end(flow.submit("R"), [])
    assert flow.of("C") == []
    assert gathered(flow) == []


# -- generators ---------------------------------------------------------------------
def test_a_generator_feeds_each_value_as_it_comes_and_its_end_closes_the_list() -> None:
    flow = Simulation(GENERATOR)
    call = flow.submit("G")
    for _ in range(2):
        flow.emit(call)
        flow.end(flow.one("M"))
    assert flow.of("Z") == []
    flow.exhaust(call)
    assert gathered(flow) == [("M", (0,)), ("M", (1,))]


def test_a_generator_that_yields_nothing_makes_an_empty_list() -> None:
    flow = Simulation(GENERATOR)
    flow.exhaust(flow.submit("G"))
    assert gathered(flow) == []


def test_a_generator_that_failed_after_some_yields_goes_on_after_them() -> None:
    flow = Simulation(GENERATOR)
    call = flow.submit("G")
    flow.emit(call)
    flow.end(flow.one("M"))
    flow.fail(call)
    flow.restart()
    flow.retry(call)
    flow.emit(call)
    flow.end(flow.one("M"))
    flow.exhaust(call)
    assert gathered(flow) == [("M", (0,)), ("M", (1,))]


def test_a_generator_given_up_has_as_many_elements_as_it_yielded() -> None:
    flow = Simulation(GENERATOR)
    call = flow.submit("G")
    flow.emit(call)
    flow.fail(call)
    flow.give_up(call)
    flow.end(flow.one("M"))
    assert gathered(flow) == [("M", (0,))]
    flow.end(flow.one("Z"))
    assert flow.table.parties.all == {}


def test_a_yield_whose_condition_does_not_hold_is_left_out_of_the_list() -> None:
    flow = Simulation(wiring("G*() M(x) Z(x)", "1: G -> M.x when; 2: M -> Z.x gather"))
    call = flow.submit("G")
    flow.emit_evaluated(call, {1: False})
    flow.emit(call)
    flow.restart()
    flow.end(flow.one("M"))
    flow.exhaust(call)
    assert len(flow.of("M", "skipped")) == 1
    assert gathered(flow) == [("M", (1,))]


def test_yields_that_are_split_again_stand_two_levels_deep() -> None:
    wires = "1: G -> M.x map; 2: M -> C.x gather; 3: C -> Z.x gather"
    flow = Simulation(wiring("G*() M(x) C(x) Z(x)", wires))
    call = flow.submit("G")
    flow.emit_evaluated(call, {1: []})
    flow.emit_evaluated(call, {1: ["a", "b"]})
    flow.emit_evaluated(call, {1: False})
    flow.restart()
    flow.exhaust(call)
    for m in flow.of("M"):
        flow.end(m)
    assert {c.path: c.arguments["x"] for c in flow.of("C")} == {(0,): [], (1,): [("M", (1, 0)), ("M", (1, 1))]}
    assert [c.path for c in flow.of("C", "skipped")] == [(2,)]
    for c in flow.of("C"):
        flow.end(c)
    assert gathered(flow) == [("C", (0,)), ("C", (1,))]


# -- two splits -------------------------------------------------------------------------
@pytest.mark.parametrize("reverse", [False, True])
def test_two_splits_pair_by_index_and_the_surplus_waits(reverse: bool) -> None:
    flow = Simulation(PAIRED)
    a, b = flow.submit("A"), flow.submit("B")
    flow.end(a, ["a", "b"])
    flow.end(b, ["p", "q", "r"])
    calls = [*flow.of("M"), *flow.of("N")]
    for call in reversed(calls) if reverse else calls:
        flow.end(call)
    assert sorted(c.arguments["x"][1] for c in flow.of("J")) == [(0,), (1,)]
    assert all(c.arguments["x"][1] == c.arguments["y"][1] for c in flow.of("J"))
    assert flow.waits("J") == [("N", (2,))]
    for call in flow.of("J"):
        flow.end(call)
    assert gathered(flow) == [("J", (0,)), ("J", (1,))]


def test_an_empty_split_beside_another_makes_an_empty_list_and_the_surplus_waits() -> None:
    flow = Simulation(PAIRED)
    a, b = flow.submit("A"), flow.submit("B")
    flow.end(a, [])
    flow.end(b, ["p"])
    flow.end(flow.one("N"))
    assert gathered(flow) == []
    assert flow.waits("J") == [("N", (0,))]
    assert flow.of("J", "skipped") == []


def test_two_plugs_of_one_split_pair_by_index() -> None:
    flow = Simulation(wiring("R() M(x) N(x) J(x, y)", "R -> M.x map; R -> N.x map; M -> J.x; N -> J.y"))
    flow.end(flow.submit("R"), ["a", "b"])
    for call in [*flow.of("N"), *reversed(flow.of("M"))]:
        flow.end(call)
    assert {c.path: (c.arguments["x"][1], c.arguments["y"][1]) for c in flow.of("J")} == {
        (0,): ((0,), (0,)),
        (1,): ((1,), (1,)),
    }


def test_arms_inside_a_map_make_one_list() -> None:
    wires = "1: R -> S.x map; 2: S -> A.x when; 3: S -> B.x when; 4: A -> Z.x gather; 5: B -> Z.x gather"
    flow = Simulation(wiring("R() S(x) A(x) B(x) Z(x)", wires))
    flow.end(flow.submit("R"), ["a", "b", "c"])
    for call in flow.of("S"):
        arm = 2 if call.path == (1,) else 3
        flow.end(call, when=lambda plug, arm=arm: plug.when is None or plug.id == arm)
    for call in [*flow.of("A"), *flow.of("B")]:
        flow.end(call)
    assert gathered(flow) == [("B", (0,)), ("A", (1,)), ("B", (2,))]


def test_lists_of_two_splits_on_one_argument_are_two_arrivals() -> None:
    wires = "R -> A.x; R -> B.x; A -> M.x map; B -> N.x map; M -> Z.x gather; N -> Z.x gather"
    flow = Simulation(wiring("R() A(x) B(x) M(x) N(x) Z(x)", wires))
    flow.end(flow.submit("R"))
    flow.end(flow.one("A"), [1, 2])
    flow.end(flow.one("B"), [3])
    for call in [*flow.of("M"), *flow.of("N")]:
        flow.end(call)
    assert [c.arguments["x"] for c in flow.of("Z")] == [[("M", (0,)), ("M", (1,))], [("N", (0,))]]


def test_strangers_each_with_a_map_meet_element_by_element_in_each_party() -> None:
    flow = Simulation(PAIRED)
    runs = [flow.submit(name) for name in "AABB"]
    for run in reversed(runs):
        flow.end(run, [run.id, run.id])
    for call in [*reversed(flow.of("M")), *flow.of("N")]:
        flow.end(call, (call.arguments["x"], call.path))
    found = {(c.arguments["x"], c.arguments["y"]) for c in flow.of("J")}
    a, b, c, d = (run.id for run in runs)
    assert found == {((one, (i,)), (two, (i,))) for one, two in ((a, c), (b, d)) for i in (0, 1)}


def _steps(n: int) -> int:
    """How many calls of functions it takes to bring `n` elements of two splits together and into one list."""
    wires = "R -> M.x map; R -> S.x map; M -> J.x; S -> J.y; J -> Z.x gather"
    flow = Simulation(wiring("R() M(x) S(x) J(x, y) Z(x)", wires))
    steps = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event == "call" and "ec_jupyter" in frame.f_code.co_filename

    sys.setprofile(count)
    try:
        flow.end(flow.submit("R"), range(n))
        for call in [*flow.of("M"), *reversed(flow.of("S")), *flow.of("Z")]:
            flow.end(call)
        for call in reversed(flow.of("J")):
            flow.end(call)
    finally:
        sys.setprofile(None)
    assert len(gathered(flow)) == n
    return steps


def test_each_of_a_thousand_elements_takes_as_many_steps_as_each_of_a_hundred() -> None:
    assert _steps(1_000) < 11 * _steps(100)


@pytest.mark.parametrize("restarts", [False, True])
def test_of_a_party_that_ends_it_is_told_whether_values_in_it_are_shared(restarts: bool) -> None:
    flow = Simulation(wiring("load() work(x, m)", "load -> work.x map; load -> work.m"))
    for elements in (["a", "b"], []):
        flow.end(flow.submit("load"), elements)
        if restarts:
            flow.restart()
        for call in flow.of("work", "queued"):
            flow.end(call)
    assert flow.ended == [1, 4]
    assert flow.unshared == [1]


def test_what_waits_is_told_oldest_first_whichever_element_it_is() -> None:
    flow = Simulation(wiring("load() step(x) work(x, m)", "load -> step.x map; step -> work.x"))
    load = flow.submit("load")
    flow.end(load, ["a", "b", "c"])
    for call in reversed(flow.of("step")):
        flow.end(call, call.arguments["x"])
    waiting = flow.table.standing.waiting(load.party, flow.topology.names["work"])
    assert [arrival.value for arrival in waiting] == ["c", "b", "a"]
