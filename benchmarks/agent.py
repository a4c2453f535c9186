"""The local agent alone: calls a second, CPU a call over all processes, and a lone round trip.

Run as ``python benchmarks/agent.py [calls]``; prints one table.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import cloudpickle
import psutil

from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.nodes.values import dump
from ec_jupyter.wire import Block, Call, CallSpec, Outcome, Value


def add(one: int, two: int) -> int:
    return one + two


class Counter:
    """A listener that counts outcomes and keeps the queue full."""

    def __init__(self) -> None:
        self.agent: Agent
        self.blobs: dict[str, bytes] = {}
        self.rest: deque[Call] = deque()
        self.count = 0
        self.target = 0
        self.reached = asyncio.Event()

    def blob(self, sha256: str) -> bytes:
        return self.blobs[sha256]

    def finished(self, outcomes: list[Outcome]) -> None:
        self.count += len(outcomes)
        if self.count >= self.target:
            self.reached.set()

    def done(self, block: Block) -> None:
        self.finished(block.outcomes())

    def room(self, processor: str) -> None:
        if self.rest:
            room = self.agent.room(processor)
            calls = [self.rest.popleft() for _ in range(min(room, len(self.rest)))]
            self.agent.assign(processor, calls)

    def started(self, *_: object) -> None: ...
    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None: ...
    def output(self, *_: object) -> None: ...
    def progress(self, *_: object) -> None: ...
    def returned(self, requests: list[int]) -> None:
        raise AssertionError(f"{len(requests)} calls handed back")

    def died(self, request: int, attempt: int, text: str) -> None:
        raise AssertionError(text)

    def trouble(self, processor: str, text: str) -> None:
        raise AssertionError(text)

    async def until(self, target: int) -> None:
        self.target = target
        self.reached.clear()
        if self.count < target:
            await self.reached.wait()


def cpu_seconds() -> float:
    """CPU time of this process and its workers."""
    me = psutil.Process()
    times = [process.cpu_times() for process in [me, *me.children(recursive=True)]]
    return sum(t.user + t.system for t in times)


async def measure(folder: Path, calls: int) -> None:
    counter = Counter()
    runtime = Path(tempfile.mkdtemp(prefix="ec"))
    agent = counter.agent = Agent(
        counter, name="local", cpus=2, folder=folder, runtime=runtime, epoch=1, workdir=folder
    )
    await agent.start()
    agent.processor("main", 2)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    blob = cloudpickle.dumps(add)
    sha256 = hashlib.sha256(blob).hexdigest()
    counter.blobs[sha256] = blob
    ids = iter(range(1, 1 << 30))
    spec = CallSpec(sha256, "add", (("one", "v"), ("two", "v")))

    def call() -> Call:
        number = next(ids)
        values = [dump(n, folder, "") for n in (number, 2)]
        return Call(number, 1, 1, spec, [value.packed for value in values])

    trips = []
    for _ in range(500):
        one = call()
        began = time.perf_counter()
        agent.assign("main", [one])
        await counter.until(counter.count + 1)
        trips.append(time.perf_counter() - began)
    trips = sorted(trips[50:])
    warm = [call() for _ in range(5000)]
    agent.assign("main", warm)
    await counter.until(counter.count + len(warm))
    print(f"lone round trip      {trips[len(trips) // 2] * 1e6:8.0f} us (p99 {trips[-len(trips) // 100] * 1e6:.0f})")
    for name in ("assigned at once", "as room allows"):
        batch = [call() for _ in range(calls)]
        cpu, began = cpu_seconds(), time.perf_counter()
        target = counter.count + calls
        if name == "assigned at once":
            agent.assign("main", batch)
        else:
            counter.rest.extend(batch)
            counter.room("main")
        await counter.until(target)
        seconds = time.perf_counter() - began
        cpu = cpu_seconds() - cpu
        print(f"{name:20} {calls / seconds:8.0f} calls/s, {cpu / calls * 1e6:5.1f} us CPU a call over all processes")
    await agent.close()
    runtime.rmdir()


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), calls))


if __name__ == "__main__":
    main()
