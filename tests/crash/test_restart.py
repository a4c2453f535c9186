"""Joins over restarts: what waits keeps waiting, and pairs as if nothing had happened."""

from __future__ import annotations

import random
import sys
import time

from ec_jupyter.engine import recovery
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.store import Store
from ec_jupyter.flow.dispatch import LANE_LIMIT
from tests.crash.flowkit import Flow, passing, wait_until


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def dawdle(x):
    # no waiting for anybody: only that branches end in another order than they began
    time.sleep(random.Random(x * 7919).choice((0.0, 0.0, 0.0, 0.003)))
    return x


def gated(x, gate):
    passing(gate)
    return x


def diamond(flow: Flow, left=dawdle, right=dawdle) -> None:
    flow.socket(echo, "root")
    flow.socket(left, "left")
    flow.socket(right, "right")
    flow.socket(pair, "join")
    for name in ("left", "right"):
        flow.plug("root", f"{name}.x")
    flow.plug("left", "join.one")
    flow.plug("right", "join.two")


def strangers(flow: Flow) -> None:
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.socket(pair, "join")
    flow.plug("a", "join.one")
    flow.plug("b", "join.two")


def test_two_thousand_forks_with_random_delays_join_with_their_own_half(flow):
    diamond(flow)
    flow.map("root", [{"x": i} for i in range(2000)])
    assert flow.drained() | {"n": 0} == {"k": "ok", "n": 0, "waiting": 0, "failed": 0, "paused": 0}
    found = flow.results("join")
    assert len(found) == 2000
    assert sorted(found) == [(i, i) for i in range(2000)]
    rows = flow.requests(socket="join")
    assert len({r["run"] for r in rows}) == 2000


def test_a_diamond_goes_on_over_killed_engines_with_every_pair_right(flow):
    diamond(flow)
    ids = flow.map("root", [{"x": i} for i in range(600)])
    for n in (100, 200, 400):
        flow.row(ids[n])
        flow.restart()
    flow.drained()
    assert sorted(flow.results("join")) == [(i, i) for i in range(600)]
    assert [flow.count(name)["done"] for name in ("root", "left", "right", "join")] == [600] * 4


def test_strangers_whose_calls_end_in_any_order_pair_as_they_were_accepted(flow):
    strangers(flow)
    flow.socket(dawdle, "a")
    flow.map("b", [{"x": i} for i in range(200)])
    flow.map("a", [{"x": i} for i in range(300)])
    flow.drained()
    assert sorted(flow.results("join")) == [(i, i) for i in range(200)]
    assert flow.count("join")["arrived"] == 100


def test_a_join_waits_over_a_restart_for_a_branch_that_still_runs(flow, gate):
    flow.socket(echo, "root")
    flow.socket(echo, "left")
    flow.socket(gated, "right")
    flow.socket(pair, "join")
    for name in ("left", "right"):
        flow.plug("root", f"{name}.x")
    flow.plug("left", "join.one")
    flow.plug("right", "join.two")
    flow.fix("right.gate", str(gate))
    flow.submit("root", x=1)
    wait_until(lambda: flow.count("join")["arrived"] == 1)
    flow.restart()
    assert flow.count("join")["arrived"] == 1
    gate.open()
    flow.drained()
    assert flow.results("join") == [(1, 1)]


def test_a_generators_elements_gather_into_one_list_over_a_restart(flow, marks, gate):
    def files(n, gate):
        for i in range(n):
            if i == 3:
                passing(gate)
            yield i

    flow.socket(files)
    flow.socket(echo, "parse")
    flow.socket(lambda all: all, "merge")
    flow.plug("files", "parse.x")
    flow.plug("parse", "merge.all", gather=True)
    request = flow.submit("files", n=6, gate=str(gate))
    wait_until(lambda: len(flow.requests(socket="parse", state="done")) == 3)
    assert flow.state(request) == "running"
    flow.restart()
    gate.open()
    assert flow.row(request)["state"] == "done"
    flow.drained()
    assert flow.results("merge") == [[0, 1, 2, 3, 4, 5]]
    assert flow.count("parse")["done"] == 6


def test_a_stopped_flow_keeps_everything(flow, gate):
    strangers(flow)
    flow.socket(echo, "alone")
    flow.ask("pause", sockets=["alone"])
    flow.submit("a", x=1)
    request = flow.submit("alone", x=5)
    flow.drained()
    flow.stop()
    flow.reopen()
    assert flow.state(request) == "queued"
    assert flow.count("join")["arrived"] == 1
    flow.ask("resume", sockets=["alone"])
    assert flow.result(request) == 5


def test_a_hundred_thousand_queued_requests_are_not_loaded_at_once(flow, capsys):
    flow.socket(echo)
    flow.ask("pause", sockets=["echo"])
    value = flow.client.dump(7)
    for _ in range(10):
        flow.client.submit([("echo", {"x": value})] * 10_000)
    assert flow.drained()["paused"] == 100_000
    flow.kill_engine()
    began = time.monotonic()
    flow.reopen()
    with capsys.disabled():
        sys.stdout.write(f"\n  engine up on 100,000 queued requests in {time.monotonic() - began:.2f} s\n")
    assert flow.count("echo")["queued"] == 100_000
    flow.stop()
    store = Store(flow.folder)
    core = Core(store)
    recovery.load(core)
    assert 0 < len(core.jobs) <= LANE_LIMIT
    assert core.dispatch.queued(core.topology.names["echo"]) == 100_000
    assert len(core.joins.parties.all) == 0
    store.close()


def test_a_queue_longer_than_memory_may_hold_starts_in_order_over_a_killed_engine(flow):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(echo)
    n = LANE_LIMIT + 5_000
    value = flow.client.dump(7)
    ids = list(flow.client.submit([("echo", {"x": value})] * n))
    flow.row(ids[1000])
    flow.restart()
    flow.drained()
    rows = flow.requests(socket="echo", by="started")
    assert [r["state"] for r in rows] == ["done"] * n
    again = [r["id"] for r in rows]
    # what ran when the engine was killed began again, before what had not begun
    assert again == ids


def test_a_failed_run_of_a_long_queue_retried_overtakes_nobody_that_was_accepted_before(flow, marks):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(echo)
    flow.ask("pause", sockets=["echo"])
    value = flow.client.dump(7)
    ids = list(flow.client.submit([("echo", {"x": value})] * (LANE_LIMIT + 100)))
    flow.ask("cancel", ids=[ids[5], ids[LANE_LIMIT + 50]])
    flow.ask("retry", ids=[ids[5], ids[LANE_LIMIT + 50]])
    flow.ask("resume", sockets=["echo"])
    flow.drained()
    assert [r["id"] for r in flow.requests(socket="echo", by="started")] == ids
    assert flow.count("echo")["done"] == len(ids)
