"""What is bounded stays so in a real engine, over its kill as well."""

from __future__ import annotations

import threading

import pytest

from ec_jupyter.errors import QueueFullError
from tests.crash.flowkit import echo, hold, wait_until

RATE = 25.0


def busy(x):
    """What takes longer than calls that are put together; for tasks."""
    import time

    until = time.thread_time() + 0.006
    while time.thread_time() < until:
        pass
    return x


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


def test_processors_share_a_cpu_by_their_weights(make_flow, tmp_path):
    flow = make_flow(cpus=1)
    for name, weight in (("light", 4), ("hog", 1)):
        flow.edit({"op": "processor", "name": name, "cpus": 1, "weight": weight})
        flow.socket(busy, name, processor=name)
    flow.client.ask("pause", {"processors": ["light", "hog"]})
    for name in ("hog", "light"):
        flow.map(name, [{"x": x} for x in range(40)])
    flow.kill_engine()
    flow.client.ask("resume", {"processors": ["light", "hog"]})
    flow.drained()
    rows = sorted(flow.requests(state="done"), key=lambda row: row["started"])
    last = max(at for at, row in enumerate(rows) if row["socket"] == "light")
    assert len(rows) == 80
    # ten, where both always have a call ready; without weights it is as many as of the other
    assert sum(row["socket"] == "hog" for row in rows[:last]) < 32


def test_calls_that_are_submitted_together_with_a_priority_pass_those_before_them(flow):
    flow.client.ask("pause", {"processors": ["main"]})
    flow.socket(echo)
    flow.map("echo", [{"x": x} for x in range(200)])
    flow.client.submit([("echo", flow.values({"x": "first"})) for _ in range(20)], priority=3)
    flow.kill_engine()
    flow.client.ask("resume", {"processors": ["main"]})
    flow.drained()
    rows = sorted(flow.requests(state="done"), key=lambda row: row["started"])
    assert len(rows) == 220
    assert {flow.result(row["id"]) for row in rows[:10]} == {"first"}


def test_a_flow_that_a_pause_holds_back_is_idle_and_what_feeds_a_full_socket_waits(flow):
    flow.socket(echo, "source")
    flow.socket(echo, "target", limit=5)
    flow.plug("source", "target.x")
    flow.client.ask("pause", {"sockets": ["target"]})
    flow.map("source", [{"x": x} for x in range(100)])
    assert flow.drained()["paused"] == 5
    assert (flow.count("source")["queued"], flow.count("target")["queued"]) == (95, 5)
    flow.kill_engine()
    flow.client.ask("resume", {"sockets": ["target"]})
    most = 0
    while (seen := flow.count("target"))["done"] < 100:
        most = max(most, seen["queued"] + seen["running"])
    assert most <= 5
    assert sorted(flow.results("target")) == list(range(100))


def test_calls_that_take_half_a_cpu_share_one_and_those_of_a_whole_one_do_not(make_flow, gate, marks):
    flow = make_flow(cpus=1)
    flow.socket(hold, "half", threads=0.5)
    flow.socket(hold, "whole")
    for name in ("half", "half", "half", "whole"):
        flow.submit(name, x=name, marks=str(marks), gate=str(gate))
    marks.reach(2)
    wait_until(lambda: flow.count("half")["running"] == 2)
    assert flow.query("counts")["nodes"][0]["used"] == 1.0
    gate.open()
    flow.drained()
    assert sorted(marks.lines) == ["half", "half", "half", "whole"]
    spans = {row["id"]: (row["started"], row["started"] + row["seconds"]) for row in flow.requests(state="done")}
    *halves, whole = [spans[request] for request in sorted(spans)]
    assert all(end <= whole[0] or whole[1] <= start for start, end in halves)
