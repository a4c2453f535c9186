"""Which arrivals make which calls: runs, strangers, surplus, defaults, several plugs, partial submits."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, permutations
from typing import Any

import pytest

from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.topology import Root, Topology
from tests.pure.simulation import SKIP, Simulation, wiring

DIAMOND = wiring("R() A(x) B(x) J(one, two)", "R -> A.x; R -> B.x; A -> J.one; B -> J.two")
STRANGERS = wiring("A() B() J(one, two)", "A -> J.one; B -> J.two")


# -- same run ------------------------------------------------------------------
@pytest.mark.parametrize("order", list(permutations(["A", "B"])))
def test_target_fires_once_when_both_arguments_have_come_in_any_order(order: tuple[str, str]) -> None:
    flow = Simulation(DIAMOND)
    flow.end(flow.submit("R"))
    first, second = order
    flow.end(flow.one(first))
    assert flow.of("J") == []
    flow.end(flow.one(second))
    assert flow.one("J").arguments == {"one": ("A", ()), "two": ("B", ())}


def test_each_call_of_a_diamond_gets_both_arguments_from_its_own_run() -> None:
    flow = Simulation(DIAMOND)
    runs = [flow.submit("R") for _ in range(4)]
    for run in runs:
        flow.end(run, run.id)
    for a in reversed(flow.of("A")):
        flow.end(a, a.run)
    for b in flow.of("B"):
        flow.end(b, b.run)
    assert sorted((c.arguments["one"], c.arguments["two"]) for c in flow.of("J")) == [(r.id, r.id) for r in runs]


def test_a_party_in_which_nothing_can_happen_any_more_has_ended() -> None:
    flow = Simulation(DIAMOND)
    run = flow.submit("R")
    flow.end(run)
    for name in ("A", "B", "J"):
        assert flow.ended == []
        flow.end(flow.one(name))
    assert flow.ended == [run.id]
    assert flow.table.parties.all == {}


def test_flow_without_joins_keeps_no_parties() -> None:
    flow = Simulation(wiring("A() B(x) C(x)", "A -> B.x map; B -> C.x"))
    flow.end(flow.submit("A"), [1, 2])
    assert [c.arguments["x"] for c in flow.of("B")] == [1, 2]
    assert flow.table.parties.all == {}


@pytest.mark.parametrize("value", [None, False, 0, "", float("nan"), [], {}, b""])
def test_every_value_is_an_arrival(value: Any) -> None:
    flow = Simulation(STRANGERS)
    flow.end_each(flow.submit("A"), {1: value})
    flow.end_each(flow.submit("B"), {2: value})
    assert list(flow.one("J").arguments) == ["one", "two"]


def test_a_value_is_never_compared_nor_asked_whether_it_is_true() -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __bool__(self) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]

    flow = Simulation(STRANGERS)
    flow.end_each(flow.submit("A"), {1: Array()})
    flow.discard(flow.waiting("J")[0])
    flow.end_each(flow.submit("A"), {1: Array()})
    flow.end_each(flow.submit("B"), {2: Array()})
    assert len(flow.of("J")) == 1


# -- strangers -----------------------------------------------------------------
@pytest.mark.parametrize("names", ["ABAB", "AABB", "BBAA", "BAAB"])
def test_first_one_meets_first_two_in_order_of_acceptance(names: str) -> None:
    flow = Simulation(STRANGERS)
    runs = [flow.submit(name) for name in names]
    for run in reversed(runs):
        flow.end(run, run.id)
    ones, twos = ([r.id for r in runs if r.socket == name] for name in "AB")
    assert sorted((c.arguments["one"], c.arguments["two"]) for c in flow.of("J")) == list(zip(ones, twos, strict=True))


@pytest.mark.parametrize(("ones", "twos"), [(3, 1), (1, 3), (2, 2), (4, 0)])
def test_n_ones_and_m_twos_make_as_many_calls_as_the_fewer_and_the_rest_waits(ones: int, twos: int) -> None:
    flow = Simulation(STRANGERS)
    for run in [flow.submit(name) for name in ["A"] * ones + ["B"] * twos]:
        flow.end(run)
    assert len(flow.of("J")) == min(ones, twos)
    assert len(flow.waits("J")) == abs(ones - twos)


def test_firing_consumes_and_the_next_call_needs_both_anew() -> None:
    flow = Simulation(STRANGERS)
    for name in "AB":
        flow.end(flow.submit(name))
    flow.end(flow.submit("A"), "second")
    assert len(flow.of("J")) == 1
    assert flow.waits("J") == ["second"]


def test_first_two_after_three_ones_meets_the_first_of_them() -> None:
    flow = Simulation(STRANGERS)
    for n in range(3):
        flow.end(flow.submit("A"), n)
    flow.end(flow.submit("B"), "two")
    assert flow.one("J").arguments == {"one": 0, "two": "two"}
    assert flow.waits("J") == [1, 2]


def test_strangers_that_met_once_meet_again_at_every_later_join() -> None:
    flow = Simulation(wiring("A() B() J(one, two) K(one, two)", "A -> J.one; B -> J.two; J -> K.one; B -> K.two"))
    a, b = ([flow.submit(name) for _ in range(3)] for name in "AB")
    for run in [*reversed(b), *a]:
        flow.end(run, run.id)
    for call in reversed(flow.of("J")):
        flow.end(call, call.arguments["two"])
    assert sorted((c.arguments["one"], c.arguments["two"]) for c in flow.of("K")) == [(r.id, r.id) for r in b]


def test_merged_runs_meet_a_third_downstream_in_order_of_acceptance() -> None:
    flow = Simulation(wiring("A() B() C() J(one, two) K(one, two)", "A -> J.one; B -> J.two; J -> K.one; C -> K.two"))
    runs = {name: [flow.submit(name) for _ in range(2)] for name in "CAB"}
    for run in [*runs["B"], *reversed(runs["A"]), *reversed(runs["C"])]:
        flow.end(run, run.id)
    for call in reversed(flow.of("J")):
        flow.end(call, call.arguments["one"])
    found = sorted((c.arguments["one"], c.arguments["two"]) for c in flow.of("K"))
    assert found == [(a.id, c.id) for a, c in zip(runs["A"], runs["C"], strict=True)]


def test_nothing_crosses_parties_where_one_run_of_a_pair_has_failed() -> None:
    flow = Simulation(STRANGERS)
    first, second = flow.submit("A"), flow.submit("A")
    flow.fail(first)
    flow.end(second, "second")
    flow.end(flow.submit("B"), "for the first")
    assert flow.of("J") == []
    flow.retry(first)
    flow.end(first, "first")
    assert flow.one("J").arguments == {"one": "first", "two": "for the first"}


# -- several plugs, defaults, fixed values ---------------------------------------
def test_each_arrival_of_an_argument_with_several_plugs_is_one_arrival() -> None:
    flow = Simulation(wiring("R() A(x) B(x) J(x)", "R -> A.x; R -> B.x; A -> J.x; B -> J.x"))
    flow.end(flow.submit("R"))
    flow.end(flow.one("B"))
    flow.end(flow.one("A"))
    assert [c.arguments["x"] for c in flow.of("J")] == [("B", ()), ("A", ())]


def test_of_two_values_for_one_argument_the_second_waits_for_the_other_argument_of_its_own_call() -> None:
    flow = Simulation(
        wiring("R() A(x) B(x) C(x) J(one, two)", "R -> A.x; R -> B.x; R -> C.x; A -> J.one; B -> J.one; C -> J.two")
    )
    flow.end(flow.submit("R"))
    for name in "BCA":
        flow.end(flow.one(name))
    assert flow.one("J").arguments == {"one": ("B", ()), "two": ("C", ())}
    assert flow.waits("J") == [("A", ())]


def test_an_argument_with_a_default_and_no_plug_is_not_waited_for() -> None:
    flow = Simulation(wiring("A() J(one, two=)", "A -> J.one"))
    flow.end(flow.submit("A"), 1)
    assert flow.one("J").arguments == {"one": 1}


def test_a_fixed_argument_is_not_waited_for() -> None:
    flow = Simulation(wiring("A() J(one, two)", "A -> J.one", fixed={"J": "two"}))
    flow.end(flow.submit("A"), 1)
    assert flow.one("J").arguments == {"one": 1}


@pytest.mark.parametrize(("inside", "fixed"), [("one, two=", {}), ("one, two", {"J": "two"})])
def test_a_plug_goes_before_a_fixed_value_and_a_default(inside: str, fixed: dict[str, str]) -> None:
    flow = Simulation(wiring(f"A() B() J({inside})", "A -> J.one; B -> J.two", fixed=fixed))
    flow.end(flow.submit("A"), 1)
    assert flow.of("J") == []
    flow.end(flow.submit("B"), 2)
    assert flow.one("J").arguments == {"one": 1, "two": 2}


def test_an_argument_without_default_plug_or_value_is_waited_for() -> None:
    flow = Simulation(wiring("A() J(one, two)", "A -> J.one"))
    call = flow.submit("A")
    flow.end(call, 1)
    assert flow.of("J") == []
    flow.supply("J", "two", call, 2)
    assert flow.one("J").arguments == {"one": 1, "two": 2}


# -- partial submits -------------------------------------------------------------
@pytest.mark.parametrize("first", [True, False])
def test_a_request_with_arguments_missing_waits_for_what_a_plug_brings(first: bool) -> None:
    flow = Simulation(STRANGERS)
    if first:
        partial = flow.submit("J", one=1)
        flow.end(flow.submit("B"), 2)
    else:
        flow.end(flow.submit("B"), 2)
        partial = flow.submit("J", one=1)
    assert flow.one("J").id == partial.id
    assert partial.arguments == {"one": 1, "two": 2}
    flow.end(partial)
    assert flow.table.parties.all == {}


def test_two_requests_that_complete_each_other_are_one_call_and_the_second_follows() -> None:
    flow = Simulation(STRANGERS)
    one, two = flow.submit("J", one=1), flow.submit("J", two=2)
    assert one.state == "queued"
    assert one.arguments == {"one": 1, "two": 2}
    assert two.state == "joined"
    assert flow.fired[-1].followers == [two.id]
    flow.end(one)
    assert flow.ended == [one.id]


def test_requests_that_give_the_same_argument_never_meet() -> None:
    flow = Simulation(STRANGERS)
    partial = [flow.submit("J", one=n) for n in range(2)]
    flow.end(flow.submit("B"), "b")
    assert [c.state for c in partial] == ["queued", "waiting"]
    flow.end(flow.submit("B"), "c")
    assert partial[1].arguments == {"one": 1, "two": "c"}


def test_an_optional_argument_given_with_a_submit_goes_into_its_own_call() -> None:
    flow = Simulation(wiring("A() J(one, two=)", "A -> J.one"))
    partial = flow.submit("J", two=2)
    flow.end(flow.submit("A"), 1)
    assert partial.arguments == {"one": 1, "two": 2}
    flow.end(flow.submit("A"), 3)
    assert flow.of("J")[-1].arguments == {"one": 3}


def test_a_waiting_request_is_skipped_when_what_it_lacks_can_no_longer_come() -> None:
    flow = Simulation(STRANGERS)
    partial = flow.submit("J", one=1)
    flow.end(flow.submit("B"), SKIP)
    assert partial.state == "skipped"
    assert flow.states("J") == ["dropped", "decided"]
    assert flow.table.parties.all == {}


def test_a_waiting_request_takes_the_first_of_the_elements_that_come() -> None:
    flow = Simulation(wiring("B() M(x) J(one, two)", "B -> M.x map; M -> J.two"))
    partial = flow.submit("J", one=1)
    flow.end(flow.submit("B"), ["p", "q"])
    for m in flow.of("M"):
        flow.end(m)
    assert partial.arguments == {"one": 1, "two": ("M", (0,))}
    assert [c.arguments for c in flow.of("J") if c is not partial] == [{"one": 1, "two": ("M", (1,))}]


# -- by hand -----------------------------------------------------------------------
def test_a_value_supplied_by_hand_stands_in_for_a_failed_one() -> None:
    flow = Simulation(DIAMOND)
    run = flow.submit("R")
    flow.end(run)
    flow.end(flow.one("A"))
    flow.fail(flow.one("B"))
    flow.supply("J", "two", run, "by hand")
    assert flow.one("J").arguments == {"one": ("A", ()), "two": "by hand"}


def test_a_late_success_after_a_value_by_hand_is_superseded() -> None:
    flow = Simulation(DIAMOND)
    run = flow.submit("R")
    flow.end(run)
    flow.end(flow.one("A"))
    b = flow.one("B")
    flow.fail(b)
    flow.supply("J", "two", run, "by hand")
    flow.retry(b)
    flow.end(b)
    assert len(flow.of("J")) == 1
    assert flow.waits("J") == []
    assert flow.states("J")[-1] == "superseded"


def test_discard_in_a_diamond_skips_the_join_and_drops_what_comes_to_it() -> None:
    flow = Simulation(wiring("R() A(x) B(x) J(one, two) K(x)", "R -> A.x; R -> B.x; A -> J.one; B -> J.two; J -> K.x"))
    flow.end(flow.submit("R"))
    flow.end(flow.one("A"))
    flow.discard(flow.waiting("J")[0])
    assert len(flow.of("J", "skipped")) == len(flow.of("K", "skipped")) == 1
    flow.end(flow.one("B"))
    assert flow.states("J") == ["discarded", "dropped"]
    assert flow.table.parties.all == {}


def test_discard_of_all_that_a_stranger_brought_lets_the_next_take_its_place() -> None:
    flow = Simulation(STRANGERS)
    flow.end(flow.submit("A"), "wrong")
    b = flow.submit("B")
    flow.discard(flow.waiting("J")[0])
    flow.end(flow.submit("A"), "right")
    flow.end(b, "b")
    assert flow.one("J").arguments == {"one": "right", "two": "b"}
    assert flow.states("J") == ["left", "used", "used"]


def test_a_run_that_met_another_already_does_not_leave_but_skips_the_join() -> None:
    flow = Simulation(wiring("A() B() C() J(one, two) K(one, two)", "A -> J.one; B -> J.two; A -> K.one; C -> K.two"))
    for name in "AB":
        flow.end(flow.submit(name))
    flow.end(flow.one("J"))
    flow.discard(flow.waiting("K")[0])
    assert flow.states("K") == ["discarded"]
    assert len(flow.of("K", "skipped")) == 1


def test_discard_of_what_does_not_wait_is_refused() -> None:
    flow = Simulation(STRANGERS)
    flow.end(flow.submit("A"))
    flow.submit("B")
    arrival = flow.waiting("J")[0]
    flow.discard(arrival)
    with pytest.raises(LookupError, match="does not wait"):
        flow.table.discard(arrival, alone=True)


# -- cost ------------------------------------------------------------------------------
class Counting(Topology):
    """A topology that counts how often it is asked which runs meet."""

    asked = 0

    def meet(self, root: Root, roots: Iterable[Root]) -> bool:
        Counting.asked += 1
        return super().meet(root, roots)


def test_the_hundred_thousandth_waiting_run_costs_as_little_as_the_first() -> None:
    wires = STRANGERS
    table = JoinTable(Counting(1, wires.sockets, wires.plugs, {}, wires.tasks), count(1).__next__, count(1).__next__)
    Counting.asked = 0
    a, b = (wires.names[name] for name in "AB")
    for run in range(1, 100_001):
        table.accept(run, (a, None))
    assert Counting.asked == 1
    assert [table.accept(run, (b, None)) for run in (100_001, 100_002)] == [1, 2]
    # one for each pair of a root and a shape of open parties, however many parties there are
    assert Counting.asked == 2
