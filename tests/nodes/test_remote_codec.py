"""Calls and outcomes come out of a frame as they went in, and calls to keep are counted by their time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.codec import pack_calls, pack_outcomes, unpack_calls, unpack_outcomes
from ec_jupyter.nodes.ssh.prefetch import Prefetch
from ec_jupyter.wire import Call, FrameReader, Outcome, Value, encode

small = st.integers(0, 1 << 40)
names = st.text("abc_", min_size=1, max_size=3)
inline = st.builds(lambda data: Value(data, None, len(data), ""), st.binary(max_size=9))
filed = st.builds(lambda n: Value(None, f"{n}.1.1.0", n, "a.B"), small)
values = inline | filed
arguments = st.lists(
    st.tuples(names, st.just("v"), values.map(lambda v: [v])) | st.tuples(names, st.just("l"), st.lists(values)),
    max_size=3,
)
calls = st.builds(
    Call, st.integers(-9, 1 << 40), small, names, small, names, arguments,
    st.lists(st.tuples(small, st.none() | names, st.booleans(), st.none() | names), max_size=2),
    small, st.none() | st.floats(0, 9), st.integers(1, 4), st.booleans(), st.none() | small,
    st.none() | st.just(("cell.py", "x = 1\n")), st.booleans(),
)  # fmt: skip
error = st.fixed_dictionaries({name: st.just("x") for name in ("type", "message", "traceback", "kind")})
base: dict[str, Any] = {
    "request": st.integers(-9, 1 << 40), "attempt": small, "started": st.just(1.5), "seconds": st.just(0.25),
    "slot": small, "pid": small,
}  # fmt: skip
outcomes = (
    st.builds(Outcome, state=st.just("failed"), error=error, exception=st.none() | values, **base)
    | st.builds(
        Outcome, state=st.just("done"), value=values,
        routed=st.dictionaries(small, st.booleans() | st.lists(values, max_size=2), max_size=2), **base,
    )
    | st.builds(Outcome, state=st.just("skipped"), value=st.none(), **base)
    | st.builds(Outcome, state=st.just("done"), emitted=small, **base)
)  # fmt: skip


def travelled(header: Any, buffers: Any) -> Any:
    return FrameReader().feed(encode(header, buffers))[0]


@given(st.lists(st.lists(calls, max_size=4), max_size=3))
def test_calls_come_out_as_they_went_in(lots: list[list[Call]]) -> None:
    sent: dict[str, str] = {}
    known: dict[str, str] = {}
    for lot in lots:
        header, buffers = travelled(*pack_calls("main", lot, sent))
        assert unpack_calls(header, buffers, known) == lot


@given(st.lists(outcomes, max_size=5))
def test_outcomes_come_out_as_they_went_in(lot: list[Outcome]) -> None:
    assert unpack_outcomes(*travelled(*pack_outcomes(lot))) == lot


@given(st.lists(outcomes, min_size=1, max_size=3), st.data())
def test_outcomes_with_anything_else_in_them_are_refused_or_outcomes(lot: list[Outcome], data: st.DataObject) -> None:
    header, buffers = travelled(*pack_outcomes(lot))
    junk = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=2), st.lists, max_leaves=4)
    column = data.draw(st.sampled_from(["n", "a", "t", "d", "w", "y", "x"]))
    header[column] = data.draw(junk | st.lists(junk, min_size=len(lot), max_size=len(lot)))
    try:
        found = unpack_outcomes(header, buffers)
    except FrameError:
        return
    assert all(isinstance(one, Outcome) for one in found)


@pytest.mark.parametrize(
    ("seconds", "round_trip", "expected"),
    [
        (None, 0.05, 4),  # nothing is known yet
        (100.0, 0.05, 2),  # one a slot: the next may begin elsewhere
        (0.1, 0.001, 4),  # one that runs and one that waits
        (0.01, 0.05, 14),  # five more on their way
        (0.001, 0.05, 130),  # batches, and fifty on their way
        (0.0001, 0.2, 428),  # no more than so many on their way
    ],
)
def test_calls_to_prefetch_follow_their_time_and_the_round_trip(
    seconds: float | None, round_trip: float, expected: int
) -> None:
    prefetch = Prefetch()
    if seconds is not None:
        prefetch.learn("main", seconds)
    assert prefetch.calls("main", 2, round_trip) == expected


def test_processor_whose_workers_do_not_start_gets_nothing_for_a_while() -> None:
    prefetch = Prefetch()
    prefetch.troubled("main")
    assert prefetch.calls("main", 2, 0.0) == 0
    assert prefetch.calls("other", 2, 0.0) == 4
