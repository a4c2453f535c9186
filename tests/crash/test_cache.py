"""Results that are used again, over kills and torn files."""

from __future__ import annotations

import pytest

from tests.crash.flowkit import wait_until


def marked(x, marks):
    with open(marks, "a") as file:
        file.write("x\n")
    return x + 1


def test_a_killed_engine_finds_the_results_again_and_each_call_has_its_own(flow, marks):
    flow.socket(marked, cache="always")
    first = flow.submit("marked", x=1, marks=str(marks))
    assert flow.result(first) == 2
    flow.restart()
    more = flow.map("marked", [{"x": 1 + n % 2, "marks": str(marks)} for n in range(40)])
    flow.drained()
    assert [flow.result(request) for request in more] == [2 + n % 2 for n in range(40)]
    assert {row["node"] for row in flow.requests(ids=[more[0]])} == {"cache"}
    # those of the other argument that begin before the first of them has ended
    assert 2 <= len(marks.lines) <= 6


TEARS = (lambda data: b"", lambda data: data[:-1], lambda data: b"{}\n", lambda data: data[1:])


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_result_is_made_anew(flow, marks, tear):
    flow.socket(marked, cache="always")
    flow.result(flow.submit("marked", x=1, marks=str(marks)))
    (path,) = [path for path in (flow.folder / "cache").rglob("*") if path.is_file()]
    path.write_bytes(tear(path.read_bytes()))
    assert flow.result(flow.submit("marked", x=1, marks=str(marks))) == 2
    assert len(marks.lines) == 2
    assert flow.result(flow.submit("marked", x=1, marks=str(marks))) == 2
    assert len(marks.lines) == 2


def test_a_folder_that_takes_no_results_keeps_none_and_stops_nothing(flow, marks):
    (flow.folder / "cache").write_text("in the way")
    flow.socket(marked, cache="always")
    for _ in range(2):
        assert flow.result(flow.submit("marked", x=1, marks=str(marks))) == 2
    assert len(marks.lines) == 2
    wait_until(lambda: "is not kept" in (flow.folder / "engine.log").read_text())
