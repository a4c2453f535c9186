"""Another flow's agent, in a process of its own, until its input ends: ``python -m tests.nodes.neighbour``."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import cloudpickle

from tests.nodes import neighbour
from tests.nodes.rig import Ear, Rig


def inside(log, x):
    """Leave a line where it begins, and one where it ends."""
    import time

    with open(log, "a") as file:
        file.write(f"+{x}\n")
    time.sleep(0.003)
    with open(log, "a") as file:
        file.write(f"-{x}\n")


def counted(log):
    """Leave a byte."""
    with open(log, "ab") as file:
        file.write(b".")


def peak(log: Path) -> int:
    """How many CPUs those that left lines used at once, at most."""
    used = [0]
    for line in log.read_text().split():
        used.append(used[-1] + int(line))
    return max(used)


class Endless(Ear):
    """Has calls without an end."""

    def __init__(self) -> None:
        super().__init__()
        self.agent: Any = None
        self.call: Any = None

    def finished(self, outcomes: list[Any]) -> None:
        assert all(outcome.state == "done" for outcome in outcomes), outcomes

    def room(self, processor: str) -> None:
        if self.call is not None:
            self.agent.assign("main", [self.call() for _ in range(self.agent.room("main"))])


async def main(what: str, log: str, folder: Path, runtime: Path) -> None:
    rig = Rig(folder, runtime)
    ear = Endless()
    if what != "some":
        rig.ear = ear
    agent = ear.agent = await rig.start(2, shared=True)
    agent.processor("main", 2)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    if what == "some":
        calls = some(rig, log, 60)
        agent.assign("main", calls)
        await rig.done(calls, 60)
        sys.stdout.write(json.dumps([outcome.state for outcome in rig.ear.outcomes.values()]) + "\n")
        sys.stdout.flush()
    else:
        task, given = {"endless": (counted, {"log": log}), "inside": (inside, {"log": log, "x": 1})}[what]
        sha256 = rig.task(task)
        ear.call = lambda: rig.call(sha256, given)
        ear.room("main")
    await reader.read()
    ear.call = None
    await agent.close()


def some(rig: Rig, log: str | Path, count: int) -> list[Any]:
    """Calls of one and of two threads, in some order."""
    threads = [1 + (n % 5 == 4) for n in range(count)]
    random.Random(count).shuffle(threads)
    task = rig.task(inside)
    return [rig.call(task, {"log": str(log), "x": n}, threads=n) for n in threads]


if __name__ == "__main__":
    cloudpickle.register_pickle_by_value(neighbour)
    folder, runtime = (Path(tempfile.mkdtemp(prefix="ec")) for _ in range(2))
    try:
        asyncio.run(neighbour.main(*sys.argv[1:3], folder, runtime))
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(runtime)
