"""Order, limits and lifecycle of queued requests, against a real engine."""

from __future__ import annotations

from threading import Event

import pytest

from ec_jupyter.client.client import Client
from ec_jupyter.client.waits import background
from ec_jupyter.errors import ArgumentsError, DeclarationError, RequestNotFoundError, SocketNotFoundError
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


def test_a_processor_of_no_cpus_keeps_its_queue_and_goes_on_when_it_gets_one(flow):
    flow.socket(echo, processor="p")
    flow.edit({"op": "processor", "name": "p", "cpus": 0})
    request = flow.submit("echo", x=1)
    assert flow.state(request) == "queued"
    flow.edit({"op": "processor", "name": "p", "cpus": 1})
    assert flow.result(request) == 1


def test_a_task_that_takes_more_cpus_than_there_are_is_refused_at_declaration(flow):
    with pytest.raises(DeclarationError, match="could never run"):
        flow.socket(echo, threads=3)
    assert flow.client.topology["sockets"] == {}


def test_the_same_submit_id_again_is_the_same_request(flow):
    flow.socket(echo)
    flow.socket(echo, "other")
    first = flow.submit("echo", "k", x=1)
    assert flow.submit("echo", "k", x=2) == first
    assert flow.submit("other", "k", x=3) != first
    same = list(flow.client.submit([("echo", flow.values({"x": i}), "m") for i in range(3)]))
    assert len(set(same)) == 1
    flow.restart()
    assert flow.submit("echo", "k", x=4) == first
    flow.drained()
    assert flow.result(first) == 1
    assert flow.count("echo")["done"] == 2


def test_a_submit_with_a_wrong_name_accepts_nothing(flow):
    flow.socket(echo)
    with pytest.raises(ArgumentsError, match="no argument 'y'"):
        flow.client.submit([("echo", flow.values({"x": 1})), ("echo", flow.values({"y": 1}))])
    with pytest.raises(SocketNotFoundError, match="did you mean 'echo'"):
        flow.client.submit([("echo", flow.values({"x": 1})), ("ehco", flow.values({"x": 1}))])
    assert flow.requests() == []


def test_a_submit_that_lacks_an_argument_is_refused_and_shifts_no_pair_of_strangers(flow):
    flow.socket(pair)
    with pytest.raises(ArgumentsError, match="'pair' lacks 'two'; give it, or say partial=True"):
        flow.map("pair", [{"one": 0, "two": 0}, {"one": 1}])
    # the engine refuses it as well, from whoever sends it
    with pytest.raises(ArgumentsError, match="'pair' lacks 'one' and 'two'; give"):
        flow.ask("submit", rows=[["pair", {}]])
    flow.restart()
    assert flow.requests() == []
    later = [flow.submit_some("pair", **{name: n}) for n in (2, 3) for name in ("one", "two")]
    assert [flow.result(request) for request in later] == [(2, 2), (2, 2), (3, 3), (3, 3)]


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


def test_a_partial_submit_waits_until_the_rest_is_supplied(flow):
    flow.socket(pair)
    request = flow.submit_some("pair", one=1)
    assert flow.state(request) == "waiting"
    assert flow.drained()["waiting"] == 1
    (row,) = flow.waiting("pair")
    assert row["request"] == request
    assert row["arguments"]["one"]["state"] == "arrived"
    flow.restart()
    assert flow.state(request) == "waiting"
    flow.supply("pair", request, two=2)
    assert flow.result(request) == (1, 2)


def test_partial_submits_that_complete_each_other_are_one_call_that_both_see(flow):
    flow.socket(pair)
    one, two = flow.submit_some("pair", one=1), flow.submit_some("pair", two=2)
    assert flow.result(one) == flow.result(two) == (1, 2)
    flow.drained()
    assert len([r for r in flow.requests(socket="pair") if r["joined"] is None]) == 1
    for _ in "12":
        assert flow.count("pair") | {"done": 1, "waiting": 0, "queued": 0} == flow.count("pair")
        assert len(flow.query("results", socket="pair", limit=10)["values"]) == 1
        assert flow.query("run", id=one)["counts"] == {"done": 1}
        flow.restart()


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


def test_a_cancelled_waiting_request_neither_runs_nor_feeds_another(flow):
    flow.socket(pair)
    request = flow.submit_some("pair", one=1)
    assert flow.ask("cancel", ids=[request])["cancelled"] == 1
    other = flow.submit_some("pair", two=2)
    flow.drained()
    assert flow.state(request) == "cancelled"
    assert flow.state(other) == "waiting"
    assert flow.waiting("pair")[0]["arguments"]["one"]["state"] != "arrived"


def test_a_cancelled_waiting_request_that_is_retried_waits_again(flow):
    flow.socket(pair)
    request = flow.submit_some("pair", one=1)
    flow.ask("cancel", ids=[request])
    assert flow.ask("retry", ids=[request])["ids"] == [request]
    assert flow.state(request) == "waiting"
    flow.supply("pair", request, two=2)
    assert flow.result(request) == (1, 2)


def test_cancel_of_an_unknown_request_says_so(flow):
    with pytest.raises(RequestNotFoundError, match="no request 12"):
        flow.ask("cancel", ids=[12])


def test_a_cancelled_request_retried_goes_on_in_the_same_run(flow):
    flow.socket(echo)
    flow.socket(echo, "next")
    flow.plug("echo", "next.x")
    flow.ask("pause", sockets=["echo"])
    request = flow.submit("echo", x=1)
    flow.ask("cancel", ids=[request])
    flow.ask("resume", sockets=["echo"])
    flow.ask("retry", ids=[request])
    assert flow.result(request) == 1
    flow.drained()
    (row,) = flow.requests(socket="next")
    assert row["run"] == request


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


def test_identities_from_before_a_clear_are_not_given_again(flow):
    flow.socket(echo)
    before = flow.map("echo", [{"x": i} for i in range(5)])
    flow.drained()
    flow.ask("clear")
    flow.restart()
    assert flow.submit("echo", x=1) > max(before)
    assert flow.row(before[0])["state"] == "unknown"


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
    expected = dict.fromkeys(("waiting", "queued", "running", "failed", "skipped", "arrived"), 0) | {
        "done": 2,
        "cancelled": 1,
        "progress": None,
        "aside": None,
        "lists": {},
    }
    assert flow.count("hold") == expected
    flow.restart()
    assert flow.count("hold") == expected
