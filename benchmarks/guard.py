"""CPU time a call beside raw loky's, in the same minute: fails where a change makes it half as much again.

    python benchmarks/guard.py
    python benchmarks/guard.py --record

A ratio of two CPU times, each the least of several repetitions, moves little with other work on the machine. What it is
held against lies in `guard.json`; `--record` writes that anew.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from loky import get_reusable_executor

import ec_jupyter as ec

RECORD = Path(__file__).with_name("guard.json")
WORSE = 1.5
"""Times the recorded ratio from which on it fails."""

ITEMS = {"W1": 6_000, "W3": 1_500, "W4": 1_500}
REPETITIONS = 3
WORKERS = 2

Work = Callable[[int], object]


def add_one(x: int) -> int:
    """A task that costs nothing."""
    return x + 1


def double(x: int) -> int:
    """Another one."""
    return 2 * x


def add_two(one: int, two: int) -> int:
    """A join's."""
    return one + two


def seconds(processes: list[psutil.Process]) -> float:
    """CPU seconds of processes so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


# -- loky ------------------------------------------------------------------
class Loky:
    """Raw loky: chains and joins are callbacks in this process."""

    def __init__(self) -> None:
        self.pool = get_reusable_executor(max_workers=WORKERS, timeout=60)

    def processes(self) -> list[psutil.Process]:
        """All that work for it."""
        this = psutil.Process()
        return [this, *this.children(recursive=True)]

    def submit(self, n: int) -> None:
        """W1."""
        check([future.result() for future in [self.pool.submit(add_one, x) for x in range(n)]], n, lambda x: x + 1)

    def chain(self, n: int) -> None:
        """W3."""
        check(self._flow(n, self._chained), n, lambda x: x + 3)

    def join(self, n: int) -> None:
        """W4."""
        check(self._flow(n, self._joined), n, lambda x: 3 * x + 4)

    def _flow(self, n: int, follow: Callable[[int, Future[int]], None]) -> list[int]:
        ends: list[Future[int]] = [Future() for _ in range(n)]
        for x, end in enumerate(ends):
            follow(x, end)
        return [end.result() for end in ends]

    def _after(self, future: Future[int], then: Callable[[int], Any]) -> None:
        future.add_done_callback(lambda done: then(done.result()))

    def _chained(self, x: int, end: Future[int]) -> None:
        def last(value: int) -> None:
            self._after(self.pool.submit(add_one, value), end.set_result)

        def second(value: int) -> None:
            self._after(self.pool.submit(add_one, value), last)

        self._after(self.pool.submit(add_one, x), second)

    def _joined(self, x: int, end: Future[int]) -> None:
        sides: dict[str, int] = {}

        def came(name: str, value: int) -> None:
            sides[name] = value
            if len(sides) == 2:
                self._after(self.pool.submit(add_two, sides["one"], sides["two"]), end.set_result)

        def fork(value: int) -> None:
            self._after(self.pool.submit(add_one, value), lambda one: came("one", one))
            self._after(self.pool.submit(double, value), lambda two: came("two", two))

        self._after(self.pool.submit(add_one, x), fork)


# -- ours --------------------------------------------------------------------
class Ours:
    """A flow: every submit and every result on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flow = ec.flow("guard", folder=folder)
        with self.flow.edit():
            self.flow.processor("pool", cpus=WORKERS)
            for name in ("single", "first", "second", "third", "source", "left"):
                self.flow.declare(add_one, name, processor="pool")
            self.flow.declare(double, "right", processor="pool")
            self.flow.declare(add_two, "both", processor="pool")
            for source, target in (
                ("first", "second"), ("second", "third"), ("source", "left"), ("source", "right"),
                ("left", "both.one"), ("right", "both.two"),
            ):  # fmt: skip
                self.flow.plug(source, target)

    def processes(self) -> list[psutil.Process]:
        """This one, the engine and its workers."""
        engine = psutil.Process(int((self.folder / "engine.lock").read_text().split()[1]))
        return [psutil.Process(), engine, *engine.children(recursive=True)]

    def submit(self, n: int) -> None:
        """W1."""
        requests = [self.flow.submit("single", x) for x in range(n)]
        check([request.result(120) for request in requests], n, lambda x: x + 1)

    def chain(self, n: int) -> None:
        """W3."""
        check(self._results("first", "third", n), n, lambda x: x + 3)

    def join(self, n: int) -> None:
        """W4."""
        check(self._results("source", "both", n), n, lambda x: 3 * x + 4)

    def _results(self, first: str, last: str, n: int) -> list[int]:
        for x in range(n):
            self.flow.submit(first, x)
        self.flow.wait(240)
        return sorted(self.flow.results(last, limit=n))


