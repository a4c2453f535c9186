"""An engine in this process with nodes whose line can be cut: real agents, real workers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ec_jupyter.engine.loop import Engine
from ec_jupyter.engine.stale_filter import StaleFilter
from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Home
from ec_jupyter.nodes.local.agent import Agent
from tests.crash.flowkit import SECONDS, Flow

TOLD = ("started", "finished", "done", "yielded", "returned", "died", "output", "progress", "room", "trouble")


class Station:
    """A node: an agent of its own, behind a line that the test holds.

    What is said while the line is cut is kept, in both directions, as a link that comes back would bring it.
    """

    def __init__(self, spec: Node, listener: StaleFilter, home: Home, world: World) -> None:
        self.name, self.world, self.listener = spec.name, world, listener
        self.cpus = spec.cpus or 2
        self.state = "starting"
        self.claims: dict[int, tuple[int, str]] = {}
        self.given: list[int] = []
        self._said: list[Callable[[], None]] = []
        self._asked: list[Callable[[], None]] = []
        ear = type("Ear", (), {word: staticmethod(self._relayed(word)) for word in TOLD})()
        ear.blob = listener.blob
        self.agent = Agent(
            ear, name=spec.name, cpus=self.cpus, folder=home.folder, runtime=home.runtime, epoch=home.epoch,
            workdir=home.workdir,
        )  # fmt: skip

    def _relayed(self, word: str) -> Callable[..., None]:
        def told(*given: Any) -> None:
            if self.state == "up":
                getattr(self.listener, word)(*given)
            else:
                self._said.append(lambda: getattr(self.listener, word)(*given))

        return told

    def _sent(self, act: Callable[[], None]) -> None:
        act() if self.state == "up" else self._asked.append(act)

    # -- as the fleet sees it ----------------------------------------------------
    def adopt(self, claims: dict[int, tuple[int, str]]) -> None:
        self.claims = dict(claims)

    async def start(self) -> None:
        await self.agent.start()
        asyncio.get_running_loop().call_soon(self.retry)

    def retry(self) -> None:
        if self.name in self.world.broken:
            self.state = "down"
            self.listener.node(self.name)
        elif self.name not in self.world.slow:
            # a new agent knows of nothing that an earlier one was given
            self.listener.lost(self.name, list(self.claims))
            self.mend()

    async def close(self) -> None:
        self.state = "down"
        self.world.closed.append(self.name)
        await self.agent.close()

    def processor(self, name: str, cpus: int, affinity: Any = "auto", weight: float = 1.0) -> None:
        self._sent(lambda: self.agent.processor(name, cpus, affinity, weight))

    def remove(self, name: str) -> None:
        self._sent(lambda: self.agent.remove(name))

    def warm(self, name: str) -> None:
        self._sent(lambda: self.agent.warm(name))

    def room(self, name: str) -> int:
        return self.agent.room(name) if self.state == "up" else 0

    def assign(self, name: str, calls: list[Any]) -> None:
        assert self.state == "up", "calls for a node that is not there"
        self.given += [call.request for call in calls]
        self.agent.assign(name, calls)

    def recall(self, requests: Any) -> None:
        self._sent(lambda: self.agent.recall(requests))

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        self._sent(lambda: self.agent.cancel(request, kind))

    def running(self) -> dict[int, float]:
        return self.agent.running() if self.state == "up" else {}

    def used(self) -> list[Any]:
        return self.agent.used()

    def facts(self) -> dict[str, Any]:
        return {"used": self.agent.busy, "python": "3.11", "round_trip": 0.001, **self._error()}

    def _error(self) -> dict[str, Any]:
        if self.state != "down":
            return {"error": None}
        return {"error": f"host {self.name!r} has no 'python3'", "type": "NodeStartError"}

    # -- what the test does to it ------------------------------------------------
    def cut(self) -> None:
        """The line is gone; what runs there goes on."""
        self.state = "away"
        self.listener.node(self.name)

    def mend(self) -> None:
        """The line is back, with all that was said meanwhile."""
        self.state = "up"
        said, self._said, asked, self._asked = self._said, [], self._asked, []
        for act in [*said, *asked]:
            act()
        self.listener.node(self.name)

    def expire(self) -> None:
        """The fence has passed: what was given to it is over, whatever it may still say."""
        self.listener.lost(self.name, list(self.given))

    def pids(self) -> list[int]:
        """Its worker processes."""
        return [slot.pid for pool in self.agent._pools.values() for slot in pool.slots if slot.pid]


class World:
    """An engine in a thread, and its stations.

    Parameters
    ----------
    folder : Path
        The flow's.
    cpus : int
        CPUs of the local node.
    """

    def __init__(self, folder: Path, cpus: int = 1) -> None:
        self.folder, self.cpus = folder, cpus
        self.stations: dict[str, Station] = {}
        self.broken: set[str] = set()
        self.slow: set[str] = set()
        self.closed: list[str] = []
        self.flow: Flow

    def open(self) -> Flow:
        """Start the engine, and a client of it."""
        self._ready, self._failure = threading.Event(), None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(SECONDS)
        self.flow = Flow(self.folder)
        return self.flow

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        engine = self.engine = Engine(
            self.folder, self.folder.parent.parent, self.cpus, linger=SECONDS, opener=self._opened
        )
        self.loop.set_exception_handler(lambda _, context: engine.fall(context))
        await engine.start()
        await engine.listen()
        self._ready.set()
        await engine.stopped.wait()
        self.fell = engine.broken
        await engine.clients.close()
        await engine.close()

    def _opened(self, spec: Node, listener: StaleFilter, home: Home) -> Station:
        station = self.stations[spec.name] = Station(spec, listener, home, self)
        return station

    def do(self, act: Callable[[], Any]) -> Any:
        """Do something on the engine's loop."""
        done = threading.Event()
        found: list[Any] = []

        def doing() -> None:
            found.append(act())
            done.set()

        self.loop.call_soon_threadsafe(doing)
        assert done.wait(SECONDS)
        return found[0]

    def close(self, *, broken: bool = False) -> None:
        """End the engine; `broken`: as a kill does, with nothing written any more."""
        self.flow.client.close()

        def end() -> None:
            self.engine.broken = broken
            self.engine.stopped.set()

        if self._thread.is_alive():
            self.do(end)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def kill_workers(self, name: str) -> list[int]:
        """SIGKILL for all workers of a station."""
        pids = self.do(self.stations[name].pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids
