"""Large values go from worker to worker: the kernel and the database never see them."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import psutil

from tests.crash.flowkit import SECONDS, Flow

MIB = 1 << 20


def echo(x: object) -> object:
    return x


def shout(x: object) -> str:
    return "z" * 50_000


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


def test_a_submit_that_nobody_asks_about_costs_its_client_no_memory(flow: Flow) -> None:
    flow.socket(echo)
    flow.edit({"op": "processor", "name": "main", "paused": True})
    call = ("echo", flow.values({"x": 1}))
    flow.client.submit([call] * 1000)[0]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            flow.client.submit([call] * 100)
        flow.query("counts")
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 4 * 30_000
    flow.ask("cancel", ids=[r["id"] for r in flow.requests()])


def test_a_client_keeps_a_bounded_part_of_the_results_it_had_and_has_the_others_again(flow: Flow) -> None:
    flow.socket(shout)
    flow.client.dump(0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        requests = flow.map("shout", [{"x": i} for i in range(800)])
        assert [flow.client.finished(i).result(SECONDS)["value"].size for i in requests] == [50_018] * 800
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 25_000_000
    assert flow.client.finished(requests[0]).result(SECONDS)["value"].size == 50_018
