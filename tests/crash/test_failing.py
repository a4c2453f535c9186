"""What failing, dying and unwanted calls come to, and what a person does about them."""

from __future__ import annotations

import os
import time
from itertools import pairwise

from tests.crash.flowkit import facts, kill, mark, passing, shown, wait_until


def echo(x):
    return x


def fail(x):
    raise ValueError(f"no {x}")


def tried(marks):
    with open(marks) as file:
        return len(file.readlines())


def fail_at_first(x, marks, times):
    mark(marks, x)
    if tried(marks) <= times:
        raise ValueError(f"try again {x}")
    return x


def die_at_first(x, marks, times):
    mark(marks, x)
    if tried(marks) <= times:
        os._exit(3)
    return x


def hold(x, marks, gate):
    mark(marks, x)
    passing(gate)
    return x


# -- failures as values ----------------------------------------------------------
def broken(error):
    raise KeyError(f"again {error.message}")


def test_a_failure_of_a_failure_reaches_its_target_whole(flow):
    flow.socket(fail)
    flow.socket(broken)
    flow.socket(shown)
    flow.plug("fail", "broken.error", on="error")
    flow.plug("broken", "shown.error", on="error")
    run = flow.submit("fail", x=3)
    flow.drained()
    first = ["Failure", "fail", "no 3", {"x": 3}]
    assert flow.results("shown") == [["Failure", "broken", "'again no 3'", {"error": first}]]
    flow.restart()
    request = flow.requests(socket="shown")[0]["id"]
    assert flow.result(flow.ask("replay", request=request)["id"]) == flow.results("shown")[0]
    assert "no 3" in flow.ask("preview", request=request, argument="error")["text"]
    assert flow.state(run) == "failed"


# -- trying again --------------------------------------------------------------
def test_every_attempt_of_a_retried_call_is_recorded_with_growing_delays(flow, marks):
    flow.socket(fail_at_first, retries=3, backoff=0.05)
    request = flow.submit("fail_at_first", x=1, marks=str(marks), times=3)
    assert flow.result(request) == 1
    rows = flow.query("attempts", id=request)["rows"]
    assert [r["attempt"] for r in rows] == [1, 2, 3]
    assert {r["error"]["message"] for r in rows} == {"try again 1"}
    assert flow.requests(ids=[request])[0]["attempt"] == 4
    starts = [r["started"] for r in rows] + [flow.requests(ids=[request])[0]["started"]]
    waits = [b - a for a, b in pairwise(starts)]
    # never sooner than asked; how much later is the machine's business
    assert [wait >= least for wait, least in zip(waits, (0.04, 0.09, 0.19), strict=True)] == [True] * 3


def test_retries_used_up_fail_the_request_with_its_last_error(flow, marks):
    flow.socket(fail_at_first, retries=1, backoff=0.0)
    request = flow.submit("fail_at_first", x=1, marks=str(marks), times=5)
    assert flow.row(request)["state"] == "failed"
    assert len(marks.lines) == 2


def test_a_retry_that_waits_out_its_backoff_is_kept_over_a_killed_engine(flow, marks):
    flow.socket(fail_at_first, retries=1, backoff=0.3)
    request = flow.submit("fail_at_first", x=1, marks=str(marks), times=1)
    wait_until(lambda: flow.query("attempts", id=request)["rows"])
    flow.restart()
    assert flow.result(request) == 1
    assert len(marks.lines) == 2


def test_a_call_that_runs_too_long_fails_with_a_timeout(flow, marks, gate):
    flow.socket(hold, timeout=0.2)
    request = flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    row = flow.row(request)
    assert (row["state"], row["error"]["kind"], row["error"]["type"]) == ("failed", "timeout", "RequestTimeoutError")


# -- dying ---------------------------------------------------------------------
def test_a_call_whose_worker_dies_runs_again_and_the_third_death_fails_it(flow, marks):
    flow.socket(die_at_first)
    twice = flow.submit("die_at_first", x=1, marks=str(marks), times=2)
    assert flow.result(twice) == 1
    assert flow.requests(ids=[twice])[0]["deaths"] == 2
    marks.path.write_text("")
    thrice = flow.submit("die_at_first", x=2, marks=str(marks), times=3)
    row = flow.row(thrice)
    assert (row["state"], row["error"]["type"]) == ("failed", "WorkerDiedError")
    assert len(marks.lines) == 3


