"""Edits of a flow in memory: all or nothing, in force at once, and nothing that waits is lost."""

from __future__ import annotations

import pytest

from ec_jupyter.errors import CycleError, RevisionError, SocketNotFoundError, WiringError
from tests.crash.flowkit import plug_change, socket_change, views


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def strangers(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.socket(pair, "join")
    flow.plug("a", "join.one")
    flow.plug("b", "join.two")


def test_an_edit_with_one_bad_change_changes_nothing_at_all(flow):
    change, blob = socket_change(echo, "good")
    before = flow.client.topology
    with pytest.raises(SocketNotFoundError, match="did you mean 'good'"):
        flow.edit(change, {"op": "plug", "source": "good", "target": "goood", "argument": "x"}, blobs=[blob])
    flow.restart()
    assert flow.client.topology == before
    assert flow.ask("history")["rows"] == []


def test_several_changes_are_one_revision_and_one_undo(flow):
    first, blob = socket_change(echo, "first")
    second, _ = socket_change(echo, "second")
    plug, _ = plug_change("first", "second.x")
    flow.edit(first, second, plug, blobs=[blob])
    revision = flow.client.topology["revision"]
    assert len(flow.ask("history")["rows"]) == 1
    flow.ask("undo")
    assert flow.client.topology["sockets"] == {}
    assert flow.client.topology["plugs"] == []
    flow.ask("redo")
    assert set(flow.client.topology["sockets"]) == {"first", "second"}
    assert flow.client.topology["revision"] > revision
    flow.restart()
    flow.submit("first", x=2)
    flow.drained()
    assert flow.results("second") == [2]


def test_undo_and_redo_go_on_over_restarts_with_growing_revisions(flow):
    strangers(flow)
    revisions = [flow.client.topology["revision"]]
    for _ in range(2):
        flow.ask("undo")
        flow.restart()
        revisions.append(flow.client.topology["revision"])
    assert flow.client.topology["plugs"] == []
    for _ in range(2):
        flow.ask("redo")
        flow.restart()
        revisions.append(flow.client.topology["revision"])
    assert revisions == sorted(set(revisions))
    assert len(flow.client.topology["plugs"]) == 2
    with pytest.raises(RevisionError, match="nothing to redo"):
        flow.ask("redo")


def test_what_is_paused_meanwhile_does_not_stop_an_undo_and_stays_paused(flow):
    flow.socket(echo, retries=1)
    flow.socket(echo, retries=2)
    flow.ask("pause", sockets=["echo"])
    flow.ask("undo")
    socket = flow.client.topology["sockets"]["echo"]
    assert (socket["retries"], socket["paused"]) == (1, True)


def test_a_new_edit_ends_what_could_be_redone(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.ask("undo")
    flow.socket(echo, "c")
    with pytest.raises(RevisionError, match="nothing to redo"):
        flow.ask("redo")
    assert set(flow.client.topology["sockets"]) == {"a", "c"}


def test_a_plug_made_after_another_was_removed_and_the_engine_restarted_has_an_identity_of_its_own(flow):
    strangers(flow)
    (last,) = [p["id"] for p in flow.client.topology["plugs"] if p["source"] == "b"]
    flow.unplug("b", "join.two")
    flow.restart()
    flow.plug("b", "join.two")
    assert [p["id"] for p in flow.client.topology["plugs"] if p["source"] == "b"] != [last]


def test_the_same_cell_again_makes_no_version_and_a_changed_one_does(flow):
    flow.socket(echo)
    revision = flow.client.topology["revision"]
    flow.socket(echo)
    assert flow.client.topology["revision"] == revision
    flow.socket(lambda x: -x, "echo")
    assert [v["version"] for v in flow.query("versions", socket="echo")["rows"]] == [1, 2]
    assert flow.result(flow.submit("echo", x=1)) == -1


def test_the_same_plug_twice_is_one_plug(flow):
    strangers(flow)
    revision = flow.client.topology["revision"]
    flow.plug("a", "join.one")
    assert flow.client.topology["revision"] == revision
    assert len(flow.client.topology["plugs"]) == 2


def test_a_cycle_is_refused_naming_both_ends(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.plug("a", "b.x")
    with pytest.raises(CycleError, match="from 'b' to 'a' would close a cycle"):
        flow.plug("b", "a.x")
    with pytest.raises(CycleError, match="from 'a' to 'a'"):
        flow.plug("a", "a.x")


def test_a_plug_to_no_such_argument_names_the_nearest(flow):
    strangers(flow)
    with pytest.raises(WiringError, match="did you mean 'two'"):
        flow.plug("a", "join.tow")


def test_one_source_in_two_arguments_pairs_each_result_with_itself(flow):
    flow.socket(echo, "a")
    flow.socket(pair, "join")
    flow.plug("a", "join.one")
    flow.plug("a", "join.two")
    flow.map("a", [{"x": i} for i in range(100)])
    flow.drained()
    assert sorted(flow.results("join")) == [(i, i) for i in range(100)]


def test_each_target_of_a_result_gets_a_value_of_its_own(flow):
    flow.socket(echo, "a")
    flow.socket(lambda x: x.append(9) or x, "spoil")
    flow.socket(echo, "look")
    flow.plug("a", "spoil.x")
    flow.plug("a", "look.x")
    flow.submit("a", x=[1])
    flow.drained()
    assert flow.results("spoil") == [[1, 9]]
    assert flow.results("look") == [[1]]


def test_two_plugs_on_one_argument_bring_an_arrival_each(flow):
    strangers(flow)
    flow.socket(echo, "c")
    flow.plug("c", "join.one")
    flow.submit("a", x=1)
    flow.submit("c", x=2)
    flow.map("b", [{"x": 10}, {"x": 20}])
    flow.drained()
    assert sorted(flow.results("join")) == [(1, 10), (2, 20)]


def test_each_result_goes_to_the_plugs_in_force_when_it_is_committed_once(flow):
    for name in ("a", "old", "new"):
        flow.socket(echo, name)
    flow.plug("a", "old.x")
    ids = flow.map("a", [{"x": i} for i in range(400)])
    flow.row(ids[80])
    unplug = {"op": "unplug", "source": "a", "target": "old", "argument": "x"}
    plug, _ = plug_change("a", "new.x")
    flow.edit(unplug, plug)
    flow.drained()
    old, new = flow.results("old"), flow.results("new")
    assert sorted(old + new) == list(range(400))
    assert len(old) >= 81


def test_queued_calls_wait_for_an_argument_that_a_new_version_requires(flow):
    flow.socket(echo, "step")
    flow.socket(echo, "other")
    flow.ask("pause", sockets=["step"])
    ids = flow.map("step", [{"x": i} for i in range(3)])
    flow.socket(lambda x, y: (x, y), "step")
    flow.ask("resume", sockets=["step"])
    flow.drained()
    assert {flow.state(i) for i in ids} == {"waiting"}
    flow.restart()
    assert {flow.state(i) for i in ids} == {"waiting"}
    flow.plug("other", "step.y")
    flow.map("other", [{"x": 10 * i} for i in range(2)])
    flow.drained()
    assert [flow.result(i) for i in ids[:2]] == [(0, 0), (1, 10)]
    flow.supply("step", ids[2], y=99)
    assert flow.result(ids[2]) == (2, 99)


def test_queued_calls_run_when_the_new_argument_has_a_default_or_the_old_one_is_gone(flow):
    flow.socket(pair, "step")
    flow.ask("pause", sockets=["step"])
    request = flow.submit("step", one=1, two=2)
    flow.socket(lambda one, three=3: (one, three), "step")
    flow.ask("resume", sockets=["step"])
    row = flow.row(request)
    # an argument the task has no more is not passed on
    assert (row["state"], flow.client.load(row["value"])) == ("done", (1, 3))


def test_an_unplugged_arguments_arrival_stays_and_meets_a_partner_once_it_is_plugged_again(flow):
    strangers(flow)
    flow.submit("a", x=1)
    flow.drained()
    flow.unplug("a", "join.one")
    assert flow.count("join")["arrived"] == 1
    flow.restart()
    assert flow.count("join")["arrived"] == 1
    flow.plug("a", "join.one")
    flow.submit("b", x=2)
    flow.drained()
    assert flow.results("join") == [(1, 2)]


def test_a_new_plug_makes_strangers_of_runs_that_were_under_way(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.socket(pair, "join")
    flow.plug("a", "join.one")
    flow.ask("pause", sockets=["a", "b"])
    flow.map("a", [{"x": i} for i in range(3)])
    flow.map("b", [{"x": i} for i in range(3)])
    flow.plug("b", "join.two")
    flow.restart()
    flow.ask("resume", sockets=["a", "b"])
    flow.drained()
    assert sorted(flow.results("join")) == [(0, 0), (1, 1), (2, 2)]


def test_an_argument_that_is_gone_keeps_its_arrival_until_it_is_back(flow):
    strangers(flow)
    flow.submit("a", x=1)
    flow.drained()
    change, blob = socket_change(lambda two: two, "join")
    flow.edit({"op": "unplug", "source": "a", "target": "join", "argument": "one"}, change, blobs=[blob])
    assert flow.count("join")["arrived"] == 1
    flow.restart()
    flow.socket(pair, "join")
    flow.plug("a", "join.one")
    flow.submit("b", x=2)
    flow.drained()
    assert flow.results("join") == [(1, 2)]


def test_an_argument_added_in_mid_wait_is_waited_for_too(flow):
    strangers(flow)
    flow.socket(echo, "c")
    flow.submit("a", x=1)
    flow.drained()
    flow.socket(lambda one, two, three: (one, two, three), "join")
    flow.plug("c", "join.three")
    flow.submit("b", x=2)
    flow.drained()
    assert flow.results("join") == []
    flow.restart()
    flow.submit("c", x=3)
    flow.drained()
    assert flow.results("join") == [(1, 2, 3)]


def test_a_value_fixed_in_mid_wait_completes_the_join_at_once(flow):
    strangers(flow)
    flow.submit("a", x=1)
    flow.drained()
    flow.unplug("b", "join.two")
    flow.fix("join.two", 10)
    flow.drained()
    assert flow.results("join") == [(1, 10)]
    flow.restart()
    flow.submit("a", x=2)
    flow.drained()
    assert sorted(flow.results("join")) == [(1, 10), (2, 10)]


def test_a_renamed_socket_keeps_its_queue_its_plugs_and_what_waits(flow):
    strangers(flow)
    flow.submit("a", x=1)
    flow.drained()
    flow.edit({"op": "rename", "name": "join", "to": "meet"})
    flow.restart()
    flow.submit("b", x=2)
    flow.drained()
    assert flow.results("meet") == [(1, 2)]


def test_a_socket_at_which_something_waits_is_removed_by_force_only_and_comes_back_whole(flow):
    strangers(flow)
    flow.submit("a", x=1)
    flow.drained()
    with pytest.raises(WiringError, match="1 request or value waits"):
        flow.edit({"op": "remove", "name": "join"})
    flow.edit({"op": "remove", "name": "join", "force": True})
    assert "join" not in flow.client.topology["sockets"]
    flow.submit("b", x=99)
    flow.drained()
    flow.restart()
    flow.ask("undo")
    assert flow.count("join")["arrived"] == 1
    flow.submit("b", x=2)
    flow.drained()
    assert flow.results("join") == [(1, 2)]


def test_queued_requests_of_a_removed_socket_are_parked_and_run_after_the_undo(flow):
    flow.socket(echo)
    flow.ask("pause", sockets=["echo"])
    ids = flow.map("echo", [{"x": i} for i in range(5)])
    with pytest.raises(WiringError, match="5 requests or values wait"):
        flow.edit({"op": "remove", "name": "echo"})
    flow.edit({"op": "remove", "name": "echo", "force": True})
    assert flow.drained()["paused"] == 5
    flow.restart()
    flow.ask("undo")
    flow.ask("resume", sockets=["echo"])
    assert [flow.result(i) for i in ids] == list(range(5))


def test_a_declaration_that_is_undone_while_requests_wait_opens_again_and_redo_lets_them_run(flow):
    flow.socket(echo, "add")
    flow.ask("pause", sockets=["add"])
    request = flow.submit("add", x=1)
    said = flow.ask("undo")["warnings"]
    assert said == ["1 request or value waits at 'add', which is gone; redo brings it back"]
    assert views(flow) == {request: "queued"}
    flow.restart()
    assert views(flow) == {request: "queued"}
    flow.ask("redo")
    flow.ask("resume", sockets=["add"])
    assert flow.result(request) == 1


def test_a_join_whose_declaration_is_undone_keeps_what_waits_there_over_further_edits_and_restarts(flow):
    flow.socket(pair, "join")
    values = flow.values({"one": 1})
    (request,) = flow.client.submit([("join", values)], partial=True)
    flow.ask("undo")
    flow.socket(echo, "other")
    flow.restart()
    assert views(flow) == {request: "waiting"}
    assert flow.result(flow.submit("other", x=3)) == 3


def test_all_views_answer_after_the_undo_of_a_declaration_whose_requests_are_done(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.plug("a", "b.x")
    request = flow.submit("a", x=1)
    flow.drained()
    for _ in range(3):
        flow.ask("undo")
    assert list(views(flow).values()) == ["done", "done"]
    assert {row["socket"] for row in flow.query("lineage", id=request)["nodes"]} == {"a", "b"}
    flow.restart()
    assert list(views(flow).values()) == ["done", "done"]


def test_undo_finds_a_fixed_value_that_was_taken_away_before_the_flow_was_cleared(flow):
    flow.socket(pair)
    flow.fix("pair.two", 7)
    flow.edit({"op": "unfix", "socket": "pair", "argument": "two"})
    flow.ask("clear")
    flow.ask("undo")
    assert flow.result(flow.submit("pair", one=1)) == (1, 7)


def test_a_value_that_the_wiring_no_longer_asks_for_expires_like_any_other(flow):
    flow.socket(pair, "a", wait=0.3)
    (request,) = flow.client.submit([("a", flow.values({"two": 1}))], partial=True)
    flow.socket(lambda one, two=0: one, "a")
    row = flow.row(request)
    assert row["state"] == "failed"
    assert row["error"]["message"] == "one of 'a' did not come within 0.3 s (wait=0.3)"
    flow.restart()
    assert views(flow) == {request: "failed"}


def test_a_failed_call_that_waits_after_a_retry_and_fails_again_delivers_its_error_once(flow):
    flow.socket(lambda one: 1 / 0, "a", wait=0.3)
    flow.socket(echo, "b")
    flow.plug("a", "b.x", on="error")
    request = flow.submit("a", one=1)
    assert flow.row(request)["state"] == "failed"
    flow.socket(pair, "a")
    flow.ask("retry", ids=[request])
    assert flow.row(request)["error"]["kind"] == "expired"
    flow.drained()
    assert flow.count("b")["done"] == 1
    assert flow.requests(ids=[request])[0]["attempt"] == 1


def test_main_is_there_from_the_start_and_cannot_be_taken_away(flow):
    assert set(flow.client.topology["processors"]) == {"main"}
    with pytest.raises(WiringError, match="processor 'main' is always there"):
        flow.edit({"op": "remove_processor", "name": "main"})
    flow.edit({"op": "processor", "name": "main", "cpus": 1})
    flow.ask("undo")
    flow.restart()
    assert flow.client.topology["processors"]["main"]["cpus"] is None


def test_edits_that_were_undone_stay_in_the_history_marked_when_a_new_one_is_made(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.ask("undo")
    flow.socket(echo, "c")
    rows = [(row["text"], row["undone"]) for row in flow.ask("history")["rows"]]
    assert rows == [
        ("socket a v1", False),
        ("socket b v1", True),
        ("undo: socket b v1", False),
        ("socket c v1", False),
    ]
    flow.ask("undo")
    flow.ask("undo")
    assert flow.client.topology["sockets"] == {}


def test_a_request_records_the_revision_and_version_it_was_made_under(flow):
    flow.socket(echo)
    first = flow.submit("echo", x=1)
    flow.result(first)
    revision = flow.client.topology["revision"]
    flow.socket(lambda x: -x, "echo")
    second = flow.submit("echo", x=1)
    flow.result(second)
    rows = flow.requests(socket="echo")
    assert [(r["revision"], r["version"]) for r in rows] == [(revision, 1), (revision + 1, 2)]


def test_a_plug_for_failures_that_a_redo_brings_back_finds_that_none_of_a_runs_calls_has_failed(flow):
    flow.socket(echo, "root")
    flow.socket(echo, "work")
    flow.socket(pair, "join")
    flow.plug("root", "work.x", map=True)
    flow.plug("work", "join.one", on="error")
    flow.ask("pause", sockets=["work"])
    flow.submit("root", x=[1, 2])
    flow.drained()
    flow.ask("undo")
    flow.ask("resume", sockets=["work"])
    flow.drained()
    flow.restart()
    flow.ask("redo")
    assert flow.drained() == flow.drained() | {"waiting": 0, "failed": 0}
    assert len(flow.requests(socket="work", state="done")) == 2
