"""A flow with a million requests: finished ones, and queued ones.

    python benchmarks/large.py finished
    python benchmarks/large.py queued
    python benchmarks/large.py fair
    python benchmarks/large.py reading

`--requests` sets how many (1,000,000; `fair` 100,000; `reading` 1,000).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil

import ec_jupyter as ec

CALLS = 20_000
GROUP = 10_000


def add_one(x: int) -> int:
    """A task that costs nothing."""
    return x + 1


def tell(what: str, figure: float, unit: str) -> None:
    """One line of what was measured."""
    sys.stdout.write(f"{what}: {figure:,.3g} {unit}\n")
    sys.stdout.flush()


def took(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def opened(folder: Path) -> ec.Flow:
    """The flow, with one processor of two CPUs."""
    flow = ec.flow("large", folder=folder)
    if "pool" not in flow.processors:
        with flow.edit():
            flow.processor("pool", cpus=2)
            flow.declare(add_one, "add", processor="pool")
    return flow


def engine_of(folder: Path) -> psutil.Process:
    """The engine's process."""
    return psutil.Process(int((folder / "engine.lock").read_text().split()[1]))


def cost_of_a_call(flow: ec.Flow, folder: Path) -> float:
    """CPU microseconds a call of kernel and engine, the least of three rounds."""
    both = [psutil.Process(), engine_of(folder)]
    rounds = []
    for _ in range(3):
        before = sum(sum(one.cpu_times()[:2]) for one in both)
        for request in [flow.submit("add", x) for x in range(CALLS)]:
            request.result(60)
        rounds.append((sum(sum(one.cpu_times()[:2]) for one in both) - before) / CALLS * 1e6)
    return min(rounds)


def fill(flow: ec.Flow, requests: int) -> None:
    """Submit so many, in groups."""
    for first in range(0, requests, GROUP):
        flow.map("add", range(first, min(first + GROUP, requests)))


def finished(folder: Path, requests: int) -> None:
    """What it costs to have many finished requests in the store."""
    flow = opened(folder)
    tell("a call in an empty flow, kernel and engine", before := cost_of_a_call(flow, folder), "us of CPU")
    fill(flow, requests)
    flow.wait(3600)
    tell("database", (folder / "flow.db").stat().st_size / requests, "bytes a request")
    tell("a call beside them", now := cost_of_a_call(flow, folder), "us of CPU")
    tell("as a ratio", now / before, "times")
    tell("flow.status()", median(took(flow.status) for _ in range(9)) * 1e3, "ms")
    tell("flow.requests()", median(took(flow.requests) for _ in range(9)) * 1e3, "ms")
    flow.stop()
    flow.close()
    tell("opens", took(lambda: opened(folder)), "s")
    ec.flow("large", folder=folder).stop()


def queued(folder: Path, requests: int) -> None:
    """What it costs to have many queued."""
    flow = opened(folder)
    flow.pause("pool")
    fill(flow, requests)
    tell("engine's memory while they come", engine_of(folder).memory_info().rss / 2**20, "MiB")
    flow.stop()
    flow.close()
    tell("opens", took(lambda: opened(folder)), "s")
    flow = opened(folder)
    tell("engine's memory", engine_of(folder).memory_info().rss / 2**20, "MiB")
    first = flow.request(1)

    def go() -> None:
        flow.resume("pool")
        first.result(60)

    tell("first result", took(go), "s")
    flow.pause("pool")
    flow.stop()


def fair(folder: Path, requests: int) -> None:
    """Ten sockets on two processors, one with many queued: how long a call of each other one takes."""
    flow = opened(folder)
    with flow.edit():
        flow.processor("other", cpus=1)
        for n in range(9):
            flow.declare(add_one, f"few_{n}", processor="pool" if n % 2 else "other")
    for n in range(9):
        flow.submit(f"few_{n}", 0).result(60)
    fill(flow, requests)
    waits: dict[str, list[float]] = {"beside it": [], "on the other processor": []}
    for n in [*range(9)] * 5:
        request = flow.submit(f"few_{n}", n)
        waits["beside it" if n % 2 else "on the other processor"].append(took(lambda r=request: r.result(120)))
    for where, seconds in waits.items():
        tell(f"a call of a socket {where}, median", median(seconds) * 1e3, "ms")
        tell(f"a call of a socket {where}, longest", max(seconds) * 1e3, "ms")
    tell("still queued meanwhile", len(flow.requests("add", state="queued", limit=requests)), "calls")
    flow.pause("pool")
    flow.stop()


def reading(folder: Path, requests: int) -> None:
    """What it costs to look at requests and results."""
    flow = opened(folder)
    made = flow.map("add", range(requests))
    flow.wait(600)
    one = flow.submit("add", 1)
    one.result(60)
    tell("request.run.results('add')", median(took(lambda: one.run.results("add")) for _ in range(99)) * 1e3, "ms")
    tell("flow.status()", median(took(flow.status) for _ in range(99)) * 1e3, "ms")
    listed = median(took(lambda: flow.requests(limit=requests)) for _ in range(9))
    tell("a request listed", listed / requests * 1e6, "us")
    tell("a result read", took(lambda: [request.result(60) for request in made]) / requests * 1e6, "us")
    flow.stop()


WORK = {
    "finished": (finished, 1_000_000),
    "queued": (queued, 1_000_000),
    "fair": (fair, 100_000),
    "reading": (reading, 1_000),
}


def main() -> None:
    """Measure one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=WORK)
    parser.add_argument("--requests", type=int)
    args = parser.parse_args()
    os.environ.setdefault("EC_CPUS_SHARED", "0")
    work, requests = WORK[args.what]
    with tempfile.TemporaryDirectory(prefix="ec_large_") as folder:
        work(Path(folder) / ".ec_jupyter" / "large", args.requests or requests)


if __name__ == "__main__":
    main()
