"""Who looks at a picture, and who counts for it: several views, closed ones, and those that go without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from ec_jupyter.client.client import Client
from tests.kernel.pagekit import SOCKETS, VIEW, Page, shown

EAR = """line, ear = flow._client, []
def heard(header, buffers):
    ear.append(header)
    line._on_push(header, buffers)
line._handlers['counts'] = heard"""
"""Hears what counts the engine sends, and asks for none."""


LATE = """import threading
overtaken, ask = threading.Event(), flow._client.ask
def late(kind, header=None, *buffers, **limit):
    answer = ask(kind, header, *buffers, **limit)
    if header == {'what': 'counts'}:
        flow.submit('emit', 1)
        overtaken.wait(60)
    return answer
flow._client.ask = late
def heard(header, buffers):
    flow._client._on_push(header, buffers)
    if header['sockets']['emit']['done']:
        overtaken.set()
flow._client._handlers['counts'] = heard"""
"""The thread that asks for counts is slow: it takes the answer after a call has been done and the push of that came."""


@pytest.fixture
def page(kernel: Any) -> Page:
    kernel.run(SOCKETS)
    return Page(kernel, shown(kernel)[VIEW]["model_id"])


@pytest.fixture
def witness(page: Page, notebook_folder: Path) -> Iterator[Client]:
    """Another client of the page's flow."""
    (folder,) = (notebook_folder / ".ec_jupyter").glob("*/")
    client = Client.open(folder, folder.name)
    yield client
    client.close()


@pytest.fixture
def counted(witness: Client, wait_until: Callable[..., Any]) -> Callable[[Page], int]:
    """A function that lets one call be done, and says how many counts the kernel was sent for it."""
    done = [0]
    witness.listen("counts", lambda header, buffers: done.append(header["sockets"]["emit"]["done"]))

    def counted(page: Page) -> int:
        before, many = int(page.run("len(ear)")), done[-1]
        page.run("flow.submit('emit', 1).result(60)")
        # the engine tells all who listen at once, and answers a ping after that
        wait_until(lambda: done[-1] > many)
        return int(page.run("left = flow._client.ask('ping'); len(ear)")) - before

    return counted


def comes(page: Page) -> bool:
    """Whether the kernel tells numbers still: one message may be on its way, and then they beat each second."""
    page.ask("rates")
    return heard(page, 3.0, len(page.metrics) + 1)


def heard(page: Page, seconds: float, many: int = 0) -> bool:
    """Whether there are more messages of numbers than so many, or come before nothing comes for some seconds."""
    try:
        return bool(page.listen(lambda: len(page.metrics) > many, seconds))
    except Empty:
        return False


def test_a_view_that_scrolls_away_does_not_stop_the_numbers_of_the_others(page: Page) -> None:
    page.send(k="hello", view="one")
    page.send(k="hello", view="two")
    page.listen(lambda: page.metrics)
    page.send(k="look", visible=False, view="one")
    page.run("flow.submit('emit', 1).result(60)")
    page.listen(lambda: page.counts()["emit"]["done"] == 1)
    # the same view twice is one view
    page.send(k="look", visible=False, view="one")
    assert comes(page)
    page.send(k="look", visible=False, view="two")
    assert not comes(page)


def test_a_view_that_comes_later_gets_all_numbers_and_not_only_news(page: Page) -> None:
    page.send(k="hello", view="one")
    page.run("flow.submit('emit', 1).result(60)")
    page.listen(lambda: page.counts().get("emit", {}).get("done") == 1)
    page.metrics.clear()
    page.send(k="hello", view="two")
    page.listen(lambda: any(m["full"] for m in page.metrics))
    assert page.counts()["emit"]["done"] == 1


def test_numbers_that_come_before_an_older_answer_is_taken_are_shown(page: Page) -> None:
    page.run(LATE)
    page.send(k="hello", view="one")
    page.listen(lambda: page.metrics)
    page.run("flow._client.ask = ask; flow.wait(60)")
    page.listen(lambda: page.counts()["emit"]["done"] == 1)


def test_the_engine_counts_for_a_picture_only_while_somebody_looks(page: Page, counted: Callable[[Page], int]) -> None:
    page.send(k="hello", view="one")
    page.send(k="hello", view="two")
    page.listen(lambda: page.metrics)
    page.run(EAR)
    assert counted(page) >= 1
    page.send(k="look", visible=False, view="one")
    page.ask("rates")
    assert counted(page) >= 1
    page.send(k="look", visible=False, view="two")
    assert not comes(page)
    assert counted(page) == 0
    page.send(k="look", visible=True, view="one")
    many = len(page.metrics)
    page.listen(lambda: len(page.metrics) > many and page.counts()["emit"]["done"] == 3)
    assert counted(page) >= 1


def test_a_view_that_goes_without_a_word_is_given_up_and_one_that_says_it_is_there_is_not(
    page: Page, counted: Callable[[Page], int]
) -> None:
    page.run("import ec_jupyter.notebook.editor as editor; editor.SILENCE = editor.GRACE = 0.3")
    page.send(k="hello", view="one")
    for _ in range(4):
        page.metrics.clear()
        page.listen(lambda: page.metrics)
        page.send(k="here", view="one")
    page.run(EAR)
    while heard(page, 3):
        page.metrics.clear()
    assert counted(page) == 0
    # a page that had slept is all of a sudden back
    page.send(k="here", view="one")
    page.listen(lambda: page.metrics)
    assert page.metrics[0]["full"] is True


def test_a_page_is_not_given_up_for_what_it_could_not_say_beside_a_busy_cell(page: Page, gate: Any) -> None:
    page.run("import ec_jupyter.notebook.editor as editor; editor.SILENCE = editor.GRACE = 0.3")
    # as where there are no subshells: what the page says is read after the cell
    page.subshell = None
    page.send(k="hello", view="one")
    page.listen(lambda: page.metrics)
    cell = page.kernel.begin("import os; os.read(os.open('gate', os.O_RDONLY), 1)")
    many = len(page.metrics)
    page.listen(lambda: len(page.metrics) >= many + 4)
    page.send(k="here", view="one")
    gate.open(1)
    page.listen(lambda: page.ended(cell))


def test_a_wait_that_is_over_leaves_no_counts_behind(page: Page, counted: Callable[[Page], int]) -> None:
    page.run("flow.submit('emit', 1); left = flow.wait(60)")
    page.run(EAR)
    assert counted(page) == 0


def test_a_closed_flow_counts_for_no_picture(page: Page, witness: Client) -> None:
    page.send(k="hello", view="one")
    page.listen(lambda: page.metrics)
    page.run("editor = flow.editor; flow.close()")
    many = len(page.metrics)
    witness.ask("ping")
    # one may have been on its way
    assert not heard(page, 2.5, many + 1)
