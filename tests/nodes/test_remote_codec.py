"""Calls and outcomes come out of a frame as they went in, and calls to keep are counted by their time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.codec import pack_outcomes, unpack_outcomes
from ec_jupyter.nodes.lots import pack_block, pack_calls, unpack_block, unpack_calls
from ec_jupyter.nodes.ssh.in_flight import Prefetch
from ec_jupyter.wire import Block, Call, FrameReader, Outcome, Value, encode

small = st.integers(0, 1 << 40)
names = st.text("abc_", min_size=1, max_size=3)
inline = st.builds(lambda data: Value(data, None, len(data), ""), st.binary(max_size=9))
filed = st.builds(lambda n: Value(None, f"{n}.1.1.0", n, "a.B"), small)
values = inline | filed
arguments = st.lists(
    st.tuples(names, st.just("v"), values.map(lambda v: [v])) | st.tuples(names, st.just("l"), st.lists(values)),
    max_size=3,
)
routes = st.tuples(small, st.none() | names, st.none() | names, st.booleans(), st.none() | names)
specs = st.fixed_dictionaries({
    "task": names, "socket": names,
    "routes": st.lists(routes, max_size=2).map(tuple),
    "timeout": st.none() | st.floats(0, 9), "threads": st.integers(1, 4), "fresh": st.booleans(),
    "memory": st.none() | small, "source": st.none() | st.just(("cell.py", "x = 1\n")), "once": st.booleans(),
})  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> Call:
    numbers = st.integers(-9, 1 << 40)
    call = Call.of(draw(numbers), draw(st.integers(1, 9)), draw(numbers), draw(arguments), **draw(specs))
    call.skip = draw(small)
    return call


lots = st.lists(st.tuples(calls(), st.integers(1, 3)).map(lambda one: [one[0]] * one[1]), max_size=4).map(
    lambda some: [call for lot in some for call in lot]
)
blocks = st.integers(1, 5).flatmap(
    lambda n: st.builds(
        Block,
        st.lists(st.integers(-9, 1 << 40), min_size=n, max_size=n).map(tuple),
        st.lists(st.integers(0, 9), min_size=n, max_size=n).map(tuple),
        st.lists(st.binary(max_size=9), min_size=n, max_size=n),
        st.lists(names, min_size=1, max_size=1) | st.lists(names, min_size=n, max_size=n),
        st.lists(st.floats(0, 2e9), min_size=n, max_size=n).map(tuple),
        st.lists(st.floats(0, 9), min_size=n, max_size=n).map(tuple),
        st.integers(0, 99), st.integers(0, 1 << 22),
    )
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
        routed=st.dictionaries(small, st.booleans() | values | st.lists(values, max_size=2), max_size=2), **base,
    )
    | st.builds(Outcome, state=st.just("skipped"), value=st.none(), **base)
    | st.builds(Outcome, state=st.just("done"), emitted=small, **base)
)  # fmt: skip


def travelled(header: Any, buffers: Any) -> Any:
    return FrameReader().feed(encode(header, buffers))[0]


@given(st.lists(lots, max_size=3))
def test_calls_come_out_as_they_went_in(batches: list[list[Call]]) -> None:
    sent: dict[str, str] = {}
    known: dict[str, str] = {}
    for batch in batches:
        header, (data,) = travelled(*pack_calls(batch, sent))
        known |= header.get("x", {})
        found = unpack_calls(data, known)
        assert [_facts(call) for call in found] == [_facts(call) for call in batch]


def _facts(call: Call) -> Any:
    # no counts: one value an argument
    counts = list(call.counts) if call.counts is not None else [1] * len(call.spec.shape)
    return call.request, call.attempt, call.run, call.spec, list(call.values), counts, call.skip


@given(blocks)
def test_small_results_come_out_as_they_went_in(block: Block) -> None:
    _, (data,) = travelled(*pack_block(block))
    assert unpack_block(data) == block


@given(blocks, st.integers(1, 40))
def test_small_results_in_parts_are_the_same_and_no_larger_than_asked(block: Block, size: int) -> None:
    parts = list(block.parts(size))
    assert [outcome for part in parts for outcome in part.outcomes()] == block.outcomes()
    assert all(len(part) == 1 or sum(map(len, part.values)) <= size for part in parts)


@given(lots.filter(bool), st.data())
def test_calls_with_anything_else_in_them_are_refused_or_calls(batch: list[Call], data: st.DataObject) -> None:
    _, (packed,) = pack_calls(batch, {})
    try:
        found = unpack_calls(_marred(bytes(packed), data))
    except FrameError:
        return
    assert all(isinstance(one, Call) for one in found)


@given(blocks, st.data())
def test_small_results_with_anything_else_in_them_are_refused_or_results(block: Block, data: st.DataObject) -> None:
    _, (packed,) = pack_block(block)
    try:
        found = unpack_block(_marred(bytes(packed), data))
    except FrameError:
        return
    assert all(isinstance(one, Outcome) for one in found.outcomes())


def _marred(packed: bytes, data: st.DataObject) -> bytes:
    """With a few bytes of it changed, or its end cut off."""
    at = data.draw(st.integers(0, len(packed) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=8))
    return data.draw(st.sampled_from([packed[:at], packed[:at] + junk + packed[at + len(junk) :], packed + junk]))


@given(st.lists(outcomes, max_size=5))
def test_outcomes_come_out_as_they_went_in(some: list[Outcome]) -> None:
    assert unpack_outcomes(*travelled(*pack_outcomes(some))) == some


@given(st.lists(outcomes, min_size=1, max_size=3), st.data())
def test_outcomes_with_anything_else_in_them_are_refused_or_outcomes(some: list[Outcome], data: st.DataObject) -> None:
    header, buffers = travelled(*pack_outcomes(some))
    junk = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=2), st.lists, max_leaves=4)
    header["o"][0][data.draw(st.integers(0, 6))] = data.draw(junk)
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
