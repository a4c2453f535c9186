"""Sockets that ask a person, in memory: their calls wait in the queue, take one answer, and do what all requests do."""

from __future__ import annotations

import time

import pytest

from ec_jupyter import ask
from ec_jupyter.errors import AnswerError, DeclarationError, FrameError, RequestNotFoundError, RevisionError
from tests.store.rig import agrees

APPROVE = ask("Approve?", choices=["yes", "no"])


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def numbers(n):
    return list(range(n))


def double(x):
    return 2 * x


@pytest.fixture
def asks(flow):
    """A socket whose results a person approves, and one that gets what they say."""
    flow.socket(echo)
    flow.socket(APPROVE, "approve")
    flow.socket(pair)
    flow.plug("echo", "approve.value")
    flow.plug("echo", "pair.one")
    flow.plug("approve", "pair.two")
    return flow


def test_a_call_waits_until_a_person_answers_and_the_answer_is_its_result_and_goes_on(asks):
    run = asks.submit("echo", x="draft")
    left = asks.drained()
    assert {word: left[word] for word in ("waiting", "paused", "asked")} == {"waiting": 1, "paused": 0, "asked": 1}
    (question,) = asks.waiting("approve")
    assert (question["ask"], question["run"], question["until"]) == (APPROVE.record, run, None)
    assert (asks.state(question["request"]), asks.query("run", id=run)["state"]) == ("asked", "waiting")
    assert (asks.count("approve")["asked"], asks.count("approve")["queued"]) == (1, 0)
    asks.answer(question["request"], "yes")
    assert asks.result(question["request"]) == "yes"
    assert asks.results("pair") == [("draft", "yes")]
    assert asks.query("run", id=run)["state"] == "done"
    assert asks.query("output", id=question["request"])["chunks"] == [["answer", "anna answered 'yes'\n"]]


def test_a_question_survives_its_engine_and_so_does_the_answer(asks):
    runs = [asks.submit("echo", x=n) for n in range(3)]
    asks.restart()
    assert [row["run"] for row in asks.waiting("approve")] == runs
    asks.answer(asks.waiting("approve")[1]["request"], "no")
    asks.restart()
    agrees(asks.client.engine.core)
    assert asks.results("pair") == [(1, "no")]
    assert [row["run"] for row in asks.waiting("approve")] == [runs[0], runs[2]]


def test_a_second_answer_is_refused_with_who_gave_the_first_and_when(asks):
    asks.submit("echo", x=1)
    request = asks.waiting("approve")[0]["request"]
    asks.answer(request, "yes", who="anna")
    year = time.strftime("%Y-")
    for _ in range(2):
        with pytest.raises(AnswerError, match=rf"'approve' was answered before: anna answered 'yes', {year}.*first"):
            asks.answer(request, "no", who="ben")
        asks.restart()
    assert asks.results("pair") == [(1, "yes")]


def test_what_asks_nobody_is_not_answered_and_says_why(asks):
    asks.submit("echo", x=1)
    (echoed,) = asks.requests(socket="echo")
    with pytest.raises(AnswerError, match="of 'echo' asks no more: it is done since"):
        asks.answer(echoed["id"], "yes")
    with pytest.raises(RequestNotFoundError, match="no request 99"):
        asks.answer(99, "yes")
    request = asks.waiting("approve")[0]["request"]
    with pytest.raises(AnswerError, match="'maybe' is no answer that 'approve' takes; known: no, yes"):
        asks.answer(request, "maybe")
    for wrong in (True, 1, None):
        with pytest.raises(AnswerError, match="is no answer that 'approve' takes"):
            asks.answer(request, wrong)
    with pytest.raises(AnswerError, match="is no answer that 'approve' takes"):
        asks.answer(request, ("yes",))
    with pytest.raises(FrameError, match="names a buffer that it does not bring"):
        asks.ask("respond", request=request, value=[None, 1, "int"])
    asks.socket(echo, "approve_not")
    held = asks.submit_some("approve", value=2)
    assert asks.state(held) == "asked"
    asks.answer(request, "yes")