def check(found: list[int], n: int, expected: Callable[[int], int]) -> None:
    """Refuse to time what came out wrong."""
    if found != [expected(x) for x in range(n)]:
        raise SystemExit("the results are wrong: nothing was measured")


@contextmanager
def systems() -> Iterator[dict[str, Loky | Ours]]:
    """Both, ready, with all processes started."""
    with tempfile.TemporaryDirectory(prefix="ec_guard_") as folder:
        place = Path(folder) / ".ec_jupyter" / "guard"
        both: dict[str, Loky | Ours] = {"loky": Loky(), "ours": Ours(place)}
        for system in both.values():
            for work in works(system).values():
                work(200)
        try:
            yield both
        finally:
            both["ours"].flow.stop()
            both["loky"].pool.shutdown(kill_workers=True)


def works(system: Loky | Ours) -> dict[str, Work]:
    """The workloads of a system by name."""
    return {"W1": system.submit, "W3": system.chain, "W4": system.join}


def measure() -> dict[str, dict[str, float]]:
    """CPU microseconds an item, the least of the repetitions, of both systems and their ratio."""
    least: dict[str, dict[str, float]] = {name: {} for name in ITEMS}
    with systems() as both:
        for _ in range(REPETITIONS):
            for name, n in ITEMS.items():
                for label, system in both.items():
                    processes = system.processes()
                    before = seconds(processes)
                    works(system)[name](n)
                    spent = (seconds(processes) - before) / n * 1e6
                    least[name][label] = min(spent, least[name].get(label, spent))
    return {name: {**found, "ratio": found["ours"] / found["loky"]} for name, found in least.items()}


def most(name: str, row: dict[str, float], recorded: dict[str, float]) -> float:
    """The ratio from which on a workload fails."""
    return recorded.get(name, row["ratio"]) * WORSE


def worse(found: dict[str, dict[str, float]], recorded: dict[str, float]) -> list[str]:
    """The workloads that fail."""
    return [name for name, row in found.items() if row["ratio"] > most(name, row, recorded)]


def lesser(one: dict[str, dict[str, float]], two: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of each workload the run with the lesser ratio."""
    return {name: min(row, two[name], key=lambda run: run["ratio"]) for name, row in one.items()}


def main() -> int:
    """Measure, print, and compare with what is recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="hold later runs against what this one measures")
    args = parser.parse_args()
    os.environ.setdefault("EC_CPUS_SHARED", "0")
    recorded = {} if args.record else json.loads(RECORD.read_text())
    found = measure()
    if worse(found, recorded):
        # other work on the machine may have been in the way of ours alone
        sys.stdout.write("measured once more\n")
        found = lesser(found, measure())
    for name, row in found.items():
        sys.stdout.write(
            f"{name}: ours {row['ours']:.0f} us of CPU an item, loky {row['loky']:.0f}, ratio {row['ratio']:.2f} "
            f"(at most {most(name, row, recorded):.2f})\n"
        )
    if args.record:
        RECORD.write_text(json.dumps({name: round(row["ratio"], 2) for name, row in found.items()}, indent=1) + "\n")
    if too_much := worse(found, recorded):
        sys.stdout.write(f"half as much CPU again as recorded: {', '.join(too_much)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
