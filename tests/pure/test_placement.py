"""Which calls go to which node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.flow.dispatch import Dispatch
from ec_jupyter.flow.placement import Holdings, Spot, caps, choose, spread, surplus
from ec_jupyter.model import Processor


def spot(node: str, cap: int = 2, used: int = 0, free: int | None = None, room: int = 4) -> Spot:
    return Spot(node, cap, used, cap - used if free is None else free, room)


def queue(**lanes: list[int]) -> Dispatch:
    made = Dispatch()
    for socket, requests in lanes.items():
        for request in requests:
            made.push(int(socket[1:]), request)
    return made


@pytest.mark.parametrize(
    ("processor", "cpus", "found"),
    [
        (Processor("p"), {"local": 4}, {"local": 4}),
        (Processor("p", cpus=2), {"local": 4}, {"local": 2}),
        (Processor("p", cpus=8), {"local": 4}, {"local": 4}),
        (Processor("p", cpus=8, nodes={"hpc": None}), {"local": 4, "hpc": 16}, {"hpc": 8}),
        (Processor("p", nodes={"hpc": None}), {"local": 4, "hpc": 16}, {"hpc": 16}),
        (Processor("p", nodes={"hpc": 7, "local": 1}), {"local": 4, "hpc": 4}, {"local": 1, "hpc": 4}),
        (Processor("p", nodes={"hpc": 7, "gpu": None}), {"local": 4}, {"hpc": 7, "gpu": 0}),
    ],
)
def test_a_processor_may_use_on_each_node_what_it_was_given_there_and_the_node_has(processor, cpus, found):
    assert caps(processor, cpus) == found
    assert list(caps(processor, cpus)) == list(found)


def test_a_call_goes_to_a_node_with_a_free_cpu_before_one_that_would_queue_it():
    assert choose([spot("local", used=2), spot("hpc")], 1).node == "hpc"


def test_of_nodes_with_a_free_cpu_the_local_one_comes_first_and_then_the_least_loaded():
    assert choose([spot("gpu"), spot("local"), spot("hpc")], 1).node == "local"
    assert choose([spot("gpu", used=1), spot("hpc", used=0)], 1).node == "hpc"


def test_a_call_goes_to_where_its_values_are_if_a_cpu_is_free_there():
    distance = {"local": 1 << 20, "hpc": 0}.__getitem__
    assert choose([spot("local"), spot("hpc")], 1, distance).node == "hpc"
    assert choose([spot("local"), spot("hpc", used=2)], 1, distance).node == "local"


def test_where_no_cpu_is_free_the_least_loaded_node_queues_the_call():
    assert choose([spot("local", used=4), spot("hpc", cap=4, used=5)], 1).node == "hpc"


def test_a_node_whose_cpus_others_hold_is_not_free():
    assert choose([spot("local", free=0), spot("hpc")], 1).node == "hpc"


def test_a_call_is_never_placed_where_it_has_no_room_or_could_never_run():
    assert choose([spot("local", room=0)], 1) is None
    assert choose([spot("local", cap=1)], 2) is None
    assert choose([], 1) is None


def test_calls_are_placed_in_order_of_acceptance_over_sockets_and_nodes():
    lanes = queue(s1=[1, 4, 5], s2=[2, 3, 6])
    placed = spread(lanes, {1: 1, 2: 1}, [spot("local", cap=1, room=1), spot("hpc", room=2)])
    assert placed == {"local": [1], "hpc": [2, 3]}
    assert lanes.first([1, 2]) == (1, 4)


def test_a_call_that_waits_for_a_larger_node_is_passed_by_those_that_fit():
    lanes = queue(s1=[1, 2], s2=[3])
    placed = spread(lanes, {1: 4, 2: 1}, [spot("local", cap=1), spot("hpc", cap=4, used=4, room=0)])
    assert placed == {"local": [3]}


def test_a_socket_that_is_not_asked_for_keeps_its_calls():
    lanes = queue(s1=[1], s2=[2])
    assert spread(lanes, {2: 1}, [spot("local"), spot("hpc")]) == {"local": [2]}


def test_calls_that_share_a_worker_take_a_part_of_a_place_each():
    lanes = queue(s1=list(range(1, 31)), s2=[40])
    third = {1: 1 / 3}
    assert spread(lanes, {1: 1 / 3, 2: 1}, [spot("local", cap=1, room=2)], parts=third) == {"local": [1, 2, 3, 4, 5, 6]}
    nodes = [spot("local", cap=1, room=2), spot("hpc", cap=1, room=2)]
    placed = spread(lanes, {1: 1 / 3, 2: 1}, nodes, parts=third)
    # those that fill a CPU here, then those that fill one there; what is left waits at either
    assert (placed["local"][:3], placed["hpc"][:3]) == ([7, 8, 9], [10, 11, 12])
    assert [len(some) for some in placed.values()] == [6, 6]


def test_nothing_is_placed_where_there_is_no_node():
    assert spread(queue(s1=[1]), {1: 1}, []) == {}


requests = st.lists(st.integers(1, 3), max_size=30)
nodes = st.lists(
    st.builds(Spot, st.uuids().map(str), st.integers(0, 4), st.integers(0, 4), st.integers(-2, 4), st.integers(0, 6)),
    max_size=4,
)


@given(requests, nodes)
def test_every_call_is_placed_once_within_room_and_none_overtakes_another_of_its_socket(sockets, spots):
    lanes = Dispatch()
    for request, socket in enumerate(sockets, 1):
        lanes.push(socket, request)
    rooms = {s.node: s.room for s in spots}
    large = {s.node: s.cap for s in spots}
    placed = spread(lanes, {1: 1, 2: 2, 3: 3}, spots)
    went = sorted(r for some in placed.values() for r in some)
    assert len(went) == len(set(went))
    assert all(len(some) <= rooms[node] for node, some in placed.items())
    assert all(sockets[r - 1] <= large[node] for node, some in placed.items() for r in some)
    for socket in (1, 2, 3):
        mine = [r for r in went if sockets[r - 1] == socket]
        assert mine == [r for r, s in enumerate(sockets, 1) if s == socket][: len(mine)]
    # nobody is left who would have a place
    left = {s for r, s in enumerate(sockets, 1) if r not in went}
    open_ = [large[node] for node, room in rooms.items() if room > len(placed.get(node, ()))]
    assert not [s for s in left for cap in open_ if cap >= s]


def test_holdings_add_up_by_node_and_processor():
    held = Holdings()
    held.hold(1, "hpc", "fit", 2)
    held.hold(2, "hpc", "main", 1)
    held.hold(3, "local", "fit", 1)
    assert (held.used("hpc"), held.used("hpc", "fit"), held.used("gpu")) == (3, 2, 0)
    assert (held.at("hpc"), held.at("hpc", "fit"), len(held), 3 in held) == ([1, 2], [1], 3, True)
    held.release(1)
    held.release(1)
    assert (held.used("hpc"), held.at("hpc"), sorted(held)) == (1, [2], [2, 3])
    held.clear()
    assert (held.used("hpc"), len(held)) == (0, 0)


def test_what_queues_on_a_full_node_is_taken_back_as_far_as_others_have_free_cpus():
    assert surplus([spot("local"), spot("hpc", used=5)]) == {"hpc": 2}
    assert surplus([spot("local"), spot("hpc", used=3)]) == {"hpc": 1}
    assert surplus([spot("local", used=2), spot("hpc", used=5)]) == {}
    assert surplus([spot("local", free=0), spot("hpc", used=5)]) == {}
    assert surplus([spot("local"), spot("hpc", used=2)]) == {}
