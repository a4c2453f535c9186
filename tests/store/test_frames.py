"""Whatever a client says: what is wrong with it is that client's error."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest

from ec_jupyter.engine.clients import Connection
from ec_jupyter.errors import DeclarationError
from ec_jupyter.wire import FrameReader, encode
from tests.crash.flowkit import ask, socket_change


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"k": "query", "what": "requests", "limit": "x"}, "limit is to be a whole number from 1 on, or None"),
        ({"k": "query", "what": "requests", "limit": math.nan}, "a question for 'requests': limit is to be"),
        ({"k": "ping", "more": 2**64}, "a whole number has more than 64 bits"),
        ({"k": "discard", "arrival": "3"}, "arrival is to be a whole number, or None, not '3'"),
        ({"k": "edit", "changes": [{"op": "processor", "name": "p", "cpus": 2**40}]}, "cpus= takes a whole number"),
        ({"k": "edit", "changes": [{"op": "processor", "name": "p", "cpus": 1e23}]}, "processor 'p': cpus= takes"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named_with_what_it_takes(flow, header, said):
    assert said in ask(flow, header)


def test_a_call_may_be_tried_again_more_than_a_thousand_times(flow):
    change, blob = socket_change(lambda x: 1 / 0, "a", retries=1100, backoff=0)
    flow.edit(change, blobs=[blob])
    row = flow.row(flow.submit("a", x=1))
    assert (row["state"], row["attempt"]) == ("failed", 1101)
    with pytest.raises(DeclarationError, match="retries= takes a whole number"):
        flow.edit({**change, "retries": 2**40, "blob": None})


class Line(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False


def test_nothing_leaves_for_a_client_before_the_answer_to_its_hello() -> None:
    effects: list[Any] = []
    hold = SimpleNamespace(folder=SimpleNamespace(identity="flow"))
    loop = SimpleNamespace(after=effects.append, stalled=None)
    clients: Any = SimpleNamespace(key=b"key", store=SimpleNamespace(hold=hold), loop=loop)
    client = Connection(clients)
    client.transport = line = Line()
    client.reply({"flow": "x"}, to={"n": 0})
    client.push(encode({"k": "notice", "text": "while its answer waits for the commit"}))
    assert line.written == b""
    for effect in effects:
        effect()
    client.push(encode({"k": "notice", "text": "at once"}))
    kinds = [header["k"] for header, _ in FrameReader().feed(line.written)]
    assert kinds == ["ok", "notice", "notice"]