def test_without_choices_any_value_is_an_answer(flow):
    flow.socket(ask("Which rows?", about="table"), "rows")
    flow.socket(double)
    flow.plug("rows", "double")
    first, second = flow.submit("rows", table="t"), flow.submit("rows", table="t")
    flow.answer(first, ([1, 2],))
    with pytest.raises(AnswerError, match="takes any value as its answer, and none is given"):
        flow.answer(second, "yes")
    assert flow.results("double") == [[1, 2, 1, 2]]


def test_choices_keep_their_types(flow):
    flow.socket(ask("How many?", choices=[1, 2.5, True, "1"], about=[]), "many")
    requests = [flow.submit("many") for _ in range(4)]
    for request, said in zip(requests, [1, 2.5, True, "1"], strict=True):
        flow.answer(request, said)
    assert [(type(said), said) for said in flow.results("many")] == [(int, 1), (float, 2.5), (bool, True), (str, "1")]


def test_a_question_is_cancelled_retried_and_given_up_as_any_request(asks):
    asks.submit("echo", x=1)
    request = asks.waiting("approve")[0]["request"]
    assert asks.ask("cancel", ids=[request])["cancelled"] == 1
    with pytest.raises(AnswerError, match=r"it is cancelled since .*; retry it, and it asks again"):
        asks.answer(request, "yes")
    asks.restart()
    asks.ask("retry", ids=[request])
    assert asks.state(request) == "asked"
    asks.ask("cancel", ids=[request])
    asks.ask("discard", request=request)
    assert (asks.state(request), asks.count("pair")["skipped"]) == ("skipped", 1)


def test_a_question_that_nobody_answers_in_time_fails_and_its_error_plug_carries_that(flow):
    flow.socket(ask("Approve?", choices=["yes"]), "approve", timeout=60)
    flow.socket(echo)
    flow.plug("approve", "echo.x", on="error")
    request = flow.submit("approve", value=1)
    assert flow.waiting("approve")[0]["until"] == pytest.approx(time.time() + 60, abs=30)
    (due,) = flow.client.engine.questions.next
    assert 0 < due - time.monotonic() <= 60
    flow.client.engine.questions.due(due - 1)
    assert flow.state(request) == "asked"
    flow.restart()
    row = flow.row(request)
    assert (row["state"], row["error"]["type"]) == ("failed", "RequestTimeoutError")
    assert "nobody answered 'approve' within 60 s (timeout=60)" in row["error"]["message"]
    assert flow.count("echo")["done"] == 1


def test_the_time_for_an_answer_begins_anew_where_it_is_asked_again(flow):
    flow.socket(ask("Approve?", choices=["yes"]), "approve", timeout=1000)
    requests = [flow.submit("approve", value=n) for n in range(2)]
    core = flow.client.engine.core
    flow.client.engine.questions.due(float("inf"))
    assert flow.client.engine.questions.next == []
    flow.ask("retry", ids=requests[:1])
    with core.store.transaction() as db:
        db.execute("UPDATE request SET created = created - 5000")
    flow.restart()
    (due,) = flow.client.engine.questions.next
    assert due - time.monotonic() > 900
    flow.answer(requests[0], "yes")


def test_more_questions_than_memory_keeps_are_all_answered(flow):
    flow.client.engine.core.dispatch.limit = 4
    flow.socket(APPROVE, "approve")
    requests = flow.map("approve", [{"value": n} for n in range(20)])
    assert (flow.count("approve")["asked"], len(flow.waiting("approve"))) == (20, 20)
    assert flow.query("waiting", socket="approve", limit=3)["more"] == 17
    for request in (*requests[15:], *requests[:15]):
        flow.answer(request, "yes")
    assert flow.results("approve") == ["yes"] * 20
    assert flow.count("approve")["asked"] == 0
    agrees(flow.client.engine.core)


def test_elements_of_a_map_are_asked_one_by_one_and_gathered(flow):
    for task in (numbers, echo):
        flow.socket(task)
    flow.socket(APPROVE, "approve")
    flow.plug("numbers", "approve.value", map=True)
    flow.plug("approve", "echo.x", gather=True)
    flow.submit("numbers", n=3)
    rows = flow.waiting("approve")
    assert [row["element"] for row in rows] == [[0], [1], [2]]
    flow.restart()
    for row, said in zip(reversed(rows), ["no", "yes", "no"], strict=True):
        flow.answer(row["request"], said)
    assert flow.results("echo") == [["no", "yes", "no"]]