def test_only_the_culprit_of_a_death_is_charged(flow, marks):
    flow.socket(echo)
    flow.socket(die_at_first)
    flow.result(flow.submit("echo", x=0))
    rows = [("echo", flow.values({"x": i})) for i in range(200)]
    rows.insert(100, ("die_at_first", flow.values({"x": -1, "marks": str(marks), "times": 1})))
    ids = list(flow.client.submit(rows))
    flow.drained()
    found = flow.requests(ids=ids)
    assert {r["state"] for r in found} == {"done"}
    assert [r["deaths"] for r in found if r["deaths"]] == [1]
    assert {r["attempt"] for r in found if r["socket"] == "echo"} == {1}


def test_a_once_socket_fails_a_request_whose_worker_died(flow, marks):
    flow.socket(die_at_first, once=True)
    request = flow.submit("die_at_first", x=1, marks=str(marks), times=1)
    row = flow.row(request)
    assert (row["state"], row["error"]["type"]) == ("failed", "WorkerDiedError")
    assert "once=True" in row["error"]["message"]
    assert len(marks.lines) == 1


def test_a_once_socket_does_not_run_again_what_ran_when_the_engine_was_killed(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold, once=True)
    ids = flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in (1, 2, 3)])
    marks.reach(1)
    flow.restart()
    gate.open()
    row = flow.row(ids[0])
    assert (row["state"], row["error"]["type"]) == ("failed", "WorkerDiedError")
    assert "once=True" in row["error"]["message"]
    assert flow.drained()["failed"] >= 1
    assert marks.lines.count("1") == 1
    # what had not begun may have been given away too: it fails rather than perhaps running twice
    assert all(marks.lines.count(str(i)) <= 1 for i in (2, 3))
    assert {flow.state(i) for i in ids[1:]} <= {"done", "failed"}
    assert flow.count("hold")["queued"] == 0


def test_a_once_socket_runs_what_was_only_queued_when_the_engine_was_killed(flow, marks, gate):
    flow.socket(hold, once=True)
    flow.ask("pause", sockets=["hold"])
    request = flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    assert flow.state(request) == "queued"
    gate.open()
    flow.restart()
    flow.ask("resume", sockets=["hold"])
    assert flow.result(request) == 1


def test_a_once_call_taken_back_before_it_started_is_queued_again(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold, once=True)
    ids = flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in range(1, 5)])
    marks.reach(1)
    flow.ask("pause", sockets=["hold"])
    gate.open()
    assert flow.drained()["paused"] == 3
    flow.restart()
    flow.ask("resume", sockets=["hold"])
    assert [flow.result(i) for i in ids] == [1, 2, 3, 4]


# -- error plugs, retry, discard, supply ------------------------------------------
def test_only_the_last_failure_reaches_the_error_plug(flow, marks):
    flow.socket(fail_at_first, retries=2, backoff=0.0)
    flow.socket(facts)
    flow.plug("fail_at_first", "facts.error", on="error")
    flow.submit("fail_at_first", x=1, marks=str(marks), times=3)
    flow.drained()
    assert [f["attempt"] for f in flow.results("facts")] == [3]


# -- late answers ---------------------------------------------------------------------
def test_a_worker_killed_from_outside_is_replaced_and_its_call_runs_again(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold)
    request = flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    (row,) = flow.requests(state="running")
    kill(row["pid"])
    marks.reach(2)
    gate.open()
    assert flow.result(request) == 1
    found = flow.requests(ids=[request])[0]
    assert (found["deaths"], found["attempt"]) == (1, 2)
    assert time.time() > found["started"]


def test_a_generator_that_dies_after_some_yields_delivers_each_element_once(flow, marks, gate):
    def several(n, marks, gate):
        for i in range(n):
            if i == 2:
                mark(marks, i)
                passing(gate)
            yield i

    flow.socket(several)
    flow.socket(echo)
    flow.plug("several", "echo.x")
    request = flow.submit("several", n=5, marks=str(marks), gate=str(gate))
    marks.reach(1)
    wait_until(lambda: flow.count("echo")["done"] == 2)
    kill(flow.requests(state="running")[0]["pid"])
    gate.open()
    assert flow.row(request)["state"] == "done"
    flow.drained()
    assert sorted(flow.results("echo")) == [0, 1, 2, 3, 4]
