"""Schedules in memory: what ticks when, what a restart makes up for, what an edit does to them. The clock is given."""

from __future__ import annotations

import time

import pytest

from ec_jupyter.errors import DeclarationError, ScheduleNotFoundError
from tests.store.rig import agrees

HOUR = 3600.0


def poll(folder="."):
    return folder


def watch(folder):
    return folder


@pytest.fixture
def flow(flow):
    """A flow with something to call."""
    flow.socket(poll)
    flow.socket(watch)
    return flow


def every(flow, seconds, socket="poll", **options):
    flow.edit({"op": "schedule", "socket": socket, "every": seconds, **options})


def due(flow, name="poll"):
    return flow.query("schedules")["next"][name]


def look(flow, at):
    """Let an engine look at the clock."""
    flow.client.engine.schedules.due(at)
    flow.client.engine.tick(whole=True)


def calls(flow):
    return len(flow.requests(socket="poll"))


def test_a_tick_makes_one_call_and_the_next_is_a_period_later(flow):
    began = time.time()
    every(flow, HOUR)
    at = due(flow)
    assert at == pytest.approx(began + HOUR, abs=60)
    look(flow, at - 1)
    assert calls(flow) == 0
    look(flow, at)
    look(flow, at)
    assert (calls(flow), due(flow)) == (1, at + HOUR)
    assert flow.results("poll") == ["."]


def test_an_engine_with_a_schedule_is_told_when_to_wake(flow):
    schedules = flow.client.engine.schedules
    assert (schedules.next, schedules.live) == ([], False)
    every(flow, HOUR)
    assert schedules.live
    assert schedules.next[0] - time.monotonic() == pytest.approx(HOUR, abs=60)


@pytest.mark.parametrize(("missed", "n"), [("once", 1), ("all", 5), ("skip", 0)])
def test_ticks_that_no_engine_saw_are_made_up_for_by_their_rule_however_often_engines_end(flow, missed, n):
    every(flow, HOUR, missed=missed)
    at = due(flow)
    flow.restart()
    assert due(flow) == at
    for _ in range(3):
        look(flow, at + 4.5 * HOUR)
        flow.restart()
    agrees(flow.client.engine.core)
    assert (calls(flow), due(flow)) == (n, at + 5 * HOUR)
    told = [line["text"] for line in flow.query("log", text="ticks at a time")["lines"]]
    assert len(told) == (missed != "all")
    look(flow, at + 5 * HOUR)
    assert calls(flow) == n + 1


def test_a_tick_whose_engine_ends_before_its_commit_is_made_by_the_next(flow):
    every(flow, HOUR)
    at = due(flow)
    # decided, and not written
    flow.client.engine.schedules.due(at)
    flow.restart()
    assert (calls(flow), due(flow)) == (0, at)
    look(flow, at)
    flow.restart()
    look(flow, at)
    assert (calls(flow), due(flow)) == (1, at + HOUR)


def test_the_same_words_again_change_nothing_and_others_begin_anew(flow):
    every(flow, HOUR)
    at = due(flow)
    look(flow, at)
    revision = flow.client.topology["revision"]
    every(flow, HOUR)
    assert (due(flow), flow.client.topology["revision"]) == (at + HOUR, revision)
    every(flow, HOUR, missed="all")
    every(flow, 60)
    assert due(flow) == pytest.approx(time.time() + 60, abs=30)
    (row,) = flow.client.topology["schedules"]
    assert (row["name"], row["socket"], row["text"], row["missed"]) == ("poll", "poll", "every 1m", "once")


def test_a_socket_has_several_schedules_by_name(flow):
    every(flow, HOUR)
    flow.edit({"op": "schedule", "socket": "poll", "cron": "0 6 * * *", "zone": "UTC", "name": "morning"})
    assert due(flow, "morning") % 86_400 == 6 * HOUR
    flow.edit({"op": "unschedule", "name": "poll"})
    assert list(flow.query("schedules")["next"]) == ["morning"]
    flow.restart()
    assert list(flow.query("schedules")["next"]) == ["morning"]


def test_what_is_taken_away_ticks_no_more_and_undo_brings_it_back_without_what_it_missed(flow):
    every(flow, HOUR)
    first = due(flow)
    look(flow, first + 7 * HOUR)
    flow.edit({"op": "unschedule", "name": "poll"})
    look(flow, first + 20 * HOUR)
    assert calls(flow) == 1
    flow.restart()
    assert flow.client.engine.schedules.next == []
    flow.ask("undo")
    assert time.time() < due(flow) <= time.time() + HOUR


