"""Nodes behind a login, as far as the engine goes: what survives whom. The login is a shell on this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.crash.flowkit import SECONDS, Flow, Gate, Marks, gone, kill, mark, passing, wait_until


def hold(x, marks, gate):
    mark(marks, f"{x} {os.getpid()} {os.getppid()}")
    passing(gate)
    return x


def busy(x):
    until = time.thread_time() + 0.006
    while time.thread_time() < until:
        pass


def double(x):
    return 2 * x


def kill_agent(x):
    subprocess.run(["kill", "-KILL", str(os.getppid())], check=True)
    return x


def count(n):
    yield from range(n)


@pytest.fixture
def client(tmp_path: Path) -> str:
    """Stands for ``ssh``: runs the command here, as a host's shell would, in a home of its own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    script = tmp_path / "ssh"
    script.write_text(f'#!/bin/sh\nfor last; do :; done\nexport HOME={home} TMPDIR={home}\nexec sh -c "$last"\n')
    script.chmod(0o700)
    return str(script)


@pytest.fixture
def hpc(flow: Flow, client: str) -> Flow:
    """A flow whose processor ``fit`` is on a node."""
    return declared(flow, client, 20)


@pytest.fixture
def wide(flow: Flow, client: str) -> Flow:
    """The same with two CPUs there."""
    return declared(flow, client, 20, cpus=2)


@pytest.fixture
def brief(flow: Flow, client: str) -> Flow:
    """The same with a lease of 4 s, so that there is a heartbeat each half second."""
    return declared(flow, client, 4)


def declared(flow: Flow, client: str, lease: float, cpus: int = 1) -> Flow:
    node = {"name": "hpc", "host": "me@hpc", "cpus": cpus, "lease": lease, "ssh": [client], "python": sys.executable}
    flow.edit({"op": "node", **node})
    flow.edit({"op": "processor", "name": "fit", "nodes": {"hpc": None}})
    wait_until(lambda: facts(flow)["state"] == "up")
    return flow


def facts(flow: Flow, name: str = "hpc") -> dict:
    return next(row for row in flow.query("counts")["nodes"] if row["name"] == name)


def held(flow: Flow, gate: Gate, marks: Marks, n: int) -> list[int]:
    flow.socket(hold, processor="fit")
    return flow.map("hold", [{"x": x, "marks": str(marks), "gate": str(gate)} for x in range(n)])


def agent_of(marks: Marks) -> int:
    """The process on the node that started the worker which left the last line."""
    return int(marks.lines[-1].split()[2])


