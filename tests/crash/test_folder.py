"""A flow's folder that goes away, moves or loses a file while the flow is in use."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from ec_jupyter.engine.address import socket_path
from ec_jupyter.errors import StoreLostError
from tests.crash.flowkit import echo, gone, passing, wait_until


def large(x):
    import numpy as np

    return np.full(1_000_000, x)


def test_a_flow_whose_folder_is_removed_takes_nothing_more_and_says_so(flow):
    flow.socket(echo)
    assert flow.result(flow.submit("echo", x=1)) == 1
    shutil.rmtree(flow.folder)
    with pytest.raises(StoreLostError, match=f"{flow.folder}.* is not there any more; nothing was submitted"):
        flow.submit("echo", x=2)
    gone(flow.engine, 10)
    with pytest.raises(StoreLostError, match=r"removed"):
        flow.requests()
    assert not flow.folder.exists()


def test_a_call_that_ends_after_its_folder_was_removed_is_told_to_nobody_as_done(flow, running, gate):
    end = flow.client.finished(running)
    os.kill(flow.engine, signal.SIGSTOP)
    shutil.rmtree(flow.folder)
    gate.open()
    os.kill(flow.engine, signal.SIGCONT)
    with pytest.raises(StoreLostError, match=r"was removed"):
        end.result(60)
    gone(flow.engine, 10)


def test_a_value_that_is_too_large_for_a_frame_is_refused_in_words_once_the_folder_is_gone(flow):
    flow.socket(echo)
    shutil.rmtree(flow.folder)
    with pytest.raises(StoreLostError):
        flow.submit("echo", x=np.ones(1_000_000))


def test_a_folder_that_was_removed_can_be_a_new_flow_at_once(flow, make_flow):
    flow.socket(echo)
    flow_id = flow.client.flow_id
    shutil.rmtree(flow.folder)
    again = make_flow()
    assert again.client.flow_id != flow_id
    again.socket(echo, "other")
    assert again.result(again.submit("other", x=2)) == 2
    with pytest.raises(StoreLostError):
        flow.submit("echo", x=1)


def test_a_moved_flow_goes_on_at_its_new_place_at_once_with_what_is_large(flow, make_flow):
    flow.socket(large)
    before = flow.submit("large", x=1)
    assert flow.result(before).sum() == 1_000_000
    place = flow.folder.parent / "moved"
    flow.folder.rename(place)
    moved = make_flow(place)
    assert moved.client.flow_id == flow.client.flow_id
    assert moved.engine != flow.engine
    assert moved.result(before).sum() == 1_000_000
    assert moved.result(moved.submit("large", x=2)).sum() == 2_000_000
    assert not flow.folder.exists()
    with pytest.raises(StoreLostError, match=rf"moved to {place}"):
        flow.requests()


def test_a_call_that_runs_while_its_flow_moves_runs_again_there(flow, make_flow, running, gate):
    place = flow.folder.parent.parent / "elsewhere"
    flow.folder.parent.rename(place)
    gate.open()
    moved = make_flow(place / "main")
    assert moved.result(running) == 1
    assert moved.requests(ids=[running])[0]["state"] == "done"


def test_a_new_flow_at_the_place_of_a_moved_one_keeps_its_log(flow, make_flow):
    """SQLite removes a log by its name when it closes: the old engine must not take the new one's."""
    flow.socket(echo)
    flow.submit("echo", x=1)
    os.kill(flow.engine, signal.SIGSTOP)
    flow.folder.rename(flow.folder.parent / "moved")
    other = make_flow()
    other.socket(echo, "other")
    assert other.result(other.submit("other", x=2)) == 2
    log = (flow.folder / "flow.db-wal").stat().st_ino
    os.kill(flow.engine, signal.SIGCONT)
    gone(flow.engine, 10)
    assert (flow.folder / "flow.db-wal").stat().st_ino == log
    other.restart()
    assert other.results("other") == [2]


def test_a_database_that_was_replaced_ends_its_engine_and_the_next_one_has_what_is_there(flow, gate):
    flow.socket(echo)
    flow.socket(passing, "hold")
    assert flow.result(flow.submit("echo", x=1)) == 1
    beside = flow.folder / "copy.db"
    with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
        db.execute(f"VACUUM INTO '{beside}'")
    end = flow.client.finished(flow.submit("hold", path=str(gate)))
    beside.replace(flow.folder / "flow.db")
    with pytest.raises(StoreLostError, match=r"flow\.db of the flow was removed or replaced"):
        end.result(60)
    gate.open()
    assert flow.results("echo") == [1]


def test_a_removed_lock_file_lets_no_second_engine_in_and_is_made_anew(flow, make_flow):
    flow.socket(echo)
    lock, address = flow.folder / "engine.lock", flow.folder / "engine.address"
    lock.unlink()
    address.unlink()
    # nothing leads to the engine, and nothing but the database says that there is one
    other = make_flow(flow.folder)
    assert other.engine == flow.engine
    wait_until(lock.exists)
    assert f"process {flow.engine} " in lock.read_text()
    assert flow.result(flow.submit("echo", x=1)) == 1


def test_an_engine_whose_socket_was_removed_is_found_again(flow, make_flow):
    flow.socket(echo)
    socket_path(flow.folder).unlink()
    other = make_flow(flow.folder)
    assert other.engine == flow.engine
    assert other.result(other.submit("echo", x=1)) == 1
    assert flow.result(flow.submit("echo", x=2)) == 2


def test_an_engine_whose_runtime_folder_was_removed_takes_clients_and_starts_workers(flow, make_flow):
    flow.socket(echo)
    shutil.rmtree(socket_path(flow.folder).parent)
    other = make_flow(flow.folder)
    assert other.engine == flow.engine
    assert other.result(other.submit("echo", x=1)) == 1


@pytest.mark.parametrize("names", [["-wal"], ["-shm"], ["-wal", "-shm"]], ids=" and ".join)
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_log_that_is_removed_or_replaced_under_its_engine_is_made_anew_and_loses_nothing(flow, names, how):
    flow.socket(echo)
    ids = flow.map("echo", [{"x": i} for i in range(100)])
    assert [flow.result(i) for i in ids] == [*range(100)]
    engine, notices = flow.engine, []
    flow.client.listen("notice", lambda header, _: notices.append(header["text"]))
    files = [flow.folder / f"flow.db{name}" for name in names]
    # it looks once a second: all of it is done between two looks
    os.kill(engine, signal.SIGSTOP)
    for file in files:
        if how == "removed":
            file.unlink()
        else:
            shutil.copy(file, file.with_suffix(".copy"))
            file.with_suffix(".copy").replace(file)
    os.kill(engine, signal.SIGCONT)
    assert flow.result(flow.submit("echo", x=100)) == 100
    wait_until(lambda: notices)
    assert notices == [
        f"somebody removed or replaced {' and '.join(f.name for f in files)} in {flow.folder}; "
        "that is made anew, and nothing is lost"
    ]
    assert all(file.exists() for file in files)
    assert flow.engine == engine
    flow.restart()
    assert flow.results("echo") == [*range(101)]
    flow.stop()
    with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_log_that_is_removed_while_nothing_is_done_is_made_anew_by_itself(flow):
    flow.socket(echo)
    assert flow.result(flow.submit("echo", x=1)) == 1
    log = flow.folder / "flow.db-wal"
    log.unlink()
    wait_until(log.exists)
    flow.restart()
    assert flow.results("echo") == [1]
