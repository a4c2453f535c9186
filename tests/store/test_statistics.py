"""Whose CPU seconds and bytes are whose, wherever processes run."""

from __future__ import annotations

from typing import Any

import pytest

from ec_jupyter.engine import statistics
from ec_jupyter.engine.statistics import Statistics
from tests.store.rig import Memory, start, topology


class Nodes:
    """This machine and a far one, whose one process is every processor's."""

    def __init__(self) -> None:
        self.cpu = 0.0

    def running(self) -> dict[int, float]:
        return {}

    def facts(self) -> list[dict[str, Any]]:
        return [{"name": "local"}, {"name": "far"}]

    def used(self) -> list[Any]:
        return [("far", ("", 7, self.cpu, 100 << 20))]


def test_what_a_process_elsewhere_used_is_shared_by_time_also_where_it_is_told_a_look_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "USE_SECONDS", 0.0)
    nodes = Nodes()
    found = Statistics(start(Memory(), topology({"a": ["x"], "b": ["x"], "c": ["x"]})), nodes)
    found.ran(1, "far", 7, [3.0], [], 0.0)
    found.ran(2, "far", 7, [1.0], [], 0.0)
    # another process of that number, on this machine
    found.ran(3, "local", 7, [9.0], [], 0.0)
    found.look()
    nodes.cpu = 4.0
    found.look()
    rows = {(row["of"], row["name"]): row for row in found.answer({})["rows"]}
    a, b, c = (rows["socket", name] for name in "abc")
    assert a["cpu"] > 0
    assert a["cpu"] == pytest.approx(3 * b["cpu"], rel=0.01)
    assert (c["cpu"], c["memory"]) == (0, 0)
    for of in (("processor", "main"), ("node", "far")):
        assert rows[of]["cpu"] == pytest.approx(a["cpu"] + b["cpu"], rel=0.01)
        assert rows[of]["memory"] == a["memory"] == 100 << 20
    assert rows["node", "local"]["cpu"] == 0
