"""The plainest agent there can be: calls one after the other, in a thread of this process.

What holds for it is what a node is; what does not is what processes are for.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ec_jupyter
from ec_jupyter.errors import EcError, ProcessorNotFoundError, by_name
from ec_jupyter.nodes.agents import NodeListener
from ec_jupyter.nodes.local.agent_context import failed, stop_text
from ec_jupyter.nodes.worker.invoke import Invocation, Tasks
from ec_jupyter.wire import Call, Value
from tests.nodes.turn import Turn


class Inline:
    """Runs calls in a thread of whoever has made it."""

    def __init__(self, listener: NodeListener, *, name: str, cpus: int, folder: Path, workdir: Path, epoch: int):
        self.name, self.cpus, self.state = name, cpus, "starting"
        self._listener, self._workdir, self._since = listener, workdir, time.time()
        self._invocation = Invocation(Tasks(self._ask), folder / "values", epoch, False, self._emit)
        self._queues: dict[str, deque[Call]] = {}
        self._caps: dict[str, int] = {}
        self._turn: Turn | None = None
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "inline")

    async def start(self) -> None:
        self.state, self._loop = "up", asyncio.get_running_loop()
        self._work = asyncio.create_task(self._serve())

    async def close(self) -> None:
        self.state = "down"
        if self._turn is not None:
            self.cancel(self._turn.call.request)
        self._news.set()
        await self._work
        self._thread.shutdown()

    def adopt(self, calls: Mapping[int, tuple[int, str]]) -> None:
        """Calls of an engine before this one have ended with it."""
        asyncio.get_running_loop().call_soon(self._listener.lost, self.name, list(calls))

    def retry(self) -> None:
        """It is never away."""

    def processor(self, name: str, cpus: int, affinity: str | Sequence[int] = "auto", weight: float = 1.0) -> None:
        self._caps[name] = cpus
        self._queues.setdefault(name, deque())
        self._news.set()

    def remove(self, name: str) -> None:
        self.recall([call.request for call in self._known(name)])
        del self._queues[name], self._caps[name]

    def _known(self, name: str) -> deque[Call]:
        return by_name(self._queues, name, ProcessorNotFoundError)

    def room(self, name: str) -> int:
        return max(0, 2 * self._caps.get(name, 0) - len(self._queues.get(name, ())))

    def assign(self, name: str, calls: list[Call]) -> None:
        self._known(name).extend(calls)
        self._news.set()

    def recall(self, requests: Collection[int]) -> None:
        back = [call.request for call in self._taken(set(requests))]
        if back:
            self._listener.returned(back)

    def _taken(self, requests: set[int]) -> list[Call]:
        """Calls that have not begun, taken out of their queues."""
        found = [call for queue in self._queues.values() for call in queue if call.request in requests]
        for name, queue in self._queues.items():
            self._queues[name] = deque(call for call in queue if call.request not in requests)
        return found

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        for call in self._taken({request}):
            self._listener.finished([failed(call, kind, stop_text(call, kind))])
        if self._turn is not None and self._turn.call.request == request:
            self._turn.stop(kind, stop_text(self._turn.call, kind))

    async def _serve(self) -> None:
        while self.state == "up":
            queue = next((queue for name, queue in self._queues.items() if queue and self._caps[name]), None)
            if queue is not None:
                await self._run(queue.popleft())
                continue
            self._news.clear()
            await self._news.wait()

    async def _run(self, call: Call) -> None:
        self._turn = turn = Turn(call, self._invocation, self._tell, self._workdir)
        self._listener.started(call.request, call.attempt, time.time(), 0, os.getpid())
        timer = None
        if call.spec.timeout is not None:
            text = f"{call.spec.socket!r} ran longer than {call.spec.timeout:g} s"
            timer = self._loop.call_later(call.spec.timeout, turn.stop, "timeout", text)
        outcome = await self._loop.run_in_executor(self._thread, turn.run)
        if timer is not None:
            timer.cancel()
        self._turn = None
        self._listener.finished([outcome])
        for name in self._caps:
            self._listener.room(name)

    def _tell(self, word: str, *facts: Any) -> None:
        """Say it to the listener, on its thread."""
        self._loop.call_soon_threadsafe(getattr(self._listener, word), *facts)

    def _emit(self, request: int, index: int, value: Value) -> None:
        assert self._turn is not None
        self._tell("yielded", request, self._turn.call.attempt, index, [value])

    def _ask(self, sha256: str) -> bytes:
        async def asked() -> bytes:
            return self._listener.blob(sha256)

        try:
            return asyncio.run_coroutine_threadsafe(asked(), self._loop).result()
        except KeyError:
            raise EcError("its code is gone") from None

    def running(self) -> dict[int, float]:
        return {} if self._turn is None else {self._turn.call.request: time.monotonic() - self._turn.began}

    def used(self) -> list[Any]:
        return []

    @property
    def busy(self) -> int:
        return int(self._turn is not None)

    def facts(self) -> dict[str, Any]:
        return {
            "state": self.state, "cpus": self.cpus, "round_trip": None, "memory": None, "host": platform.node(),
            "python": platform.python_version(), "version": ec_jupyter.__version__, "since": self._since,
            "error": None, "type": None,
        }  # fmt: skip
