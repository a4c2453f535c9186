"""The file that a worker and its agent share: which calls run, so that whoever finds the process dead knows."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

from ec_jupyter.wire import MOST_AT_ONCE

BLAME = struct.Struct("<qqd")
"""What it holds of the call whose code runs: request, attempt, and the monotonic clock when it began; 0: none."""

PROGRAM = struct.Struct("<q")  # what follows: the last request that has started another program; 0: none
PLACE, PLACES_AT = struct.Struct("<q"), BLAME.size + PROGRAM.size
"""And then the requests that run beside each other, each in a place of its own; 0: none."""

BLAME_BYTES = PLACES_AT + MOST_AT_ONCE * PLACE.size
STACK_SUFFIX = ".stack"  # beside the file: where faulthandler writes what ran when the process crashed
_FRAME = re.compile(r'File "(.*)", line \d+ in .*')
_LIBRARIES = sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])


def crashed_at(text: str) -> str:
    """What faulthandler wrote, in a line: the crash, where it was, and the person's line that led there."""
    _, current, thread = text.partition("Current thread")
    frames = list(_FRAME.finditer(thread if current else text))
    if not frames:
        return ""
    own = next((frame for frame in frames if not frame[1].startswith(_LIBRARIES)), frames[0])
    called = f", called by {own[0]}" if own is not frames[0] else ""
    return f" ({text.partition(chr(10))[0]}) at {frames[0][0]}{called}"


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
