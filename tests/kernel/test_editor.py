"""The picture in a real kernel: comm messages over ZMQ, as a front end sends them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from queue import Empty
from typing import Any

import pytest

from tests.kernel.pagekit import SECONDS, SOCKETS, VIEW, Page, shown


@pytest.fixture
def page(kernel: Any) -> Page:
    """A page that looks at a flow with two sockets."""
    kernel.run(SOCKETS)
    return Page(kernel, shown(kernel)[VIEW]["model_id"])


@pytest.mark.shared_engine
def test_a_picture_is_a_widget_an_svg_and_text(kernel: Any) -> None:
    kernel.run(SOCKETS)
    kernel.run("flow.plug('emit', 'join.left'); flow.submit('emit', 1); left = flow.wait(60)")
    bundle = shown(kernel)
    assert set(bundle) >= {VIEW, "image/svg+xml", "text/plain"}
    assert "emit(x) v1" in bundle["text/plain"]
    assert bundle["image/svg+xml"].startswith("<svg ")
    assert ">1 done<" in bundle["image/svg+xml"]
    assert "1 arrived" in bundle["image/svg+xml"]
    again = shown(kernel, "flow.editor")
    assert again[VIEW] == bundle[VIEW]


def test_an_idle_kernel_starts_the_next_engine_after_a_kill_and_the_page_hears_of_it(page: Page) -> None:
    page.send(k="hello")
    page.listen(lambda: page.metrics)
    assert [life["state"] for life in page.lives] == ["running"]
    pid = int(page.run("flow._client.engine_pid"))
    os.kill(pid, signal.SIGKILL)
    # no cell runs from here on
    page.listen(lambda: page.lives[-1]["state"] == "starting")
    assert page.lives[-1]["text"] == "the engine is gone, starting again"
    many = page.listen(lambda: page.lives[-1]["state"] == "running" and len(page.metrics))
    page.listen(lambda: any(metrics["full"] for metrics in page.metrics[many:]))
    assert int(page.run("flow._client.engine_pid")) != pid


@pytest.mark.shared_engine
def test_numbers_come_while_somebody_looks_and_not_otherwise(page: Page, gate: Any) -> None:
    kernel = page.kernel
    page.send(k="hello")
    page.listen(lambda: page.metrics)
    assert page.metrics[0]["full"] is True
    assert set(page.metrics[0]["sockets"]) == {"emit", "join"}
    cell = kernel.begin("import os; flow.submit('emit', 1).result(60); os.read(os.open('gate', os.O_RDONLY), 1)")
    page.listen(lambda: page.counts()["emit"]["done"] == 1)
    assert not page.ended(cell)
    gate.open(1)
    page.listen(lambda: page.ended(cell))
    assert [m["seq"] for m in page.metrics] == sorted({m["seq"] for m in page.metrics})
    # a beat comes though nothing happens
    many = len(page.metrics)
    page.listen(lambda: len(page.metrics) >= many + 2)
    assert page.metrics[-1]["sockets"] == {}
    page.send(k="look", visible=False)
    page.ask("rates")
    many = len(page.metrics)
    page.run("flow.submit('emit', 1).result(60); left = flow.wait(60)")
    # one may have been on its way
    with pytest.raises(Empty):
        page.listen(lambda: len(page.metrics) > many + 1, 3.0)
    page.send(k="look", visible=True)
    page.listen(lambda: page.metrics[-1]["full"] and page.counts()["emit"]["done"] == 2)


@pytest.mark.shared_engine
def test_a_front_end_that_makes_no_subshell_has_numbers_during_a_cell_and_its_commands_after_it_in_order(
    page: Page, gate: Any
) -> None:
    page.hello()
    page.subshell = None
    cell = page.kernel.begin("import os; flow.submit('emit', 1).result(60); os.read(os.open('gate', os.O_RDONLY), 1)")
    page.listen(lambda: page.counts()["emit"]["done"] == 1)
    for at, op in enumerate(("plug", "unplug", "plug")):
        change = {"op": op, "source": "emit", "target": "join", "argument": "left", "on": "result"}
        page.send(k="command", id=str(at), op="edit", args={"changes": [change]}, revision=None)
    many = len(page.metrics)
    page.listen(lambda: len(page.metrics) >= many + 2)
    assert not page.answers
    assert not page.ended(cell)
    gate.open(1)
    page.listen(lambda: len(page.answers) == 3)
    assert [page.answers[str(at)]["ok"] for at in range(3)] == [True] * 3
    page.listen(lambda: page.graphs and len(page.graphs[-1]["plugs"]) == 1)
    page.kernel.replied(cell)


@pytest.mark.shared_engine
def test_a_picture_opened_in_the_middle_of_a_call_shows_how_far_it_is(page: Page, gate: Any) -> None:
    page.run(
        "import os\n@ec.socket\ndef steps(n):\n    for _ in ec.progress(range(n), text='files'):\n"
        "        os.read(os.open('gate', os.O_RDONLY), 1)\n"
    )
    page.run("r = flow.submit('steps', 3)")
    gate.open(1)
    page.run("import time\nwhile r.progress != '1 of 3 files': time.sleep(0.01)")
    page.hello()
    assert page.counts()["steps"]["progress"] == {"calls": 1, "done": 1, "total": 3, "text": "files"}
    assert page.ask("request", id=int(page.run("r.id")))["row"]["progress"] == {"done": 1, "total": 3, "text": "files"}
    gate.open(2)
    page.listen(lambda: page.counts()["steps"]["progress"] is None)


@pytest.mark.shared_engine
def test_the_picture_follows_what_code_wires(page: Page) -> None:
    kernel = page.kernel
    cell = kernel.begin("flow.plug('emit', 'join.left'); flow.rename('join', 'meet'); None")
    page.listen(lambda: page.graphs and "meet" in page.graphs[-1]["sockets"])
    (plug,) = page.graphs[-1]["plugs"]
    assert (plug["source"], plug["target"], plug["argument"]) == ("emit", "meet", "left")
    page.listen(lambda: page.ended(cell))
    assert page.graphs[-1]["revision"] == int(kernel.run("flow.revision").text)


@pytest.mark.shared_engine
def test_undo_in_the_picture_is_the_flows_undo(page: Page) -> None:
    kernel = page.kernel
    kernel.run("flow.plug('emit', 'join.left'); flow.plug('emit', 'join.right')")
    assert page.ask("undo")["text"] == "plug emit -> join.right"
    assert page.run("flow.undo()") == "'plug emit -> join.left'"
    page.listen(lambda: page.graphs and page.graphs[-1]["plugs"] == [])
    assert page.ask("redo")["text"] == "plug emit -> join.left"
    refused = page.edit("plug", source="emit", target="join", argument="middle", on="result")
    assert refused["ok"] is False
    assert refused["error"] == "'join' has no argument 'middle'; known: left, right"


@pytest.mark.shared_engine
def test_a_value_supplied_in_the_picture_makes_the_call(page: Page) -> None:
    kernel = page.kernel
    kernel.run("flow.plug('emit', 'join.left'); flow.submit('emit', 1); flow.wait(60)")
    (row,) = page.ask("waiting", socket="join")["rows"]
    where = {"party": row["party"], "tag": row["tag"]}
    assert page.ask("supply", socket="join", **where, argument="right", text="[2]")["ok"]
    assert kernel.run("flow.wait(60); flow.results('join')").text == "[[1, [2]]]"
    page.send(k="hello")
    page.listen(lambda: page.counts().get("join", {}).get("done") == 1)


@pytest.mark.shared_engine
def test_a_command_that_goes_wrong_within_is_answered(page: Page) -> None:
    page.send(k="command", id="odd", op=["not", "a", "name"], args=7)
    assert page.listen(lambda: page.answers.get("odd"))["ok"] is False
    page.send(k="nothing")
    page.send(no="kind")
    assert page.ask("rates")["ok"]


def test_after_a_restart_the_same_cell_shows_a_live_picture_again(page: Page) -> None:
    kernel = page.kernel
    page.edit("plug", source="emit", target="join", argument="left", on="result")
    page.edit("position", positions={"emit": [5, 6]})
    kernel.manager.restart_kernel(now=False)
    kernel.client.wait_for_ready(timeout=SECONDS)
    kernel.run("%load_ext ec_jupyter")
    kernel.run("import ec_jupyter as ec; flow = ec.flow()")
    new = Page(kernel, shown(kernel)[VIEW]["model_id"])
    assert new.model != page.model
    new.send(k="hello")
    new.listen(lambda: new.metrics)
    assert kernel.run("flow.editor.graph['sockets']['emit']['box'][:2]").text == "[5, 6]"
    assert new.edit("unplug", source="emit", target="join", argument="left", on="result")["ok"]
    new.listen(lambda: new.graphs and new.graphs[-1]["plugs"] == [])


def boxes(graph: dict[str, Any]) -> dict[str, list[float]]:
    return {name: socket["box"][:2] for name, socket in graph["sockets"].items()}


def test_cards_that_were_seen_stay_where_they_are_whatever_is_plugged_and_made_later(page: Page) -> None:
    page.hello()
    page.listen(lambda: page.graphs)
    seen = boxes(page.graphs[-1])
    assert page.edit("plug", source="join", target="emit", argument="x")["ok"]
    page.run("@ec.socket\ndef last(x): return x\nflow.plug('emit', 'last')")
    page.listen(lambda: "last" in page.graphs[-1]["sockets"] and len(page.graphs[-1]["plugs"]) == 2)
    now = boxes(page.graphs[-1])
    assert {name: now[name] for name in seen} == seen
    assert now["last"] not in seen.values()
    assert page.ask("undo")["ok"]
    page.listen(lambda: len(page.graphs[-1]["plugs"]) == 1)
    assert boxes(page.graphs[-1]) == now
    # that a card was given a place is no edit of the person's
    assert all("move" not in row["text"] for row in page.ask("history")["rows"])


def test_a_picture_that_looks_at_a_stopped_flow_starts_no_engine_and_a_click_does(page: Page) -> None:
    page.hello()
    page.run("from ec_jupyter.client.launch import running; flow.stop()")
    for view in ("one", "two"):
        page.send(k="look", visible=False, view=view)
        page.send(k="hello", view=view)
    for op in ("requests", "history", "waiting", "rates", "statistics", "log"):
        assert not page.ask(op, socket="emit")["ok"]
    assert page.ask("svg")["text"].startswith("<svg ")
    assert page.run("running(flow.folder)") == "False"
    assert page.ask("start")["ok"]
    assert page.run("running(flow.folder)") == "True"
    assert page.ask("history")["ok"]


def test_a_closed_flow_leaves_its_picture_as_it_was(page: Page, wait_until: Callable[..., Any]) -> None:
    kernel = page.kernel
    bundle = kernel.run("editor = flow.editor; flow.close(); editor")
    assert "image/svg+xml" in bundle.kinds
    assert "emit(x) v1" in bundle.text
    names = "import threading; 'ec-editor' in [t.name for t in threading.enumerate()]"
    wait_until(lambda: kernel.run(names).text == "False")


def test_without_built_files_there_is_the_svg_and_how_to_build(kernel: Any) -> None:
    kernel.run(SOCKETS)
    kernel.run("import ec_jupyter.notebook.editor as e, pathlib; e.FRONT = pathlib.Path('nowhere')")
    bundle = shown(kernel)
    assert VIEW not in bundle
    assert "run `make front`" in bundle["image/svg+xml"]
    assert "emit(x) v1" in bundle["text/plain"]
