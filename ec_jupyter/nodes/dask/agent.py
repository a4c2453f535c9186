"""The engine's end of a Dask cluster: an agent whose slots are threads of Dask's workers.

Each call is bound to one worker, so that Dask never runs it twice; calls of a worker that has died are queued again
by the engine. Large results stay with the worker that made them until they are needed elsewhere.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ec_jupyter.errors import EcError, HostUnreachableError, ProcessorNotFoundError, PythonMismatchError, by_name
from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Home, NodeListener, Used
from ec_jupyter.nodes.codec import files_in
from ec_jupyter.nodes.dask.batches import DaskBatches
from ec_jupyter.nodes.dask.cluster import Cluster, Cut
from ec_jupyter.nodes.dask.files import DaskFiles
from ec_jupyter.nodes.dask.workers import DaskWorkers
from ec_jupyter.nodes.local.agent_context import failed, stop_text
from ec_jupyter.nodes.tasks import Tasks
from ec_jupyter.wire import Call

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0


class DaskAgent:
    """Runs calls on a Dask cluster.

    `record`: what the node is called; its host is the scheduler's address. Once the scheduler is gone, what ran there
    is over for sure when the lease is. `stay`: results of more bytes stay with the worker that made them.
    """

    def __init__(self, record: Node, listener: NodeListener, home: Home, *, stay: int = 1 << 20) -> None:
        self.name, self.cpus, self.state = record.name, 0, "starting"
        self._record, self._listener = record, listener
        # two nodes of a flow may be one cluster
        self._flow = f"{home.flow} {self.name}"
        self._tasks = Tasks(self._failed)
        self._workers = DaskWorkers(self._flow, home.epoch, home.workdir, record.cpus)
        self._files = DaskFiles(listener, self._workers, home, stay=stay, spawn=self._tasks.spawn)
        self._batches = DaskBatches(
            listener, self.name, self._workers, self._files, home.epoch,
            spawn=self._tasks.spawn, cut=self._cut, gone=self._worker_gone, ended=self._ended,
        )  # fmt: skip
        self._caps: dict[str, int] = {}
        self._queues: dict[str, deque[Call]] = {}
        self._unsure: dict[int, Call | None] = {}
        self._wake = asyncio.Event()
        self._wanted: asyncio.Task[None] | None = None
        self._since, self._away = time.time(), 0.0
        self._error: EcError | None = None
        self._closing = False

    # life

    def adopt(self, calls: Mapping[int, tuple[int, str]]) -> None:
        """Calls that an engine before this one has sent; each is lost once it surely runs no more."""
        self._unsure.update(dict.fromkeys(calls))

    async def start(self) -> None:
        """Connect, and enter workers. Raises HostUnreachableError; PythonMismatchError: no worker has this Python."""
        self._away = time.monotonic()
        await self._connect()
        if self._workers.refused and not self._workers.by_address:
            text = next(iter(self._workers.refused.values()))
            await self.close()
            raise PythonMismatchError(text)
        self._tasks.spawn(self._watch())

    async def close(self) -> None:
        """Stop all calls and disconnect; values that only the cluster has stay there."""
        self._closing = True
        tasks = {task for task in self._tasks.running if task is not asyncio.current_task()}
        while tasks:
            for task in tasks:
                task.cancel()
            # again until all have ended: `wait_for` of Python 3.11 loses a cancel that comes as its awaitable ends
            await asyncio.wait(tasks, timeout=0.5)
            tasks = {task for task in tasks if not task.done()}
        cluster, self._workers.cluster = self._workers.cluster, None
        if cluster is None:
            return
        stored = list(self._files.stored)
        leaving = [worker.act("leave", stored) for worker in self._workers.by_address.values()]
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*leaving, return_exceptions=True), LOOK_SECONDS)
        await cluster.close()

    def retry(self) -> None:
        """Try to reach the scheduler now."""
        self._wake.set()

    def _failed(self, error: BaseException) -> None:
        if not self._closing:
            log.warning("node %s: %s: %s", self.name, type(error).__name__, error)

    async def _connect(self) -> None:
        cluster = Cluster(self._record.host, self._record.tls, self._worker_gone, self._wake.set)
        try:
            await cluster.connect()
        except BaseException:
            await cluster.close()
            raise
        self._workers.cluster = cluster
        await self._refresh(cluster)
        self._set_state("up", None)

    def _set_state(self, state: str, error: EcError | None) -> None:
        if state != self.state:
            self._since = time.time()
        self.state, self._error = state, error
        if self._closing:
            return
        self._listener.node(self.name)
        self._pump()
        for name in self._caps:
            self._listener.room(name)

    async def _watch(self) -> None:
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            self._wake.clear()
            cluster = self._workers.cluster
            try:
                if cluster is None:
                    await self._connect()
                else:
                    await self._refresh(cluster)
            except HostUnreachableError as error:
                self._expire(error)
            except (Cut, OSError, asyncio.TimeoutError) as error:
                log.info("node %s: %s", self.name, error)
                self._lose()

    async def _refresh(self, cluster: Cluster) -> None:
        """Enter new workers, drop those that are gone, and settle calls whose end nobody has seen."""
        workers = self._workers
        found = await cluster.threads()
        for address in workers.by_address.keys() - found.keys():
            self._worker_gone(address)
        new = [address for address in found if address not in workers.by_address and address not in workers.refused]
        workers.refused = {address: text for address, text in workers.refused.items() if address in found}
        for entered in await asyncio.gather(*(workers.enter(address, found[address]) for address in new)):
            if entered is not None:
                self._files.entered(*entered)
        if self._unsure and not found.keys() - workers.by_address.keys() - workers.refused.keys():
            await self._settle(cluster)
        if self.cpus != workers.cpus or new:
            self.cpus = workers.cpus
            if self.state == "up":
                self._set_state("up", None)

    # lost workers

    def _worker_gone(self, address: str) -> None:
        worker = self._workers.by_address.pop(address, None)
        if worker is None:
            return
        self.cpus = self._workers.cpus
        self._files.left(worker)
        self._batches.worker_gone(worker, f"Dask's worker {address} (pid {worker.pid}) is gone")
        if not self._closing:
            self._listener.node(self.name)
            self._wake.set()
        self._pump()

    def _cut(self, cluster: Cluster) -> None:
        if self._workers.cluster is cluster:
            self._lose()

    def _lose(self) -> None:
        """The scheduler is gone: what was sent may run on for a while."""
        cluster, self._workers.cluster = self._workers.cluster, None
        if cluster is not None:
            self._tasks.spawn(cluster.close())
        self._away = time.monotonic()
        for batch in list(self._workers.batches):
            self._unsure.update(self._batches.over(batch))
        self._workers.by_address.clear()
        self._files.cut()
        self.recall([call.request for queue in self._queues.values() for call in queue])
        self._set_state("away", HostUnreachableError(f"the Dask scheduler at {self._record.host} is gone"))

    def _expire(self, error: EcError) -> None:
        if time.monotonic() - self._away < 1.1 * self._record.lease:
            if self.state == "up":
                self._set_state("away", error)
            return
        self._set_state("down", error)
        self._give_up(list(self._unsure))

    async def _settle(self, cluster: Cluster) -> None:
        """Report calls as lost whose end nobody has seen and which no worker runs."""
        unsure, addresses = list(self._unsure), list(self._workers.by_address)
        found = await asyncio.gather(*(cluster.act(address, "running", self._flow) for address in addresses))
        running = set(itertools.chain(*found))
        self._give_up([request for request in unsure if request not in running])

    def _give_up(self, requests: list[int]) -> None:
        lost = [request for request in requests if request in self._unsure]
        for request in lost:
            del self._unsure[request]
        if lost:
            # told once whoever waits for this agent to start has it
            asyncio.get_running_loop().call_soon(self._listener.lost, self.name, lost)

    # processors

    def processor(self, name: str, cpus: int, affinity: str | Sequence[int] = "auto", weight: float = 1.0) -> None:
        """Make or change a processor; nothing is pinned there, and who has the next turn is for Dask to say."""
        self._caps[name] = cpus
        self._queues.setdefault(name, deque())
        self._pump()

    def remove(self, name: str) -> None:
        """Take a processor away: what has not begun is handed back, what runs goes on."""
        queue = by_name(self._queues, name, ProcessorNotFoundError)
        del self._caps[name], self._queues[name]
        if queue:
            self._listener.returned([call.request for call in queue])

    def _warm(self) -> None:
        """Ask for a worker where there is none: an adaptive cluster starts one."""
        cluster = self._workers.cluster
        idle = self._wanted is None or self._wanted.done()
        if idle and cluster is not None and self.state == "up" and not self._workers.by_address:
            self._wanted = self._tasks.spawn(self._want(cluster))

    async def _want(self, cluster: Cluster) -> None:
        try:
            await cluster.want()
        except Exception as error:  # noqa: BLE001 - Dask's; a worker may come all the same
            log.info("node %s: no worker was asked for: %s", self.name, error)

    def room(self, name: str) -> int:
        """How many more calls keep the processor busy during a round trip."""
        if self.state != "up" or name not in self._caps:
            return 0
        if not self._workers.by_address:
            # whoever asks for room has calls
            self._warm()
            return 0
        cpus = min(self._caps[name], self.cpus)
        batches = [batch for batch in self._workers.batches if batch.processor == name]
        mine = sum(len(batch.calls) for batch in batches)
        most = max((self._batches.share(call) for call in itertools.islice(self._queues[name], 1)), default=2)
        if mine and most == 2:
            most = max(self._batches.share(call) for batch in batches for call in batch.calls.values())
        return max(0, 2 * cpus * most - mine - len(self._queues[name]))

    # calls

    def assign(self, name: str, calls: list[Call]) -> None:
        """Append calls to the processor's queue; they start in this order. Raises ProcessorNotFoundError."""
        by_name(self._queues, name, ProcessorNotFoundError).extend(calls)
        self._pump()

    def _pump(self) -> None:
        if self.state != "up" or self._closing:
            return
        for name, queue in self._queues.items():
            while queue:
                threads = self._fit(queue[0], name)
                used = sum(batch.threads for batch in self._workers.batches if batch.processor == name)
                if used + threads > self._caps[name] or self._workers.used + threads > self.cpus:
                    break
                worker = self._workers.choose(threads, (file for file, _ in files_in(queue[0])))
                if worker is None:
                    break
                self._batches.send(name, worker, self._taken(queue), threads)

    def _fit(self, call: Call, name: str) -> int:
        most = max((worker.threads for worker in self._workers.by_address.values()), default=1)
        return int(max(1, min(call.spec.threads, most, self._caps[name] or 1)))

    def _taken(self, queue: deque[Call]) -> list[Call]:
        calls = [queue.popleft()]
        share = self._batches.share(calls[0])
        like = (calls[0].spec.task, calls[0].spec.socket)
        while queue and len(calls) < share and (queue[0].spec.task, queue[0].spec.socket) == like:
            if self._batches.share(queue[0]) == 1:
                break
            calls.append(queue.popleft())
        return calls

    def _ended(self, processor: str) -> None:
        self._pump()
        if processor in self._caps:
            self._listener.room(processor)

    def recall(self, requests: Collection[int]) -> None:
        """Hand back those that have not begun; the others run on."""
        wanted, back = set(requests), list[int]()
        for queue in self._queues.values():
            back += [call.request for call in queue if call.request in wanted]
            left = [call for call in queue if call.request not in wanted]
            queue.clear()
            queue.extend(left)
        if back:
            self._listener.returned(back)

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        """End a call, running or not; an outcome of that kind follows. Unknown ones are no error.

        Its thread is interrupted; until Python code runs there again, it is not free for others.
        """
        call = self._unsure.pop(request, None)
        for queue in self._queues.values():
            for waiting in [one for one in queue if one.request == request]:
                queue.remove(waiting)
                call = waiting
        call = self._batches.stop(request, kind) or call
        if call is not None:
            self._listener.finished([failed(call, kind, stop_text(call, kind))])

    # values

    def holds(self, file: str) -> bool:
        """Whether a living worker has a value file."""
        return self.state == "up" and self._files.holds(file)

    async def bring(self, file: str) -> bool:
        """Copy a value file into the flow's folder; False if no worker has it. Raises OSError: it cannot be written."""
        cluster = self._workers.cluster
        if cluster is None:
            return False
        try:
            return await self._files.bring(file)
        except Cut as error:
            log.info("node %s: %s", self.name, error)
            self._cut(cluster)
            return False

    def release(self, files: Iterable[str]) -> None:
        """Drop value files that nothing refers to any more."""
        self._files.release(files)

    # facts

    def running(self) -> dict[int, float]:
        """Requests that run now, and for how many seconds."""
        return self._batches.running()

    def used(self) -> list[Used]:
        """Of each process there, what it has used since it is known here, for any processor, and the bytes it holds."""
        found: dict[int, tuple[float, int]] = {}
        for worker in self._workers.by_address.values():
            # on several hosts processes may have one identity
            cpu, held = found.get(worker.pid, (0.0, 0))
            found[worker.pid] = cpu + worker.uses[0] - worker.base, held + worker.uses[1]
        return [("", pid, cpu, held) for pid, (cpu, held) in found.items()]

    def facts(self) -> dict[str, Any]:
        """Facts about the node; `stored`: bytes of values that only the cluster has."""
        error, workers = self._error if self.state != "up" else None, self._workers
        note = next(iter(workers.refused.values()), None)
        if note is None and self.state == "up" and not workers.by_address:
            note = "the cluster has no workers yet; calls wait for them"
        return {
            "state": self.state, "cpus": self.cpus, "used": workers.used, "round_trip": None, "memory": None,
            "python": workers.python, "version": workers.version, "host": self._record.host, "since": self._since,
            "workers": len(workers.by_address), "stored": sum(self._files.stored.values()),
            "error": str(error) if error is not None else None,
            "type": type(error).__name__ if error is not None else None, "note": note,
        }  # fmt: skip