def test_a_node_runs_calls_and_its_results_feed_sockets_here(hpc: Flow) -> None:
    hpc.socket(double, "there", processor="fit")
    hpc.socket(double, "here")
    hpc.plug("there", "here.x")
    ids = hpc.map("there", [{"x": x} for x in range(20)])
    hpc.drained()
    assert hpc.results("here") == [4 * x for x in range(20)]
    assert {row["node"] for row in hpc.requests(ids=ids)} == {"hpc"}
    known = facts(hpc)
    assert known["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert (known["cpus"], known["host"], known["error"]) == (1, "me@hpc", None)


def test_processors_on_a_node_share_its_cpu_by_their_weights(hpc: Flow) -> None:
    for name, weight in (("light", 4), ("hog", 1)):
        hpc.edit({"op": "processor", "name": name, "nodes": {"hpc": None}, "weight": weight})
        hpc.socket(busy, name, processor=name)
    hpc.ask("pause", processors=["light", "hog"])
    for name in ("hog", "light"):
        hpc.map(name, [{"x": x} for x in range(40)])
    hpc.ask("resume", processors=["light", "hog"])
    hpc.drained()
    rows = sorted(hpc.requests(state="done"), key=lambda row: row["started"])
    last = max(at for at, row in enumerate(rows) if row["socket"] == "light")
    assert {row["node"] for row in rows} == {"hpc"}
    assert len(rows) == 80
    # as where calls run here: ten, where both always have a call ready
    assert sum(row["socket"] == "hog" for row in rows[:last]) < 32


def test_a_call_on_a_node_outlives_the_engine_and_runs_once(hpc: Flow, gate: Gate, marks: Marks) -> None:
    (call,) = held(hpc, gate, marks, 1)
    marks.reach(1)
    hpc.restart()
    wait_until(lambda: facts(hpc)["state"] == "up")
    assert hpc.requests(ids=[call])[0]["node"] == "hpc"
    gate.open()
    assert hpc.result(call) == 0
    (row,) = hpc.requests(ids=[call])
    assert (row["node"], row["attempt"], row["deaths"]) == ("hpc", 1, 0)
    assert len(marks.lines) == 1


def test_a_result_that_came_while_there_was_no_engine_is_taken_by_the_next(
    hpc: Flow, gate: Gate, marks: Marks, make_flow: Callable[..., Flow]
) -> None:
    (call,) = held(hpc, gate, marks, 1)
    marks.reach(1)
    worker = psutil.Process(int(marks.lines[0].split()[1]))
    hpc.client.close()
    kill(hpc.engine)
    gate.open()
    # its result is pickled and told before it takes its time again
    wait_until(lambda: worker.status() == psutil.STATUS_SLEEPING)
    hpc.reopen()
    assert hpc.result(call) == 0
    assert hpc.requests(ids=[call])[0]["attempt"] == 1
    assert len(marks.lines) == 1


def test_calls_of_an_agent_that_was_killed_are_queued_again_at_once(hpc: Flow, gate: Gate, marks: Marks) -> None:
    ids = held(hpc, gate, marks, 2)
    marks.reach(1)
    kill(agent_of(marks))
    marks.reach(2)
    gate.open()
    assert [hpc.result(i) for i in ids] == [0, 1]
    first = hpc.requests(ids=ids[:1])[0]
    assert (first["attempt"], first["deaths"]) == (2, 0)
    lost = hpc.query("attempts", id=ids[0])["rows"][0]
    assert lost["state"] == "lost"
    # the usual reason is one that a person can mend
    assert "KillUserProcesses" in str(lost["error"])


def test_a_task_that_kills_its_agent_through_another_program_fails_with_its_node_and_a_call_beside_it_goes_on(
    wide: Flow, gate: Gate, marks: Marks
) -> None:
    wide.socket(kill_agent, processor="fit")
    (beside,) = held(wide, gate, marks, 1)
    marks.reach(1)
    row = wide.row(wide.submit("kill_agent", x=2))
    assert (row["state"], row["error"]["kind"]) == ("failed", "died")
    assert "the agent of node 'hpc' was killed 3 times while it ran alone" in row["error"]["message"]
    gate.open()
    assert wide.result(beside) == 0


def test_a_condition_that_kills_the_agent_of_its_node_fails_the_request_with_its_plug(hpc: Flow) -> None:
    hpc.socket(count, processor="fit")
    hpc.socket(double)
    hpc.plug("count", "double.x", when=kill_agent)
    request = hpc.submit("count", n=3)
    assert hpc.drained()["failed"] == 1
    row = hpc.row(request)
    assert row["error"]["message"].startswith(
        "plug 'count -> double.x, when=when': the agent of node 'hpc' was killed 3 times while it ran"
    )


def test_no_process_is_left_on_a_node_when_the_engine_is_stopped(hpc: Flow, gate: Gate, marks: Marks) -> None:
    held(hpc, gate, marks, 1)
    marks.reach(1)
    worker, agent = int(marks.lines[0].split()[1]), agent_of(marks)
    hpc.stop()
    gone(worker, SECONDS)
    gone(agent, SECONDS)


def test_a_machine_that_slept_gets_what_was_done_meanwhile_once(brief: Flow, gate: Gate, marks: Marks) -> None:
    (call,) = held(brief, gate, marks, 1)
    marks.reach(1)
    engine = psutil.Process(brief.engine)
    (login,) = [one for one in engine.children() if "loky" not in " ".join(one.cmdline())]
    engine.suspend()
    try:
        # the node has heard nothing for three beats, and hung up
        wait_until(lambda: login.status() == psutil.STATUS_ZOMBIE)
        gate.open()
    finally:
        engine.resume()
    assert brief.result(call) == 0
    assert brief.requests(ids=[call])[0]["attempt"] == 1
    assert len(marks.lines) == 1


def test_a_machine_that_slept_longer_than_the_lease_runs_it_again_and_it_takes_effect_once(
    brief: Flow, gate: Gate, marks: Marks
) -> None:
    brief.socket(double, "here")
    (call,) = held(brief, gate, marks, 1)
    brief.plug("hold", "here.x")
    marks.reach(1)
    engine = psutil.Process(brief.engine)
    there = psutil.Process(agent_of(marks))
    engine.suspend()
    try:
        gone(there.pid, SECONDS)
    finally:
        engine.resume()
    marks.reach(2)
    gate.open()
    assert brief.result(call) == 0
    brief.drained()
    assert brief.results("here") == [0]
    assert [row["state"] for row in brief.query("attempts", id=call)["rows"]] == ["lost"]


async def stand(x, marks, gate):
    mark(marks, f"{x} {os.getpid()}")
    while not os.path.exists(gate):
        await asyncio.sleep(0.005)
    return x


def test_calls_overlap_on_a_node_as_many_as_may_in_each_of_its_workers(hpc: Flow, marks: Marks) -> None:
    hpc.socket(stand, processor="fit", concurrent=30)
    ids = hpc.map("stand", [{"x": x, "marks": str(marks), "gate": f"{marks}.open"} for x in range(70)])
    lines = marks.reach(30)
    wait_until(lambda: hpc.count("stand")["running"] == 30)
    assert len({line.split()[1] for line in lines}) == 1
    Path(f"{marks}.open").touch()
    assert [hpc.result(request) for request in ids] == list(range(70))
    assert {row["node"] for row in hpc.requests(ids=ids)} == {"hpc"}
