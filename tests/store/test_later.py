"""Requests that wait for their time, in memory: on disk from the start, delayed until then, and then as any other."""

from __future__ import annotations

import time

import pytest

from ec_jupyter.engine import recovery
from ec_jupyter.engine.suspects import Suspects
from ec_jupyter.errors import FrameError
from tests.store.memoryflow import PYTHON
from tests.store.rig import agrees

HOUR = 3600.0


def echo(x):
    return x


def double(x):
    return 2 * x


@pytest.fixture
def flow(flow):
    """Two sockets; nothing runs, and no time passes, before something waits for it."""
    flow.socket(echo)
    flow.socket(double)
    flow.plug("echo", "double")
    hold(flow)
    return flow


def hold(flow):
    flow.client.engine.pace = lambda: False


def later(flow, at, *values):
    return flow.client.submit([("echo", flow.values({"x": value})) for value in values], at=at)


def test_a_request_for_later_is_delayed_and_counted_so_until_its_time_and_then_runs(flow):
    at = time.time() + HOUR
    (request,) = later(flow, at, 1)
    (row,) = flow.requests(ids=[request])
    assert (row["state"], row["due"]) == ("delayed", at)
    assert [flow.count("echo")[state] for state in ("delayed", "queued")] == [1, 0]
    assert [row["id"] for row in flow.requests(state="delayed")] == [request]
    assert flow.requests(state="queued") == []
    assert flow.result(request) == 1
    assert (flow.state(request), flow.count("echo")["delayed"]) == ("done", 0)
    assert flow.results("double") == [2]


def test_what_is_submitted_after_it_does_not_wait_for_it(flow):
    later(flow, time.time() + HOUR, 1)
    soon = flow.submit("echo", x=2)
    assert flow.state(soon) == "queued"
    flow.client.engine.agent.step()
    flow.client.engine.tick()
    assert flow.state(soon) == "done"
    assert flow.count("echo")["delayed"] == 1


def test_its_time_survives_its_engine_however_far_it_is(flow):
    at = time.time() + 400 * 24 * HOUR
    (request,) = later(flow, at, 1)
    store = flow.client.store
    store.again()
    core = recovery.reopen(store, PYTHON, Suspects(store))
    agrees(core)
    assert core.delayed[request] - time.monotonic() == pytest.approx(400 * 24 * HOUR, abs=60)


def test_a_time_that_is_over_is_no_time_to_wait_for(flow):
    (request,) = later(flow, time.time() - HOUR, 1)
    assert flow.result(request) == 1


def test_one_whose_time_came_while_no_engine_ran_starts_with_the_next(flow):
    (request,) = later(flow, time.time() + HOUR, 1)
    flow.client.store.write("again", (0, 0, time.time() - 1, request))
    flow.restart()
    hold(flow)
    assert flow.state(request) == "done"


def test_a_delayed_request_is_cancelled_and_a_retry_of_it_starts_at_once(flow):
    (request,) = later(flow, time.time() + HOUR, 1)
    assert flow.ask("cancel", ids=[request])["cancelled"] == 1
    assert (flow.state(request), flow.client.engine.core.delayed) == ("cancelled", {})
    flow.ask("retry", ids=[request])
    assert flow.state(request) == "queued"
    flow.restart()
    assert flow.result(request) == 1


def test_a_clock_that_is_set_moves_the_time(flow, monkeypatch):
    at = time.time() + HOUR
    (request,) = later(flow, at, 1)
    core = flow.client.engine.core
    monkeypatch.setattr(time, "time", lambda: at - 10)
    core.clock_set()
    assert core.delayed[request] - time.monotonic() == pytest.approx(10, abs=5)


def test_the_same_id_again_is_the_same_request(flow):
    at = time.time() + HOUR
    rows = [("echo", flow.values({"x": 1}), "once")]
    assert list(flow.client.submit(rows, at=at)) == list(flow.client.submit(rows, at=at + 1))


@pytest.mark.parametrize("wrong", ["soon", -1, float("nan"), 1e13, True])
def test_what_is_no_time_is_refused(flow, wrong):
    with pytest.raises(FrameError, match="at is to be seconds since the epoch"):
        flow.ask("submit", rows=[["echo", {}]], at=wrong)
    assert flow.count("echo")["delayed"] == 0
