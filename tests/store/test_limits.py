"""What is bounded, and what goes first: priorities, rates and limits, in memory."""

from __future__ import annotations

import pytest

from ec_jupyter import ask
from ec_jupyter.errors import DeclarationError, FrameError, QueueFullError
from tests.store.rig import agrees


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def broken(x):
    raise ValueError(x)


def order(flow):
    """Arguments of the calls that have ended, in the order in which they began."""
    rows = sorted(flow.requests(state="done"), key=lambda row: (row["started"], row["id"]))
    return [flow.result(row["id"]) for row in rows]


# -- priorities ------------------------------------------------------------------------
def test_calls_of_a_socket_with_a_higher_priority_start_first_and_a_new_one_counts_at_once(flow):
    for name, priority in (("low", -1), ("plain", 0), ("high", 3)):
        flow.socket(echo, name, priority=priority)
    flow.client.ask("pause", {"processors": ["main"]})
    for x in range(2):
        for name in ("low", "plain", "high"):
            flow.submit(name, x=f"{name}{x}")
    flow.restart()
    flow.socket(echo, "low", priority=50)
    flow.client.ask("resume", {"processors": ["main"]})
    flow.drained()
    assert order(flow) == ["low0", "low1", "high0", "high1", "plain0", "plain1"]


def test_a_run_with_a_priority_goes_before_others_all_the_way_and_over_a_restart(flow):
    for name in ("first", "second"):
        flow.socket(echo, name)
    flow.plug("first", "second.x")
    flow.client.ask("pause", {"processors": ["main"]})
    flow.map("first", [{"x": f"plain{x}"} for x in range(3)])
    flow.client.submit([("first", flow.values({"x": f"urgent{x}"})) for x in range(2)], priority=5)
    flow.client.submit([("first", flow.values({"x": "late"}))], priority=-5)
    flow.restart()
    flow.client.ask("resume", {"processors": ["main"]})
    flow.drained()
    # one CPU has nothing urgent to do while the other makes it
    assert order(flow)[:2] == ["urgent0", "urgent1"]
    assert sorted(order(flow)[:6]) == ["plain0", "plain1", "urgent0", "urgent0", "urgent1", "urgent1"]
    assert order(flow).index("late") > order(flow).index("plain2")
    assert len(order(flow)) == 12


def test_a_run_with_a_priority_does_not_wait_behind_what_lies_on_disk(flow):
    flow.socket(echo)
    core = flow.client.engine.core
    core.dispatch.limit = 4
    flow.client.ask("pause", {"processors": ["main"]})
    flow.map("echo", [{"x": x} for x in range(10)])
    flow.client.submit([("echo", flow.values({"x": "now"}))], priority=1)
    assert flow.count("echo")["queued"] == 11
    flow.client.ask("resume", {"processors": ["main"]})
    flow.drained()
    assert order(flow) == ["now", *range(10)]


def test_a_priority_of_a_submit_that_is_none_is_refused(flow):
    flow.socket(echo)
    with pytest.raises(FrameError, match="priority is to be a whole number from -100 to 100"):
        flow.client.submit([("echo", flow.values({"x": 1}))], priority=101)
    assert flow.requests() == []


def test_a_failed_call_that_is_retried_and_one_that_is_given_back_keep_the_priority_of_their_run(flow):
    flow.socket(broken, "later")
    flow.client.submit([("later", flow.values({"x": 1}))], priority=9)
    flow.drained()
    flow.socket(echo, "later")
    flow.client.ask("pause", {"processors": ["main"]})
    flow.map("later", [{"x": x} for x in range(5)])
    flow.client.ask("retry", {"all": True})
    flow.restart()
    flow.client.ask("resume", {"processors": ["main"]})
    flow.drained()
    assert order(flow) == [1, 0, 1, 2, 3, 4]


def test_a_socket_that_asks_a_person_has_no_priority(flow):
    with pytest.raises(DeclarationError, match="asks a person, so priority= has no meaning"):
        flow.socket(ask("Approve?"), "approve", priority=1)


