"""The database is opened with care: one owner, nothing recreated, nothing half."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ec_jupyter.client import probe
from ec_jupyter.engine import store as module
from ec_jupyter.engine.migrate import SCHEMA
from ec_jupyter.engine.store import Store, make_folder, mount_type
from ec_jupyter.errors import StoreDamagedError, StoreError, StoreFullError, StoreLockedError, StoreReadOnlyError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "flow"


def remember(store, key, value):
    with store.transaction() as db:
        db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )


def fill(store, place, value="x" * 100_000):
    """Write until the disk takes no more; how many were committed, and what the next one's error says."""
    n = 0
    while True:
        try:
            remember(store, f"k{n}", value)
        except sqlite3.OperationalError as error:
            return n, store.explain(error)
        n += 1


def test_a_new_folder_is_private_and_hidden_from_git(folder):
    Store(folder).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "flow.db").stat().st_mode & 0o777 == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_second_engine_is_refused_with_the_owners_process(folder):
    store = Store(folder)
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()} on "):
        Store(folder)
    store.close()
    Store(folder).close()


def test_the_lock_goes_with_a_killed_owner(folder):
    code = """
import sys
from pathlib import Path
from ec_jupyter.engine.store import Store, make_folder

store = Store(Path(sys.argv[1]))
print("up", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(folder)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout.readline() == b"up\n"
    with pytest.raises(StoreLockedError, match=f"process {owner.pid} "):
        Store(folder)
    owner.kill()
    owner.communicate()
    Store(folder).close()


def test_each_opening_is_an_epoch_of_its_own_in_the_same_flow(folder):
    first = Store(folder)
    first.close()
    second = Store(folder)
    second.close()
    assert second.meta["flow"] == first.meta["flow"]
    assert int(second.meta["epoch"]) == int(first.meta["epoch"]) + 1


def test_a_copied_folder_is_another_flow(folder, tmp_path):
    first = Store(folder)
    remember(first, "note", "kept")
    first.close()
    shutil.copytree(folder, tmp_path / "copy")
    make_folder(tmp_path / "copy", trust=True)
    copy = Store(tmp_path / "copy")
    again = Store(folder)
    assert copy.meta["flow"] != again.meta["flow"] == first.meta["flow"]
    assert copy.meta["note"] == "kept"
    copy.close()
    again.close()


def test_a_schema_of_another_version_is_refused_by_name_and_left_alone(folder):
    Store(folder).close()
    with sqlite3.connect(folder / "flow.db") as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.close()
    before = (folder / "flow.db").read_bytes()
    with pytest.raises(StoreError, match=f"has schema {SCHEMA + 1}; this version of ec_jupyter reads {SCHEMA}"):
        Store(folder)
    assert (folder / "flow.db").read_bytes() == before


@pytest.mark.parametrize("damage", ["header", "middle", "end"])
def test_a_damaged_database_is_refused_and_left_as_it_is(folder, damage):
    store = Store(folder)
    for i in range(300):
        remember(store, f"key {i}", "value " * 50)
    store.close()
    path = folder / "flow.db"
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:100] = b"\xff" * 100
    elif damage == "middle":
        data[len(data) // 2 : len(data) // 2 + 8192] = b"\xff" * 8192
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    with pytest.raises(StoreDamagedError, match=r"is damaged .*left as it is"):
        Store(folder)
    assert path.read_bytes() == bytes(data)
    # and the folder is not kept locked by the refusal
    with pytest.raises(StoreDamagedError):
        Store(folder)


def test_an_emptied_database_is_not_taken_for_a_new_flow(folder):
    Store(folder).close()
    (folder / "flow.db").write_bytes(b"")
    with pytest.raises(StoreDamagedError, match="is empty, and was not"):
        Store(folder)


KILLED = """
import os, sys
from pathlib import Path
from ec_jupyter.engine.store import Store

store = Store(Path(sys.argv[1]))
for i in range(300):
    with store.transaction() as db:
        db.execute("INSERT INTO meta VALUES (?, ?)", (f"key {i}", "value " * 50))
