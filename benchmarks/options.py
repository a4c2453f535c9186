"""What options of sockets and plugs cost a call: CPU of all processes, beside the same calls without, in turn.

python -m benchmarks.options
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

import ec_jupyter as ec
from benchmarks.guard import add_one, seconds

CALLS = 4_000
REPETITIONS = 5

Work = Callable[[ec.Flow], object]


def mapped(**how: Any) -> Work:
    """Calls of a socket in one submit."""
    return lambda flow: flow.map("work", range(CALLS), **how)


def submitted(**how: Any) -> Work:
    """Calls of a socket, each submitted by itself."""
    return lambda flow: [flow.submit("work", x, **how) for x in range(CALLS)]


def chained(flow: ec.Flow) -> None:
    """Calls that each make another one."""
    flow.map("first", range(CALLS // 2))


def both(flow: ec.Flow) -> None:
    """Calls of two sockets at once."""
    flow.map("first", range(CALLS // 2))
    flow.map("work", range(CALLS // 2))


_new = count(CALLS, CALLS)


def anew(flow: ec.Flow) -> None:
    """Calls whose arguments never came before."""
    first = next(_new)
    flow.map("work", range(first, first + CALLS))


async def add_soon(x: int) -> int:
    """One more, in a coroutine."""
    return x + 1


async def wait(x: int) -> int:
    """Waits a tenth of a second, as for a server."""
    import asyncio

    await asyncio.sleep(0.1)
    return x


@dataclass(frozen=True)
class Case:
    """What is done, beside which other case it is held, and of the socket that works its options, plug and task.

    `processor`: its own, with such options; else both sockets have one, and a plug.
    """

    work: Work
    beside: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    plug: dict[str, Any] = field(default_factory=dict)
    task: Callable[..., Any] = add_one
    processor: dict[str, Any] | None = None


CASES = {
    "map": Case(mapped()),
    "priority= of a socket": Case(mapped(), "map", {"priority": 5}),
    "priority= of a map": Case(mapped(priority=5), "map"),
    "rate=": Case(mapped(), "map", {"rate": "1000000/s"}),
    "an async def": Case(mapped(), "map", task=add_soon),
    "concurrent=100": Case(mapped(), "an async def", {"concurrent": 100}, task=add_soon),
    "limit=, a map with room": Case(mapped(), "map", {"limit": 50_000}),
    "cache=, a result that is there": Case(mapped(), "map", {"cache": True}),
    "cache=, a result to be kept": Case(anew, "map", {"cache": True}),
    "threads=0.5": Case(mapped(), "map", {"threads": 0.5}),
    "two processors": Case(both, processor={"cpus": 2}),
    "weight=4 of one of them": Case(both, "two processors", processor={"cpus": 2, "weight": 4}),
    "submit": Case(submitted()),
    "priority= of a submit": Case(submitted(priority=5), "submit"),
    "limit=, submits with room": Case(submitted(), "submit", {"limit": 50_000}),
    "chain": Case(chained),
    "limit=, what feeds it never held": Case(chained, "chain", {"limit": 50_000}),
    "limit=, what feeds it held at a hundred": Case(chained, "chain", {"limit": 100}),
    "when=": Case(chained, "chain", plug={"when": "result >= 0"}),
    "pick=": Case(chained, "chain", plug={"pick": "result + 1"}),
}


def spent(case: Case) -> float:
    """CPU seconds of a call, of all processes."""
    with tempfile.TemporaryDirectory() as folder:
        flow = ec.flow("options", folder=Path(folder) / "flow")
        try:
            flow.declare(add_one, "first")
            if case.processor is None:
                flow.declare(case.task, "work", **case.options)
                flow.plug("first", "work", **case.plug)
            else:
                flow.processor("other", **case.processor)
                flow.declare(case.task, "work", processor="other", **case.options)
            case.work(flow)
            flow.wait()
            this, engine = psutil.Process(), psutil.Process(flow._client.engine_pid)
            processes = [this, engine, *engine.children(recursive=True)]
            before = seconds(processes)
            case.work(flow)
            flow.wait()
            return (seconds(processes) - before) / CALLS
        finally:
            flow.stop()


def waited() -> float:
    """Seconds that a thousand calls take which wait a tenth of one, a hundred at once on one CPU."""
    with tempfile.TemporaryDirectory() as folder:
        flow = ec.flow("options", folder=Path(folder) / "flow")
        try:
            flow.declare(wait, "work", processor="net", cpus=1, concurrent=100)
            flow.submit("work", 0).result(60)
            began = monotonic()
            for request in flow.map("work", range(1000)):
                request.result(60)
            return monotonic() - began
        finally:
            flow.stop()


def main() -> None:
    """Measure, and say what each costs."""
    sys.stdout.write(f"1,000 calls that wait 0.1 s, concurrent=100, one CPU: {waited():.2f} s\n")
    least = dict.fromkeys(CASES, 1e9)
    for _ in range(REPETITIONS):
        for name, case in CASES.items():
            least[name] = min(least[name], spent(case))
    for name, case in CASES.items():
        ratio = f", {least[name] / least[case.beside]:.2f} of {case.beside}" if case.beside else ""
        sys.stdout.write(f"{name}: {least[name] * 1e6:.1f} us of CPU a call{ratio}\n")


if __name__ == "__main__":
    main()
