"""Large values go from worker to worker: the kernel and the database never see them."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.crash.flowkit import Flow

MIB = 1 << 20


def size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def test_a_hundred_megabytes_pass_three_stages_and_neither_the_kernel_nor_the_database(flow: Flow) -> None:
    def make(n: int) -> object:
        import numpy

        return numpy.zeros(n)

    def more(array: object) -> object:
        return array + 1  # type: ignore[operator]

    def total(array: object) -> tuple[float, bool]:
        return float(array.sum()), array.flags.writeable  # type: ignore[attr-defined]

    for name, function in (("make", make), ("first", more), ("second", more), ("total", total)):
        flow.socket(function, name)
    flow.plug("make", "first.array")
    flow.plug("first", "second.array")
    flow.plug("second", "total.array")
    before = psutil.Process().memory_info().rss
    n = 100 * MIB // 8
    flow.submit("make", n=n)
    flow.drained()
    # mapped where it is used, so nobody may write into it
    assert flow.results("total") == [(2.0 * n, False)]
    assert psutil.Process().memory_info().rss - before < 20 * MIB
    assert size(flow.folder, "flow.db*") < 5 * MIB
    assert 3 * 100 * MIB <= size(flow.folder, "values/*") < 3 * 101 * MIB
    assert flow.ask("gc")["files"] == 0
    flow.ask("clear")
    assert size(flow.folder, "values/*") == 0