os._exit(9)
"""


@pytest.mark.parametrize("how", ["missing", "empty"])
@pytest.mark.parametrize("who", ["an engine", "somebody who only looks"])
def test_a_lost_database_beside_its_log_is_refused_and_the_log_kept(folder, how, who):
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    path, log = folder / "flow.db", folder / "flow.db-wal"
    whole, written = path.read_bytes(), log.read_bytes()
    path.unlink()
    if how == "empty":
        path.touch()
    for _ in range(2):
        if who == "an engine":
            with pytest.raises(StoreDamagedError, match=f"is {how}, and its log flow.db-wal .*left as they were"):
                Store(folder)
        else:
            assert "its log flow.db-wal" in probe.read(folder)["error"]
        assert log.read_bytes() == written == (folder / "flow.db-wal.kept").read_bytes()
        assert path.exists() == (how == "empty")
    # and with the way out that the message names, nothing is lost
    path.write_bytes(whole)
    store = Store(folder)
    assert store.meta["key 299"] == "value " * 50
    store.close()


def test_a_damaged_database_and_its_log_are_left_as_they_are(folder):
    store = Store(folder)
    for i in range(300):
        remember(store, f"old {i}", "value " * 50)
    store.close()
    subprocess.run([sys.executable, "-c", KILLED.replace("(300)", "(3)"), str(folder)], check=False)
    path, log = folder / "flow.db", folder / "flow.db-wal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8192] = b"\xff" * 8192
    path.write_bytes(data)
    before = path.read_bytes(), log.read_bytes()
    with pytest.raises(StoreDamagedError, match="left as it is"):
        Store(folder)
    assert (path.read_bytes(), log.read_bytes()) == before


def bytes_read():
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_database_is_read_through_at_its_opening_only_if_it_was_not_closed_well(folder):
    def opened():
        before = bytes_read()
        store = Store(folder)
        assert store.meta["key 299"] == "x" * 50_000
        return store, bytes_read() - before

    store = Store(folder)
    for i in range(300):
        remember(store, f"key {i}", "small" if i < 299 else "x" * 50_000)
    with store.transaction() as db:
        db.execute("CREATE TABLE much (data)")
        db.executemany("INSERT INTO much VALUES (?)", [("y" * 50_000,)] * 400)
    store.close()
    store, after_a_close = opened()
    assert after_a_close < 2 << 20
    # as a killed engine leaves it, and as one that was copied over by something else
    copy = folder.parent / "killed"
    shutil.copytree(folder, copy)
    make_folder(copy, trust=True)
    store.close()
    folder = copy
    store, after_a_kill = opened()
    assert after_a_kill > 19 << 20
    store.close()
    os.utime(folder / "flow.db")
    store, after_a_change = opened()
    assert after_a_change > 19 << 20
    store.close()


def test_a_transaction_that_raises_changes_nothing(folder):
    store = Store(folder)

    def break_off():
        with store.transaction() as db:
            db.execute("INSERT INTO meta VALUES ('a', 'b')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert ("a",) not in store.db.execute("SELECT key FROM meta").fetchall()
    store.close()


def test_a_full_disk_takes_no_half_transaction_and_the_next_one_once_there_is_room(disk):
    store = Store(disk / "flow")
    # what is taken away makes room for all that the log holds
    (disk / "ballast").write_bytes(b"x" * 1_700_000)
    n, error = fill(store, disk)
    assert 0 < n < 30
    assert isinstance(error, StoreFullError)
    (disk / "ballast").unlink()
    remember(store, "after", "room")
    kept = {k for (k,) in store.db.execute("SELECT key FROM meta")}
    assert {f"k{i}" for i in range(n)} | {"after"} <= kept
    assert f"k{n}" not in kept
    store.close()
    again = Store(disk / "flow")
    assert again.meta["after"] == "room"
    again.close()


def test_a_database_at_its_page_limit_says_that_the_disk_is_full(folder):
    store = Store(folder)
    store.db.execute("PRAGMA max_page_count = 200")
    n, error = fill(store, folder)
    assert isinstance(error, StoreFullError)
    store.db.execute("PRAGMA max_page_count = 100000")
    remember(store, f"k{n}", "room again")
    store.close()


def test_a_folder_that_cannot_be_written_says_so(disk):
    Store(disk / "flow").close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreReadOnlyError, match="cannot be written"):
        Store(disk / "flow")
    with pytest.raises(StoreReadOnlyError, match="cannot be written"):
        Store(disk / "other")


def test_a_folder_on_a_full_disk_says_so(disk):
    (disk / "ballast").write_bytes(b"x" * (3 << 20))
    with pytest.raises(StoreFullError, match="is full"):
        Store(disk / "flow")


def test_the_type_of_a_mount_is_the_innermost_ones(disk):
    assert mount_type(disk) == "tmpfs"
    assert mount_type(disk / "not" / "there") == "tmpfs"
    assert mount_type(Path("/proc/self")) == "proc"


def test_on_a_network_file_system_nobody_reads_beside_the_owner(disk, monkeypatch):
    monkeypatch.setattr(module, "_NETWORK", {"tmpfs"})
    store = Store(disk / "flow")
    remember(store, "a", "b")
    assert not (disk / "flow" / "flow.db-shm").exists()
    beside = sqlite3.connect(disk / "flow" / "flow.db", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        beside.execute("SELECT * FROM meta").fetchall()
    beside.close()
    store.close()
    with closing(Store(disk / "flow")) as again:
        assert again.meta["a"] == "b"


def read_on(path, up, go_on, found):
    """Read as long as the other writes: counts must never fall, and no read may fail."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    last = reads = 0
    while go_on.is_set():
        (n,) = db.execute("SELECT count(*) FROM meta").fetchone()
        assert n >= last
        last, reads = n, reads + 1
        up.set()
    found.put((reads, last))
    db.close()


