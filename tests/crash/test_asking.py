"""Questions and answers where engines and kernels are killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ec_jupyter import ask
from ec_jupyter.errors import AnswerError, EcError, RequestTimeoutError
from ec_jupyter.notebook.flow import Flow as Notebook
from tests.crash.flowkit import Flow, echo

APPROVE = ask("Approve?", choices=["yes", "no"])
KILLS = 5


def pair(one: object, two: object) -> object:
    return one, two


def test_questions_and_answers_are_each_there_once_whoever_is_killed_when(flow: Flow) -> None:
    """Engines are killed while answers arrive: each is in force or was not given, and none is another's."""
    flow.socket(echo)
    flow.socket(APPROVE, "approve")
    flow.socket(pair)
    flow.plug("echo", "approve.value")
    flow.plug("echo", "pair.one")
    flow.plug("approve", "pair.two")
    runs = flow.map("echo", [{"x": n} for n in range(40)])
    flow.drained()
    flow.restart()
    rows = flow.waiting("approve")
    # in the order in which they were asked, which is that in which their values came
    assert sorted(row["run"] for row in rows) == runs
    said: dict[int, str] = {}
    for n, row in enumerate(rows):
        word = ("yes", "no")[n % 2]
        kill = threading.Thread(target=flow.kill_engine) if n % (40 // KILLS) == 3 else None
        if kill:
            kill.start()
        # a client sends it again to the next engine, which takes it once
        flow.answer(row["request"], word)
        said[row["request"]] = word
        if kill:
            kill.join()
    flow.reopen()
    flow.drained()
    assert {row["id"]: flow.result(row["id"]) for row in flow.requests(socket="approve")} == said
    words = {row["run"]: said[row["request"]] for row in rows}
    assert sorted(flow.results("pair")) == [(n, words[run]) for n, run in enumerate(runs)]


def test_of_answers_that_come_at_once_one_holds_and_the_others_are_told_which(
    flow: Flow, make_flow: Callable[..., Flow]
) -> None:
    flow.socket(APPROVE, "approve")
    request = flow.submit("approve", value=1)
    others = [make_flow(flow.folder) for _ in range(3)]
    told: list[Any] = []

    def answer(one: Flow, who: str) -> None:
        try:
            one.answer(request, "yes", who=who)
            told.append(who)
        except EcError as error:
            told.append(error)

    threads = [threading.Thread(target=answer, args=(one, f"person {n}")) for n, one in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (first,) = [one for one in told if isinstance(one, str)]
    refused = [one for one in told if not isinstance(one, str)]
    assert len(refused) == 2
    assert all(isinstance(one, AnswerError) and f"{first} answered 'yes'" in str(one) for one in refused)
    flow.restart()
    assert flow.result(request) == "yes"


def test_a_question_whose_time_ended_while_no_engine_was_there_fails_with_the_next(flow: Flow) -> None:
    flow.socket(APPROVE, "approve", timeout=0.5)
    flow.ask("pause", sockets=["approve"])
    request = flow.submit("approve", value=1)
    flow.restart()
    notebook = Notebook(flow.client)
    with pytest.raises(RequestTimeoutError, match=r"nobody answered 'approve' within 0\.5 s"):
        notebook.request(request).result(60)
    flow.edit({"op": "socket", "name": "approve", "timeout": None, "task": flow_task(flow)})
    notebook.retry(notebook.request(request))
    assert flow.state(request) == "asked"
    flow.answer(request, "no")
    assert flow.result(request) == "no"


def flow_task(flow: Flow) -> dict[str, Any]:
    """The task of the question as it is."""
    task = flow.client.topology["sockets"]["approve"]["task"]
    return {key: task[key] for key in ("identity", "sha256", "signature", "ask")}
