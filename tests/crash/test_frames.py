"""Whatever a client says: what is wrong with it is that client's error, and the flow goes on."""

from __future__ import annotations

import math
import random
from itertools import count

import pytest

from ec_jupyter.engine.address import connect
from ec_jupyter.errors import FrameError
from ec_jupyter.flow import schema
from ec_jupyter.flow.options import OPTIONS
from ec_jupyter.wire import FrameReader, encode
from tests.crash.flowkit import ask

WEIRD = [
    None, True, -1, 0, 2**31, 2**62, 2**63, 2**70, -(2**64), 1.5, 1e23, math.nan, math.inf, -math.inf, "", "x", "main",
    "\x00", "../x", "x" * 300, [], [1], [[1, 2]], [[0, 10**12]], [-1, 2**65], {}, {"x": 1},
    {"x": [None, 1, "int"]}, [[[[]]]],
]  # fmt: skip
ENDING = ("stop", "clear")


def echo(x):
    return x


def frames(seed):
    """Frames of the schema with some of their fields gone wrong."""
    some = random.Random(seed)
    edits = {op: (needed, {**more, **OPTIONS.get(op, {})}) for op, (needed, more) in schema.EDITS.items()}
    changes = [{"op": op, **part} for op, fields in edits.items() for part in parts(fields, some)]
    yield from ({"k": "edit", "changes": [change]} for change in changes)
    for what, fields in schema.QUERIES.items():
        yield from ({"k": "query", "what": what, **part} for part in parts(fields, some))
    for kind, fields in schema.FRAMES.items():
        if kind not in ENDING:
            yield from ({"k": kind, **part} for part in parts(fields, some))
    for rows in (*WEIRD, [["echo", {"x": weird}] for weird in WEIRD], [["echo", {"x": [None, 1, "int"]}, 7]]):
        yield {"k": "submit", "rows": rows}


def parts(fields, some):
    needed, more = fields
    good = {name: kind.sample for name, kind in needed.items()}
    if "lease" in more:
        # a node's; nobody is to be called
        good["ssh"] = ["false"]
    yield good
    yield {}
    for name in (*needed, *more):
        for weird in some.sample(WEIRD, 6):
            yield {**good, name: weird}


def send(flow, header):
    """Send a frame of one's own between those of the client's threads."""
    with flow.client._lock:
        flow.client._send_frame(encode(header))


def test_frames_of_every_kind_with_every_field_gone_wrong_are_refused_and_the_flow_goes_on(flow, make_flow):
    flow.socket(echo)
    engine = flow.engine
    asked, other = count(), make_flow(flow.folder)
    for header in frames(seed=1):
        if header["k"] in ("log", "ring"):
            # what is wrong in them is in the way of their own client alone
            send(other, {**header})
        elif header["k"] in ("reach", "hello", "wait", "bring", "drained"):
            send(flow, {"n": 10**9 + next(asked), **header})
        else:
            ask(flow, header)
    flow.socket(echo, "still")
    assert flow.result(flow.submit("still", x=1)) == 1
    assert flow.engine == engine
    log = (flow.folder / "engine.log").read_text()
    assert "CRITICAL" not in log
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]


def test_bytes_that_spell_no_text_or_are_nested_without_end_cost_their_client_its_line_and_nobody_else(flow):
    engine = flow.engine
    long = b'{"k":"ping","n":' + b"9" * 10_000 + b"}"
    for head in (b'{"k":' + b"[" * 200_000, long, b'{"k":"ping","b":[1.0]}', b"\xff"):
        line = connect(flow.folder, 10)
        line.sendall(len(head).to_bytes(4, "little") + bytes(4) + head)
        line.settimeout(20)
        while line.recv(1 << 16):
            pass
        line.close()
    half = b'{"k":"query","n":1,"what":"\\udc80"}'
    ((header, _),) = FrameReader().feed(len(half).to_bytes(4, "little") + bytes(4) + half)
    with pytest.raises(FrameError, match="half a character"):
        schema.check(header)
    assert flow.engine == engine