def test_what_a_reader_held_back_from_the_checkpoint_is_moved_when_it_lets_go(folder, wait_until):
    store = Store(folder)
    reader = sqlite3.connect(f"file:{folder / 'flow.db'}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM meta").fetchone()
    for i in range(256):
        remember(store, f"key {i}", "x" * 60_000)
        store.committed()
    store.rest()
    reader.execute("COMMIT")
    # no commit comes any more
    wait_until(lambda: (folder / "flow.db").stat().st_size > 8 << 20)
    reader.close()
    store.close()


def test_a_reader_in_another_process_sees_every_commit_while_the_log_is_checkpointed(folder, wait_until):
    store = Store(folder)
    spawn = multiprocessing.get_context("spawn")
    up, go_on, found = spawn.Event(), spawn.Event(), spawn.Queue()
    go_on.set()
    # a daemon: if this fails, the tests' end does not wait for it
    reader = spawn.Process(target=read_on, args=(str(folder / "flow.db"), up, go_on, found), daemon=True)
    reader.start()
    assert up.wait(60)
    for i in range(512):
        remember(store, f"key {i}", "x" * 60_000)
        store.committed()
        if i % 32 == 0:
            store.rest()
    size = folder / "flow.db"
    wait_until(lambda: size.stat().st_size > 8 << 20)
    (kept,) = store.db.execute("SELECT count(*) FROM meta").fetchone()
    go_on.clear()
    _, last = found.get(timeout=60)
    reader.join()
    assert reader.exitcode == 0
    assert last <= kept
    assert kept >= 512
    store.close()


def test_a_long_log_begins_anew_while_one_transaction_follows_the_other(folder):
    store = Store(folder)
    log, sizes = folder / "flow.db-wal", [0]
    for i in range(100_000):
        # what is written as it is already takes no room in the log
        remember(store, f"key {i % 16}", str(i) * 20_000)
        store.committed()
        sizes.append(log.stat().st_size)
        if sizes[-1] < sizes[-2]:
            break
    assert max(sizes) > 64 << 20
    assert sizes[-1] <= 8 << 20
    assert store.meta.items() <= dict(store.rows("all_meta")).items()
    store.close()


def older(folder, megabytes, gone):
    """A store whose database cannot give pages back, as those of earlier versions; a part of its content is gone."""
    Store(folder).close()
    with closing(sqlite3.connect(folder / "flow.db", isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = NONE")
        db.execute("VACUUM")
        db.execute("BEGIN")
        rows = ((f"k{n}", "x" * 10_000) for n in range(megabytes * 100))
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        db.execute("DELETE FROM meta WHERE key LIKE 'k%' AND CAST(substr(key, 2) AS INTEGER) % 100 < ?", (gone,))
        db.execute("COMMIT")
    return Store(folder)


def pages(store):
    return [store.db.execute(f"PRAGMA {word}").fetchone()[0] for word in ("freelist_count", "auto_vacuum")]


def test_a_large_older_database_shrinks_while_nobody_is_there_and_can_give_pages_back_from_then_on(folder, wait_until):
    store = older(folder, 60, gone=60)
    kept = store.db.execute("SELECT count(*), sum(length(value)) FROM meta WHERE key LIKE 'k%'").fetchone()
    before = store.path.stat().st_size
    assert not store.shrink(alone=False)
    assert store.path.stat().st_size == before
    assert pages(store)[1] == 0
    assert not store.shrink(alone=True)
    wait_until(lambda: store.path.stat().st_size < before // 2)
    assert pages(store) == [0, 2]
    assert store.db.execute("SELECT count(*), sum(length(value)) FROM meta WHERE key LIKE 'k%'").fetchone() == kept
    store.write("drop_meta", ("k99",))
    with store.transaction() as db:
        db.execute("DELETE FROM meta WHERE key LIKE 'k%'")
    while store.shrink(alone=False):
        pass
    store.close()
    assert store.path.stat().st_size < 2 << 20


def test_a_write_ends_the_rewriting_of_a_database_and_loses_nothing(folder):
    store = older(folder, 60, gone=60)
    store.shrink(alone=True)
    remember(store, "meanwhile", "this")
    free, kind = pages(store)
    # at the very end of it all was written, which is well too
    assert (free > 0) == (kind == 0)
    assert store.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()
    again = Store(folder)
    assert again.meta["meanwhile"] == "this"
    assert sum(key.startswith("k") for key in again.meta) == 2_400
    again.close()
