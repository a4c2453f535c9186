"""Faults inside the engine: it ends between two statements, its clock jumps; what it leaves behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ec_jupyter.client import client as client_module
from ec_jupyter.engine import open_lots
from ec_jupyter.engine.store import make_folder
from tests.crash.flowkit import Flow, Gate, damaged, echo, gone, hold, kill, mark, passing, wait_until


def shout(x):
    return "z" * 50_000


def pair(one, two):
    return (one, two)


def size(x):
    return len(x)


def held(x, gate):
    passing(gate)
    return x


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    """A diamond of which only the right branch is left to run; it ran when its engine was stopped."""
    folder = tmp_path_factory.mktemp("half") / ".ec_jupyter" / "main"
    folder.mkdir(parents=True)
    gate = Gate(folder.parent / "gate")
    flow = Flow(folder.resolve())
    for name, function in (("root", echo), ("left", echo), ("right", held)):
        flow.socket(function, name)
    flow.socket(pair, "join")
    for name in ("left", "right"):
        flow.plug("root", f"{name}.x")
    flow.plug("left", "join.one")
    flow.plug("right", "join.two")
    flow.fix("right.gate", str(gate))
    flow.submit("root", x=3)
    wait_until(lambda: flow.count("join")["arrived"] == 1)
    flow.stop()
    flow.end()
    gate.open()
    return folder


def facts(folder: Path) -> tuple[int, int, int, int]:
    """Of the right branch: finished, result kept, delivered; and the calls of the join."""
    with closing(sqlite3.connect(folder / "flow.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        open_lots.show(db)
        ids = dict(db.execute("SELECT name, id FROM socket"))
        right, join = ids["right"], ids["join"]
        finished = "SELECT count(*), count(result) FROM request WHERE socket = ? AND state = 'done'"
        done, kept = db.execute(finished, (right,)).fetchone()
        (sent,) = db.execute("SELECT count(*) FROM arrival WHERE target = ? AND argument = 'two'", (join,)).fetchone()
        (calls,) = db.execute("SELECT count(*) FROM request WHERE socket = ?", (join,)).fetchone()
    return done, kept, sent, calls


def test_an_engine_that_ends_before_any_statement_of_a_completion_leaves_all_of_it_or_nothing(
    half, tmp_path, mortal, make_flow
):
    before, after = (0, 0, 0, 0), (1, 1, 1, 1)
    seen = []
    for n in range(1, 100):
        folder = tmp_path / str(n) / ".ec_jupyter" / "main"
        shutil.copytree(half, folder)
        make_folder(folder, trust=True)
        if mortal(folder, "die", n).wait(60) == 0:
            break
        seen.append(facts(folder))
        assert seen[-1] in (before, after), f"statement {n}"
        if seen.count(seen[-1]) == 1:
            flow = make_flow(folder)
            flow.drained()
            assert flow.results("join") == [(3, 3)]
            assert [flow.count(name)["done"] for name in ("root", "left", "right", "join")] == [1, 1, 1, 1]
        if seen.count(after) == 3:
            break
    # every statement of the transaction, and those of the one after it
    assert seen == sorted(seen)
    assert seen.count(before) >= 5
    assert seen.count(after) >= 3


# -- the wall clock ----------------------------------------------------------------
def flaky_until(x, path):
    import os

    if not os.path.exists(path):
        open(path, "w").close()
        raise ValueError("once more")
    return x


@pytest.mark.parametrize("jump", [-7200, 7200], ids=["back", "forward"])
def test_a_wall_clock_that_is_set_loses_delays_and_reorders_nothing(make_flow, mortal, tmp_path, jump):
    folder = tmp_path / "notebook" / ".ec_jupyter" / "main"
    folder.mkdir(parents=True)
    clock = tmp_path / "clock"
    clock.write_text("0")
    engine = mortal(folder, "clock", clock)
    flow = make_flow(folder)
    flow.pids.discard(engine.pid)
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(flaky_until, retries=1, backoff=0.4)
    flow.socket(echo)
    retried = flow.submit("flaky_until", x=1, path=str(tmp_path / "tried"))
    wait_until(lambda: flow.query("attempts", id=retried)["rows"])
    first = flow.map("echo", [{"x": i} for i in range(20)])
    clock.write_text(str(jump))
    second = flow.map("echo", [{"x": i} for i in range(20, 40)])
    assert flow.result(retried, 20) == 1
    assert [flow.result(i) for i in [*first, *second]] == list(range(40))
    assert [r["id"] for r in flow.requests(socket="echo")] == [*first, *second]
    flow.client.close()
    engine.kill()
    engine.wait()
    # the next engine reads the right time again
    flow.reopen()
    assert flow.results("echo") == list(range(40))


def test_a_delay_written_down_under_a_clock_ahead_is_not_waited_out_for_hours(make_flow, mortal, tmp_path):
    folder = tmp_path / "notebook" / ".ec_jupyter" / "main"
    folder.mkdir(parents=True)
    clock = tmp_path / "clock"
    clock.write_text("7200")
    engine = mortal(folder, "clock", clock)
    flow = make_flow(folder)
    flow.pids.discard(engine.pid)
    flow.socket(flaky_until, retries=1, backoff=0.4)
    retried = flow.submit("flaky_until", x=1, path=str(tmp_path / "tried"))
    wait_until(lambda: flow.query("attempts", id=retried)["rows"])
    engine.kill()
    engine.wait()
    flow.reopen()
    assert flow.result(retried, 20) == 1


# -- clients and engines -----------------------------------------------------------------
def test_a_second_engine_on_the_folder_ends_with_the_owners_pid(flow):
    command = [sys.executable, "-m", "ec_jupyter.engine", str(flow.folder)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert f"process {flow.engine} on" in second.stderr


def test_a_copied_folder_is_a_flow_of_its_own(flow, make_flow, tmp_path):
    flow.socket(echo)
    flow.ask("pause", sockets=["echo"])
    flow.submit("echo", x=1)
    flow.drained()
    flow.stop()
    other = tmp_path / "elsewhere" / ".ec_jupyter" / "main"
    shutil.copytree(flow.folder, other)
    flow.reopen()
    copy = make_flow(other, trust=True)
    assert copy.client.flow_id != flow.client.flow_id
    assert copy.engine != flow.engine
    copy.ask("resume", sockets=["echo"])
    copy.drained()
    assert (copy.count("echo")["done"], flow.count("echo")["done"]) == (1, 0)


def test_an_engine_killed_while_it_starts_is_started_again(make_flow, tmp_path):
    flow = make_flow()
    flow.socket(echo)
    request = flow.submit("echo", x=1)
    flow.result(request)
    for _ in range(3):
        flow.kill_engine()
        assert flow.result(request) == 1


def test_a_flow_whose_processor_is_bound_to_cpus_that_are_not_there_any_more_runs_and_says_so(flow):
    flow.edit({"op": "processor", "name": "fast", "cpus": 1, "affinity": sorted(os.sched_getaffinity(0))[:1]})
    flow.socket(echo, processor="fast")
    damaged(flow, "UPDATE processor SET affinity = '[998, 999]' WHERE name = 'fast'")
    flow.reopen()
    assert flow.result(flow.submit("echo", x=1)) == 1
    told = (
        "processor 'fast' is bound to CPUs 998, 999, of which this machine has none; flow.processor('fast', affinity="
    )
    assert told in (flow.folder / "engine.log").read_text()


# -- a client that does not read -----------------------------------------------------


def all_kinds_of_calls(flow: Flow) -> None:
    """Calls that end, fail, are retried and cancelled, split, gather and meet, of clients that come and go."""
    flow.map("echo", [{"x": i} for i in range(100)])
    failed = flow.map("fails", [{"x": 1}] * 100)
    flow.map("spread", [{"n": 2}] * 100)
    for name in ("one", "two"):
        flow.map(name, [{"x": i} for i in range(100)])
    flow.drained()
    flow.ask("retry", ids=failed)
    flow.ask("pause", sockets=["echo"])
    ids = flow.map("echo", [{"x": i} for i in range(50)])
    flow.ask("cancel", ids=ids)
    flow.ask("resume", sockets=["echo"])
    flow.drained()
    other = client_module.Client.open(flow.folder, "main")
    other.finished(other.submit([("echo", {"x": other.dump(1)})])[0]).result(60)
    other.close()


def test_an_engine_holds_nothing_of_calls_that_are_over_and_of_clients_that_have_gone(make_flow, mortal, tmp_path):
    held = tmp_path / "held"
    held.write_text("begun")
    folder = tmp_path / "notebook" / ".ec_jupyter" / "main"
    folder.mkdir(parents=True)
    engine = mortal(folder, "held", held)
    flow = make_flow(folder)
    flow.pids.discard(engine.pid)
    flow.socket(lambda x: 1 / 0, "fails", retries=1, backoff=0.0)
    flow.socket(lambda n: [n] * n, "spread")
    for name in ("echo", "each", "total", "one", "two"):
        flow.socket(echo, name)
    flow.socket(pair)
    flow.plug("spread", "each.x", map=True)
    flow.plug("each", "total.x", gather=True)
    flow.plug("one", "pair.one")
    flow.plug("two", "pair.two")

    def after(rounds: int) -> int:
        for _ in range(rounds):
            all_kinds_of_calls(flow)
        # to look at them is to count what has ended
        flow.ask("query", what="rates")
        held.write_text("")
        return int(wait_until(held.read_text))

    def grown() -> int:
        before = after(0)
        return after(5) - before

    after(5)
    # a point of statistics, one a half minute and kept for an hour, may fall into one time; what calls leave, into each
    assert any(grown() < 1_000 for _ in range(4))


def test_a_database_gets_smaller_once_a_cleared_flow_is_idle(flow):
    flow.socket(shout)
    flow.map("shout", [{"x": i} for i in range(400)])
    flow.drained()
    path = flow.folder / "flow.db"
    flow.stop()
    assert path.stat().st_size > 19 << 20
    flow.reopen()
    flow.ask("clear")
    wait_until(lambda: path.stat().st_size < 3 << 20)
    assert flow.result(flow.submit("shout", x=1)) == "z" * 50_000


def test_a_large_older_database_gets_smaller_while_its_flow_is_idle_and_nobody_is_there(flow):
    flow.socket(shout)
    requests = flow.map("shout", [{"x": i} for i in range(400)])
    flow.drained()
    flow.stop()
    path = flow.folder / "flow.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = NONE")
        db.execute("VACUUM")
        db.execute("CREATE TABLE ballast AS SELECT zeroblob(10 << 20)")
        db.execute("DROP TABLE ballast")
    before = path.stat().st_size
    flow.reopen()
    flow.client.close()
    wait_until(lambda: path.stat().st_size < before - (9 << 20))
    flow.reopen()
    assert flow.result(requests[-1]) == "z" * 50_000
    assert flow.result(flow.submit("shout", x=1)) == "z" * 50_000


# -- lives -----------------------------------------------------------------------------
def test_the_engine_works_on_without_a_client_lingers_and_leaves_everything_on_disk(make_flow, tmp_path):
    flow = make_flow(linger=0.2)
    out = tmp_path / "out"
    flow.socket(lambda x, path: mark(path, x), "write")
    flow.map("write", [{"x": i, "path": str(out)} for i in range(50)])
    pid = flow.engine
    flow.client.close()
    gone(pid)
    assert len(out.read_text().splitlines()) == 50
    flow.reopen()
    assert flow.engine != pid
    assert flow.count("write")["done"] == 50


def test_paused_work_does_not_keep_the_engine(make_flow):
    flow = make_flow(linger=0.2)
    flow.socket(echo)
    flow.ask("pause", sockets=["echo"])
    flow.submit("echo", x=1)
    flow.drained()
    pid = flow.engine
    flow.client.close()
    gone(pid)


def test_an_engine_and_its_workers_leave_nothing_running(flow, gate, marks):
    flow.socket(hold)
    flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in (1, 2, 3)])
    marks.reach(2)
    pids = [flow.engine, *(w.pid for w in flow.workers())]
    kill(flow.engine)
    for pid in pids:
        gone(pid, 10)


def test_a_stop_while_calls_run_ends_them_and_they_run_again(flow, running, gate, marks):
    pids = [w.pid for w in flow.workers()]
    flow.stop()
    for pid in pids:
        gone(pid, 10)
    gate.open()
    flow.reopen()
    assert flow.result(running) == 1
    assert marks.lines == ["1", "1"]
    assert flow.requests(ids=[running])[0]["deaths"] == 0
