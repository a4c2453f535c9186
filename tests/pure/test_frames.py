"""Frames are read from whatever pieces they come in, and each byte of them a few times at most."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.errors import FrameError
from ec_jupyter.wire import FrameReader, encode

frames = st.lists(st.lists(st.binary(max_size=40), max_size=4), min_size=1, max_size=6)


@given(frames, st.integers(1, 60))
def test_frames_are_the_same_in_whatever_pieces_they_come(some, piece):
    data = b"".join(encode({"k": "x", "n": n}, buffers) for n, buffers in enumerate(some))
    reader = FrameReader()
    read = [frame for at in range(0, len(data), piece) for frame in reader.feed(data[at : at + piece])]
    assert read == [({"k": "x", "n": n}, buffers) for n, buffers in enumerate(some)]


def test_a_large_frame_in_small_pieces_is_put_together_once():
    data = encode({"k": "x"}, [b"y" * (8 << 20)])
    pieces = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    reader = FrameReader()
    tracemalloc.start()
    try:
        # what has come is not copied into one piece with each that comes after it
        for piece in pieces[:-1]:
            assert reader.feed(piece) == []
            peak = tracemalloc.get_traced_memory()[1]
            assert peak < 1 << 20
    finally:
        tracemalloc.stop()
    ((_, (buffer,)),) = reader.feed(pieces[-1])
    assert buffer == b"y" * (8 << 20)


def test_a_frame_over_the_limit_is_refused_before_it_has_come():
    with pytest.raises(FrameError, match="claims"):
        FrameReader(limit=100).feed(encode({"k": "x"}, [b"y" * 200])[:8])
