"""Edits of a flow while its calls run, or whose engine is killed: in force at once, and nothing that waits is lost."""

from __future__ import annotations

import sqlite3

import pytest

from ec_jupyter.errors import EcError, EngineError
from tests.crash.flowkit import mark, passing, views, wait_until


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def hold(x, marks, gate):
    mark(marks, x)
    passing(gate)
    return x


def hold_and_fail(marks, gate):
    mark(marks, "")
    passing(gate)
    raise ValueError("no")


def failed_type(x):
    return type(x).__name__


# -- rewiring under load ------------------------------------------------------------
def test_a_condition_plugged_while_the_call_runs_is_asked_of_its_result(flow, gate, marks):
    flow.socket(hold)
    flow.socket(echo, "small")
    flow.socket(echo, "each")
    rows = [{"x": x, "marks": str(marks), "gate": str(gate)} for x in ([1, 2], [3])]
    flow.map("hold", rows)
    marks.reach(2)
    flow.plug("hold", "small.x", when=lambda x: len(x) < 2)
    flow.plug("hold", "each.x", map=True)
    gate.open()
    flow.drained()
    assert flow.results("small") == [[3]]
    assert sorted(flow.results("each")) == [1, 2, 3]
    assert len(marks.lines) == 2


def test_a_new_version_applies_to_every_call_that_has_not_started(flow, gate, marks):
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.socket(hold)
    ids = flow.map("hold", [{"x": i, "marks": str(marks), "gate": str(gate)} for i in range(1, 9)])
    marks.reach(1)
    flow.socket(lambda x, marks, gate: -x, "hold")
    gate.open()
    flow.drained()
    assert [flow.result(i) for i in ids] == [1, -2, -3, -4, -5, -6, -7, -8]
    assert [r["version"] for r in flow.requests(socket="hold")] == [1] + [2] * 7


