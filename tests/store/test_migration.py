"""A flow that an older version has made opens, goes on and ends as it should."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import ec_jupyter as ec
from ec_jupyter.engine.journal import ORDER
from ec_jupyter.engine.migrate import SCHEMA, STEPS
from ec_jupyter.engine.rows import SQL
from ec_jupyter.engine.store import Store, make_folder
from ec_jupyter.errors import StoreFullError

OLDER = Path(__file__).with_name("older")
"""Folders of flows as older versions left them; ``make.py`` says how."""


@pytest.fixture(params=sorted(STEPS))
def older(request: pytest.FixtureRequest) -> int:
    """Each of the older schemas."""
    return int(request.param)


@pytest.fixture
def folder(tmp_path: Path, older: int) -> Path:
    """A flow of it: queued, waiting, failed, gathered and large values; its processor 'later' is paused."""
    place = tmp_path / ".ec_jupyter" / "older"
    place.mkdir(parents=True, mode=0o700)
    with tarfile.open(OLDER / f"schema_{older}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    # its tasks are built-in functions, which every Python has
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with closing(sqlite3.connect(place / "flow.db")) as db, db:
        db.execute("UPDATE task SET record = json_set(record, '$.python', ?)", (python,))
    return place


@pytest.fixture
def flow(folder: Path) -> Iterator[ec.Flow]:
    opened = ec.flow("older", folder=folder, trust=True)
    yield opened
    opened.stop()


def schema_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "flow.db")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_what_an_older_flow_holds_is_there_and_goes_on(flow: ec.Flow, folder: Path) -> None:
    large = flow.requests("repeat")[-1]
    assert [flow.request(n).state for n in (1, 2, 16, 25)] == ["done", "failed", "waiting", "queued"]
    assert [request.state for request in flow.requests("slow")] == ["queued", "queued"]
    assert flow.request(1).result() == 2.0
    with pytest.raises(ZeroDivisionError):
        flow.request(2).result()
    assert flow.request(3).run.results("mean") == [-3.0]
    assert len(large.result()) == 3_000_000
    assert len(flow.waiting()) == 3
    flow.resume("later")
    flow.submit("both", b=22, partial=True)
    flow.wait(60)
    assert [flow.request(n).run.results("both") for n in (13, 14)] == [[0], [0]]
    assert flow.request(16).result(60) == 42
    assert flow.request(15).run.results("collect") == [7]
    assert large.run.results("size") == [3_000_000]
    assert len(flow.waiting()) == 0
    flow.retry(2)
    flow.wait(60)
    assert flow.request(2).state == "failed"
    assert flow.request(1).arguments == {"a": 6, "b": 3}
    again = flow.replay(3)
    flow.wait(60)
    assert again.results("mean") == [-3.0]
    assert flow.submit("divide", 9, 3).result(60) == 3.0
    assert schema_of(folder) == SCHEMA
    assert list(folder.glob("flow.db.schema-*")) == []


def plans(db: sqlite3.Connection) -> dict[str, list[str]]:
    """The tables that SQLite makes for one run of each hot statement."""
    made = {}
    for name in ORDER:
        steps = db.execute(f"EXPLAIN {SQL[name]}", [None] * SQL[name].count("?")).fetchall()
        made[name] = [step[1] for step in steps if step[1] in ("OpenEphemeral", "OpenAutoindex", "SorterOpen")]
    return made


def test_no_hot_statement_makes_sqlite_build_a_table(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert {name: tables for name, tables in plans(store.db).items() if tables} == {}
    store.close()


def test_nor_does_one_in_a_flow_that_an_older_version_made(flow: ec.Flow, folder: Path) -> None:
    assert flow.request(1).result() == 2.0
    with closing(sqlite3.connect(folder / "flow.db")) as db:
        assert {name: tables for name, tables in plans(db).items() if tables} == {}
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


OF_ONE_RUN = ["ids_of_party", "party_states", "unfinished_of_party", "unfinished_of_run", "requests_of"]


@pytest.mark.parametrize("name", OF_ONE_RUN)
def test_what_is_read_of_one_run_costs_the_same_however_many_there_are(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "new")
    given = {"party": 1, "run": 1, "runs": "[1]"}
    steps = [step[3] for step in store.db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", given)]
    assert [step for step in steps if step.startswith("SCAN") and "json_each" not in step] == []
    store.close()


MIGRATE = """
import os, signal, sqlite3, sys
from pathlib import Path
from ec_jupyter.engine import migrate
path = Path(sys.argv[1])
migrate.STEPS[migrate.SCHEMA - 1] += ("SELECT die()",)
db = sqlite3.connect(path, isolation_level=None)
db.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
migrate.migrate(db, path)
"""


def test_an_engine_that_is_killed_in_the_middle_leaves_the_flow_as_it_was(folder: Path, older: int) -> None:
    done = subprocess.run([sys.executable, "-c", MIGRATE, str(folder / "flow.db")], check=False)
    assert done.returncode == -signal.SIGKILL
    # the copy could be put in its place
    assert [path.name for path in folder.glob("flow.db.schema-*")] == [f"flow.db.schema-{older}"]
    copy = folder.parent / "copy"
    copy.mkdir()
    shutil.copy(folder / f"flow.db.schema-{older}", copy / "flow.db")
    assert schema_of(copy) == schema_of(folder) == older
    flow = ec.flow("older", folder=folder, trust=True)
    assert flow.request(1).result() == 2.0
    flow.stop()
    assert schema_of(folder) == SCHEMA
    assert list(folder.glob("flow.db.schema-*")) == []


def test_a_disk_without_room_for_the_copy_is_said_and_the_flow_left_as_it_was(
    folder: Path, disk: Path, older: int
) -> None:
    place = disk / "older"
    place.mkdir()
    for name in ("flow.db", "flow.id"):
        shutil.copy(folder / name, place)
    make_folder(place, trust=True)
    # only the copy asks for room
    (disk / "ballast").write_bytes(b"x" * (2_500 << 10))
    with pytest.raises(StoreFullError, match="is full"):
        Store(place)
    assert schema_of(place) == older
    assert list(place.glob("flow.db.schema-*")) == []
    (disk / "ballast").unlink()
    Store(place).close()
    assert schema_of(place) == SCHEMA