# -- rates -----------------------------------------------------------------------------
def test_a_rate_spreads_calls_out_and_holds_no_other_socket_back(flow):
    flow.socket(echo, "asked", rate="10/s")
    flow.socket(echo)
    flow.client.ask("pause", {"processors": ["main"]})
    flow.map("asked", [{"x": x} for x in range(5)])
    flow.map("echo", [{"x": "other"}] * 50)
    flow.client.ask("resume", {"processors": ["main"]})
    flow.drained()
    assert order(flow) == [0, *["other"] * 50, 1, 2, 3, 4]
    engine = flow.client.engine
    assert engine.at == pytest.approx(0.4)
    flow.socket(echo, "asked", rate=None)
    flow.map("asked", [{"x": x} for x in range(50)])
    flow.drained()
    assert engine.at == pytest.approx(0.4)


def test_a_retry_counts_and_a_new_rate_holds_from_then_on(flow):
    flow.socket(broken, rate="1/h", retries=2, backoff=0)
    flow.submit("broken", x=1)
    flow.drained()
    assert flow.client.engine.at == pytest.approx(7200)
    flow.socket(broken, rate="1/m")
    flow.submit("broken", x=2)
    flow.drained()
    assert flow.client.engine.at == pytest.approx(7200 + 3 * 60)


def test_an_engine_that_starts_anew_makes_no_burst(flow):
    flow.socket(echo, rate="2/h")
    flow.submit("echo", x=0)
    flow.drained()
    flow.restart()
    flow.submit("echo", x=1)
    flow.drained()
    assert flow.client.engine.at == pytest.approx(1800, abs=60)
    flow.client.ask("pause", {"sockets": ["echo"]})
    flow.submit("echo", x=2)
    flow.restart()
    flow.client.ask("resume", {"sockets": ["echo"]})
    flow.drained()
    assert flow.results("echo") == [0, 1, 2]
    assert flow.client.engine.at == pytest.approx(1800, abs=60)


# -- limits ------------------------------------------------------------------------------
def held(flow, socket):
    """What a socket holds."""
    counts = flow.count(socket)
    return counts["queued"] + counts["running"] + sum(len(row["arguments"]) for row in flow.waiting(socket))


def test_a_full_socket_holds_back_what_feeds_it_up_the_graph(flow):
    for name in ("first", "second", "third"):
        flow.socket(echo, name, **({} if name == "first" else {"limit": 3}))
    flow.plug("first", "second.x")
    flow.plug("second", "third.x")
    flow.client.ask("pause", {"sockets": ["third"]})
    flow.map("first", [{"x": x} for x in range(20)])
    left = flow.drained()
    assert (held(flow, "third"), held(flow, "second"), flow.count("first")["queued"]) == (3, 3, 14)
    assert left["paused"] == 3
    flow.restart()
    flow.drained()
    assert (held(flow, "third"), held(flow, "second"), flow.count("first")["queued"]) == (3, 3, 14)
    flow.client.ask("resume", {"sockets": ["third"]})
    flow.drained()
    assert sorted(flow.results("third")) == list(range(20))


def test_a_submit_waits_for_room_and_is_let_in_in_order(flow):
    flow.socket(echo, limit=2)
    engine = flow.client.engine
    asked = [engine.question("admit", {"socket": "echo", "calls": n}) for n in (1, 5, 1)]
    assert [engine.said(n) for n in asked] == [{"calls": 1}, {"calls": 1}, None]
    flow.client.ask("pause", {"sockets": ["echo"]})
    flow.submit("echo", x=1)
    flow.submit("echo", x=2)
    assert engine.said(asked[2]) is None
    with pytest.raises(QueueFullError, match=r"'echo' is full: it holds 2 \(limit=2\)"):
        flow.submit("echo", x=3)
    with pytest.raises(QueueFullError):
        flow.client.ask("admit", {"socket": "echo", "calls": 1, "wait": False})
    flow.client.ask("resume", {"sockets": ["echo"]})
    assert engine.said(asked[2]) == {"calls": 1}


def test_room_that_was_promised_and_not_used_is_given_to_others(flow):
    flow.socket(echo, limit=1)
    engine = flow.client.engine
    first, second = (engine.question("admit", {"socket": "echo", "calls": 1}) for _ in range(2))
    assert (engine.said(first), engine.said(second)) == ({"calls": 1}, None)
    engine.at += 1.9
    engine.tick()
    assert engine.said(second) is None
    engine.at += 0.2
    engine.tick()
    assert engine.said(second) == {"calls": 1}


def test_a_full_join_lets_in_what_may_complete_what_waits(flow):
    flow.socket(pair, limit=2)
    for x in range(2):
        flow.submit_some("pair", one=x)
    assert flow.client.ask("admit", {"socket": "pair", "calls": 1})[0]["calls"] == 1
    flow.submit_some("pair", two=7)
    flow.drained()
    assert set(flow.results("pair")) == {(0, 7)}


