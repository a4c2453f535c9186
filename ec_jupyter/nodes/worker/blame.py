"""The file that a worker and its agent share: which calls run, so that whoever finds the process dead knows."""

from __future__ import annotations

import struct
from pathlib import Path

from ec_jupyter.wire import MOST_AT_ONCE

BLAME = struct.Struct("<qqd")
"""What it holds of the call whose code runs: request, attempt, and the monotonic clock when it began; 0: none."""

PROGRAM = struct.Struct("<q")
"""What follows: the last request that has started another program; 0: none."""

PLACE, PLACES_AT = struct.Struct("<q"), BLAME.size + PROGRAM.size
"""And then the requests that run beside each other, each in a place of its own; 0: none."""

BLAME_BYTES = PLACES_AT + MOST_AT_ONCE * PLACE.size
STACK_SUFFIX = ".stack"
"""Beside the file: where faulthandler writes what ran when the process crashed."""


def calls_left(folder: Path) -> dict[int, bool]:
    """Calls that ran in workers of an agent of this folder when it was killed, and whether those started programs."""
    found: dict[int, bool] = {}
    for path in folder.glob("*.call"):
        text = path.read_bytes().ljust(BLAME_BYTES, b"\0")
        (request, _, _), (program,) = BLAME.unpack_from(text), PROGRAM.unpack_from(text, BLAME.size)
        beside = {one for (one,) in PLACE.iter_unpack(text[PLACES_AT:BLAME_BYTES])}
        found |= {one: found.get(one, False) for one in beside | {request}} | {program: True}
    found.pop(0, None)
    return found
