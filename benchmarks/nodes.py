"""A node: start to the first result, a lone round trip, calls a second, and a 16 MiB array there and back.

Run from the repository's root as ``python -m benchmarks.nodes [calls]``; over a pipe, and over SSH
where there is an ``sshd``. Prints one table.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from benchmarks.agent import Counter, add
from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Home
from ec_jupyter.nodes.ssh.agent import RemoteAgent
from ec_jupyter.nodes.ssh.login import Login
from ec_jupyter.nodes.values import dump
from ec_jupyter.wire import Call, Outcome
from tests.nodes.far import Pipe, ready
from tests.nodes.sshd import SSHD, Sshd

ROUNDS = 5
MIB = 1 << 20


def doubled(array: Any) -> Any:
    return array * 2


class Far(Counter):
    """Counts, and hears of nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[Outcome] = []

    def finished(self, outcomes: list[Outcome]) -> None:
        self.bad += [outcome for outcome in outcomes if outcome.state != "done"]
        super().finished(outcomes)

    def node(self, name: str) -> None: ...

    def after(self, effect: Callable[[], None]) -> None:
        effect()

    def lost(self, name: str, requests: list[int]) -> None:
        raise AssertionError(f"lost {len(requests)}")


class Bench:
    """One node and what is measured of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counter = Far()
        self.ids = itertools.count(1)
        self.tasks = {name: self.task(function) for name, function in (("add", add), ("doubled", doubled))}

    def task(self, function: Any) -> str:
        blob = cloudpickle.dumps(function)
        sha256 = hashlib.sha256(blob).hexdigest()
        self.counter.blobs[sha256] = blob
        return sha256

    def call(self, name: str, **given: Any) -> Call:
        number = next(self.ids)
        arguments = [
            (key, "v", [dump(value, self.folder / "values", f"in.{number}.{i}")])
            for i, (key, value) in enumerate(given.items())
        ]
        return Call.of(number, 1, 1, arguments, task=self.tasks[name], socket=name)

    async def run(self, agent: RemoteAgent, calls: list[Call]) -> float:
        began = time.perf_counter()
        target = self.counter.count + len(calls)
        self.counter.rest.extend(calls)
        self.counter.room("main")
        await self.counter.until(target)
        assert not self.counter.bad, self.counter.bad[0].error
        return time.perf_counter() - began

    async def start(self, login: Login, name: str) -> tuple[RemoteAgent, float]:
        began = time.perf_counter()
        home = Home(str(self.folder), self.folder, self.folder, self.folder, epoch=1, sync=False)
        agent = RemoteAgent(Node(name, "", cpus=2), self.counter, home, login)
        self.counter.agent = agent  # type: ignore[assignment]
        agent.processor("main", 2)
        await agent.start()
        await ready(agent)
        await self.run(agent, [self.call("add", one=1, two=2)])
        return agent, time.perf_counter() - began


async def measure(kind: str, login: Login, folder: Path, count: int) -> None:
    (folder / "values").mkdir(exist_ok=True)
    bench = Bench(folder)
    starts = []
    for i in range(ROUNDS):
        agent, seconds = await bench.start(login, f"{kind}{i}")
        starts.append(seconds)
        if i < ROUNDS - 1:
            await agent.close()
    print(f"{kind:5} start to first result  {sorted(starts)[ROUNDS // 2]:6.2f} s (first {starts[0]:.2f})")
    trips = sorted([await bench.run(agent, [bench.call("add", one=1, two=2)]) for _ in range(300)][50:])
    print(f"{kind:5} lone round trip        {trips[len(trips) // 2] * 1e6:6.0f} us (p99 {trips[-3] * 1e6:.0f})")
    await bench.run(agent, [bench.call("add", one=1, two=2) for _ in range(5000)])
    seconds = await bench.run(agent, [bench.call("add", one=1, two=2) for _ in range(count)])
    print(f"{kind:5} small calls            {count / seconds:6.0f} calls/s")
    rates = []
    for i in range(ROUNDS + 1):
        array = np.full(2 * MIB, float(i))
        call = bench.call("doubled", array=array)
        seconds = await bench.run(agent, [call])
        rates.append(2 * 16 / seconds)
    print(f"{kind:5} 16 MiB there and back  {sorted(rates[1:])[ROUNDS // 2]:6.0f} MiB/s")
    await agent.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cloudpickle.register_pickle_by_value(sys.modules["benchmarks.agent"])
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure("pipe", Pipe(), Path(folder), count))
    if SSHD is None:
        print("no sshd here")
        return
    place = Path(tempfile.mkdtemp(prefix="ec"))
    server = Sshd(place)
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure("ssh", server.login(), Path(folder), count))
    finally:
        server.close()
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