# -- edits in mid wait ------------------------------------------------------------------
def test_a_declaration_is_undone_while_its_calls_run_and_what_they_come_to_is_kept(flow, gate, marks):
    flow.socket(hold, "hold", processor="pool", cpus=1)
    request = flow.submit("hold", x=5, marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.ask("undo")
    gate.open()
    assert flow.result(request) == 5
    flow.restart()
    assert views(flow) == {request: "done"}


# -- what runs while an edit takes its plugs away ----------------------------------
def count_to(n, marks, gate):
    for i in range(n):
        yield i
        if not i:
            mark(marks, i)
            passing(gate)


def total(xs):
    return sum(xs)


def held_join(flow, marks, gate):
    """A call that is held at the gate, and whose result is to meet a value that waits."""
    flow.socket(hold, "a")
    flow.socket(echo, "b")
    flow.socket(pair, "join")
    flow.plug("a", "join.one")
    flow.plug("b", "join.two")
    flow.submit("b", x=2)
    flow.drained()
    request = flow.submit("a", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    return request


@pytest.mark.parametrize("removed", ["join", "a"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_call_that_ends_while_its_target_or_source_is_removed_delivers_once_after_the_undo(
    flow, gate, marks, removed, killed
):
    request = held_join(flow, marks, gate)
    flow.edit({"op": "remove", "name": removed, "force": True})
    gate.open()
    assert flow.result(request) == 1
    flow.drained()
    if killed:
        flow.restart()
    flow.ask("undo")
    flow.drained()
    assert flow.results("join") == [(1, 2)]
    flow.ask("redo")
    flow.ask("undo")
    flow.drained()
    assert flow.results("join") == [(1, 2)]
    flow.submit("b", x=4)
    flow.submit("a", x=3, marks=str(marks), gate=str(gate))
    flow.drained()
    assert flow.results("join") == [(1, 2), (3, 4)]


@pytest.mark.parametrize("when_back", ["running", "ended"])
def test_a_plug_that_undo_takes_away_while_the_call_runs_carries_its_result_once_after_the_redo(
    flow, gate, marks, when_back
):
    flow.socket(hold, "a")
    flow.socket(echo, "b")
    flow.plug("a", "b.x")
    request = flow.submit("a", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.ask("undo")
    if when_back == "running":
        flow.ask("redo")
    gate.open()
    assert flow.result(request) == 1
    flow.drained()
    if when_back == "ended":
        assert flow.results("b") == []
        flow.restart()
        flow.ask("redo")
    flow.drained()
    assert flow.results("b") == [1]


def test_a_split_result_finds_its_removed_target_once_that_is_back(flow, gate, marks):
    flow.socket(hold, "a")
    flow.socket(echo, "each")
    flow.socket(total)
    flow.plug("a", "each.x", map=True)
    flow.plug("each", "total.xs", gather=True)
    flow.submit("a", x=[1, 2, 3], marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.edit({"op": "remove", "name": "each", "force": True})
    gate.open()
    flow.drained()
    flow.ask("undo")
    flow.drained()
    assert flow.results("each") == [1, 2, 3]
    assert flow.results("total") == [6]


def test_a_failure_finds_its_removed_target_once_that_is_back(flow, gate, marks):
    flow.socket(hold_and_fail, "a")
    flow.socket(failed_type, "handler")
    flow.plug("a", "handler.x", on="error")
    request = flow.submit("a", marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.edit({"op": "remove", "name": "handler", "force": True})
    gate.open()
    assert flow.row(request)["state"] == "failed"
    flow.ask("undo")
    flow.drained()
    assert flow.results("handler") == ["Failure"]


def test_a_gather_that_an_edit_has_split_is_stranded_until_the_undo(flow, gate, marks):
    flow.socket(count_to, "count")
    flow.socket(total)
    flow.plug("count", "total.xs", gather=True)
    request = flow.submit("count", n=3, marks=str(marks), gate=str(gate))
    marks.reach(1)
    wait_until(lambda: flow.count("total")["arrived"] == 1)
    assert [row["stranded"] for row in flow.waiting("total")] == [False]
    flow.unplug("count", "total.xs")
    assert [row["stranded"] for row in flow.waiting("total")] == [True]
    gate.open()
    flow.row(request)
    flow.drained()
    flow.restart()
    assert [row["stranded"] for row in flow.waiting("total")] == [True]
    flow.ask("undo")
    flow.drained()
    assert flow.results("total") == [3]
    assert flow.waiting("total") == []


def yield_all(values, marks, gate):
    for i, value in enumerate(values):
        yield value
        if not i:
            mark(marks, i)
            passing(gate)


def as_it_came(xs):
    return xs


GATHERED, EACH = [([0, 1, 2], 9)], [(0, 9), (1, 9), (2, 9)]


def drawn_anew(flow, gate, marks, before, after):
    """A plug of a generator is drawn anew between its first yield and the others."""
    flow.socket(yield_all, "source")
    flow.socket(pair, "join")
    flow.socket(echo, "late")
    flow.plug("late", "join.two")
    flow.plug("source", "join.one", **before)
    flow.submit("source", values=[0, 1, 2], marks=str(marks), gate=str(gate))
    marks.reach(1)
    yield
    flow.plug("source", "join.one", **after)
    gate.open()
    flow.drained()
    yield


def lists(flow):
    """What waits at the join of elements, by element: which others its list lacks, and whether it is stranded."""
    return {tuple(r["element"]): (r["lacks"].get("one", []), r["stranded"]) for r in flow.waiting("join")}


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "split", "calls"),
    [
        (
            {"gather": True}, {},
            {(0,): ([1, 2], True), (1,): ([], False), (2,): ([], False)}, GATHERED,
        ),
        (
            {}, {"gather": True},
            {(0,): ([], False), (1,): ([0], True), (2,): ([0], True)}, EACH,
        ),
    ],
)  # fmt: skip
def test_a_list_that_a_plug_drawn_anew_has_split_is_stranded_until_the_undo(
    flow, gate, marks, before, after, split, calls, killed
):
    steps = drawn_anew(flow, gate, marks, before, after)
    next(steps)
    wait_until(lambda: flow.count("join")["arrived"] == 1)
    next(steps)
    assert lists(flow) == split
    if killed:
        flow.restart()
        assert lists(flow) == split
    flow.ask("undo")
    flow.drained()
    assert not any(row["stranded"] for row in flow.waiting("join"))
    if killed:
        flow.restart()
    flow.submit("late", x=9)
    flow.drained()
    assert sorted(flow.results("join")) == calls
    assert flow.waiting("join") == []


@pytest.mark.parametrize(
    ("before", "after", "meanwhile", "at_the_end"),
    [
        ({"gather": True}, {}, [(1, 9), (2, 9)], [(1, 9), (2, 9), *GATHERED]),
        ({}, {"gather": True}, [(0, 9)], EACH),
    ],
)
def test_what_was_used_meanwhile_is_in_the_list_too_once_an_undo_brings_it_back_and_no_call_is_made_twice(
    flow, gate, marks, before, after, meanwhile, at_the_end
):
    steps = drawn_anew(flow, gate, marks, before, after)
    next(steps)
    flow.submit("late", x=9)
    wait_until(lambda: flow.count("late")["done"] == 1)
    next(steps)
    assert flow.results("join") == meanwhile
    for _ in range(2):
        flow.ask("undo")
        flow.drained()
        assert flow.results("join") == at_the_end
        flow.restart()
        flow.ask("redo")
        flow.drained()
    assert flow.results("join") == at_the_end


@pytest.mark.parametrize("way", ["supply", "discard"])
def test_a_list_that_a_plug_drawn_anew_has_split_is_given_what_it_lacks_or_thrown_away(flow, gate, marks, way):
    steps = drawn_anew(flow, gate, marks, {}, {"gather": True})
    next(steps)
    wait_until(lambda: flow.count("join")["arrived"] == 1)
    next(steps)
    row = next(row for row in flow.waiting("join") if row["stranded"])
    where = {"socket": "join", "party": row["party"], "element": [0]}
    if way == "supply":
        value = flow.client.dump(7)
        flow.client.ask("supply", {**where, "values": {"one": value.head()}}, [value.data])
    else:
        flow.ask("discard", argument="one", **where)
    flow.submit("late", x=9)
    flow.drained()
    assert flow.results("join") == [([7, 1, 2] if way == "supply" else [1, 2], 9)]
    # the list took the only company that there was
    (row,) = flow.waiting("join")
    assert (row["element"], row["stranded"]) == ([0], True)
    flow.ask("discard", arrival=row["arguments"]["one"]["arrivals"][0]["id"])
    assert flow.waiting("join") == []
    # all of it was used: there is nothing to mend
    flow.ask("undo")
    flow.drained()
    assert len(flow.results("join")) == 1
    assert flow.waiting("join") == []


@pytest.mark.parametrize(
    ("before", "after", "meanwhile", "whole"),
    [
        ({"map": True}, {}, [[0, 1]], [[0, 1], [2, 3], [4]]),
        ({}, {"map": True}, [[2, 3], [4]], [[2, 3], [4], [[0, 1], [2, 3], [4]]]),
    ],
)
def test_lists_behind_a_plug_that_splits_from_here_on_or_no_more_are_whole_again_after_the_undo(
    flow, gate, marks, before, after, meanwhile, whole
):
    flow.socket(yield_all, "source")
    flow.socket(echo, "each")
    flow.socket(as_it_came, "collect")
    flow.plug("source", "each.x", **before)
    flow.plug("each", "collect.xs", gather=True)
    flow.submit("source", values=[[0, 1], [2, 3], [4]], marks=str(marks), gate=str(gate))
    marks.reach(1)
    wait_until(lambda: flow.count("each")["done"] == len([0, 1] if before else [0]))
    flow.plug("source", "each.x", **after)
    gate.open()
    flow.drained()
    assert sorted(flow.results("collect")) == meanwhile
    assert all(row["stranded"] for row in flow.waiting("collect"))
    assert flow.waiting("collect")
    flow.restart()
    flow.ask("undo")
    flow.drained()
    assert sorted(flow.results("collect"), key=str) == sorted(whole, key=str)
    # what came of the plug that is gone, in lists that will not be whole
    left = flow.waiting("collect")
    assert [row["stranded"] for row in left] == [True] * len(left)
    for row in left:
        flow.ask("discard", arrival=row["arguments"]["xs"]["arrivals"][0]["id"])
    assert flow.waiting("collect") == []


def test_an_undo_that_the_engines_death_has_cut_short_is_made_whole_at_the_next_start(flow, gate, marks):
    flow.socket(hold, "a")
    flow.socket(echo, "b")
    flow.plug("a", "b.x")
    with sqlite3.connect(flow.folder / "flow.db") as db:
        (plug,) = db.execute("SELECT * FROM plug").fetchall()
    db.close()
    flow.submit("a", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.unplug("a", "b.x")
    gate.open()
    flow.drained()
    flow.stop()
    # as far as such an undo had come: the plug is there, and nothing has been brought
    with sqlite3.connect(flow.folder / "flow.db") as db:
        db.execute("INSERT INTO plug VALUES (?, ?, ?, ?, ?)", plug)
    db.close()
    flow.reopen()
    flow.drained()
    assert flow.results("b") == [1]
    flow.restart()
    flow.drained()
    assert flow.results("b") == [1]


# -- every question after an undo --------------------------------------------------
def test_a_flow_that_lost_the_record_of_a_socket_opens_with_its_requests(flow):
    flow.socket(echo, "a")
    request = flow.submit("a", x=1)
    flow.result(request)
    flow.stop()
    with sqlite3.connect(flow.folder / "flow.db") as db:
        db.execute("DELETE FROM socket")
    db.close()
    flow.reopen()
    assert views(flow) == {request: "done"}
    assert flow.requests()[0]["socket"] == "a"


def test_a_request_that_cannot_be_read_is_named_by_the_status_and_set_aside(flow):
    flow.socket(echo)
    flow.ask("pause", sockets=["echo"])
    bad, good = flow.submit("echo", x=1), flow.submit("echo", x=2)
    flow.requests()
    flow.stop()
    with sqlite3.connect(flow.folder / "flow.db") as db:
        db.execute("UPDATE request SET inputs = NULL WHERE id = ?", (bad,))
    db.close()
    flow.reopen()
    flow.ask("resume", sockets=["echo"])
    assert flow.result(good) == 2
    ((unit, why),) = flow.query("counts")["aside"].items()
    assert unit == f"request {bad}"
    assert why.startswith(f"it cannot be read (KeyError: -65); flow.retry({bad}) tries it again")
    assert flow.row(bad)["error"]["kind"] == "aside"
    with pytest.raises(EngineError, match=r"met a defect of ec_jupyter \(KeyError: -65\)"):
        flow.query("arguments", id=bad)
    with pytest.raises(EngineError, match="met a defect"):
        flow.ask("retry", ids=[bad])
    assert flow.result(good) == 2
    assert {row["id"]: row["state"] for row in flow.requests()} == {good: "done", bad: "failed"}


def test_a_request_records_the_revision_whose_plugs_its_result_met(flow, gate, marks):
    flow.socket(hold)
    flow.socket(echo, "b")
    first = flow.submit("hold", x=5, marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.plug("hold", "b.x")
    flow.ask("undo")
    flow.ask("redo")
    revision = flow.client.topology["revision"]
    gate.open()
    flow.result(first)
    flow.drained()
    assert flow.count("b")["done"] == 1
    assert [r["revision"] for r in flow.requests()] == [revision, revision]
    assert flow.ask("history")["rows"][-1]["n"] == revision


def test_a_broken_frame_is_refused_and_ends_nothing(flow):
    flow.socket(echo)
    for kind, header in (
        ("query", {}),
        ("submit", {"rows": [[]]}),
        ("edit", {"changes": [{"op": "plug"}]}),
        ("what", {}),
    ):
        with pytest.raises(EcError):
            flow.client.ask(kind, header)
    assert flow.result(flow.submit("echo", x=1)) == 1
