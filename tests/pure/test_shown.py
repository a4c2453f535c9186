"""What changed in a wiring that was shown leads from the old one to the new one, and says nothing else."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.flow.rows import changes, merged

rows = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2).map(lambda n: {"n": n}), max_size=6)
plugs = st.lists(st.integers(1, 6), unique=True).flatmap(
    lambda ids: st.lists(st.integers(0, 2), min_size=len(ids), max_size=len(ids)).map(
        lambda ns: [{"id": i, "n": n} for i, n in zip(ids, ns, strict=True)]
    )
)
views = st.fixed_dictionaries(
    {"revision": st.integers(0, 3), "sockets": rows, "processors": rows, "plugs": plugs, "nodes": st.lists(rows)}
)


@given(views, views)
def test_the_changes_lead_from_one_wiring_to_the_next_in_its_order(old, new):
    before = copy.deepcopy(old)
    found = merged(old, changes(old, new))
    assert found == new
    assert [list(found[key]) for key in ("sockets", "processors")] == [
        list(new[key]) for key in ("sockets", "processors")
    ]
    assert old == before


@given(views)
def test_of_a_wiring_that_is_the_same_nothing_is_told(view):
    assert changes(view, copy.deepcopy(view)) == {}


def test_a_socket_more_is_told_in_its_row_alone():
    old = {"revision": 1, "sockets": {f"s{n}": {"n": n} for n in range(100)}, "processors": {}, "plugs": []}
    new = old | {"revision": 2, "sockets": {**old["sockets"], "more": {"n": 100}}}
    assert changes(old, new) == {"revision": 2, "sockets": {"more": {"n": 100}}}
