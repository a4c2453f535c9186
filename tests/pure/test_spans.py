"""A set of whole numbers kept as runs is a set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.client.spans import Spans

numbers = st.integers(0, 30)


@given(st.lists(st.tuples(st.booleans(), numbers)), numbers, st.integers(1, 30))
def test_runs_hold_what_a_set_holds_and_give_neighbours_from_the_nearest_on(steps, n, most):
    spans, plain = Spans(), set()
    for add, one in steps:
        (spans.add if add else spans.discard)(one)
        (plain.add if add else plain.discard)(one)
    assert [one in spans for one in range(31)] == [one in plain for one in range(31)]
    assert bool(spans) == bool(plain)
    runs = spans.runs()
    assert [one for first, many in runs for one in range(first, first + many)] == sorted(plain)
    # as few runs as can be
    assert all(first + many < after for (first, many), (after, _) in pairwise(runs))
    above, below = sorted(i for i in plain if i > n), sorted((i for i in plain if i < n), reverse=True)
    assert spans.near(n, most) == [*above, *below][:most]
