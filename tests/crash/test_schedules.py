"""Schedules of real engines: kills around ticks, a clock that moves on, an engine that nobody watches."""

from __future__ import annotations

import time

from ec_jupyter import sleep
from tests.cases import each_of
from tests.crash.flowkit import gone, mark, wait_until

HOUR = 3600.0


def poll(folder="."):
    return folder


def ticked(flow):
    """The next tick, and how many calls were made for those before it."""
    while True:
        before = flow.query("schedules")["next"]["poll"]
        calls = len(flow.requests(socket="poll"))
        if flow.query("schedules")["next"]["poll"] == before:
            return before, calls


def test_a_kill_at_any_statement_of_a_tick_leaves_one_call_for_each_tick(make_flow, mortal):
    flow = make_flow()
    flow.socket(poll)
    flow.edit({"op": "schedule", "socket": "poll", "every": 1.0, "missed": "all"})
    first, _ = ticked(flow)
    flow.ask("stop")
    flow.client.close()
    deaths = 0
    for n in range(1, 9):
        engine = mortal(flow.folder, "tick", n)
        assert engine.wait(60) == -9, f"statement {n}"
        deaths += 1
    flow.reopen()
    wait_until(lambda: ticked(flow)[1] >= 10)
    at, calls = ticked(flow)
    assert (calls, deaths) == (round(at - first), 8)
    flow.edit({"op": "unschedule", "name": "poll"})
    flow.drained()
    assert flow.results("poll") == ["."] * flow.count("poll")["done"]


@each_of(("missed", "calls"), [("once", 1), ("all", 5), ("skip", 0)])
def test_a_machine_that_was_asleep_makes_up_for_what_it_missed(make_flow, mortal, tmp_path, missed, calls):
    folder = tmp_path / missed / ".ec_jupyter" / "main"
    folder.mkdir(parents=True)
    clock = tmp_path / f"clock-{missed}"
    clock.write_text("0")
    mortal(folder, "clock", clock)
    flow = make_flow(folder)
    flow.socket(poll)
    flow.socket(sleep(3 * HOUR), "nap")
    nap = flow.submit("nap", value="woken")
    later = flow.client.submit([("poll", {})], at=time.time() + 2 * HOUR)[0]
    flow.edit({"op": "schedule", "socket": "poll", "every": HOUR, "missed": missed})
    assert flow.state(later) == "delayed"
    # the monotonic clock stands still while a machine sleeps
    clock.write_text(str(5.5 * HOUR))
    assert (flow.result(later), flow.result(nap)) == (".", "woken")
    wait_until(lambda: flow.query("schedules")["next"]["poll"] > time.time() + 5 * HOUR)
    flow.drained()
    assert len(flow.requests(socket="poll")) == 1 + calls
    flow.ask("stop")


def test_an_engine_with_a_schedule_stays_though_nobody_is_there(make_flow, marks):
    flow = make_flow(linger=0.1)
    flow.socket(lambda path=str(marks): mark(path, "tick"), "poll")
    flow.edit({"op": "schedule", "socket": "poll", "every": 1.0})
    engine = flow.engine
    flow.client.close()
    marks.reach(3)
    flow.reopen()
    assert flow.engine == engine
    flow.edit({"op": "unschedule", "name": "poll"})
    flow.client.close()
    gone(engine)
