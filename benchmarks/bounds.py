"""What priorities, rates and limits cost a call: CPU of all processes, beside the same calls without, in turn.

    python benchmarks/bounds.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
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


CASES: dict[str, tuple[str, dict[str, Any], Work]] = {
    "map": ("", {}, mapped()),
    "priority= of a socket": ("map", {"priority": 5}, mapped()),
    "priority= of a map": ("map", {}, mapped(priority=5)),
    "rate=": ("map", {"rate": "1000000/s"}, mapped()),
    "limit=, a map with room": ("map", {"limit": 50_000}, mapped()),
    "submit": ("", {}, submitted()),
    "priority= of a submit": ("submit", {}, submitted(priority=5)),
    "limit=, submits with room": ("submit", {"limit": 50_000}, submitted()),
    "chain": ("", {}, chained),
    "limit=, what feeds it never held": ("chain", {"limit": 50_000}, chained),
    "limit=, what feeds it held at a hundred": ("chain", {"limit": 100}, chained),
}
"""By name: beside which it is held, options of the socket that works, what is done."""


def spent(options: dict[str, Any], work: Work) -> float:
    """CPU seconds of a call, of all processes."""
    with tempfile.TemporaryDirectory() as folder:
        flow = ec.flow("bounds", folder=Path(folder) / "flow")
        try:
            flow.declare(add_one, "first")
            flow.declare(add_one, "work", **options)
            flow.plug("first", "work")
            work(flow)
            flow.wait()
            this, engine = psutil.Process(), psutil.Process(flow._client.engine_pid)
            processes = [this, engine, *engine.children(recursive=True)]
            before = seconds(processes)
            work(flow)
            flow.wait()
            return (seconds(processes) - before) / CALLS
        finally:
            flow.stop()


def main() -> None:
    """Measure, and say what each costs."""
    least = dict.fromkeys(CASES, 1e9)
    for _ in range(REPETITIONS):
        for name, (_, options, work) in CASES.items():
            least[name] = min(least[name], spent(options, work))
    for name, (beside, _, _) in CASES.items():
        ratio = f", {least[name] / least[beside]:.2f} of {beside}" if beside else ""
        sys.stdout.write(f"{name}: {least[name] * 1e6:.1f} us of CPU a call{ratio}\n")


if __name__ == "__main__":
    main()
