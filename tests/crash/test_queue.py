"""Order, limits and lifecycle of queued requests, against a real engine."""

from __future__ import annotations

from threading import Event

from ec_jupyter.client.client import Client
from ec_jupyter.client.waits import background
from tests.crash.flowkit import mark, passing, socket_change


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def note(x, marks):
    mark(marks, x)
    return x


def fail_once(x, marks):
    with open(marks) as file:
        before = file.read()
    mark(marks, x)
    return x if before else 1 / 0


def hold(x, marks, gate):
    mark(marks, x)
    passing(gate)
    mark(marks, -x)
    return x


def overlap(lines):
    """The most that ran at once, from marks of hold()."""
    running = most = 0
    for line in lines:
        running += 1 if int(line) > 0 else -1
        most = max(most, running)
    return most


def test_one_cpu_starts_requests_in_order_of_acceptance(flow, marks):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(note)
    flow.map("note", [{"x": i, "marks": str(marks)} for i in range(200)])
    flow.drained()
    assert marks.lines == [str(i) for i in range(200)]
    assert [r["id"] for r in flow.requests(socket="note", by="started")] == [
        r["id"] for r in flow.requests(socket="note")
    ]


def test_sockets_of_one_processor_share_its_order(flow, marks):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(note, "a")
    flow.socket(note, "b")
    rows = [("ab"[i % 2], flow.values({"x": i, "marks": str(marks)})) for i in range(60)]
    flow.client.submit(rows)
    flow.drained()
    assert marks.lines == [str(i) for i in range(60)]


def test_no_more_calls_of_a_processor_run_than_it_has_cpus(flow, marks, gate):
    flow.edit({"op": "processor", "name": "p", "cpus": 2})
    flow.socket(hold, "a", processor="p")
    flow.socket(hold, "b", processor="p")
    ids = flow.map("a", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in range(1, 20)])
    ids += flow.map("b", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in range(20, 40)])
    marks.reach(2)
    assert len(flow.requests(state="running")) == 2
    gate.open()
    flow.drained()
    assert overlap(marks.lines) == 2
    assert {flow.state(i) for i in ids} == {"done"}


def test_a_paused_processor_delays_no_other(flow, marks):
    flow.socket(note, "slow", processor="p")
    flow.socket(note, "quick", processor="q")
    flow.ask("pause", processors=["p"])
    held = flow.submit("slow", x=1, marks=str(marks))
    assert flow.result(flow.submit("quick", x=2, marks=str(marks))) == 2
    assert flow.drained()["paused"] == 1
    assert flow.state(held) == "queued"
    flow.ask("resume", processors=["p"])
    assert flow.result(held) == 1


def test_a_paused_socket_accepts_and_resumes_in_order(flow, marks):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(note)
    flow.ask("pause", sockets=["note"])
    flow.map("note", [{"x": i, "marks": str(marks)} for i in range(50)])
    assert flow.drained()["paused"] == 50
    flow.restart()
    assert flow.client.topology["sockets"]["note"]["paused"]
    assert marks.lines == []
    flow.ask("resume", sockets=["note"])
    flow.drained()
    assert marks.lines == [str(i) for i in range(50)]


def test_pause_takes_back_what_has_not_started_and_lets_the_rest_end(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold)
    ids = flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in range(1, 6)])
    marks.reach(1)
    flow.ask("pause", sockets=["hold"])
    gate.open()
    assert flow.result(ids[0]) == 1
    assert flow.drained()["paused"] == 4
    assert marks.lines == ["1", "-1"]


def test_a_processor_grows_at_once_and_shrinks_after_what_runs(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold)
    ids = flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in range(1, 12)])
    marks.reach(1)
    flow.edit({"op": "processor", "name": "main", "cpus": 2})
    marks.reach(2)
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    gate.open()
    flow.drained()
    assert [flow.result(i) for i in ids] == list(range(1, 12))
    # after the two that ran, one at a time
    after = marks.lines[4:] if {marks.lines[2], marks.lines[3]} == {"-1", "-2"} else marks.lines[5:]
    assert overlap(after) <= 2
    assert overlap(marks.lines) == 2


