"""Tombstones: skips pass on and failures hold; conditions, arms that meet, fallbacks, retries."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise, permutations

import pytest

from ec_jupyter.flow.arrival import Arrival, from_column, to_column
from ec_jupyter.model import Plug
from tests.pure.simulation import SKIP, Simulation, wiring

DIAMOND = wiring("R() A(x) B(x) J(one, two) K(x)", "R -> A.x; R -> B.x; A -> J.one; B -> J.two; J -> K.x")
ARMS = wiring(
    "R() A(x) B(x) J(x, y) K(x)",
    "1: R -> A.x when; 2: R -> B.x when; 3: A -> J.x; 4: B -> J.x; 5: R -> J.y; 6: J -> K.x",
)
FALLBACK = wiring("R() F(x) E(x) J(x, y)", "1: R -> F.x; 2: F -> J.x; 3: F -> E.x error; 4: E -> J.x; 5: R -> J.y")


def only(*plugs: int) -> Callable[[Plug], bool]:
    """A condition that holds for these plugs."""

    def when(plug: Plug) -> bool:
        return plug.when is None or plug.id in plugs

    return when


def _stack() -> int:
    """How deep the stack is."""
    frame, deep = sys._getframe(), 0
    while frame := frame.f_back:  # type: ignore[assignment]
        deep += 1
    return deep


# -- skips ---------------------------------------------------------------------
@pytest.mark.parametrize("order", list(permutations(["A", "B"])))
def test_join_with_an_absent_argument_is_skipped_and_passes_it_on(order: tuple[str, str]) -> None:
    flow = Simulation(DIAMOND)
    flow.end(flow.submit("R"))
    for name in order:
        flow.end(flow.one(name), SKIP if name == "A" else None)
    assert len(flow.of("J", "skipped")) == len(flow.of("K", "skipped")) == 1
    assert flow.of("J") == flow.of("K") == []
    assert sorted(flow.states("J")) == ["decided", "dropped"]
    assert flow.table.parties.all == {}


def test_join_is_skipped_as_soon_as_one_argument_is_absent() -> None:
    flow = Simulation(DIAMOND)
    flow.end(flow.submit("R"))
    flow.end(flow.one("A"), SKIP)
    assert len(flow.of("K", "skipped")) == 1
    assert flow.one("B").state == "queued"


def test_both_arguments_absent_skip_a_join_once() -> None:
    flow = Simulation(DIAMOND)
    flow.end(flow.submit("R"), SKIP)
    assert [len(flow.of(name, "skipped")) for name in "ABJK"] == [1, 1, 1, 1]
    assert flow.states("J") == ["decided", "dropped"]


def test_a_chain_longer_than_the_stack_is_skipped_at_once() -> None:
    names = [f"S{n}" for n in range(400)]
    plugs = "; ".join(f"{a} -> {b}.x" for a, b in pairwise(names))
    flow = Simulation(wiring(" ".join(f"{name}(x=)" for name in names), plugs))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_stack() + 100)
    try:
        flow.end(flow.submit("S0"), SKIP)
    finally:
        sys.setrecursionlimit(limit)
    assert len(flow.of("S399", "skipped")) == 1


def test_false_condition_skips_what_is_behind_its_plug_only() -> None:
    flow = Simulation(wiring("R() A(x) B(x)", "1: R -> A.x when; 2: R -> B.x"))
    flow.end(flow.submit("R"), when=only(2))
    assert len(flow.of("A", "skipped")) == 1
    assert len(flow.of("B", "queued")) == 1


# -- several plugs on one argument ------------------------------------------------
@pytest.mark.parametrize("arm", [1, 2])
def test_arms_of_a_condition_meet_on_one_argument(arm: int) -> None:
    flow = Simulation(ARMS)
    flow.end(flow.submit("R"), "r", when=only(arm))
    taken = flow.one("A" if arm == 1 else "B")
    flow.end(taken)
    assert flow.one("J").arguments == {"x": (taken.socket, ()), "y": "r"}
    assert flow.of("J", "skipped") == []
    assert sorted(flow.states("J")) == ["dropped", "used", "used"]


def test_an_argument_is_absent_when_every_plug_has_sent_a_tombstone() -> None:
    flow = Simulation(ARMS)
    flow.end(flow.submit("R"), when=only(1))
    assert flow.of("J", "skipped") == []
    flow.end(flow.one("A"), SKIP)
    assert len(flow.of("J", "skipped")) == 1
    assert len(flow.of("K", "skipped")) == 1
    assert flow.table.parties.all == {}


def test_tombstone_after_a_value_is_dropped() -> None:
    flow = Simulation(ARMS)
    flow.end(flow.submit("R"), when=only(1, 2))
    flow.end(flow.one("A"))
    flow.end(flow.one("B"), SKIP)
    assert len(flow.of("J")) == 1
    assert flow.of("J", "skipped") == []


def test_tombstone_is_decided_when_the_other_plug_cannot_send_any_more() -> None:
    flow = Simulation(ARMS)
    call = flow.submit("A")
    other = flow.submit("A")
    flow.end(call, SKIP)
    assert len(flow.of("J", "skipped")) == 1
    assert other.state == "queued"


def test_tombstone_stays_undecided_while_another_plug_may_still_bring_a_value() -> None:
    flow = Simulation(ARMS)
    flow.end(flow.submit("R"), when=only(1, 2))
    flow.end(flow.one("A"), SKIP)
    flow.settle()
    assert flow.of("J", "skipped") == []
    flow.end(flow.one("B"))
    assert len(flow.of("J")) == 1


def test_behind_arms_that_both_deliver_a_skip_does_not_kill_the_value_of_the_other() -> None:
    wires = "R -> A.x; R -> B.x; A -> J.x; B -> J.x; J -> K.one; R -> K.two"
    for first in (SKIP, None):
        flow = Simulation(wiring("R() A(x) B(x) J(x) K(one, two)", wires))
        flow.end(flow.submit("R"))
        flow.end(flow.one("A"))
        flow.end(flow.one("B"))
        one, two = flow.of("J")
        flow.end(one, first)
        flow.settle()
        flow.end(two, None if first is SKIP else SKIP)
        assert len(flow.of("K")) == 1
        assert flow.of("K", "skipped") == []


def test_arms_of_different_depth_do_not_kill_each_others_elements() -> None:
    wires = "1: R -> A.x when; 2: R -> B.x when; 3: A -> J.x map; 4: B -> M.x map; 5: M -> J.x; 6: J -> Z.x gather"
    for arm, expected in ((1, 3), (2, 3)):
        flow = Simulation(wiring("R() A(x) B(x) M(x) J(x) Z(x)", wires))
        flow.end(flow.submit("R"), when=only(arm))
        flow.end(flow.one("A" if arm == 1 else "B"), [1, 2, 3])
        for m in flow.of("M"):
            flow.end(m)
        assert len(flow.of("J")) == expected
        assert flow.of("J", "skipped") == []
        for j in flow.of("J"):
            flow.end(j)
        flow.settle()
        assert len(flow.one("Z").arguments["x"]) == expected


# -- cycles ------------------------------------------------------------------------
def test_tombstone_visits_a_cycle_once() -> None:
    flow = Simulation(wiring("A(x=) B(x)", "1: A -> B.x when; 2: B -> A.x"))
    flow.end(flow.submit("A"), when=only())
    assert len(flow.of("B", "skipped")) == 1
    assert flow.table.parties.all == {}


def test_exit_of_a_loop_is_not_absent_while_the_loop_goes_on() -> None:
    wires = "1: A -> B.x when; 2: B -> A.x; 3: A -> C.x when; 4: C -> J.one; 5: A -> J.two"
    flow = Simulation(wiring("A(x=) B(x) C(x) J(one, two)", wires))
    flow.end(flow.submit("A"), when=only(1))
    for _ in range(2):
        flow.settle()
        flow.end(flow.one("B"))
        flow.end(flow.one("A"), when=only(1))
    flow.end(flow.one("B"))
    flow.end(flow.one("A"), when=only(3))
    assert flow.of("C", "skipped") == []
    flow.end(flow.one("C"))
    assert len(flow.of("J")) == 1


# -- failures ------------------------------------------------------------------------
def test_failure_holds_what_it_should_have_fed() -> None:
    flow = Simulation(DIAMOND)
    flow.end(flow.submit("R"))
    flow.end(flow.one("A"))
    flow.fail(flow.one("B"))
    flow.settle()
    assert flow.of("J") == flow.of("J", "skipped") == []
    assert flow.waits("J") == [("A", ())]
    assert flow.ended == []


def test_the_very_same_run_goes_on_after_a_retry() -> None:
    flow = Simulation(DIAMOND)
    run = flow.submit("R")
    flow.end(run)
    flow.end(flow.one("A"))
    b = flow.one("B")
    flow.fail(b)
    flow.retry(b)
    flow.end(b)
    assert flow.one("J").run == run.id
    flow.end(flow.one("J"))
    flow.end(flow.one("K"))
    assert flow.ended == [run.id]


def test_a_failed_request_that_is_given_up_skips_what_it_held() -> None:
    flow = Simulation(DIAMOND)
    flow.end(flow.submit("R"))
    flow.end(flow.one("A"))
    b = flow.one("B")
    flow.fail(b)
    flow.give_up(b)
    assert len(flow.of("J", "skipped")) == len(flow.of("K", "skipped")) == 1
    assert flow.table.parties.all == {}


def test_success_leaves_no_record_behind_an_error_plug() -> None:
    flow = Simulation(wiring("R() E(x) F(x)", "R -> E.x error; E -> F.x"))
    flow.end(flow.submit("R"))
    assert flow.of("E", "skipped") == flow.of("F", "skipped") == []


def test_success_costs_no_tombstone_where_nothing_is_behind_the_error_plug() -> None:
    flow = Simulation(wiring("R() S(x) E(x)", "R -> S.x; R -> E.x error; S -> E.x error"))
    flow.end(flow.submit("R"))
    flow.end(flow.one("S"))
    assert [a.kind for a in flow.rows.values()] == ["value"]


def test_success_skips_a_handler_that_waits_for_another_argument() -> None:
    flow = Simulation(wiring("R() S(x) E(x, y)", "R -> S.x; S -> E.x error; R -> E.y"))
    flow.end(flow.submit("R"))
    flow.end(flow.one("S"))
    assert len(flow.of("E", "skipped")) == 1
    assert flow.table.parties.all == {}


def test_an_error_plug_carries_the_failure_and_brings_the_fallback() -> None:
    flow = Simulation(FALLBACK)
    flow.end(flow.submit("R"), "r")
    flow.fail(flow.one("F"))
    assert flow.one("E").arguments == {"x": ("error", "F", ())}
    flow.end(flow.one("E"))
    assert flow.one("J").arguments == {"x": ("E", ()), "y": "r"}


def test_without_a_failure_the_fallback_is_silent() -> None:
    flow = Simulation(FALLBACK)
    flow.end(flow.submit("R"), "r")
    flow.end(flow.one("F"))
    assert flow.one("J").arguments == {"x": ("F", ()), "y": "r"}
    assert flow.of("E", "skipped") == []


def test_a_late_success_is_superseded_by_the_fallback_that_was_consumed() -> None:
    flow = Simulation(FALLBACK)
    flow.end(flow.submit("R"))
    f = flow.one("F")
    flow.fail(f)
    flow.end(flow.one("E"))
    flow.retry(f)
    flow.end(f)
    assert len(flow.of("J")) == 1
    assert sorted(flow.states("J")) == ["superseded", "used", "used"]
    flow.end(flow.one("J"))
    assert flow.table.parties.all == {}


def test_a_fallback_that_comes_after_the_late_success_is_superseded() -> None:
    flow = Simulation(FALLBACK)
    flow.end(flow.submit("R"))
    f = flow.one("F")
    flow.fail(f)
    flow.retry(f)
    flow.end(f)
    flow.end(flow.one("E"))
    assert flow.one("J").arguments["x"] == ("F", ())
    assert sorted(flow.states("J")) == ["superseded", "used", "used"]


def test_what_comes_of_a_late_success_is_superseded_too() -> None:
    wires = "R -> F.x; F -> M.x; M -> J.x; F -> E.x error; E -> J.x; R -> J.y"
    flow = Simulation(wiring("R() F(x) M(x) E(x) J(x, y)", wires))
    flow.end(flow.submit("R"))
    f = flow.one("F")
    flow.fail(f)
    flow.end(flow.one("E"))
    flow.retry(f)
    flow.end(f)
    flow.restart()
    flow.end(flow.one("M"))
    assert len(flow.of("J")) == 1
    assert flow.states("J")[-1] == "superseded"


def test_a_retried_call_is_not_superseded_by_a_value_that_does_not_stand_in_for_it() -> None:
    flow = Simulation(wiring("R() A(x) B(x) J(x)", "R -> A.x; R -> B.x; A -> J.x; B -> J.x"))
    flow.end(flow.submit("R"))
    a = flow.one("A")
    flow.fail(a)
    flow.end(flow.one("B"))
    flow.retry(a)
    flow.end(a)
    assert len(flow.of("J")) == 2


def test_an_error_is_delivered_once_however_often_its_request_fails() -> None:
    flow = Simulation(FALLBACK)
    flow.end(flow.submit("R"))
    f = flow.one("F")
    for _ in range(2):
        flow.fail(f)
        flow.retry(f)
    flow.fail(f)
    assert len(flow.of("E")) == 1


# -- the store -----------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "lag", "gathers", "silent", "column"),
    [
        ("value", 0, False, False, None), ("value", 0, True, False, "value+-1"),
        ("tombstone", 0, False, False, "dead+0"), ("tombstone", 0, True, True, "dead+-1s"),
        ("tombstone", 2, False, True, "dead+2s"), ("empty", 1, False, False, "vacant+1"),
    ],
)  # fmt: skip
def test_an_arrival_is_read_from_the_column_that_every_version_has_written(
    kind: str, lag: int, gathers: bool, silent: bool, column: str | None
) -> None:
    assert to_column(Arrival(1, 1, "x", 1, 1, (), kind, lag=lag, gathers=gathers, silent=silent)) == column
    assert from_column(column) == (kind, lag, gathers, silent)
