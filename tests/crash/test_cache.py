"""Results that are used again, over kills and torn files."""

from __future__ import annotations

import pytest

from ec_jupyter.errors import QueueFullError
from tests.crash.flowkit import echo, hold, mark, passing, wait_until


def marked(x, marks):
    with open(marks, "a") as file:
        file.write("x\n")
    return x + 1


def test_a_killed_engine_finds_the_results_again_and_each_call_has_its_own(flow, marks):
    flow.socket(marked, cache="always")
    first = flow.submit("marked", x=1, marks=str(marks))
    assert flow.result(first) == 2
    flow.restart()
    more = flow.map("marked", [{"x": 1 + n % 2, "marks": str(marks)} for n in range(40)])
    flow.drained()
    assert [flow.result(request) for request in more] == [2 + n % 2 for n in range(40)]
    assert {row["node"] for row in flow.requests(ids=[more[0]])} == {"cache"}
    assert len(marks.lines) == 2


TEARS = (lambda data: b"", lambda data: data[:-1], lambda data: b"{}\n", lambda data: data[1:])


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_result_is_made_anew(flow, marks, tear):
    flow.socket(marked, cache="always")
    flow.result(flow.submit("marked", x=1, marks=str(marks)))
    (path,) = [path for path in (flow.folder / "cache").rglob("*") if path.is_file()]
    path.write_bytes(tear(path.read_bytes()))
    assert flow.result(flow.submit("marked", x=1, marks=str(marks))) == 2
    assert len(marks.lines) == 2
    assert flow.result(flow.submit("marked", x=1, marks=str(marks))) == 2
    assert len(marks.lines) == 2


def test_a_folder_that_takes_no_results_keeps_none_and_stops_nothing(flow, marks):
    (flow.folder / "cache").write_text("in the way")
    flow.socket(marked, cache="always")
    for _ in range(2):
        assert flow.result(flow.submit("marked", x=1, marks=str(marks))) == 2
    assert len(marks.lines) == 2
    wait_until(lambda: "is not kept" in (flow.folder / "engine.log").read_text())


def first_fails(x, marks, gate):
    with open(marks) as file:
        first = not file.read()
    mark(marks, x)
    passing(gate)
    if first:
        raise ValueError(x)
    return x


def under_way(flow, marks, gate, task, n=6, **options):
    """Calls alike of which the first runs, and waits at the gate, while another socket's have the other CPU."""
    flow.socket(task, "alike", cache="always", **options)
    flow.socket(echo)
    requests = flow.map("alike", [{"x": 7, "marks": str(marks), "gate": str(gate)}] * n)
    marks.reach(1)
    # had the others begun, there were no CPU
    for x in range(4):
        assert flow.result(flow.submit("echo", x=x)) == x
    assert len(marks.lines) == 1
    return requests


def test_of_calls_alike_at_the_same_time_one_runs_and_the_others_wait_for_it_without_a_cpu(flow, marks, gate):
    first, *others = under_way(flow, marks, gate, hold)
    assert {flow.state(request) for request in others} == {"queued"}
    flow.ask("cancel", ids=others[:1])
    late = flow.submit("alike", x=7, marks=str(marks), gate=str(gate))
    gate.open()
    assert flow.drained()["failed"] == 0
    assert [flow.result(request) for request in (first, *others[1:], late)] == [7] * 6
    assert flow.state(others[0]) == "cancelled"
    assert len(marks.lines) == 1
    assert {row["node"] for row in flow.requests(ids=[*others[1:], late])} == {"cache"}


def test_where_the_first_fails_those_that_waited_run_themselves(flow, marks, gate):
    first, *others = under_way(flow, marks, gate, first_fails)
    gate.open()
    flow.drained()
    assert (flow.state(first), [flow.result(request) for request in others]) == ("failed", [7] * 5)
    assert len(marks.lines) >= 2


def test_where_the_first_is_cancelled_another_runs(flow, marks, gate):
    first, *others = under_way(flow, marks, gate, hold)
    flow.ask("cancel", ids=[first])
    marks.reach(2)
    gate.open()
    flow.drained()
    assert [flow.result(request) for request in others] == [7] * 5
    assert len(marks.lines) == 2


def test_calls_that_waited_for_another_go_on_after_a_kill_of_engine_or_worker(flow, marks, gate):
    requests = under_way(flow, marks, gate, hold)
    flow.kill_engine()
    marks.reach(2)
    for worker in flow.workers():
        worker.kill()
    marks.reach(3)
    gate.open()
    flow.drained()
    assert [flow.result(request) for request in requests] == [7] * 6


def test_calls_that_waited_run_the_code_that_their_socket_has_meanwhile(flow, marks, gate):
    first, *others = under_way(flow, marks, gate, hold)
    flow.socket(lambda x, marks, gate: x + 1, "alike", cache="always")
    assert [flow.result(request) for request in others] == [8] * 5
    gate.open()
    assert flow.result(first) == 7


def test_calls_that_waited_stay_paused_and_hold_their_place_in_a_full_socket(flow, marks, gate):
    first, *others = under_way(flow, marks, gate, hold, n=3, limit=3)
    assert flow.count("alike")["queued"] == 2
    assert [flow.query("attempts", id=one)["behind"] for one in (first, *others)] == [False, True, True]
    with pytest.raises(QueueFullError):
        flow.client.ask("admit", {"socket": "alike", "calls": 1, "wait": False})
    flow.ask("pause", sockets=["alike"])
    gate.open()
    assert flow.result(first) == 7
    assert {flow.state(request) for request in others} == {"queued"}
    flow.ask("resume", sockets=["alike"])
    assert [flow.result(request) for request in others] == [7, 7]
    assert len(marks.lines) == 1