def test_a_socket_takes_its_schedules_along_and_brings_them_back(flow):
    every(flow, HOUR)
    flow.edit({"op": "rename", "name": "poll", "to": "look"})
    assert flow.client.topology["schedules"][0]["socket"] == "look"
    flow.edit({"op": "remove", "name": "look"})
    assert (flow.client.topology["schedules"], flow.client.engine.schedules.next) == ([], [])
    flow.ask("undo")
    assert [row["name"] for row in flow.client.topology["schedules"]] == ["poll"]


def test_ticks_of_a_socket_that_is_paused_wait_in_its_queue(flow):
    every(flow, HOUR)
    flow.ask("pause", sockets=["poll"])
    look(flow, due(flow))
    assert flow.count("poll")["queued"] == 1


def test_a_tick_of_a_full_socket_makes_no_call_and_the_log_says_so(flow):
    flow.socket(poll, limit=1, full="error")
    every(flow, HOUR, missed="all")
    flow.ask("pause", sockets=["poll"])
    at = due(flow)
    look(flow, at + 2 * HOUR)
    assert (flow.count("poll")["queued"], due(flow)) == (1, at + 3 * HOUR)
    lines = flow.query("log", text="a tick makes no call")["lines"]
    assert [line["text"] for line in lines] == [
        "schedule 'poll': a tick makes no call, for 'poll' is full: it holds 1 (limit=1)"
    ] * 2


def test_a_tick_of_a_socket_that_has_come_to_need_an_argument_makes_no_call_and_the_log_says_so(flow):
    every(flow, HOUR)

    def poll(folder):
        return folder

    flow.socket(poll)
    at = due(flow)
    look(flow, at)
    assert (flow.requests(socket="poll"), due(flow)) == ([], at + HOUR)
    (line,) = flow.query("log", text="a tick makes no call")["lines"]
    needs = "for 'poll' needs 'folder'; give them defaults, or fix them with flow.fix"
    assert line["text"] == f"schedule 'poll': a tick makes no call, {needs}"
    flow.fix("poll.folder", 1)
    look(flow, due(flow))
    assert flow.results("poll") == [1]


def test_a_clock_that_is_set_back_stops_no_period(flow, monkeypatch):
    every(flow, HOUR)
    back = time.time() - 100 * HOUR
    monkeypatch.setattr(time, "time", lambda: back)
    flow.client.engine.schedules.clock_set()
    assert due(flow) == back + HOUR


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"socket": "watch", "every": 60}, "a tick brings no arguments, and 'watch' needs 'folder'; give"),
        ({"socket": "poll"}, "schedule 'poll': one of every= and cron= says when it ticks"),
        ({"socket": "poll", "every": 60, "cron": "0 6 * * *"}, "one of every= and cron="),
        ({"socket": "poll", "every": 60, "zone": "UTC"}, "zone= goes with cron="),
        ({"socket": "poll", "every": 0.1}, "every= takes a time such as .* at least 1 s, not 0.1"),
    ],
)
def test_what_cannot_tick_is_refused_in_one_line_and_nothing_is_changed(flow, change, said):
    with pytest.raises(DeclarationError, match=said):
        flow.edit({"op": "schedule", **change})
    assert flow.client.topology["schedules"] == []


def test_one_that_is_not_there_cannot_be_taken_away(flow):
    every(flow, HOUR)
    with pytest.raises(ScheduleNotFoundError, match="no schedule named 'pol'; did you mean 'poll'"):
        flow.edit({"op": "unschedule", "name": "pol"})


def test_a_paused_schedule_does_not_tick_nor_keep_the_engine_and_goes_on_from_when_it_is_resumed(flow):
    every(flow, HOUR)
    began = due(flow) - HOUR
    every(flow, HOUR, paused=True)
    look(flow, began + 5 * HOUR)
    assert (calls(flow), flow.query("schedules")["next"], flow.client.engine.schedules.live) == (0, {}, False)
    flow.restart()
    every(flow, HOUR)
    assert due(flow) == began + HOUR
    look(flow, began + HOUR)
    assert (calls(flow), flow.client.engine.schedules.live) == (1, True)
