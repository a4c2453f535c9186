"""The last hour as a table, and the log as one, of a real engine."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from ec_jupyter.errors import ArgumentsError, SocketNotFoundError

pytestmark = pytest.mark.shared_engine

CELLS = """
import logging, time
flow = ec.flow()
@ec.socket(processor="maths", cpus=1)
def work(x):
    print("at", x)
    if x < 0:
        logging.getLogger("mine").error("below")
        raise ValueError("negative")
    # a CPU is in use meanwhile
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    return x
@ec.socket
def idle(x):
    return x
"""


@pytest.fixture
def flow(loaded: Any, wait_until: Any) -> Any:
    loaded.run(CELLS)
    loaded.run("flow.map('work', [1, 2, 3, -4]); flow.wait(60)")
    return loaded.names["flow"]


def row(table: Any, of: str, name: str) -> dict[str, Any]:
    return next(one for one in table if (one["of"], one["name"]) == (of, name))


def test_statistics_tell_of_sockets_processors_and_nodes(flow: Any, loaded: Any, wait_until: Any) -> None:
    # processes are looked at each few seconds
    wait_until(lambda: row(flow.statistics(), "processor", "maths")["memory"])
    table = flow.statistics()
    for of, name in (("socket", "work"), ("processor", "maths"), ("node", "local")):
        one = row(table, of, name)
        assert (one["ended"], one["failed"]) == (4, 1), name
        assert 0.045 < one["p50"] < one["p95"] * 1.01 < 60, name
        assert 0 <= one["waited_p50"] <= one["waited_p95"] < 60, name
        assert one["memory"] > 1 << 20, name
        assert one["cpu"] > 0, name
    assert row(table, "socket", "idle") | {"of": 0, "name": 0} == dict.fromkeys(row(table, "socket", "idle"), 0) | {
        "p50": None, "p95": None, "waited_p50": None, "waited_p95": None
    }  # fmt: skip
    assert [one["of"] for one in flow.statistics(by="node")] == ["node"]
    assert [one["name"] for one in flow.statistics("work")] == ["work"]
    course = flow.statistics("work", course=True)
    assert sum(one["ended"] for one in course) == 4
    frame = flow.statistics().to_frame()
    assert frame.set_index(["of", "name"]).loc[("socket", "work"), "ended"] == 4
    assert frame["per_second"].dtype == float
    shown = repr(flow.statistics())
    assert "the last minute" in shown
    assert "waited p95" in shown
    assert " ms" in shown
    assert " MiB" in shown
    assert "<table>" in flow.statistics()._repr_html_()
    assert [(one["name"], one["ended"]) for one in loaded.run("%ec_statistics work")] == [("work", 4)]
    assert len(loaded.run("%ec_statistics --by processor")) == len(flow.processors)
    assert loaded.completions("%ec_statistics wo") == ["work"]
    assert loaded.completions("%ec_statistics --co") == ["--course"]


def test_the_log_has_output_failures_and_edits_in_order(flow: Any, loaded: Any) -> None:
    log = flow.log()
    assert [line["time"] for line in log] == sorted(line["time"] for line in log)
    kinds = [line["kind"] for line in log]
    assert kinds.index("edit") < kinds.index("stdout")
    assert kinds.count("stdout") == 4
    assert kinds.count("failed") == 1
    failed = flow.requests("work", state="failed")[0]
    errors = flow.log("work", level="error")
    assert {line["request"] for line in errors} == {failed.id}
    assert [(line["kind"], line["text"].strip()) for line in errors] == [
        ("log", "ERROR mine: below"), ("failed", "ValueError: negative")
    ]  # fmt: skip
    assert [line["text"] for line in flow.log(text="AT 2")] == ["at 2\n"]
    assert {line["request"] for line in flow.log(run=failed)} == {failed.id}
    assert len(flow.log(limit=2)) == 2
    assert flow.log(limit=2)[-1] == log[-1]
    assert list(flow.log(limit=None)) == list(log)
    assert list(flow.log().to_frame().columns)[:3] == ["time", "level", "kind"]
    assert repr(loaded.run("%ec_log work --level error")) == repr(errors)
    assert [line["text"] for line in loaded.run("%ec_log --text 'at 2'")] == ["at 2\n"]
    with pytest.raises(SocketNotFoundError, match="did you mean 'work'"):
        flow.log("wrok")
    with pytest.raises(ArgumentsError, match="level"):
        flow.log(level="loud")
    with pytest.raises(ArgumentsError, match="by"):
        flow.statistics(by="day")


def test_help_of_statistics_and_the_log_says_what_they_have(loaded: Any) -> None:
    loaded.run("flow = ec.flow()")
    for word in ("statistics", "log"):
        assert "socket : str" in inspect.getdoc(getattr(loaded.names["flow"], word))
