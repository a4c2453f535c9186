"""What is bounded stays so in a real engine, over its kill as well."""

from __future__ import annotations

import threading

import pytest

from ec_jupyter.errors import QueueFullError
from tests.crash.flowkit import echo, hold, wait_until

RATE = 25.0


def test_a_rate_holds_over_a_killed_engine(flow):
    flow.socket(echo, rate=f"{RATE:g}/s")
    flow.map("echo", [{"x": x} for x in range(20)])
    wait_until(lambda: flow.count("echo")["done"] >= 5)
    flow.kill_engine()
    flow.drained()
    starts = sorted(row["started"] for row in flow.requests(state="done"))
    assert len(starts) == 20
    # one call more than the rate alone allows may start at its very beginning
    assert starts[-1] - starts[0] >= 18 / RATE


def test_a_submit_to_a_full_socket_waits_over_a_killed_engine_until_there_is_room(flow, gate, marks):
    flow.socket(hold, limit=1)
    flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    with pytest.raises(QueueFullError, match="'hold' is full"):
        flow.client.admit("hold", 1, wait=False)
    rooms: list[int] = []
    waiting = threading.Thread(target=lambda: rooms.append(flow.client.admit("hold", 5)), daemon=True)
    waiting.start()
    flow.kill_engine()
    marks.reach(2)
    assert not rooms
    gate.open()
    waiting.join(60)
    assert rooms == [1]
