"""Who starts next: acceptance order in each lane and across those of a processor, in bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.dispatch import Dispatch


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
