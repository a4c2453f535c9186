"""Values that cannot be read are set aside with all that waits in their party: seen, and taken back or given up."""

from __future__ import annotations

import pytest

from ec_jupyter.client.commands import answer, command
from ec_jupyter.errors import RequestNotFoundError, StoreDamagedError
from ec_jupyter.notebook.flow import Flow as Notebook
from tests.crash.flowkit import damaged, echo


def pair(one, two):
    return (one, two)


@pytest.fixture
def flow(flow):
    """A value waits for a stranger, another for the next of its queue, and neither's place can be read."""
    for name in ("a", "b", "c"):
        flow.socket(echo, name)
    flow.socket(pair, "join")
    flow.socket(pair, "zipped", join="zip")
    for source, target in (("a", "join.one"), ("b", "join.two"), ("c", "zipped.one")):
        flow.plug(source, target)
    flow.submit("a", x=1)
    # what arrives first is shown first
    flow.drained()
    flow.submit("c", x=2)
    changed(flow, "UPDATE arrival SET tag = 'no tag'")
    return flow


def changed(flow, statement):
    damaged(flow, statement)
    flow.reopen()


def test_values_that_are_set_aside_are_seen_with_the_reason_and_wait_again_once_they_are_retried(flow):
    notebook = Notebook(flow.client)
    items = list(notebook.waiting())
    assert [(item.socket, item.argument, item.value()) for item in items] == [("join", "one", 1), ("zipped", "one", 2)]
    assert all("cannot be read (ValueError" in item.aside for item in items)
    assert all("set aside: it cannot be read" in line for line in repr(notebook.waiting()).splitlines()[1:3])
    assert "flow.retry and flow.discard" in repr(notebook.status())
    changed(flow, "UPDATE arrival SET tag = ''")
    notebook = Notebook(flow.client)
    items = list(notebook.waiting("join")) + list(notebook.waiting("zipped"))
    notebook.retry(items)
    assert [item.aside for item in notebook.waiting()] == [None, None]
    flow.submit("b", x=3)
    flow.supply("zipped", two=4)
    flow.drained()
    assert (flow.results("join"), flow.results("zipped")) == ([(1, 3)], [(2, 4)])
    assert flow.query("counts")["aside"] == {}
    with pytest.raises(RequestNotFoundError, match="is set aside"):
        items[0].retry()


def test_a_picture_lets_what_is_set_aside_wait_again_or_gives_it_up(flow):
    def ids():
        rows = command(flow.client, "waiting")["rows"]
        return {row["socket"]: row["arguments"]["one"]["arrivals"][0]["id"] for row in rows if row.get("aside")}

    aside = ids()
    refused = answer(flow.client, "retry", {"arrivals": [aside["join"]]})
    assert "still cannot be read" in refused["error"]
    command(flow.client, "discard", {"arrivals": [aside["zipped"]]})
    assert ids() == {"join": aside["join"]}
    changed(flow, "UPDATE arrival SET tag = ''")
    command(flow.client, "retry", {"arrivals": [aside["join"]]})
    assert ids() == {}
    flow.submit("b", x=3)
    flow.drained()
    assert flow.results("join") == [(1, 3)]


def test_values_that_are_set_aside_and_cannot_be_read_still_are_given_up(flow):
    notebook = Notebook(flow.client)
    with pytest.raises(StoreDamagedError, match=r"party 1 still cannot be read .*; flow\.discard gives it up"):
        notebook.retry(notebook.waiting())
    assert all(item.aside for item in notebook.waiting())
    notebook.discard(notebook.waiting())
    assert list(notebook.waiting()) == []
    assert flow.query("counts")["aside"] == {}
    flow.restart()
    assert flow.query("counts")["aside"] == {}
    first = flow.submit("a", x=5)
    flow.submit("b", x=6)
    flow.drained()
    assert flow.results("join") == [(5, 6)]
    assert flow.state(first) == "done"
