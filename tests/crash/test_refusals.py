"""A disk or a machine that takes nothing: the flow says so in one line, and goes on once it can."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ec_jupyter.client.client import Client
from ec_jupyter.errors import (
    EcError,
    EngineStartError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from tests.crash.flowkit import damaged, echo, mark, passing, wait_until


def size(x):
    return len(x)


def test_a_full_disk_refuses_submits_loses_nothing_and_goes_on_once_there_is_room(make_flow, disk):
    flow = make_flow(disk / "notebook" / ".ec_jupyter" / "main")
    flow.socket(size)
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 1_500_000)
    big = flow.values({"x": "y" * 50_000})
    accepted = []

    def fill():
        for i in range(1000):
            accepted.append(flow.client.submit([("size", big, f"id-{i}")]))

    with pytest.raises(StoreFullError, match="nothing was submitted"):
        fill()
    assert 10 < len(accepted) < 100
    with pytest.raises(StoreFullError):
        flow.client.submit([("size", big, "later")])
    # what is on disk can be looked at
    assert flow.query("counts")["sockets"]["size"] is not None
    ballast.unlink()
    assert [flow.result(some[0]) for some in accepted] == [50_000] * len(accepted)
    assert flow.result(flow.submit("size", "later", x="later")) == 5
    flow.drained()
    assert {r["state"] for r in flow.requests()} == {"done"}
    assert flow.count("size")["done"] == len(accepted) + 1
    flow.stop()
    with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_flow_that_is_opened_on_a_full_disk_is_refused_as_such_however_little_room_there_is(disk):
    for kib in (0, 8, 24, 160, 220):
        place = disk / str(kib)
        (disk / "ballast").write_bytes(b"x" * ((6144 - kib) << 10))
        with pytest.raises(StoreFullError, match=rf"^the disk under {place}.* is full.*free some space.*$"):
            Client.open(place / ".ec_jupyter" / "main", "main")
        shutil.rmtree(place, ignore_errors=True)


def test_a_disk_that_does_not_write_is_told_to_who_submits_and_to_who_waits_until_it_does(flow):
    flow.socket(echo)
    assert flow.result(flow.submit("echo", x=1)) == 1
    log = flow.folder / "flow.db-wal"
    # as a quota does: the system refuses to let a file grow
    resource.prlimit(flow.engine, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
    accepted = flow.client.submit([("echo", flow.values({"x": "y" * 60_000}))])
    told = "does not read or write (SQLITE_IOERR_WRITE): see to it, and the flow goes on"
    wait_until(lambda: told in flow.client.trouble)
    with pytest.raises(StoreError, match=r"SQLITE_IOERR_WRITE"):
        flow.ask("pause", sockets=["echo"])
    # who comes now is told too
    other = Client.open(flow.folder, "main")
    wait_until(lambda: told in other.trouble)
    other.close()
    resource.prlimit(flow.engine, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert flow.result(accepted[0]) == "y" * 60_000
    assert told not in flow.client.trouble


def test_an_engine_that_gets_too_little_memory_to_start_says_so_in_one_line(tmp_path):
    python = tmp_path / "python"
    # enough for all but the stack of a second thread
    python.write_text(f'#!/bin/sh\nulimit -s 1000000\nulimit -v 1000000\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with pytest.raises(EngineStartError, match=r"^the engine of the flow in .* gets no more memory or threads .*$"):
        Client.open(tmp_path / ".ec_jupyter" / "main", "main", executable=str(python))


def test_a_large_argument_that_finds_no_room_or_no_folder_is_refused_and_taken_later(make_flow, disk):
    flow = make_flow(disk / "notebook" / ".ec_jupyter" / "main")
    flow.socket(size)
    with pytest.raises(StoreFullError, match="is full; the value was not written: free some space first"):
        flow.submit("size", x="y" * 8_000_000)
    assert flow.result(flow.submit("size", x="y" * 200_000)) == 200_000
    flow.drained()
    values = flow.folder / "values"
    shutil.rmtree(values)
    values.touch()
    with pytest.raises(StoreError, match=rf"cannot be used \({values}.*: Not a directory\); the value was not written"):
        flow.submit("size", x="y" * 200_000)
    values.unlink()
    assert flow.result(flow.submit("size", x="y" * 200_000)) == 200_000


def test_an_engine_whose_database_is_full_holds_results_and_writes_them_once_there_is_room(
    make_flow, mortal, tmp_path, gate, marks
):
    def make(n, marks, gate):
        mark(marks, n)
        passing(gate)
        return "z" * n

    folder = tmp_path / "notebook" / ".ec_jupyter" / "main"
    folder.mkdir(parents=True)
    pages = tmp_path / "pages"
    pages.write_text("")
    engine = mortal(folder, "pages", pages)
    flow = make_flow(folder)
    flow.pids.discard(engine.pid)
    flow.socket(make)
    flow.socket(size)
    flow.plug("make", "size.x")
    notices = []
    flow.client.listen("notice", lambda header, _: notices.append(header["text"]))
    ids = flow.map("make", [{"n": 40_000, "marks": str(marks), "gate": str(gate)}] * 10)
    marks.reach(2)
    pages.write_text("10")
    wait_until(lambda: "full" in pages.with_suffix(".seen").read_text())
    gate.open()
    wait_until(lambda: any("is full" in text for text in notices))
    with pytest.raises(StoreFullError, match="is full"):
        flow.ask("pause", sockets=["make"])
    # what is on disk can be looked at
    assert len(flow.requests(socket="make")) == 10
    assert flow.count("size")["done"] == 0
    pages.write_text("")
    wait_until(lambda: any("written again" in text for text in notices))
    flow.drained()
    assert [len(flow.result(i)) for i in ids] == [40_000] * 10
    assert flow.results("size") == [40_000] * 10
    assert {r["attempt"] for r in flow.requests(socket="make")} == {1}


# -- a flow that cannot be opened ----------------------------------------------------------
def test_a_damaged_flow_is_refused_to_the_client_and_left_as_it_is(flow):
    flow.socket(echo)
    flow.map("echo", [{"x": "y" * 1000}] * 100)
    flow.drained()
    flow.stop()
    path = flow.folder / "flow.db"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreDamagedError, match="is damaged"):
        flow.reopen()
    assert path.read_bytes() == data[: len(data) // 2]
    path.write_bytes(data)
    flow.reopen()
    assert flow.count("echo")["done"] == 100


def test_a_flow_of_another_schema_is_refused_to_the_client_by_number(flow):
    flow.stop()
    with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema 99"):
        flow.reopen()


def test_a_folder_that_cannot_be_written_is_refused_to_the_client(make_flow, disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreReadOnlyError, match="cannot be written"):
        Client.open(disk / "main", "main")


PLACES = ["engine.address", "engine.handling", "engine.lock", "engine.log", "engine.results", "flow.closed", "flow.key"]


@pytest.mark.parametrize(
    ("name", "made"), [("inbox", Path.touch), ("values", Path.touch), *((name, Path.mkdir) for name in PLACES)]
)
def test_what_is_in_the_place_of_a_file_of_the_flow_is_named(flow, name, made):
    flow.stop()
    flow.client.close()
    if (flow.folder / name).exists():
        os.replace(flow.folder / name, flow.folder / f"{name}.away")
    made(flow.folder / name)
    with pytest.raises(StoreError, match=f"cannot be used .*{name}: (File exists|Is a directory|Not a directory)"):
        Client.open(flow.folder, "main")


def test_an_engine_that_a_defect_ends_at_each_start_is_given_up_with_its_log(flow):
    flow.socket(echo)
    damaged(flow, "UPDATE meta SET value = 'none of ours' WHERE key = 'revision'")
    with pytest.raises(EcError, match=r"engine\.log"):
        flow.reopen()
