"""A task that kills its engine through another program; and calls that are only there when engines are killed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.crash.flowkit import mark, passing


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime folder of this test alone: engines of others take away what the dead have left."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def kill_engine(x):
    subprocess.run(["kill", "-KILL", str(os.getppid())], check=True)
    return x


def hold(x, marks, gate):
    subprocess.run(["true"], check=True)
    mark(marks, x)
    passing(gate)
    return x


def test_a_task_that_kills_its_engine_through_another_program_is_set_aside_and_a_call_beside_it_is_not(
    flow, marks, gate
):
    flow.socket(hold)
    flow.socket(kill_engine)
    beside = flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    guilty = flow.submit("kill_engine", x=2)
    row = flow.row(guilty)
    assert (row["state"], row["error"]["kind"]) == ("failed", "aside")
    assert "the engine was killed 3 times while it ran alone" in row["error"]["message"]
    gate.open()
    assert flow.result(beside) == 1
    flow.ask("discard", request=guilty)
    assert flow.state(guilty) == "skipped"


def test_calls_that_run_while_engines_are_killed_by_hand_are_not_charged(flow, marks, gate):
    flow.socket(hold)
    requests = [flow.submit("hold", x=x, marks=str(marks), gate=str(gate)) for x in range(2)]
    # the third engine begins with one of them alone, and says so
    for begun in (2, 4, 5):
        marks.reach(begun)
        alone = flow.query("counts")["alone"]
        assert alone == ({} if begun < 5 else {str(requests[0]): "the engine was killed 2 times while it ran"})
        flow.kill_engine()
    marks.reach(6)
    gate.open()
    assert [flow.result(request) for request in requests] == [0, 1]
    assert flow.query("counts")["alone"] == {}
