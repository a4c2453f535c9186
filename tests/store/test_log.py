"""The log in pages: every line once, in order of time, and of what is sought those lines alone."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.engine.log_lines import WINDOW, lines
from ec_jupyter.errors import RequestNotFoundError, SocketNotFoundError
from tests.store.rig import Memory, start, topology

TABLES = {"output": "add_output", "event": "add_event", "revision": "put_revision"}


def row(table: str, at: float, n: int) -> tuple[Any, ...]:
    """A row of a table, whose text is its number."""
    return {
        "output": (1, "stdout", f"line {n}", at),
        "event": (at, "notice", None, f"line {n}"),
        "revision": (n, "[]", f"line {n}", at, 0),
    }[table]


def pages(core: Any, limit: int, **asked: Any) -> list[list[dict[str, Any]]]:
    """All pages, the newest first."""
    found, older = [], None
    while True:
        reply, _ = lines(core, {**asked, "limit": limit, "older": older})
        found.append(reply["lines"])
        older = reply["older"]
        if older is None:
            return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(TABLES)), st.integers(0, 3)), max_size=40), st.integers(1, 7))
def test_pages_have_every_line_once_and_in_order_of_time(rows: list[tuple[str, int]], limit: int) -> None:
    core = start(Memory(), topology({"a": ["x"]}))
    at = 1000.0
    for n, (table, wait) in enumerate(rows, 1):
        at += wait
        core.store.write(TABLES[table], row(table, at, n))
    found = pages(core, limit)
    assert all(len(page) <= limit for page in found)
    together = [line for page in reversed(found) for line in page]
    assert sorted(line["text"] for line in together) == sorted(f"line {n}" for n in range(1, len(rows) + 1))
    assert [line["time"] for line in together] == sorted(line["time"] for line in together)
    core.store.close()


def test_what_came_since_a_page_is_asked_for_by_its_end_and_nothing_is_told_twice() -> None:
    core = start(Memory(), topology({"a": ["x"]}))
    core.store.write("add_output", row("output", 1.0, 1))
    reply, _ = lines(core, {})
    core.store.write("add_event", row("event", 2.0, 2))
    core.store.write("add_output", row("output", 3.0, 3))
    more, _ = lines(core, {"newer": reply["newer"]})
    assert [line["text"] for line in more["lines"]] == ["line 2", "line 3"]
    assert lines(core, {"newer": more["newer"]})[0]["lines"] == []
    # a flow that was cleared counts anew
    core.store.db.execute("DELETE FROM output")
    core.store.write("add_output", row("output", 4.0, 4))
    core.store.write("add_output", row("output", 5.0, 5))
    assert lines(core, {"newer": {"output": 7}})[0]["lines"][-1]["text"] == "line 5"


def test_a_text_is_found_however_far_back_it_is_and_no_question_looks_through_all_of_it() -> None:
    core = start(Memory(), topology({"a": ["x"]}))
    core.store.write("add_event", row("event", 1.0, 1))
    with core.store.transaction() as db:
        rows = [(1, "stdout", "100 % needle" if n == 0 else f"hay {n}", 2.0 + n) for n in range(2 * WINDOW + 5)]
        db.executemany("INSERT INTO output (request, stream, text, time) VALUES (?, ?, ?, ?)", rows)
    found = pages(core, 10, text="% NEEDLE")
    assert [len(page) for page in found] == [0, 0, 1]
    assert len(pages(core, 10, text="line 1")[-1]) == 1
    assert [line["text"] for page in pages(core, 10, text="1_0") for line in page] == []


def test_log_of_one_request_is_there_at_once_however_far_back_it_is() -> None:
    core = start(Memory(), topology({"a": ["x"]}))
    with core.store.transaction() as db:
        made = "INSERT INTO request (id, socket, run, state, arguments, created) VALUES (?, 1, 1, 'done', '{}', 1)"
        db.executemany(made, [(1,), (2,)])
        rows = [(1 if n == 3 else 2, "stdout", f"line {n}", 2.0 + n) for n in range(2 * WINDOW + 5)]
        db.executemany("INSERT INTO output (request, stream, text, time) VALUES (?, ?, ?, ?)", rows)
    (page,) = pages(core, 10, request=1)
    assert [(line["text"], line["request"]) for line in page] == [("line 3", 1)]


@pytest.mark.parametrize(
    ("stream", "text", "level"),
    [
        ("stdout", "ERROR of the task's own\n", "info"), ("stderr", "x", "warning"),
        ("log", "WARNING root: x", "warning"), ("log", "ERROR root: x", "error"),
        ("log", "INFO root: x", "info"), ("display", "{}", "info"),
    ],
)  # fmt: skip
def test_output_has_the_level_that_its_task_gave_it(stream: str, text: str, level: str) -> None:
    core = start(Memory(), topology({"a": ["x"]}))
    core.store.write("add_output", (1, stream, text, time.time()))
    levels = ("info", "warning", "error")
    assert [lines(core, {"level": one})[0]["lines"] != [] for one in levels] == [
        levels.index(one) <= levels.index(level) for one in levels
    ]


def test_failures_retries_and_edits_name_their_request_and_socket(flow: Any) -> None:
    def wrong(x):
        raise ValueError("no such day")

    flow.socket(wrong, retries=1, backoff=0)
    flow.socket(lambda x: x, "other")
    request = flow.submit("wrong", x=1)
    flow.drained()
    core = flow.client.engine.core
    found = lines(core, {"socket": "wrong"})[0]["lines"]
    assert [(line["kind"], line["level"], line["request"], line["run"]) for line in found] == [
        ("retry", "warning", request, request), ("failed", "error", request, request)
    ]  # fmt: skip
    assert found[1]["text"] == "ValueError: no such day"
    assert lines(core, {"socket": "other"})[0]["lines"] == []
    assert lines(core, {"run": request, "level": "error"})[0]["lines"] == found[1:]
    with pytest.raises(RequestNotFoundError, match=f"no run {request + 1} in this flow"):
        lines(core, {"run": request + 1})
    assert [line["kind"] for line in lines(core, {})[0]["lines"]].count("edit") == 2
    with pytest.raises(SocketNotFoundError, match="did you mean 'wrong'"):
        lines(core, {"socket": "wrnog"})
