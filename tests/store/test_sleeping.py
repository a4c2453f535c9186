"""Sockets that sleep, in memory: their calls wait in the queue and then pass on what they were given."""

from __future__ import annotations

import time

import pytest

from ec_jupyter import ask, sleep
from ec_jupyter.errors import AnswerError, DeclarationError, WiringError
from tests.store.rig import agrees

DAY = 86_400.0


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def numbers(n):
    return list(range(n))


def large(n):
    return b"x" * n


@pytest.fixture
def flow(flow):
    """A value that meets itself two days later."""
    flow.socket(echo)
    flow.socket(sleep("2d"), "cool_off")
    flow.socket(pair)
    flow.plug("echo", "cool_off.value")
    flow.plug("echo", "pair.one")
    flow.plug("cool_off", "pair.two")
    return flow


def sleeping(flow, socket="cool_off"):
    return flow.requests(socket=socket, state="delayed")


def wake(flow):
    """Let all the time pass that calls sleep."""
    flow.client.engine.questions.due(float("inf"))
    flow.client.engine.tick(whole=True)


def test_a_call_sleeps_without_a_worker_and_then_passes_on_what_it_got(flow):
    began = time.time()
    run = flow.submit("echo", x="draft")
    flow.drained()
    (row,) = sleeping(flow)
    assert row["due"] == pytest.approx(began + 2 * DAY, abs=60)
    counts = flow.count("cool_off")
    assert (counts["delayed"], counts["queued"], counts["asked"], counts["running"]) == (1, 0, 0, 0)
    assert flow.waiting("cool_off") == []
    (at,) = flow.client.engine.questions.next
    assert at - time.monotonic() == pytest.approx(2 * DAY, abs=60)
    flow.client.engine.questions.due(at - 60)
    assert len(sleeping(flow)) == 1
    wake(flow)
    assert flow.results("pair") == [("draft", "draft")]
    assert flow.query("run", id=run)["state"] == "done"


def test_what_is_left_of_the_time_survives_engines(flow):
    flow.submit("echo", x=1)
    for _ in range(2):
        flow.restart()
        agrees(flow.client.engine.core)
    (at,) = flow.client.engine.questions.next
    assert at - time.monotonic() == pytest.approx(2 * DAY, abs=60)
    wake(flow)
    flow.restart()
    assert flow.results("pair") == [(1, 1)]


@pytest.mark.parametrize("value", [None, 5, "text", [1, {"a": 2}]])
def test_any_value_is_passed_on_as_it_is(flow, value):
    request = flow.submit("cool_off", value=value)
    wake(flow)
    assert flow.result(request) == value


def test_a_large_value_is_passed_on_and_stays(flow):
    flow.socket(large)
    flow.plug("large", "cool_off.value")
    flow.submit("large", n=1_000_000)
    flow.drained()
    wake(flow)
    flow.restart()
    flow.ask("gc")
    assert flow.results("cool_off") == [b"x" * 1_000_000]


def test_elements_of_a_split_sleep_each_and_are_gathered_after_it(flow):
    flow.socket(numbers)
    flow.socket(echo, "collect")
    flow.plug("numbers", "cool_off.value", map=True)
    flow.plug("cool_off", "collect.x", gather=True)
    flow.submit("numbers", n=3)
    flow.drained()
    assert len(sleeping(flow)) == 3
    wake(flow)
    assert flow.results("collect") == [[0, 1, 2]]


def test_what_is_paused_sleeps_on(flow):
    flow.submit("echo", x=1)
    flow.drained()
    flow.ask("pause", sockets=["cool_off"])
    assert flow.client.engine.questions.next == []
    wake(flow)
    assert len(sleeping(flow)) == 1
    flow.ask("resume", sockets=["cool_off"])
    wake(flow)
    assert flow.results("pair") == [(1, 1)]


def test_a_sleep_is_cancelled_and_begins_anew_when_it_is_retried(flow):
    flow.submit("echo", x=1)
    flow.drained()
    (row,) = sleeping(flow)
    assert flow.ask("cancel", ids=[row["id"]])["cancelled"] == 1
    flow.ask("retry", ids=[row["id"]])
    assert sleeping(flow)[0]["due"] >= row["due"]
    wake(flow)
    assert flow.results("pair") == [(1, 1)]


def test_a_shorter_time_of_the_same_socket_holds_for_those_that_sleep(flow):
    flow.submit("echo", x=1)
    flow.drained()
    flow.socket(sleep(60), "cool_off")
    (at,) = flow.client.engine.questions.next
    assert at - time.monotonic() <= 60


def test_what_sleeps_is_not_answered(flow):
    flow.submit("echo", x=1)
    flow.drained()
    with pytest.raises(AnswerError, match="'cool_off' asks nobody: it sleeps"):
        flow.answer(sleeping(flow)[0]["id"], 1)


@pytest.mark.parametrize("how", [{"gather": True}, {"on": "error"}])
def test_what_is_no_single_value_is_refused_before_anything_changes(flow, how):
    flow.socket(numbers)
    with pytest.raises(WiringError, match="'cool_off' sleeps and passes on one value as it is; it does not take"):
        flow.plug("numbers", "cool_off.value", **how)
    assert len(flow.client.topology["plugs"]) == 3


@pytest.mark.parametrize("option", ["retries", "timeout", "threads"])
def test_options_of_workers_have_no_meaning(flow, option):
    with pytest.raises(DeclarationError, match=f"socket 'nap' sleeps, so {option}= has no meaning"):
        flow.socket(sleep(1), "nap", **{option: 2})


@pytest.mark.parametrize("time", ["soon", 0, -1, None, float("inf")])
def test_a_sleep_takes_a_time(time):
    with pytest.raises(DeclarationError, match=r"ec\.sleep: seconds= takes seconds, or a time such as"):
        sleep(time)


def test_a_function_or_a_question_in_its_place_takes_what_slept(flow):
    flow.submit("echo", x=1)
    flow.drained()
    flow.socket(ask("Go on?", choices=["yes"]), "cool_off")
    assert flow.count("cool_off")["asked"] == 1
    flow.socket(lambda value: -value, "cool_off")
    flow.drained()
    assert flow.results("pair") == [(1, -1)]
