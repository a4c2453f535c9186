"""Who starts next: acceptance order in each lane and across those of a processor, in bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.dispatch import PASSES, Dispatch, Order


def fetch(dispatch, socket, disk, n):
    """What the engine does when a lane is hungry: the next `n` of its requests that lie on disk."""
    lane = dispatch.lanes[socket]
    rows = [r for r in disk if r > lane.ceiling][:n]
    left = lane.spilled - len(rows) if len(rows) == n else 0
    dispatch.fed(socket, rows, left, rows[-1] if rows else lane.ceiling)


def test_one_lane_gives_requests_in_order_of_acceptance():
    dispatch = Dispatch()
    for request in (1, 2, 3):
        dispatch.push(1, request)
    assert dispatch.take([1], 2) == [1, 2]
    assert dispatch.take([1], 2) == [3]
    assert dispatch.take([1], 2) == []


def test_lanes_of_a_processor_give_the_oldest_of_all_heads():
    dispatch = Dispatch()
    for socket, request in ((1, 1), (2, 2), (1, 3), (3, 4), (2, 5)):
        dispatch.push(socket, request)
    assert dispatch.take([1, 2], 10) == [1, 2, 3, 5]
    assert dispatch.take([3], 10) == [4]


def test_a_request_given_back_comes_before_those_accepted_after_it():
    dispatch = Dispatch()
    for request in (1, 2, 3):
        dispatch.push(1, request)
    assert dispatch.take([1], 2) == [1, 2]
    dispatch.push(1, 2)
    assert dispatch.take([1], 2) == [2, 3]


def test_a_dropped_request_is_passed_over():
    dispatch = Dispatch()
    for request in (1, 2, 3):
        dispatch.push(1, request)
    assert dispatch.drop(1, 1)
    assert not dispatch.drop(1, 1)
    assert not dispatch.drop(9, 1)
    assert dispatch.queued(1) == 2
    assert dispatch.take([1], 3) == [2, 3]


def test_a_request_dropped_and_queued_again_is_given_once():
    dispatch = Dispatch()
    dispatch.push(1, 1)
    dispatch.drop(1, 1)
    dispatch.push(1, 1)
    dispatch.push(1, 2)
    assert dispatch.take([1], 5) == [1, 2]


def test_what_a_lane_has_no_room_for_stays_on_disk_and_is_counted():
    dispatch = Dispatch(limit=3)
    assert [dispatch.push(1, request) for request in range(1, 6)] == [True, True, True, False, False]
    assert dispatch.queued(1) == 5
    assert dispatch.hungry() == []
    assert dispatch.take([1], 2) == [1, 2]
    assert dispatch.hungry() == [(1, 3)]
    fetch(dispatch, 1, [3, 4, 5], 2)
    assert dispatch.queued(1) == 3
    assert dispatch.take([1], 5) == [3, 4, 5]


def test_an_older_request_joins_a_full_lane_and_a_younger_one_never_overtakes_the_disk():
    dispatch = Dispatch(limit=2)
    for request in (10, 20, 30):
        dispatch.push(1, request)
    assert dispatch.push(1, 5)
    assert not dispatch.push(1, 40)
    assert dispatch.take([1], 1) == [5]


def test_a_lane_that_was_found_on_disk_starts_with_its_first():
    dispatch = Dispatch(limit=4)
    dispatch.spilled(1, 6, 0)
    disk = [1, 2, 3, 4, 5, 6]
    assert dispatch.hungry() == [(1, 0)]
    fetch(dispatch, 1, disk, 3)
    assert dispatch.take([1], 9) == [1, 2, 3]
    fetch(dispatch, 1, disk, 3)
    assert dispatch.take([1], 9) == [4, 5, 6]
    assert dispatch.queued(1) == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["push", "take", "back", "drop"]), max_size=60), st.integers(1, 5))
def test_whatever_happens_each_request_is_given_once_and_in_order(events, limit):
    dispatch, disk, taken, newest = Dispatch(limit), [], [], 0
    for event in events:
        if event == "push":
            newest += 1
            disk.append(newest)
            dispatch.push(1, newest)
        elif event == "take":
            for request in dispatch.take([1], 1):
                # nobody accepted earlier is still queued
                assert request == min(r for r in disk if r not in taken)
                taken.append(request)
        elif event == "back" and taken:
            dispatch.push(1, taken.pop())
        elif event == "drop" and (gone := next((r for r in disk if dispatch.drop(1, r)), None)) is not None:
            disk.remove(gone)
        if dispatch.hungry():
            lane = dispatch.lanes[1]
            fetch(dispatch, 1, [r for r in disk if r not in taken], limit)
            assert len(lane.members) <= 3 * limit
    assert dispatch.queued(1) == len([r for r in disk if r not in taken])


# -- priorities ----------------------------------------------------------------------
def test_lanes_of_a_higher_priority_go_first_and_those_of_one_priority_by_acceptance():
    dispatch = Dispatch()
    for request, socket in enumerate((1, 2, 3, 3, 2, 1), 1):
        dispatch.push(socket, request)
    assert dispatch.take([1, 2, 3], 9, Order({2: 5, 3: 5, 1: -1})) == [2, 3, 4, 5, 1, 6]


def test_a_run_with_a_priority_passes_others_of_its_socket_and_adds_to_its_sockets_priority():
    dispatch = Dispatch()
    for request in (1, 2):
        dispatch.push(1, request)
    dispatch.push(1, 3, rank=2)
    dispatch.push(2, 4)
    assert dispatch.first([1, 2], Order({2: 3})) == (2, 4)
    assert dispatch.take([1, 2], 9, Order({2: 3})) == [4, 3, 1, 2]


def test_after_fifteen_of_a_higher_priority_one_of_a_lower_has_its_turn():
    dispatch = Dispatch()
    dispatch.push_all(1, range(1, 4))
    dispatch.push_all(2, range(10, 60))
    order, started = Order({2: 1}), []
    while found := dispatch.take([1, 2], 2, order):
        started += found
    assert [started.index(request) for request in (1, 2, 3)] == [PASSES, 2 * PASSES + 1, 3 * PASSES + 2]


def test_a_bound_of_one_socket_leaves_room_for_others():
    dispatch = Dispatch()
    dispatch.push_all(1, range(1, 5))
    dispatch.push_all(2, range(5, 9))
    assert dispatch.take([1, 2], 4, Order(most={1: 1})) == [1, 5, 6, 7]
    assert dispatch.take([1, 2], 4, Order(most={1: 0})) == [8]
    assert dispatch.first([1, 2], Order(most={1: 0})) is None


def test_a_request_whose_run_has_a_priority_stays_in_memory_beside_a_full_lane():
    dispatch = Dispatch(limit=2)
    assert [dispatch.push(1, request) for request in (1, 2, 3)] == [True, True, False]
    assert dispatch.push(1, 4, rank=1)
    assert dispatch.queued(1) == 4
    assert dispatch.take([1], 9) == [4, 1, 2]


orders = st.builds(
    Order,
    st.dictionaries(st.integers(1, 3), st.integers(-2, 2)),
    st.dictionaries(st.integers(1, 3), st.integers(0, 3)),
)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(-2, 2)), max_size=60),
    st.lists(st.tuples(orders, st.integers(1, 8), st.booleans()), max_size=40),
)
def test_in_any_order_each_starts_once_none_over_its_bound_and_the_first_named_is_the_one_that_starts(queued, takes):
    dispatch, of = Dispatch(), {}
    for request, (socket, rank) in enumerate(queued, 1):
        dispatch.push(socket, request, rank)
        of[request] = socket, rank
    waits = set(of)
    for order, n, back in takes:
        first, taken = dispatch.first([1, 2, 3], order), dispatch.take([1, 2, 3], n, order)
        assert (first and first[1]) == (taken[0] if taken else None)
        assert set(taken) <= waits
        assert len(set(taken)) == len(taken) <= n
        assert all(sum(of[r][0] == s for r in taken) <= most for s, most in order.most.items())
        if len(taken) < n:
            left = {of[r][0] for r in waits - set(taken)}
            assert all(sum(of[r][0] == s for r in taken) == order.most.get(s, n) for s in left)
        waits -= set(taken)
        if back and taken:
            dispatch.push(of[taken[0]][0], taken[0], of[taken[0]][1])
            waits.add(taken[0])
    assert set(dispatch.take([1, 2, 3], 999)) == waits


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=80), st.integers(1, 4))
def test_no_request_waits_for_more_than_its_share_of_starts(queued, n):
    """Each lane has one turn in sixteen at least, whatever else has come."""
    dispatch, order = Dispatch(), Order({1: 2, 2: 1})
    for request, (socket, rank) in enumerate(queued, 1):
        dispatch.push(socket, request, rank)
    lanes: dict[tuple[int, int], list[int]] = {}
    for request, lane in enumerate(queued, 1):
        lanes.setdefault(lane, []).append(request)
    starts = 0
    while taken := dispatch.take([1, 2, 3], n, order):
        for request in taken:
            place = lanes[queued[request - 1]].index(request)
            assert starts <= (place + 1) * (PASSES + len(lanes))
            starts += 1