def test_a_submit_that_was_complete_when_its_client_let_it_go_waits_for_what_an_edit_asks_for(flow):
    flow.socket(echo, "task")
    other = Client.open(flow.folder, flow.folder.name)
    change, blob = socket_change(pair, "task")
    with flow.client._connection._read_lock:
        # as long as nobody reads its line, this client does not know of the edit
        other.ask("edit", {"changes": [change]}, [blob])
        request = flow.client.submit([("task", flow.values({"x": 1}))])
    other.close()
    assert flow.state(request[0]) == "waiting"
    flow.restart()
    flow.supply("task", request[0], one=2, two=3)
    assert flow.result(request[0]) == (2, 3)


def test_a_client_that_does_not_know_of_an_edit_refuses_nothing_that_is_complete_by_it(flow):
    flow.socket(pair, "task")
    other = Client.open(flow.folder, flow.folder.name)
    change, blob = socket_change(lambda one, two=0: (one, two), "task")
    held = Event()
    with flow.client._connection._read_lock:
        other.ask("edit", {"changes": [change]}, [blob])
        submit = background(lambda: (held.set(), flow.submit("task", one=1))[1], "submit")
        held.wait(60)
    assert flow.result(submit.result(60)) == (1, 0)
    other.close()


def test_partial_submits_whose_call_failed_both_see_what_a_retry_comes_to(flow, marks):
    flow.socket(fail_once)
    one, two = (flow.submit_some("fail_once", **given) for given in ({"x": 1}, {"marks": str(marks)}))
    assert [flow.row(request)["state"] for request in (one, two)] == ["failed", "failed"]
    flow.restart()
    flow.ask("retry", ids=[one])
    assert flow.result(one) == flow.result(two) == 1
    assert flow.count("fail_once")["done"] == 1


def test_a_cancelled_queued_request_never_runs_and_says_so(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold)
    ids = flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in (1, 2, 3)])
    marks.reach(1)
    assert flow.ask("cancel", ids=[ids[1]])["cancelled"] == 1
    gate.open()
    flow.drained()
    assert [flow.state(i) for i in ids] == ["done", "cancelled", "done"]
    assert "2" not in marks.lines
    flow.restart()
    assert flow.state(ids[1]) == "cancelled"


def test_a_cancelled_running_call_is_killed_and_its_worker_serves_on(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold)
    flow.socket(echo)
    request = flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.ask("cancel", ids=[request])
    assert flow.row(request)["state"] == "cancelled"
    assert flow.result(flow.submit("echo", x=7)) == 7


def test_clear_empties_the_flow_and_keeps_its_wiring(flow, marks, gate):
    flow.socket(hold)
    flow.socket(echo)
    flow.plug("hold", "echo.x")
    flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in range(1, 9)])
    marks.reach(1)
    flow.ask("clear")
    assert flow.requests() == []
    gate.open()
    request = flow.submit("hold", x=9, marks=str(marks), gate=str(gate))
    assert flow.result(request) == 9
    flow.drained()
    assert flow.results("echo") == [9]
    flow.restart()
    assert flow.results("echo") == [9]


def test_counts_follow_every_change_of_state(flow, marks, gate):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold)
    ids = flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in (1, 2, 3)])
    marks.reach(1)
    counts = flow.count("hold")
    assert (counts["running"], counts["queued"]) == (1, 2)
    flow.ask("cancel", ids=[ids[2]])
    gate.open()
    flow.drained()
    none = ("waiting", "queued", "delayed", "running", "asked", "failed", "skipped", "arrived")
    expected = dict.fromkeys(none, 0) | {
        "done": 2,
        "cancelled": 1,
        "progress": None,
        "aside": None,
        "lists": {},
    }
    assert flow.count("hold") == expected
    flow.restart()
    assert flow.count("hold") == expected
