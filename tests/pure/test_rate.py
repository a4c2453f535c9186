"""How often calls may start: never more than the rate, and as often as that allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.flow.rate import HELD_SECONDS, Bucket, per_second


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/s", 10), ("90/m", 1.5), ("1 / 30 s", 1 / 30), ("36/h", 0.01), ("0.5/s", 0.5), ("864/d", 0.01)],
)
def test_a_rate_is_calls_for_a_time(text, rate):
    assert per_second(text) == pytest.approx(rate)


@given(
    st.floats(0.01, 5000), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=60), st.floats(0.001, 60)
)
def test_in_no_time_more_start_than_its_rate_allows(rate, steps, window):
    bucket, now, starts = Bucket(rate, 0.0), 0.0, list[float]()
    for pause, wanted in steps:
        now += pause
        n = min(wanted, bucket.most(now))
        bucket.take(n)
        starts += [now] * n
    most = window * rate + max(1.0, rate * HELD_SECONDS)
    for first in starts:
        assert sum(first <= at < first + window for at in starts) <= most + 1e-6


@given(st.floats(0.01, 5000), st.integers(1, 200), st.one_of(st.none(), st.floats(0, 1000)))
def test_who_waits_until_the_next_may_start_starts_as_many_as_its_rate_allows(rate, calls, since):
    bucket, now, started = Bucket(rate, 0.0, since), 0.0, 0
    while started < calls:
        now = bucket.next(now)
        n = bucket.most(now)
        assert n >= 1
        bucket.take(min(n, calls - started))
        started += min(n, calls - started)
    assert now <= (calls + 1) / rate + 1e-6


def test_an_older_start_is_remembered_and_a_change_brings_no_burst():
    bucket = Bucket(1 / 60, 0.0, since=20.0)
    assert bucket.next(0.0) == pytest.approx(40.0)
    bucket.change(10.0, 30.0)
    assert bucket.most(30.0) == 0
    assert bucket.next(30.0) == pytest.approx(30.0 + (1 - 50 / 60) / 10)