def test_what_plugs_make_at_a_full_socket_that_says_so_fails_and_can_be_retried(flow):
    flow.socket(echo, "source")
    flow.socket(echo, "target", limit=2, full="error")
    flow.plug("source", "target.x")
    flow.client.ask("pause", {"sockets": ["target"]})
    flow.map("source", [{"x": x} for x in range(5)])
    assert flow.drained()["failed"] == 3
    with pytest.raises(QueueFullError, match="'target' is full"):
        flow.submit("target", x=9)
    failed = flow.requests(socket="target", state="failed")
    assert failed[0]["error"]["message"] == "'target' is full: it holds 2 (limit=2)"
    flow.client.ask("resume", {"sockets": ["target"]})
    for request in [row["id"] for row in flow.requests(state="failed")]:
        flow.client.ask("retry", {"ids": [request]})
        flow.drained()
    assert sorted(flow.results("target")) == list(range(5))


def test_calls_that_a_join_of_several_runs_makes_fail_at_a_full_socket_too_and_submits_do_not(flow):
    for name in ("left", "right"):
        flow.socket(echo, name)
    flow.socket(pair, join="zip", limit=2, full="error")
    flow.plug("left", "pair.one")
    flow.plug("right", "pair.two")
    flow.client.ask("pause", {"sockets": ["pair"]})
    flow.submit("pair", one=8, two=9)
    for name in ("left", "right"):
        flow.map(name, [{"x": x} for x in range(4)])
    assert flow.drained()["failed"] == 3
    flow.client.ask("resume", {"sockets": ["pair"]})
    flow.drained()
    # the others came while values that waited had filled it
    assert flow.results("pair") == [(8, 9), (3, 3)]


def test_the_oldest_call_makes_room_is_skipped_with_what_comes_of_it_and_that_is_on_record(flow):
    flow.socket(echo, "source")
    flow.socket(echo, "newest", limit=2, full="drop-oldest")
    flow.socket(pair)
    for end in ("newest.x", "pair.one"):
        flow.plug("source", end)
    flow.plug("newest", "pair.two")
    flow.client.ask("pause", {"sockets": ["newest"]})
    flow.map("source", [{"x": x} for x in range(5)])
    flow.drained()
    skipped = [flow.row(row["id"]) for row in flow.requests(socket="newest", state="skipped")]
    assert [row["error"]["kind"] for row in skipped] == ["dropped"] * 3
    assert flow.count("pair")["skipped"] == 3
    lines = [line for line in flow.query("log")["lines"] if line["kind"] == "dropped"]
    assert [line["text"] for line in lines] == ["it was dropped for a newer call: 'newest' holds 2 (limit=2)"] * 3
    of_socket = flow.query("log", socket="newest")["lines"]
    dropped = [(line["level"], line["request"]) for line in of_socket if line["kind"] == "dropped"]
    assert dropped == [("warning", row["id"]) for row in skipped]
    flow.restart()
    flow.client.ask("resume", {"sockets": ["newest"]})
    flow.drained()
    assert sorted(flow.results("pair")) == [(3, 3), (4, 4)]
    agrees(flow.client.engine.core)


def test_the_newest_call_stays_also_where_all_that_a_socket_may_hold_runs(flow):
    flow.socket(echo, "newest", limit=1, full="drop-oldest")
    flow.client.engine.pace = lambda: False
    flow.submit("newest", x=0)
    flow.map("newest", [{"x": x} for x in (1, 2, 3)])
    flow.client.engine.pace = lambda: True
    flow.drained()
    assert flow.results("newest") == [0, 3]
    assert flow.count("newest")["skipped"] == 2


def test_limits_say_what_they_take(flow):
    for options, said in (
        ({"limit": 0}, "limit= takes a whole number of calls and waiting values, from 1 to 50000, or None"),
        ({"limit": 1, "full": "explode"}, "full= takes 'block', 'error' or 'drop-oldest', not 'explode'"),
    ):
        with pytest.raises(DeclarationError, match=said):
            flow.socket(echo, **options)
    flow.socket(echo, limit=1, full="error")
    flow.socket(echo, limit=None)
    assert flow.client.topology["sockets"]["echo"]["limit"] is None
    assert flow.client.ask("admit", {"socket": "echo", "calls": 7})[0]["calls"] == 7
