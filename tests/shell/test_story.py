"""What happened to a request, in sentences; what it came from and led to, as a picture and a frame."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.cases import each_of

pytestmark = pytest.mark.shared_engine

CELL = """
flow = ec.flow()
@ec.socket
def emit(x): return x
@ec.socket
def half(x): return x / 2
@ec.socket(retries=1, backoff=0.01)
def join(one, two):
    if one == 13: raise ValueError("unlucky")
    return one + two
@ec.socket
def after(x): return x
flow.socket(ec.ask("Well?"), name="well")
flow.plug("emit", "join.one"); flow.plug("emit", "half"); flow.plug("half", "join.two"); flow.plug("join", "after")
runs = [flow.submit("emit", x).run for x in (4, 13)]
flow.wait(60)
first, second = (flow.requests("join", run=run)[0] for run in runs)
"""


@pytest.fixture
def told(loaded: Any) -> Any:
    """A shell whose flow has done one thing and failed at another."""
    loaded.run(CELL)
    return loaded


def test_a_story_says_where_values_came_from_how_it_ran_and_what_came_of_it(told: Any) -> None:
    text = str(told.run("flow.story(first)"))
    assert re.search(
        r"Request \d+ of 'join' was made at [\d:]+, in run 1: 'one' came from request 1 of 'emit' and 'two' came from "
        r"request \d+ of 'half'\.\n"
        r"Attempt 1 began at [\d:]+(, .*s after that,)? on 'local' with version 1 of its task and was done at [\d:]+, "
        r"after .*s\.\nIt went to 'x' of 'after': request \d+, done\.$",
        text,
    )
    assert str(told.run("%ec_story first")) == text
    assert re.match(r"Request 1 of 'emit' was submitted at [\d:]+\.\n", str(told.run("flow.story(1)")))


def test_a_story_has_each_attempt_that_failed_and_the_way_on(told: Any) -> None:
    sentences = told.run("flow.story(second)")
    assert re.match(r"Attempt 1 began at .* on 'local' and failed after .*s: ValueError: unlucky\.$", sentences[1])
    assert re.match(r"Attempt 2 began at .* and failed at .*: ValueError: unlucky\.$", sentences[2])
    assert re.match(r"Its arguments are kept: %ec_retry \d+ runs it again, %ec_debug \d+ opens it", sentences[3])
    assert len(sentences) == 4


def test_a_story_says_when_a_call_began_that_runs_under_a_time_limit(loaded: Any, gate: Any, wait_until: Any) -> None:
    loaded.run("""
        import os
        flow = ec.flow()
        @ec.socket(timeout=60)
        def gated(x):
            if x: os.read(os.open('gate', os.O_RDONLY), 1)
    """)
    # calls that come alone, one after the other, pass the books by
    loaded.run("[flow.submit('gated', 0).result(60) for _ in range(3)]; request = flow.submit('gated', 1)")
    wait_until(lambda: loaded.run("request.state") == "running")
    said = (
        r"Attempt 1 began at [\d:]+(, .*s after that,)? on 'local' with version 1 of its task, and runs for .*s now\.$"
    )
    assert re.match(said, loaded.run("flow.story(request)")[1])
    assert loaded.run("request.pid")
    gate.open()
    loaded.run("request.result(60)")


@each_of(
    ("line", "said"),
    [
        ("flow.submit('emit', 1, delay=3600)", "It waits for its time, "),
        ("flow.submit('well', 1)", "It waits for a person to answer."),
        ("flow.submit('join', 1, partial=True)", "It waits for 'two'; it has 'one'."),
    ],
)
def test_a_story_that_has_not_ended_says_what_is_waited_for(told: Any, line: str, said: str) -> None:
    assert said in str(told.run(f"r = {line}; story = flow.story(r); story"))
    told.run("r.cancel()")
    assert "It was cancelled at " in str(told.run("flow.story(r)"))


def test_lineage_is_a_picture_and_a_frame(told: Any, tmp_path: Any) -> None:
    found = told.run("lineage = first.lineage(); lineage")
    text = found.svg(tmp_path / "lineage.svg")
    assert (tmp_path / "lineage.svg").read_text() == text
    drawn = ET.fromstring(text)
    titles = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}title")]
    number = told.run("first.id")
    assert f"request {number} of join: done" in titles
    assert {"one", "two", "x"} <= set(titles)
    assert len([one for one in titles if one and one.startswith("request ")]) == 4
    assert text in found._repr_html_()
    frame = found.to_frame().set_index("id")
    assert frame.loc[number, "socket"] == "join"
    assert sorted(frame.loc[frame.loc[number, "from"], "socket"]) == ["emit", "half"]
    assert list(frame.loc[frame.loc[number, "to"], "socket"]) == ["after"]


def test_a_name_in_the_picture_is_text(told: Any) -> None:
    from ec_jupyter.notebook.tables import Lineage, Story

    wild = "<script>&\x00"
    row = {"id": 1, "socket": wild, "state": "done"}
    assert ET.fromstring(Lineage([row], [], 1).svg()) is not None
    assert "<script>" not in Lineage([row], [], 1).svg()
    assert "<script>" not in Story([wild])._repr_html_()
    assert ET.fromstring(Lineage([], []).svg()) is not None
