"""What the engine's memory and its journal make of answers that come late, twice or in pieces."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from ec_jupyter.engine import recovery
from ec_jupyter.engine.acceptance import accept
from ec_jupyter.engine.failures import delay_before
from ec_jupyter.engine.suspects import REQUEST, Suspects
from ec_jupyter.errors import StoreFullError
from ec_jupyter.flow.states import TransitionError
from ec_jupyter.model import Condition
from ec_jupyter.wire import Outcome, Value
from tests.store.rig import begin, done, dump, open_store, raised, start, submit, topology, value

FORK = topology(
    {"root": ["x"], "left": ["x"], "right": ["x"], "join": ["one", "two"]},
    [("root", "left", "x"), ("root", "right", "x"), ("left", "join", "one"), ("right", "join", "two")],
)
ONE = topology({"one": ["x"]}, retries=2, backoff=60.0)


def state(core, request):
    return core.store.db.execute("SELECT state, attempt FROM request WHERE id = ?", (request,)).fetchone()


@pytest.mark.parametrize("answer", ["done", "failed", "skipped"])
def test_the_answer_of_an_attempt_that_was_given_up_changes_nothing(tmp_path, answer):
    core = start(tmp_path / "flow", FORK)
    submit(core, "root", x=1)
    request, attempt = begin(core, "root")
    core.died(request, attempt, "killed")
    core.journal.commit()
    again, second = begin(core, "root")
    assert (again, second) == (request, attempt + 1)
    before = dump(core)
    core.outcome(
        Outcome(request, attempt, answer, value(5), {"kind": "task", "type": "E", "message": "", "traceback": ""})
    )
    assert core.journal.empty
    assert dump(core) == before
    done(core, request, second, 5)
    assert state(core, request) == ("done", 2)


def test_an_answer_given_twice_takes_effect_once(tmp_path):
    core = start(tmp_path / "flow", FORK)
    submit(core, "root", x=1)
    request, attempt = begin(core, "root")
    done(core, request, attempt, 5)
    before = dump(core)
    done(core, request, attempt, 6)
    core.died(request, attempt, "killed")
    core.yielded(request, attempt, 0, [value(1)])
    core.journal.commit()
    assert dump(core) == before


def test_the_files_of_a_late_answer_are_removed(tmp_path):
    core = start(tmp_path / "flow", FORK)
    submit(core, "root", x=1)
    request, attempt = begin(core, "root")
    core.died(request, attempt, "killed")
    late = core.values.folder / f"{request}.1.1.0"
    late.write_bytes(b"big")
    core.outcome(Outcome(request, attempt, "done", Value(None, late.name, 3, "bytes")))
    assert not late.exists()


def test_an_answer_to_an_engine_before_a_restart_is_not_an_answer_to_the_one_after_it(tmp_path):
    core = start(tmp_path / "flow", FORK)
    submit(core, "root", x=1)
    request, attempt = begin(core, "root")
    core = start(tmp_path / "flow")
    core.outcome(Outcome(request, attempt, "done", value(5)))
    assert core.journal.empty
    assert state(core, request)[0] == "queued"
    assert begin(core, "root")[0] == request


def test_a_request_finished_twice_is_refused_by_memory_and_if_that_is_wrong_by_the_database(tmp_path):
    core = start(tmp_path / "flow", ONE)
    submit(core, "one", x=1)
    request, attempt = begin(core, "one")
    job = core.jobs[request]
    done(core, request, attempt, 5)
    before = dump(core)
    core.jobs[request] = job
    with pytest.raises(TransitionError, match=f"request {request} is done and cannot be finished"):
        done(core, request, attempt, 6)
    job.state = "queued"
    with pytest.raises(RuntimeError, match="finished twice"):
        done(core, request, attempt, 6)
    assert dump(core) == before


def test_a_plug_never_carries_the_same_thing_twice(tmp_path):
    core = start(tmp_path / "flow", FORK)
    submit(core, "root", x=1)
    request, attempt = begin(core, "root")
    done(core, request, attempt, 5)
    passed = core.store.db.execute("SELECT * FROM passed LIMIT 1").fetchone()
    core.journal.add("add_passed", passed)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        core.journal.commit()
    core.journal.forget("add_passed", lambda row: True)
    done(core, *begin(core, "left"), 5)
    plug, source = core.store.db.execute("SELECT plug, source_request FROM arrival LIMIT 1").fetchone()
    row = (999, 1, "x", 1, 1, "", None, source, 0, plug, None, "waiting", None, 0, 0.0, None)
    core.journal.add("add_arrival", row)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        core.journal.commit()


def test_a_committed_yield_is_not_delivered_again_by_a_second_attempt(tmp_path):
    wiring = topology({"gen": ["x"], "sink": ["x"]}, [("gen", "sink", "x")])
    task = replace(wiring.tasks[101], generator=True)
    core = start(tmp_path / "flow", replace(wiring, tasks={**wiring.tasks, 101: task}))
    submit(core, "gen", x=1)
    request, attempt = begin(core, "gen")
    core.yielded(request, attempt, 0, [value(10), value(11)])
    core.journal.commit()
    core.died(request, attempt, "killed")
    core = start(tmp_path / "flow")
    (again,) = core.dispatch.take([1], 1)
    call = core.call(core.jobs[again])
    assert call.skip == 2
    # an older worker may send what was committed once more
    core.yielded(request, call.attempt, 1, [value(11), value(12)])
    core.outcome(Outcome(request, call.attempt, "done", emitted=3))
    core.journal.commit()
    assert core.store.db.execute("SELECT count(*) FROM request WHERE socket = 2").fetchone() == (3,)
    assert core.store.db.execute("SELECT count(*) FROM emission").fetchone() == (3,)


@pytest.mark.parametrize("begun", [False, True])
def test_a_plug_that_cannot_take_a_yield_fails_the_request_also_before_it_runs_again(tmp_path, begun):
    wiring = topology({"gen": ["x"], "sink": ["x"]}, [("gen", "sink", "x")])
    task = replace(wiring.tasks[101], generator=True)
    plug = replace(wiring.plugs[200], when=Condition("0" * 64, "1 / 0"))
    core = start(tmp_path / "flow", replace(wiring, tasks={**wiring.tasks, 101: task}, plugs={200: plug}))
    submit(core, "gen", x=1)
    request, attempt = begin(core, "gen")
    core.yielded(request, attempt, 0, [value(10)])
    core.journal.commit()
    # this engine is gone; the next evaluates the plug again, and runs the rest of the call
    core = start(tmp_path / "flow")
    if begun:
        request, attempt = begin(core, "gen")
    (evaluation,) = core.evaluation.calls()["main"]
    raised(core, evaluation.request, evaluation.attempt, "division by zero")
    if begun:
        # its agent was asked to stop it
        core.outcome(Outcome(request, attempt, "failed", error={"kind": "cancelled"}))
        core.journal.commit()
    assert state(core, request)[0] == "failed"
    assert "division by zero" in core.store.db.execute("SELECT error FROM request").fetchone()[0]
    assert core.dispatch.queued(1) == 0


def test_attempts_are_counted_over_restarts_and_so_are_retries(tmp_path):
    core = start(tmp_path / "flow", ONE)
    request = submit(core, "one", x=1)
    _, attempt = begin(core, "one")
    raised(core, request, attempt)
    assert request in core.delayed
    core = start(tmp_path / "flow")
    assert core.jobs[request].tries == 1
    assert request in core.delayed
    core.due(request)
    raised(core, *begin(core, "one"))
    core.due(request)
    raised(core, *begin(core, "one"))
    assert state(core, request) == ("failed", 3)


def test_identities_of_what_was_removed_are_not_given_again(tmp_path):
    core = start(tmp_path / "flow", FORK)
    core.journal.step("put_meta", ("record", "900"))
    core.journal.commit()
    assert start(tmp_path / "flow").new_record() == 901


# -- the sweep --------------------------------------------------------------------
def files(core):
    return sorted(p.name for p in core.values.folder.iterdir())


def put(core, name, size=10):
    (core.values.folder / name).write_bytes(b"x" * size)


def test_the_sweep_takes_files_that_nobody_names_and_no_other(tmp_path):
    core = start(tmp_path / "flow", FORK)
    put(core, "1.1.1.0")
    put(core, "2.1.1.0")
    put(core, "3.1.1.0")
    accept(core, 1, {"x": Value(None, "1.1.1.0", 10, "bytes")})
    core.journal.commit()
    # 3 is a running request of this epoch: its worker may name what it writes any moment
    assert core.values.sweep([3], 1) == (1, 10)
    assert files(core) == ["1.1.1.0", "3.1.1.0"]


def test_the_sweep_leaves_a_running_workers_unfinished_file_alone(tmp_path):
    core = start(tmp_path / "flow", FORK)
    put(core, ".7.1.1.0.4711")
    put(core, ".8.1.1.0.4711")
    core.values.sweep([7], 1)
    assert files(core) == [".7.1.1.0.4711"]


def test_the_sweep_takes_what_attempts_of_earlier_engines_left(tmp_path):
    core = start(tmp_path / "flow", FORK)
    put(core, "7.1.1.0")
    core.values.sweep([7], 2)
    assert files(core) == []


def test_the_sweep_leaves_a_clients_unsent_file_for_a_day(tmp_path):
    import os

    core = start(tmp_path / "flow", FORK)
    for name in ("in.fresh.1", "in.old.1", "in.here.1", ".in.fresh.2.99"):
        put(core, name)
    for name in ("in.old.1", "in.here.1"):
        os.utime(core.values.folder / name, (0, 0))
    core.values.sweep((), 1, frozenset({"here"}))
    assert files(core) == [".in.fresh.2.99", "in.fresh.1", "in.here.1"]


def test_a_result_committed_between_two_sweeps_is_kept_by_both(tmp_path):
    core = start(tmp_path / "flow", FORK)
    submit(core, "root", x=1)
    request, attempt = begin(core, "root")
    name = f"{request}.{core.epoch}.{attempt}.0"
    put(core, name)
    core.values.sweep([request], core.epoch)
    assert files(core) == [name]
    core.outcome(Outcome(request, attempt, "done", Value(None, name, 10, "bytes")))
    core.journal.commit()
    core.values.sweep([], core.epoch)
    assert files(core) == [name]


# -- a journal that cannot be written ---------------------------------------------------
def test_what_could_not_be_written_is_written_whole_by_the_next_commit(tmp_path):
    core = start(tmp_path / "flow", FORK)
    (pages,) = core.store.db.execute("PRAGMA page_count").fetchone()
    core.store.db.execute(f"PRAGMA max_page_count = {pages}")
    request = accept(core, 1, {"x": value("y" * 60_000)})
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError) as caught:
            core.journal.commit()
        assert isinstance(core.store.explain(caught.value), StoreFullError)
        assert state(core, request) is None
    core.store.db.execute("PRAGMA max_page_count = 100000")
    core.journal.commit()
    assert state(core, request) == ("queued", 0)
    assert core.store.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_core_started_on_the_folder_of_another_reads_what_it_committed_only(tmp_path):
    core = start(tmp_path / "flow", FORK)
    committed = submit(core, "root", x=1)
    accept(core, 1, {"x": value(2)})
    again = start(tmp_path / "flow")
    assert sorted(again.jobs) == [committed]
    assert isinstance(again.store.path, Path)


def test_attempts_that_were_lost_with_their_node_use_up_no_retry_also_after_a_restart(tmp_path):
    core = start(tmp_path / "flow", ONE)
    request = submit(core, "one", x=1)
    for _ in range(3):
        core.dispatch.take([1], 1)
        core.call(core.jobs[request], "hpc")
        core.lost(request, "hpc", "node 'hpc' was lost")
        core.journal.commit()
    assert core.held.at("hpc") == []
    core = start(tmp_path / "flow")
    job = core.jobs[request]
    assert (job.attempt, job.tries, job.deaths) == (3, 0, 0)
    raised(core, *begin(core, "one"))
    assert request in core.delayed


def test_a_call_that_is_on_another_node_cannot_be_lost_with_this_one(tmp_path):
    core = start(tmp_path / "flow", ONE)
    request = submit(core, "one", x=1)
    core.dispatch.take([1], 1)
    call = core.call(core.jobs[request], "hpc")
    core.journal.commit()
    core.lost(request, "gpu", "node 'gpu' was lost")
    assert core.journal.empty
    done(core, request, call.attempt, 5)
    assert core.store.db.execute("SELECT state, node FROM request").fetchone() == ("done", "hpc")


def test_a_call_given_to_another_node_is_that_nodes_after_a_restart(tmp_path):
    core = start(tmp_path / "flow", ONE)
    request = submit(core, "one", x=1)
    core.dispatch.take([1], 1)
    call = core.call(core.jobs[request], "hpc")
    core.claim(core.jobs[request])
    core.journal.commit()
    core = start(tmp_path / "flow")
    assert core.held.at("hpc") == [request]
    assert (core.states.counts[1]["queued"], core.states.counts[1]["running"]) == (1, 0)
    assert core.dispatch.queued(1) == 0
    done(core, request, call.attempt, 5)
    assert state(core, request) == ("done", 1)


def again(core):
    """The next engine on the same flow, as after a kill."""
    store = open_store(core.store.folder)
    core = recovery.reopen(store, "", Suspects(store))
    core.journal.commit()
    return core


def why(core, request):
    text, n = core.store.db.execute("SELECT error, finished FROM request WHERE id = ?", (request,)).fetchone()
    assert n
    return json.loads(text)["message"]


def test_a_request_that_has_ended_three_engines_fails_with_the_reason_and_the_rest_goes_on(tmp_path):
    core = start(tmp_path / "flow", ONE)
    bad, good = submit(core, "one", x=1), submit(core, "one", x=2)
    for _ in range(3):
        assert state(core, bad) == ("queued", 0)
        core.suspects.begin(REQUEST, bad)
        core.suspects.fell(KeyError(7))
        core = again(core)
    assert state(core, bad) == ("failed", 0)
    assert state(core, good) == ("queued", 0)
    assert "the engine ended 3 times while it handled it (KeyError: 7)" in why(core, bad)
    assert core.suspects.aside.keys() == {f"request {bad}"}
    assert again(core).suspects.aside.keys() == {f"request {bad}"}


def test_a_request_that_was_handled_well_at_last_is_charged_with_no_death(tmp_path):
    core = start(tmp_path / "flow", ONE)
    request = submit(core, "one", x=1)
    for _ in range(5):
        core.suspects.begin(REQUEST, request)
        core = again(core)
        core.suspects.begin(REQUEST, request)
        core.suspects.end()
        core.suspects.committed()
    assert core.suspects.aside == {}


def test_a_request_that_cannot_be_read_is_set_aside_and_the_rest_is_opened(tmp_path):
    core = start(tmp_path / "flow", ONE)
    bad, good = submit(core, "one", x=1), submit(core, "one", x=2)
    core.store.db.execute("UPDATE request SET inputs = NULL WHERE id = ?", (bad,))
    core = again(core)
    assert state(core, bad) == ("failed", 0)
    assert "it cannot be read (KeyError: -65)" in why(core, bad)
    assert begin(core, "one")[0] == good


def test_a_party_that_cannot_be_read_is_set_aside_with_its_requests_and_the_rest_is_opened(tmp_path):
    core = start(tmp_path / "flow", FORK)
    for x in range(2):
        submit(core, "root", x=x)
        done(core, *begin(core, "root"), x)
        done(core, *begin(core, "left"), x)
    core.store.db.execute("UPDATE arrival SET tag = 'no tag' WHERE argument = 'one' AND party = 1")
    core = again(core)
    assert list(core.suspects.aside) == ["party 1"]
    rows = core.store.db.execute("SELECT DISTINCT state FROM request WHERE run = 1 ORDER BY 1").fetchall()
    assert rows == [("done",), ("failed",)]
    done(core, *begin(core, "right"), 1)
    assert core.dispatch.queued(core.topology.names["join"]) == 1


def test_a_plug_that_cannot_be_read_is_set_aside_and_the_rest_is_opened(tmp_path):
    core = start(tmp_path / "flow", FORK)
    core.store.db.execute('UPDATE plug SET record = \'{"id": 200, "new": 1}\' WHERE id = 200')
    core = again(core)
    assert list(core.suspects.aside) == ["plug 200"]
    assert [plug.id for plug in core.topology.live] == [201, 202, 203]


def test_a_call_whose_answer_no_database_takes_is_named(tmp_path):
    core = start(tmp_path / "flow", ONE)
    submit(core, "one", x=1)
    bad = submit(core, "one", x=2)
    for _ in range(2):
        request, attempt = begin(core, "one")
        kind = "\udc80" if request == bad else "int"
        core.outcome(Outcome(request, attempt, "done", Value(b"", None, 0, kind)))
    with pytest.raises(UnicodeEncodeError):
        core.journal.commit()
    assert core.journal.culprit() == bad


@pytest.mark.parametrize(
    ("backoff", "retry", "seconds"), [(1, 1, 1), (1, 4, 8), (1, 3000, 3600), (0, 3000, 0), (7200, 9, 7200)]
)
def test_the_time_before_a_retry_is_doubled_up_to_an_hour(backoff, retry, seconds):
    (socket,) = topology({"one": ["x"]}, backoff=backoff).sockets.values()
    assert delay_before(socket, retry) == seconds
