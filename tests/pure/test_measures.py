"""Statistics of the last hour: quantiles beside exact ones, points that are merged, bytes that are bounded."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.flow.measures import POINTS, STEP, Bins, Measures, Of, Point, add_bins, add_seconds, quantile

SECONDS = st.floats(1e-6, 1e6)
SOCKET = Of("socket", "1")


def exact(seconds: list[float], part: float) -> float:
    return sorted(seconds)[max(1, ceil(part * len(seconds))) - 1]


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_quantile_is_within_five_percent_of_the_exact_one(seconds: list[float], part: float) -> None:
    bins: Bins = {}
    add_seconds(bins, seconds)
    assert sum(bins.values()) == len(seconds)
    assert quantile(bins, part) == pytest.approx(exact(seconds, part), rel=0.05)


@given(st.lists(st.lists(SECONDS)), st.lists(SECONDS))
def test_bins_that_are_added_say_what_all_at_once_do_and_are_taken_off_again(
    parts: list[list[float]], rest: list[float]
) -> None:
    merged: Bins = {}
    for part in [*parts, rest]:
        one: Bins = {}
        add_seconds(one, part)
        add_bins(merged, one)
    together: Bins = {}
    add_seconds(together, [second for part in [*parts, rest] for second in part])
    assert merged == together
    taken: Bins = {}
    add_seconds(taken, rest)
    add_bins(merged, taken, -1)
    left: Bins = {}
    add_seconds(left, [second for part in parts for second in part])
    assert merged == left


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None


@given(st.lists(st.floats(-1e9, 1e12), min_size=1))
def test_any_length_is_counted(seconds: list[float]) -> None:
    bins: Bins = {}
    add_seconds(bins, seconds)
    assert sum(bins.values()) == len(seconds)


@given(st.lists(st.tuples(st.integers(0, 3 * STEP), st.lists(SECONDS, max_size=5), st.integers(0, 2)), max_size=20))
def test_the_hour_is_what_its_points_are_whatever_the_time(steps: list[tuple[int, list[float], int]]) -> None:
    now = 1_000_000.0
    measures, happened = Measures(now), []
    for wait, took, failed in steps:
        now += wait
        measures.advance(now)
        measures.ran([SOCKET], took, took, min(failed, len(took)))
        happened.append((now, took, min(failed, len(took))))
    kept = [(took, failed) for at, took, failed in happened if at >= measures.at - POINTS * STEP]
    hour, seconds = measures.hour(SOCKET, now), [one for took, _ in kept for one in took]
    assert (hour["ended"], hour["failed"]) == (len(seconds), sum(failed for _, failed in kept))
    assert hour["p95"] == (pytest.approx(exact(seconds, 0.95), rel=0.05) if seconds else None)
    assert sum(point["ended"] for point in measures.course(SOCKET, now)) == sum(measures.pulse(SOCKET)) == len(seconds)


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    measures = Measures(0.0)
    measures.ran([SOCKET], [1.0], [], 0)
    measures.advance(POINTS * STEP)
    assert measures.hour(SOCKET, POINTS * STEP)["ended"] == 1
    measures.advance((POINTS + 1) * STEP)
    assert measures.hour(SOCKET, (POINTS + 1) * STEP)["ended"] == 0


def test_the_mean_of_a_queue_is_over_time_and_not_over_looks() -> None:
    measures = Measures(0.0)
    measures.stands(SOCKET, 6, 2, 1.0)
    measures.stands(SOCKET, 0, 2, 3.0)
    assert [measures.hour(SOCKET, 4.0)[word] for word in ("queued", "most_queued", "running")] == [1.5, 6, 2.0]


def busy(measures: Measures, sockets: int, points: int) -> float:
    """Much happens at many sockets, for so many points."""
    now = 0.0
    spread = [1e-6 * 1.3**n for n in range(60)]
    for point in range(points):
        now = float(point * STEP)
        measures.advance(now)
        for socket in range(sockets):
            measures.ran([Of("socket", str(socket))], spread, spread, 0)
    measures.advance(now + STEP)
    return now + STEP


def test_however_much_happens_the_bytes_are_bounded_and_the_newest_stays() -> None:
    measures = Measures(0.0, most_bytes=100_000)
    now = busy(measures, 20, 12)
    rows = measures.unsaved()
    # also what waits to be saved, where a disk takes nothing
    assert 0 < len(rows) < 12 * 20
    assert min(row[0] for row in rows) >= measures.began
    assert sum(len(row[-1]) for row in rows) <= 100_000
    assert measures.hour(Of("socket", "19"), now)["ended"] > 0
    assert measures.pulse(Of("socket", "19"))[-2] == 60


@given(st.lists(st.tuples(st.integers(0, 2 * STEP), st.lists(SECONDS, max_size=5)), max_size=20))
def test_what_was_saved_is_taken_up_as_it_was(steps: list[tuple[int, list[float]]]) -> None:
    now = 1_000_000.0
    measures, disk = Measures(now), {}
    for wait, took in steps:
        now += wait
        measures.advance(now)
        measures.ran([SOCKET], took, [], 0)
        disk.update({row[:3]: row[3] for row in measures.unsaved()})
    assert measures.unsaved() == []
    again = Measures(now)
    again.restore(sorted((*key, text) for key, text in disk.items()), now)
    words = ("ended", "failed", "p50", "p95", "cpu", "memory")
    assert [again.hour(SOCKET, now)[word] for word in words] == [measures.hour(SOCKET, now)[word] for word in words]
    assert list(again.course(SOCKET, now)) == list(measures.course(SOCKET, now))
    assert again.unsaved() == []


@given(st.text())
def test_a_row_that_cannot_be_read_is_left_out(text: str) -> None:
    measures = Measures(60.0)
    measures.restore([(30, "socket", "1", text), (30, "socket", "2", Point(ended=3).text())], 60.0)
    assert measures.hour(Of("socket", "2"), 60.0)["ended"] == 3
    assert measures.hour(SOCKET, 60.0)["ended"] == 0


def test_a_clock_that_is_set_back_begins_anew() -> None:
    measures = Measures(10_000.0)
    measures.ran([SOCKET], [1.0], [], 0)
    measures.advance(1_000.0)
    assert measures.hour(SOCKET, 1_000.0)["ended"] == 0
    measures.ran([SOCKET], [1.0], [], 0)
    assert measures.hour(SOCKET, 1_000.0)["ended"] == 1