def test_a_question_may_join_as_any_socket_does(flow):
    flow.socket(echo)
    flow.socket(echo, "other")
    flow.socket(ask("Same?", choices=[True, False], about=["left", "right"]), "same", join="zip")
    flow.plug("echo", "same.left")
    flow.plug("other", "same.right")
    flow.submit("echo", x=1)
    assert [row.get("ask") for row in flow.waiting("same")] == [None]
    flow.submit("other", x=1)
    (row,) = flow.waiting("same")
    assert list(row["arguments"]) == ["left", "right"]
    flow.answer(row["request"], True)
    assert flow.results("same") == [True]


def test_a_condition_decides_by_the_answer_where_it_goes(flow):
    flow.socket(APPROVE, "approve")
    flow.socket(echo)
    flow.socket(echo, "other")
    flow.plug("approve", "echo.x", when=lambda result: result == "yes")
    flow.plug("approve", "other.x", when=lambda result: result == "no")
    first, second = flow.submit("approve", value=1), flow.submit("approve", value=2)
    flow.answer(first, "yes")
    flow.answer(second, "no")
    assert (flow.results("echo"), flow.results("other")) == (["yes"], ["no"])


def test_a_task_in_place_of_a_question_runs_what_was_asked_and_the_other_way_round(flow):
    flow.socket(APPROVE, "step")
    first = flow.submit("step", value=1)
    flow.socket(lambda value: value + 1, "step")
    assert flow.result(first) == 2
    flow.ask("undo")
    second = flow.submit("step", value=2)
    assert flow.state(second) == "asked"
    flow.answer(second, "no")
    flow.ask("redo")
    assert (flow.result(second), flow.result(flow.submit("step", value=3))) == ("no", 4)


def test_a_removed_question_waits_for_its_undo_and_a_paused_one_is_answered(asks):
    asks.submit("echo", x=1)
    request = asks.waiting("approve")[0]["request"]
    asks.edit({"op": "remove", "name": "approve", "force": True})
    with pytest.raises(AnswerError, match="its socket was removed; undo brings it back"):
        asks.answer(request, "yes")
    asks.ask("undo")
    asks.ask("pause", sockets=["approve"])
    asks.answer(request, "yes")
    assert asks.results("approve") == ["yes"]


def test_an_answer_is_not_undone_and_undo_says_so(asks):
    asks.submit("echo", x=1)
    request = asks.waiting("approve")[0]["request"]
    asks.ask("respond", request=request, choice="yes", by="code")
    with pytest.raises(RevisionError, match="an answer cannot be undone"):
        asks.ask("undo", by="code")


def test_options_of_calls_and_prompts_that_are_none_are_refused(flow):
    with pytest.raises(DeclarationError, match="'approve' asks a person, so retries= has no meaning; timeout= says"):
        flow.socket(APPROVE, "approve", retries=2)
    for wrong in ({"prompt": "", "choices": None}, {"prompt": "x", "choices": []}, {"prompt": "x"}, {"prompt": 1}):
        asked = ask("x")
        asked.__class__ = type("Wrong", (ask,), {"record": wrong})
        with pytest.raises(DeclarationError, match="task is to be a task"):
            flow.socket(asked, "approve")
    assert flow.client.topology["sockets"] == {}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"prompt": ""}, "ask takes a text of 1 to 2000 characters, not ''"),
        ({"prompt": "x", "choices": "yes"}, "choices= takes a list of answers, not the text 'yes'"),
        ({"prompt": "x", "choices": ["a", "a"]}, "choices= takes 1 to 100 different texts"),
        ({"prompt": "x", "choices": [None]}, "choices= takes .*, not None"),
        ({"prompt": "x", "about": "not a name"}, "about= takes names of arguments, not 'not a name'"),
    ],
)
def test_what_cannot_be_asked_is_refused_where_it_is_written(given, text):
    with pytest.raises(DeclarationError, match=text):
        ask(**given)
