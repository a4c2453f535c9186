"""Requests that are alike, handled together: whatever befalls one of them leaves what it leaves of a lone request."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ec_jupyter.engine import ended, lots, open_lots, requests
from ec_jupyter.engine.acceptance import accept_lot
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.open_lots import TOGETHER
from ec_jupyter.engine.row_values import result_id
from ec_jupyter.engine.submit_records import Lot
from ec_jupyter.engine.suspects import REQUEST
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL
from ec_jupyter.wire import Block, Call, Outcome

from .rig import raised, start, submit, topology, value


def wiring(**options: object) -> Topology:
    """A chain whose end is forked and joined again."""
    sockets = {"head": ["x"], "next": ["x"], "left": ["x"], "right": ["x"], "both": ["one", "two"]}
    plugs = [
        ("head", "next", "x"), ("next", "left", "x"), ("next", "right", "x"),
        ("left", "both", "one"), ("right", "both", "two"),
    ]  # fmt: skip
    return topology(sockets, plugs, **options)


def submit_all(core: Core, name: str, values: Sequence[object]) -> list[int]:
    shape = {"socket": name, "names": ["x"], "types": ["int"], "revision": 1}
    lot = Lot(1, shape, len(values), watched=False, columns=[[pickle.dumps(one) for one in values]])
    ids = accept_lot(core, core.topology.names[name], lot)
    core.journal.commit()
    return list(ids)


def give(core: Core, most: int = 100) -> list[Call]:
    """What may start goes to workers that do not exist."""
    calls = lots.start(core, core.dispatch.take(list(core.dispatch.lanes), most), LOCAL)
    core.suspects.end()
    return calls


def block(calls: Sequence[Call], results: Sequence[object]) -> Block:
    n = len(calls)
    data = [pickle.dumps(one) for one in results]
    ids, attempts = [c.request for c in calls], [c.attempt for c in calls]
    return Block(ids, attempts, data, ["int"], [1.0] * n, [0.5] * n, 3, 77)


def end_together(core: Core, calls: Sequence[Call]) -> None:
    lots.take(core, block(calls, [call.request for call in calls]), lambda *_: None)
    core.journal.commit()


def end_each(core: Core, calls: Sequence[Call]) -> None:
    for call in calls:
        result = value(call.request)
        result.type = "int"
        core.outcome(Outcome(call.request, call.attempt, "done", result, started=1.0, seconds=0.5, slot=3, pid=77))
    core.journal.commit()


def states(core: Core) -> dict[int, str]:
    return dict(core.store.db.execute("SELECT id, state FROM request"))


def told(core: Core) -> list[tuple[object, ...]]:
    """Rows of requests without what only says when they were made, and in which order."""
    names = {s.id: s.name for s in core.topology.sockets.values()}
    rows = core.store.db.execute(f"SELECT socket, run, {ROW} FROM request")
    return sorted((names[row[0]], *row[1:]) for row in rows)


ROW = (
    "tag, state, attempt, deaths, emitted, hops, node, slot, pid, task, revision, started, seconds, type, "
    "result IS NULL"
)


@pytest.mark.parametrize("n", [3, 2 * TOGETHER])
def test_requests_handled_together_leave_the_rows_that_each_leaves_by_itself(tmp_path: Path, n: int) -> None:
    found = []
    for end in (end_together, end_each):
        core = start(tmp_path / end.__name__, wiring())
        if end is end_together:
            submit_all(core, "head", range(n))
        else:
            for x in range(n):
                submit(core, "head", x=x)
        while calls := give(core):
            end(core, calls)
        assert not core.jobs
        passed = core.store.db.execute("SELECT count(*), sum(plug) FROM passed").fetchall()
        results = requests.results(core, {"socket": "both"})
        found.append((told(core), core.states.counts, passed, results))
    assert found[0] == found[1]
    assert len(found[0][0]) == 5 * n


def test_what_is_left_of_lots_goes_on_after_a_restart(tmp_path: Path) -> None:
    core = start(tmp_path, wiring())
    submit_all(core, "head", list(range(6)))
    first = give(core, 4)
    end_together(core, first[:2])
    core = start(tmp_path)
    while calls := give(core):
        end_together(core, calls)
    assert set(states(core).values()) == {"done"}
    assert len(states(core)) == 30


def test_one_of_a_lot_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", [1, 2, 3, 4])
    calls = give(core)
    raised(core, calls[1].request, 1)
    end_together(core, [calls[0], calls[2], calls[3]])
    assert states(core) == {ids[0]: "done", ids[1]: "failed", ids[2]: "done", ids[3]: "done"}
    assert core.states.counts[1]["done"] == 3
    assert core.states.counts[1]["failed"] == 1


def test_one_of_a_lot_whose_worker_died_is_tried_again_and_the_rest_ends(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", [1, 2, 3])
    calls = give(core)
    core.died(ids[1], 1, "killed")
    end_together(core, calls)
    assert states(core) == {ids[0]: "done", ids[1]: "queued", ids[2]: "done"}
    (again,) = give(core)
    assert (again.request, again.attempt, again.values) == (ids[1], 2, [pickle.dumps(2)])
    end_together(core, [again])
    assert set(states(core).values()) == {"done"}


def test_what_an_agent_hands_back_of_a_lot_starts_again_before_younger_ones(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", [1, 2, 3, 4])
    calls = give(core, 3)
    core.give_back([ids[1]])
    end_together(core, calls)
    assert states(core)[ids[1]] == "queued", "a result of an attempt that was given up"
    again = give(core)
    assert [(call.request, call.attempt) for call in again] == [(ids[1], 1), (ids[3], 1)]
    end_together(core, again)
    assert set(states(core).values()) == {"done"}


def test_a_request_of_a_lot_that_is_cancelled_does_not_start(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", [1, 2, 3])
    core.dispatch.drop(1, ids[1])
    core.end(core.jobs[ids[1]], "cancelled")
    core.journal.commit()
    end_together(core, give(core))
    assert states(core) == {ids[0]: "done", ids[1]: "cancelled", ids[2]: "done"}


def test_a_call_that_must_not_run_twice_is_no_part_of_a_lot(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}, once=True))
    ids = submit_all(core, "head", [1, 2])
    for call in give(core):
        core.claim(core.jobs[call.request])
    core.journal.commit()
    assert states(core) == dict.fromkeys(ids, "running")


def test_large_values_beside_small_ones_have_rows_of_their_own(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"], "next": ["x"]}, [("head", "next", "x")]))
    ids = submit_all(core, "head", [1, 2])
    calls = give(core)
    lots.take(core, block(calls, ["long" * 1000, 2]), lambda *_: None)
    core.journal.commit()
    assert set(states(core).values()) == {"done", "queued"}
    (size,) = core.store.db.execute("SELECT size FROM value").fetchone()
    assert size > 4000
    assert [pickle.loads(call.values[0]) for call in give(core)] == ["long" * 1000, 2]  # type: ignore[arg-type]
    assert len(ids) == 2


@pytest.mark.parametrize("deaths", [0, 1])
def test_after_an_engine_fell_over_one_of_a_lot_each_is_named(tmp_path: Path, deaths: int) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", [1, 2, 3])
    for _ in range(deaths):
        core.suspects.begin(REQUEST, ids[0])
        core.suspects.fell(KeyError(7))
        core = start(tmp_path)
    lots.take(core, block(give(core), ids), lambda *_: None)
    assert core.suspects.named == (REQUEST, ids[-1] if deaths else ids[0])


def rows_on_disk(core: Core) -> int:
    """How many requests have rows, asked beside the engine."""
    return int(core.store.connection.execute("SELECT count(*) FROM request").fetchone()[0])


def test_queued_requests_have_rows_once_they_end_or_somebody_asks_for_them(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", [1, 2, 3, 4])
    assert rows_on_disk(core) == 0
    end_together(core, give(core, 1))
    assert rows_on_disk(core) == 1
    assert states(core) == {ids[0]: "done", **dict.fromkeys(ids[1:], "queued")}
    assert rows_on_disk(core) == 4
    end_together(core, give(core))
    assert set(states(core).values()) == {"done"}
    assert core.store.rows("all_lots") == []


def test_requests_that_end_together_have_rows_once_somebody_asks_for_them(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", range(2 * TOGETHER))
    end_together(core, give(core))
    answer, values = requests.results(core, {"socket": "head", "limit": TOGETHER})
    assert (answer["types"], [pickle.loads(one) for one in values]) == (["int"] * TOGETHER, ids[TOGETHER:])
    header, values = ended.small_results(core, [*reversed(ids[1:])])
    assert (header["ids"], [pickle.loads(one) for one in values]) == (ids[1:], ids[1:])
    assert rows_on_disk(core) == 0, "results are read in columns"
    more = submit_all(core, "head", range(2 * TOGETHER))
    end_together(core, [*reversed(give(core))])
    assert ended.small_results(core, [more[2]])[0]["ids"] == [more[2]]
    assert rows_on_disk(core) == len(more), "who wants few of many has rows made of those it is among"
    assert core.values.load([result_id(ids[0])])[result_id(ids[0])].value.data == pickle.dumps(ids[0])
    assert rows_on_disk(core) == len(ids) + len(more)
    assert core.store.rows("all_lots") == []
    assert states(core) == dict.fromkeys([*ids, *more], "done")
    assert ended.small_results(core, ids[1:3])[0]["ids"] == ids[1:3]


def test_results_of_a_socket_are_read_in_columns_however_many_calls_of_others_have_ended(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"], "other": ["x"]}))
    for name, n in (("head", 20), ("other", 1)):
        submit_all(core, name, range(n * TOGETHER))
        end_together(core, give(core, n * TOGETHER))
    assert requests.results(core, {"socket": "other", "limit": TOGETHER})[0]["types"] == ["int"] * TOGETHER
    assert rows_on_disk(core) == 0


def test_what_ended_together_has_ended_after_a_restart_and_in_a_database_that_is_only_read(tmp_path: Path) -> None:
    core = start(tmp_path, wiring())
    ids = submit_all(core, "head", range(3 * TOGETHER))
    end_together(core, give(core, 2 * TOGETHER))
    assert rows_on_disk(core) == 0
    with closing(sqlite3.connect(f"file:{tmp_path / 'flow.db'}?mode=ro", uri=True)) as db:
        open_lots.show(db)
        found = db.execute("SELECT * FROM request ORDER BY id").fetchall()
    core = start(tmp_path)
    assert found == core.store.db.execute("SELECT * FROM request ORDER BY id").fetchall()
    assert [states(core)[one] for one in ids] == ["done"] * 2 * TOGETHER + ["queued"] * TOGETHER
    while calls := give(core):
        end_together(core, calls)
    assert list(states(core).values()) == ["done"] * 5 * len(ids)


def test_ends_that_cannot_be_read_are_set_aside_and_nothing_of_them_runs_again(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", range(2 * TOGETHER))
    end_together(core, give(core, TOGETHER))
    core.store.connection.execute("UPDATE lot SET body = substr(body, 1, length(body) - 1) WHERE id < 0")
    core = start(tmp_path)
    assert "it is cut short" in core.suspects.aside[f"requests {ids[0]} to {ids[TOGETHER - 1]}"]
    assert states(core) == dict.fromkeys(ids[TOGETHER:], "queued")


def test_who_asks_between_two_commits_finds_requests_as_the_last_one_left_them(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    ids = submit_all(core, "head", [1, 2, 3])
    lots.take(core, block(give(core, 1), [1]), lambda *_: None)
    assert states(core) == dict.fromkeys(ids[1:], "queued")
    core = start(tmp_path)
    assert states(core) == dict.fromkeys(ids, "queued"), "its end was not written, and nothing of it is lost"
    end_together(core, give(core))
    assert set(states(core).values()) == {"done"}


def test_who_reads_the_database_of_a_killed_engine_finds_each_request(tmp_path: Path) -> None:
    core = start(tmp_path, wiring())
    ids = submit_all(core, "head", [1, 2, 3])
    end_together(core, give(core, 2))
    with closing(sqlite3.connect(f"file:{tmp_path / 'flow.db'}?mode=ro", uri=True)) as db:
        open_lots.show(db)
        found = db.execute("SELECT id, state, arguments FROM request ORDER BY id").fetchall()
    assert {row[0]: row[1] for row in found} == states(core)
    assert [row[1] for row in found] == ["done", "done", "queued", "queued", "queued"]
    assert found == core.store.db.execute("SELECT id, state, arguments FROM request ORDER BY id").fetchall()
    assert ids[0] == found[0][0]


def test_a_lot_that_cannot_be_read_is_set_aside_and_the_flow_opens(tmp_path: Path) -> None:
    core = start(tmp_path, topology({"head": ["x"]}))
    bad = submit_all(core, "head", [1, 2, 3])
    good = submit_all(core, "head", [4, 5])
    core.store.connection.execute("UPDATE lot SET body = substr(body, 1, length(body) - 1) WHERE id = ?", (bad[0],))
    core = start(tmp_path)
    assert "it is cut short" in core.suspects.aside[f"requests {bad[0]} to {bad[-1]}"]
    end_together(core, give(core))
    assert states(core) == dict.fromkeys(good, "done")
    assert submit(core, "head", x=6) > good[-1]
