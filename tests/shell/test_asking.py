"""What a person types to be asked, and to answer."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ec_jupyter.errors import AnswerError, DeclarationError, RequestTimeoutError

pytestmark = pytest.mark.shared_engine

WIRING = """
flow = ec.flow()
@ec.socket
def draft(n): return f"text {n}"
@ec.socket
def publish(text, decision): return (text, decision)
approve = flow.socket(ec.ask("Publish?", choices=["yes", "no"]), name="approve")
flow.plug("draft", approve)
flow.plug("draft", "publish.text")
flow.plug(approve, "publish.decision")
"""


@pytest.fixture
def asks(loaded: Any, wait_until: Any) -> Any:
    """A shell whose flow asks before it publishes, with two questions that are open."""
    loaded.run(WIRING)
    loaded.run("runs = [r.run for r in flow.map('draft', range(2))]")
    wait_until(lambda: len(loaded.run("flow.requests(state='asked')")) == 2)
    return loaded


def test_a_person_finds_the_questions_with_what_they_are_about_and_answers(asks: Any) -> None:
    assert asks.run("repr(approve)").startswith("<socket approve(value)")
    # asked in any order
    first, second = sorted(asks.run("flow.waiting('approve')"), key=lambda question: question.value())
    text = "waits for a person: 'Publish?', 'yes' or 'no'>"
    assert repr(first) == f"<request {first.request} at approve {text}"
    assert (first.value(), first.choices, first.missing) == ("text 0", ["yes", "no"], ["a person"])
    assert "Publish? (yes, no)" in repr(asks.run("flow.waiting()"))
    (row,) = [row for row in asks.run("flow.status()").rows if row["socket"] == "approve"]
    assert (row["note"], row["queued"]) == ("2 wait for a person", 0)
    left = asks.run("%ec_wait --timeout 60")
    assert (left["asked"], "2 asked" in left.title) == (2, True)
    with pytest.raises(TimeoutError, match=f"request {first.request} of 'approve' waits for a person after"):
        asks.run(f"flow.request({first.request}).result(0.2)")
    with pytest.raises(TimeoutError, match="has 1 asked, 0 queued and 0 running requests"):
        asks.run("runs[0].wait(0.2)")
    first.answer("yes")
    asks.run(f"%ec_answer {second.request} no")
    assert asks.run("[run.results('publish', 60) for run in runs]") == [[("text 0", "yes")], [("text 1", "no")]]
    with pytest.raises(AnswerError, match=r"was answered before: .* answered 'yes', .*the first answer holds"):
        asks.run(f"flow.answer({first.request}, 'no')")
    assert asks.run(f"flow.request({first.request}).output").endswith("answered 'yes'\n")
    assert asks.run("flow.requests('approve')[0].done()")


def test_what_a_flow_asks_is_written_down_and_loaded_again(asks: Any) -> None:
    code = asks.run("flow.to_code()")
    assert "ec_jupyter.ask('Publish?', choices=['yes', 'no'])" in code
    asks.run("flow.save('asks.json'); other = ec.load('asks.json', 'other')")
    asks.run("r = other.submit('approve', 'x'); other.answer(r, 'no', by='anna')")
    assert asks.run("(r.result(60), r.output)") == ("no", "anna answered 'no'\n")
    asks.run(code.replace("ec.flow()", "ec.flow('third')"))
    assert asks.run("flow['approve'].task.source") == "ec.ask('Publish?', choices=['yes', 'no'])"
    # the same words are the same task
    assert asks.run("flow.socket(ec.ask('Publish?', choices=['yes', 'no']), name='approve').task.version") == 1
    assert asks.run("flow.socket(ec.ask('Really?'), name='approve').task.version") == 2
    assert json.loads(asks.run("flow.to_json()"))["sockets"]["approve"]["task"]["code"] == "ec_jupyter.ask('Really?')"


def test_magics_ask_and_answer_in_any_words(loaded: Any) -> None:
    loaded.run('%ec_ask rows "Which rows?" --about table')
    loaded.run('%ec_ask fit "Good?" --choices "yes, no" --timeout 0.2')
    loaded.run("flow = ec.flow(); a = flow.submit('rows', 't'); b = flow.submit('rows', table='t'); n = 3")
    loaded.run("%ec_answer a [1, n]")
    loaded.run("%ec_answer b all of them")
    assert loaded.run("(a.result(60), b.result(60))") == ([1, 3], "all of them")
    assert "nobody answered 'fit' within 0.2 s" in str(loaded.fail("flow.submit('fit', 1).result(60)"))
    assert isinstance(loaded.fail("flow.requests('fit')[0].result(60)"), RequestTimeoutError)
    assert "write %ec_answer" in str(loaded.fail("%ec_answer 12"))


def test_what_is_asked_can_be_tried_by_hand(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["perhaps", "2"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(said))
    assert loaded.run("ec.ask('How many?', choices=[1, 2])('value')") == 2
    with pytest.raises(TypeError):
        loaded.run("ec.ask('How many?')()")


def test_a_socket_that_asks_needs_a_name_and_no_signature(loaded: Any) -> None:
    assert isinstance(loaded.fail("ec.flow().socket(ec.ask('x'))"), DeclarationError)
    assert "about= of ec.ask names its arguments" in str(loaded.fail("ec.socket(ec.ask('x'), name='x', signature='a')"))
    loaded.run("@ec.socket(name='named', retries=1)\ndef f(x): return x")
    assert loaded.run("ec.flow()['named'].options['retries']") == 1
    assert loaded.run("ec.socket(abs, name='size')") is abs


def test_an_open_question_takes_no_worker_and_no_cpu(asks: Any, wait_until: Any) -> None:
    assert wait_until(lambda: asks.run("flow.status()['idle']"))
    nodes = asks.run("flow.status()['nodes']")
    assert [node["used"] for node in nodes] == [0]
    assert asks.run("flow.status()['time']") <= time.time()
