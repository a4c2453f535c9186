"""Joins by order, by the newest, by key; held arguments; values that wait too long."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.topology import Topology
from tests.pure.simulation import SKIP, Call, Simulation, wiring

STRANGERS = "A -> J.one; B -> J.two"


def joined(inside: str = "one, two", plugs: str = STRANGERS, more: str = "", **policy: Any) -> Topology:
    return wiring(f"A() B() J({inside}) {more}", plugs, policies={"J": policy})


def feed(flow: Simulation, *values: Any) -> None:
    """Bring ``a...`` by `A` and anything else by `B`, in this order."""
    for value in values:
        flow.end(flow.submit("A" if str(value).startswith("a") else "B"), value)


def pairs(flow: Simulation, name: str = "J") -> list[tuple[Any, ...]]:
    return [tuple(c.arguments.values()) for c in flow.of(name)]


# -- zip -----------------------------------------------------------------------
def test_zip_pairs_what_comes_in_order_whatever_its_runs() -> None:
    # R feeds both: by runs the pairs would be (a1, b1), (a2, b2)
    flow = Simulation(
        wiring("R() A(x) B(x) J(one, two)", f"R -> A.x; R -> B.x; {STRANGERS}", policies={"J": {"join": "zip"}})
    )
    for _ in range(2):
        flow.end(flow.submit("R"))
    (first_a, second_a), (first_b, second_b) = flow.of("A"), flow.of("B")
    for call, value in ((second_a, "a2"), (first_b, "b1"), (first_a, "a1"), (second_b, "b2")):
        flow.end(call, value)
    assert pairs(flow) == [("a2", "b1"), ("a1", "b2")]


def test_a_call_of_a_zip_begins_a_run_of_its_own() -> None:
    flow = Simulation(joined(join="zip"))
    feed(flow, "a1", "b1")
    call = flow.one("J")
    assert (call.run, call.party) == (call.id, call.id)


def test_runs_that_met_in_a_zip_are_strangers_behind_it() -> None:
    plugs = f"{STRANGERS}; J -> K.one; A -> K.two"
    flow = Simulation(joined(plugs=plugs, more="K(one, two)", join="zip"))
    feed(flow, "a1", "a2", "b1")
    flow.end(flow.one("J"), "j1")
    # the first call of J meets the first run of A
    assert pairs(flow, "K") == [("j1", "a1")]
    assert flow.waits("K") == ["a2"]


def test_a_skip_leaves_its_place_in_a_zip_to_the_next() -> None:
    flow = Simulation(joined(join="zip"))
    flow.end(flow.submit("A"), SKIP)
    feed(flow, "a2", "b1")
    assert pairs(flow) == [("a2", "b1")]


def test_elements_of_a_map_are_zipped_one_by_one() -> None:
    flow = Simulation(joined(plugs="A -> J.one map; B -> J.two", join="zip"))
    flow.end(flow.submit("A"), ["a1", "a2", "a3"])
    feed(flow, "b1", "b2")
    assert pairs(flow) == [("a1", "b1"), ("a2", "b2")]
    assert flow.waits("J") == ["a3"]


def test_a_request_with_arguments_missing_is_completed_by_a_zip_as_itself() -> None:
    flow = Simulation(joined(join="zip"))
    call = flow.submit("J", one="given")
    feed(flow, "b1")
    assert (call.state, call.arguments) == ("queued", {"one": "given", "two": "b1"})
    flow.restart()
    flow.end(call)
    assert flow.of("J") == [call]


def test_two_requests_that_complete_each_other_in_a_zip_come_to_one_call() -> None:
    flow = Simulation(joined(join="zip"))
    first, second = flow.submit("J", one=1), flow.submit("J", two=2)
    assert (first.state, second.state) == ("queued", "joined")
    assert flow.fired[0].followers == [second.id]


# -- latest ----------------------------------------------------------------------
def test_latest_calls_for_each_arrival_once_all_are_known() -> None:
    flow = Simulation(joined(join="latest"))
    feed(flow, "a1", "a2", "b1", "a3", "b2")
    assert pairs(flow) == [("a2", "b1"), ("a3", "b1"), ("a3", "b2")]
    assert flow.states("J") == ["superseded", "used", "used", "held", "held"]


def test_latest_calls_for_the_arguments_named_by_on_only() -> None:
    flow = Simulation(joined(join="latest", on=("one",)))
    feed(flow, "b1", "b2", "a1", "b3", "a2", "a3")
    assert pairs(flow) == [("a1", "b2"), ("a2", "b3"), ("a3", "b3")]


def test_a_trigger_that_came_first_is_not_lost() -> None:
    flow = Simulation(joined(join="latest", on=("one",)))
    feed(flow, "a1", "b1", "b2")
    assert pairs(flow) == [("a1", "b1")]


# -- key -------------------------------------------------------------------------
def test_equal_keys_meet_in_any_order_and_each_value_once() -> None:
    flow = Simulation(joined(join="key"))
    flow.key = lambda value: value[1]
    feed(flow, "a2", "a1", "a1", "b1", "b2", "b1", "b1")
    assert pairs(flow) == [("a1", "b1"), ("a2", "b2"), ("a1", "b1")]
    assert flow.waits("J") == ["b1"]


def test_what_waits_for_its_key_is_shown_call_by_call() -> None:
    flow = Simulation(joined(join="key"))
    flow.key = lambda value: value[1]
    feed(flow, "a2", "a1", "b3", "a2")
    rows = flow.table.policies.rows(flow.topology.names["J"])
    assert [{n: a.value for n, a in row.items()} for row in rows] == [
        {"one": "a2"}, {"one": "a1"}, {"two": "b3"}, {"one": "a2"},
    ]  # fmt: skip


# -- hold --------------------------------------------------------------------------
def test_a_held_value_serves_every_later_call_until_a_newer_comes() -> None:
    flow = Simulation(joined(hold=("two",)))
    feed(flow, "b1", "a1", "a2", "b2", "a3")
    assert pairs(flow) == [("a1", "b1"), ("a2", "b1"), ("a3", "b2")]
    assert flow.waits("J") == []


def test_calls_wait_for_the_first_held_value_and_stay_in_their_runs() -> None:
    flow = Simulation(joined(hold=("two",), plugs=f"{STRANGERS}; J -> K.one; A -> K.two", more="K(one, two)"))
    feed(flow, "a1", "a2")
    assert flow.waits("J") == ["a1", "a2"]
    feed(flow, "b1")
    assert pairs(flow) == [("a1", "b1"), ("a2", "b1")]
    for call in reversed(flow.of("J")):
        flow.end(call, call.arguments["one"].replace("a", "j"))
    assert pairs(flow, "K") == [("j2", "a2"), ("j1", "a1")]


def test_a_held_argument_with_a_default_is_not_waited_for_but_used_once_it_came() -> None:
    flow = Simulation(joined("one, two=", plugs="A -> J.one", hold=("two",)))
    feed(flow, "a1")
    call = flow.submit("A")
    flow.supply("J", "two", call, "by hand")
    flow.end(call, "a2")
    assert [c.arguments for c in flow.of("J")] == [{"one": "a1"}, {"one": "a2", "two": "by hand"}]


def test_a_join_of_one_run_with_a_held_argument_waits_for_both() -> None:
    plugs = "R -> X.x; R -> Y.x; X -> J.one; Y -> J.two; B -> J.three"
    flow = Simulation(wiring("R() X(x) Y(x) B() J(one, two, three)", plugs, policies={"J": {"hold": ("three",)}}))
    feed(flow, "b")
    for _ in range(2):
        flow.end(flow.submit("R"))
    xs, ys = flow.of("X"), flow.of("Y")
    for call, value in ((xs[1], "x2"), (ys[0], "y1"), (ys[1], "y2"), (xs[0], "x1")):
        flow.end(call, value)
    assert pairs(flow) == [("x2", "y2", "b"), ("x1", "y1", "b")]


# -- wait --------------------------------------------------------------------------
def test_what_waits_too_long_becomes_a_failed_call_that_names_what_is_missing() -> None:
    flow = Simulation(joined())
    feed(flow, "a1")
    assert flow.expire(flow.waiting("J")[0])
    (call,) = flow.of("J", "failed")
    assert (call.arguments, flow.fired[-1].missing) == ({"one": "a1"}, ("two",))
    feed(flow, "b1")
    # the run's join has had its call: what comes later waits for another
    assert flow.waits("J") == ["b1"]


@pytest.mark.parametrize("join", ["zip", "key"])
def test_what_waits_too_long_for_a_stranger_fails_alone(join: str) -> None:
    flow = Simulation(joined("one, two, three", "A -> J.one; B -> J.two", join=join))
    feed(flow, "a1", "b1", "a2")
    assert flow.expire(flow.waiting("J")[0])
    assert [c.arguments for c in flow.of("J", "failed")] == [{"one": "a1", "two": "b1"}]
    assert flow.waits("J") == ["a2"]


def test_an_expired_join_of_a_map_leaves_the_other_elements_alone() -> None:
    flow = Simulation(wiring("R() M(x) J(one, two)", "R -> J.one map; R -> M.x map; M -> J.two"))
    flow.end(flow.submit("R"), ["a", "b"])
    first = next(a for a in flow.waiting("J") if a.value == "a")
    flow.expire(first)
    for call in flow.of("M"):
        flow.end(call, "m")
    assert [c.arguments for c in flow.of("J", "queued")] == [{"one": "b", "two": "m"}]


# -- edits -----------------------------------------------------------------------------
def test_an_argument_more_is_waited_for_by_what_is_zipped_later() -> None:
    flow = Simulation(joined(join="zip"))
    feed(flow, "a1")
    flow.edit(joined("one, two, three", join="zip"))
    feed(flow, "b1")
    assert flow.of("J") == []
    flow.supply("J", "three", next(iter(flow.calls.values())), 3)
    assert pairs(flow) == [("a1", "b1", 3)]


def test_an_argument_less_completes_what_was_zipped() -> None:
    flow = Simulation(joined("one, two, three", join="zip"))
    feed(flow, "a1", "b1")
    flow.edit(joined(join="zip"))
    assert pairs(flow) == [("a1", "b1")]


def test_a_value_held_no_longer_is_not_used_again() -> None:
    flow = Simulation(joined(hold=("two",)))
    feed(flow, "b1", "a1")
    flow.end(flow.one("J"))
    flow.edit(joined())
    feed(flow, "a2")
    assert flow.waits("J") == ["a2"]
    feed(flow, "b2")
    assert pairs(flow) == [("a1", "b1"), ("a2", "b2")]


# -- against what the words say ------------------------------------------------------------
def as_zip(events: list[tuple[str, int]]) -> list[tuple[Any, ...]]:
    return list(zip(*([e for e in events if e[0] == side] for side in "ab"), strict=False))


def as_latest(events: list[tuple[str, int]]) -> list[tuple[Any, ...]]:
    known: dict[str, Any] = {}
    calls = []
    for event in events:
        known[event[0]] = event
        if len(known) == 2:
            calls.append((known["a"], known["b"]))
    return calls


def as_key(events: list[tuple[str, int]]) -> list[tuple[Any, ...]]:
    queues: dict[tuple[str, int], list[Any]] = defaultdict(list)
    calls = []
    for side, key in events:
        other = queues["b" if side == "a" else "a", key]
        if other:
            mine, theirs = (side, key), other.pop(0)
            calls.append((mine, theirs) if side == "a" else (theirs, mine))
        else:
            queues[side, key].append((side, key))
    return calls


def as_hold(events: list[tuple[str, int]]) -> list[tuple[Any, ...]]:
    held, early, calls = None, [], []
    for event in events:
        if event[0] == "a":
            (early.append(event) if held is None else calls.append((event, held)))
        else:
            calls += [(one, event) for one in early]
            held, early = event, []
    return calls


POLICIES = {
    "zip": ({"join": "zip"}, as_zip),
    "latest": ({"join": "latest"}, as_latest),
    "key": ({"join": "key"}, as_key),
    "hold": ({"hold": ("two",)}, as_hold),
}


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=30), st.integers(0, 1_000))
@pytest.mark.parametrize("name", POLICIES)
def test_calls_are_what_the_policy_says_whenever_the_engine_begins_anew(
    name: str, events: list[tuple[str, int]], seed: int
) -> None:
    policy, reference = POLICIES[name]
    flow, random = Simulation(joined(**policy)), Random(seed)
    flow.key = lambda value: value[1]
    for side, value in events:
        call: Call = flow.submit("A" if side == "a" else "B")
        if random.random() < 0.3:
            flow.restart()
        flow.end(flow.calls[call.id], (side, value))
        if random.random() < 0.3:
            flow.restart()
    assert pairs(flow) == reference(events)
    used = sum(len(row) for row in pairs(flow)) if name in ("zip", "key") else 0
    assert not used or used + len(flow.waits("J")) == len(events)
