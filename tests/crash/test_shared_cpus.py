"""Two flows on one machine, each with an engine of its own, share its CPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.flowkit import Flow, Gate, Marks, kill, mark, passing, wait_until


def hold(x, marks, gate):
    mark(marks, f"+{x}")
    passing(gate)
    mark(marks, f"-{x}")
    return x


def used(marks: Marks) -> list[int]:
    """How many calls were inside after each line."""
    found = [0]
    for line in marks.lines:
        found.append(found[-1] + (1 if line[0] == "+" else -1))
    return found


def test_flows_of_two_engines_together_run_no_more_calls_than_the_machine_has_cpus_and_one_that_is_killed_makes_room(
    make_flow: Callable[..., Flow], gate: Gate, marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    flows = [make_flow(tmp_path / name / "main") for name in ("one", "two")]
    for flow in flows:
        flow.socket(hold)
    shut = Gate(tmp_path / "shut")
    ids = flows[0].map("hold", [{"x": x, "marks": str(marks), "gate": str(shut)} for x in range(4)])
    marks.reach(2)
    later = flows[1].map("hold", [{"x": x, "marks": str(marks), "gate": str(gate)} for x in range(4, 8)])
    wait_until(flows[1].workers)
    assert sorted(marks.lines) == ["+0", "+1"]
    (local,) = flows[1].query("counts")["nodes"]
    assert (local["used"], local["others"]) == (0, 2)
    engine = flows[0].engine
    # a client that is there would start the next engine, whose calls might have the CPUs first
    flows[0].client.close()
    kill(engine)
    wait_until(lambda: sorted(marks.lines[2:]) == ["+4", "+5"])
    gate.open()
    assert [flows[1].result(request) for request in later] == [4, 5, 6, 7]
    shut.open()
    flows[0].reopen()
    assert [flows[0].result(request) for request in ids] == [0, 1, 2, 3]
    # the two that were killed left no line at their end
    assert max(used(marks)) == 4
