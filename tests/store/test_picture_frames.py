"""What pictures are sent, and what the front end is compiled against, are the same."""

from __future__ import annotations

from tests.store import picture_frames


def test_types_of_the_front_end_are_held_against_what_the_engine_sends(tmp_path):
    made = picture_frames.frames(tmp_path / "flow")
    known = picture_frames.written()
    # `python -m tests.store.picture_frames` writes them anew; tsc then says what types.ts lacks
    for name in picture_frames.TYPES:
        assert picture_frames.shape(known[name]) == picture_frames.shape(made[name]), name
