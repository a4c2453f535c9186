"""A set of whole numbers kept as runs is a set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.client.spans import Spans

numbers = st.integers(0, 30)
changes = st.lists(st.tuples(st.booleans(), numbers, st.integers(1, 6)))


@given(changes, numbers, st.integers(1, 40))
def test_runs_hold_what_a_set_holds_and_give_neighbours_from_the_nearest_on(steps, n, most):
    spans, plain = Spans(), set()
    for add, first, many in steps:
        (spans.extend if add else spans.cut)(first, first + many)
        (plain.update if add else plain.difference_update)(range(first, first + many))
    assert [one in spans for one in range(40)] == [one in plain for one in range(40)]
    assert bool(spans) == bool(plain)
    runs = spans.runs()
    assert [one for first, many in runs for one in range(first, first + many)] == sorted(plain)
    # as few runs as can be
    assert all(first + many < after for (first, many), (after, _) in pairwise(runs))
    above, below = sorted(i for i in plain if i > n), sorted((i for i in plain if i < n), reverse=True)
    assert spans.near(n, most) == [*above, *below][:most]
