"""The engine's end of a Dask cluster: an agent as the local one is, whose slots are threads of Dask's workers.

Dask is told which worker a call runs in, so that it never runs one twice: what was in a worker that has died is for
our queue to try again. Values travel through the cluster and come home; nothing of a result is left there that
somebody has to wait for.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ec_jupyter.errors import EcError, HostUnreachableError, ProcessorNotFoundError, PythonMismatchError
from ec_jupyter.nodes.batch import pack_calls, unpack_results
from ec_jupyter.nodes.cargo import files
from ec_jupyter.nodes.cluster import Cluster, Cut
from ec_jupyter.nodes.durations import Durations
from ec_jupyter.nodes.freight import values_of
from ec_jupyter.nodes.landing import Landing
from ec_jupyter.nodes.site import NodeListener, failed, stop_text
from ec_jupyter.wire import PROTOCOL, Call, Outcome, Value

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
BATCH_CALLS = 32
BATCH_SECONDS = 0.1
"""As much work shares a task of Dask's, each of which costs some 10 ms."""
PIECE_BYTES = 32 << 20
KEPT_BYTES = 2 << 30
"""Value files of so many bytes stay with a worker; those used longest ago go first."""


@dataclass(eq=False)
class Worker:
    """A process of Dask's; `token` is what it knows us by."""

    address: str
    threads: int
    token: str
    pid: int
    used: int = 0
    blobs: set[str] = field(default_factory=set)
    files: OrderedDict[str, int] = field(default_factory=OrderedDict)
    batches: set[Batch] = field(default_factory=set)


@dataclass(eq=False)
class Batch:
    """Calls that share a task of Dask's."""

    processor: str
    calls: dict[int, Call]
    worker: Worker
    threads: int
    began: float
    task: asyncio.Task[None] | None = None
    sent: bool = False


class DaskAgent:
    """Runs calls on a Dask cluster.

    Parameters
    ----------
    listener : NodeListener
        Told what becomes of the calls, and of the node.
    name : str
        Name of the node.
    address : str
        The scheduler's.
    tls : sequence of str
        Files of the authority, the certificate and its key; empty without TLS.
    flow : str
        Identity of the flow.
    folder, workdir : Path
        The flow's folder, and where modules beside the notebook lie.
    epoch : int
        The engine's.
    cpus : int or None
        CPUs it lends at most; None: a thread of a worker each.
    lease : float
        Seconds after which what ran there is over for sure once the scheduler is gone.
    sync : bool
        Whether value files are synced to the disk.
    """

    def __init__(  # noqa: PLR0913 - what a node is, by name
        self,
        listener: NodeListener,
        *,
        name: str,
        address: str,
        tls: Sequence[str] = (),
        flow: str,
        folder: Path,
        workdir: Path,
        epoch: int,
        cpus: int | None = None,
        lease: float = 600.0,
        sync: bool = False,
    ) -> None:
        self.name = name
        self.cpus = cpus or 0
        self.state = "starting"
        self._listener = listener
        self._address, self._tls = address, tuple(tls)
        self._flow, self._epoch, self._lease = flow, epoch, lease
        self._most = cpus
        self._values, self._workdir = folder / "values", workdir
        self._landing = Landing(self._values, epoch, sync)
        self._cluster: Cluster | None = None
        self._workers: dict[str, Worker] = {}
        self._refused: dict[str, str] = {}
        self._caps: dict[str, int] = {}
        self._queues: dict[str, deque[Call]] = {}
        self._sent: dict[int, Batch] = {}
        self._unsure: dict[int, Call | None] = {}
        self._suspects: set[int] = set()
        self._durations = Durations()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keys = itertools.count(1)
        self._wake = asyncio.Event()
        self._since = time.time()
        self._error: EcError | None = None
        self._facts: dict[str, Any] = {}
        self._away = 0.0
        self._closing = False

    # life

    def adopt(self, calls: Mapping[int, tuple[int, str]]) -> None:
        """Calls that an engine before this one has sent; each is lost once it surely runs no more."""
        self._unsure.update(dict.fromkeys(calls))

    async def start(self) -> None:
        """Reach the scheduler, and come into its workers.

        Raises
        ------
        HostUnreachableError
            It does not answer.
        PythonMismatchError
            No worker has this Python.
        """
        self._away = time.monotonic()
        await self._connect()
        if self._refused and not self._workers:
            text = next(iter(self._refused.values()))
            await self.close()
            raise PythonMismatchError(text)
        self._spawn(self._watch())

    async def close(self) -> None:
        """Stop what runs there, and let go of the cluster."""
        self._closing = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        leaving = [cluster.act(address, "leave", self._flow) for address in self._workers]
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*leaving, return_exceptions=True), LOOK_SECONDS)
        await cluster.close()

    def retry(self) -> None:
        """Try to reach the scheduler now."""
        self._wake.set()

    async def _connect(self) -> None:
        cluster = Cluster(self._address, self._tls, self._buried, self._wake.set)
        try:
            await cluster.connect()
        except BaseException:
            await cluster.close()
            raise
        self._cluster = cluster
        await self._look()
        self._turn("up", None)

    def _turn(self, state: str, error: EcError | None) -> None:
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
        """See who comes and goes."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            self._wake.clear()
            try:
                if self._cluster is None:
                    await self._connect()
                else:
                    await self._look()
            except HostUnreachableError as error:
                self._expire(error)
            except (Cut, OSError, TimeoutError) as error:
                log.info("node %s: %s", self.name, error)
                self._lose()

    async def _look(self) -> None:
        """Come into new workers, leave those that are gone, settle what nobody knows of."""
        assert self._cluster is not None
        found = await self._cluster.threads()
        for address in self._workers.keys() - found.keys():
            self._buried(address)
        new = [address for address in found if address not in self._workers and address not in self._refused]
        self._refused = {address: text for address, text in self._refused.items() if address in found}
        await asyncio.gather(*(self._enter(address, found[address]) for address in new))
        if self._unsure:
            await self._settle(set(found))
        cpus = self._most or sum(worker.threads for worker in self._workers.values())
        if cpus != self.cpus or new:
            self.cpus = cpus
            if self.state == "up":
                self._turn("up", None)

    async def _enter(self, address: str, threads: int) -> None:
        assert self._cluster is not None
        token = secrets.token_hex(8)
        try:
            facts = await self._cluster.enter(address, token, self._flow, self._epoch, str(self._workdir))
        except Exception as error:
            # whatever the import of our package raises there
            if self._cluster is None or not self._cluster.connected:
                raise Cut(str(error)) from error
            log.info("node %s: worker %s: %s", self.name, address, error)
            return
        python = ".".join(map(str, facts["python"]))
        if facts["python"][:2] != list(sys.version_info[:2]) or facts["protocol"] != PROTOCOL:
            self._refused[address] = (
                f"worker {address} has Python {python} and ec_jupyter {facts['version']}; this notebook has Python "
                f"{sys.version_info[0]}.{sys.version_info[1]}: functions cannot travel between them"
            )
            return
        self._facts = {"python": python, "version": facts["version"]}
        self._workers[address] = Worker(address, threads, token, facts["pid"])

    # those that are gone

    def _buried(self, address: str) -> None:
        """A worker has died, or was sent away."""
        worker = self._workers.pop(address, None)
        if worker is None:
            return
        self.cpus = self._most or sum(other.threads for other in self._workers.values())
        for batch in list(worker.batches):
            self._die(batch, f"Dask's worker {address} (pid {worker.pid}) is gone")
        if not self._closing:
            self._listener.node(self.name)
            self._wake.set()
        self._pump()

    def _die(self, batch: Batch, text: str) -> None:
        """A worker is gone under these: one that was alone there is to blame, and one that has seen it twice."""
        mates = sum(len(other.calls) for other in batch.worker.batches)
        calls = self._over(batch)
        lost = []
        for request, call in calls.items():
            if not batch.sent:
                self._listener.returned([request])
            elif mates == 1 or request in self._suspects:
                self._listener.died(request, call.attempt, text)
            else:
                self._suspects.add(request)
                lost.append(request)
        if lost:
            self._listener.lost(self.name, lost)

    def _over(self, batch: Batch) -> dict[int, Call]:
        """A batch has ended, well or not: its slot is free; its calls that are still wanted."""
        calls = {n: call for n, call in batch.calls.items() if self._sent.get(n) is batch}
        for request in calls:
            del self._sent[request]
        batch.worker.used -= batch.threads
        batch.worker.batches.discard(batch)
        if batch.task is not None and batch.task is not asyncio.current_task():
            batch.task.cancel()
        return calls

    def _lose(self) -> None:
        """The scheduler is gone: what was sent may run on for a while."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            self._spawn(cluster.close())
        self._away = time.monotonic()
        for worker in self._workers.values():
            for batch in list(worker.batches):
                self._unsure.update(self._over(batch))
        self._workers.clear()
        self.recall([call.request for queue in self._queues.values() for call in queue])
        self._turn("away", HostUnreachableError(f"the Dask scheduler at {self._address} is gone"))

    def _expire(self, error: EcError) -> None:
        if time.monotonic() - self._away < 1.1 * self._lease:
            if self.state == "up":
                self._turn("away", error)
            return
        self._turn("down", error)
        self._release(list(self._unsure))

    async def _settle(self, addresses: set[str]) -> None:
        """Calls whose end nobody has seen are over where no worker runs them."""
        assert self._cluster is not None
        if addresses - self._workers.keys() - self._refused.keys():
            return
        cluster, unsure = self._cluster, list(self._unsure)
        found = await asyncio.gather(*(cluster.act(address, "running", self._flow) for address in self._workers))
        self._release([request for request in unsure if request not in set(itertools.chain(*found))])

    def _release(self, requests: list[int]) -> None:
        lost = [request for request in requests if request in self._unsure]
        for request in lost:
            del self._unsure[request]
        if lost:
            # told once whoever waits for this agent to start has it
            asyncio.get_running_loop().call_soon(self._listener.lost, self.name, lost)

    # processors

    def processor(self, name: str, cpus: int, affinity: str | Sequence[int] = "auto") -> None:
        """Make or change a processor; nothing is pinned there."""
        self._caps[name] = cpus
        self._queues.setdefault(name, deque())
        self._pump()

    def remove(self, name: str) -> None:
        """Take a processor away: what has not begun is handed back, what runs goes on."""
        self._known(name)
        self._caps.pop(name)
        self.recall([call.request for call in self._queues.pop(name)])

    def _known(self, name: str) -> str:
        if name not in self._caps:
            raise ProcessorNotFoundError.named(name, self._caps)
        return name

    def warm(self, name: str) -> None:
        """Nothing: Dask's workers are there."""

    def room(self, name: str) -> int:
        """How many more calls keep the processor busy, the way there and back included."""
        if self.state != "up" or name not in self._caps:
            return 0
        cpus = min(self._caps[name], self.cpus)
        most = max((self._share(call) for call in itertools.islice(self._queues[name], 1)), default=2)
        mine = sum(len(b.calls) for b in self._batches() if b.processor == name)
        if mine and most == 2:
            most = max(self._share(call) for b in self._batches() if b.processor == name for call in b.calls.values())
        return max(0, 2 * cpus * most - mine - len(self._queues[name]))

    def _batches(self) -> Iterator[Batch]:
        return itertools.chain.from_iterable(worker.batches for worker in self._workers.values())

    def _share(self, call: Call) -> int:
        """How many calls like this one share a task of Dask's."""
        seconds = self._durations.get(call.task)
        if seconds is None or call.once or call.timeout or call.request in self._suspects:
            return 1
        return max(1, min(BATCH_CALLS, int(BATCH_SECONDS / seconds))) if self._durations.short(call.task) else 1

    # calls

    def assign(self, name: str, calls: list[Call]) -> None:
        """Append calls to the processor's queue; they start in this order.

        Raises
        ------
        ProcessorNotFoundError
            There is no such processor here.
        """
        self._queues[self._known(name)].extend(calls)
        self._pump()

    def _pump(self) -> None:
        if self.state != "up" or self._closing:
            return
        for name, queue in self._queues.items():
            while queue:
                threads = self._fit(queue[0], name)
                worker = max(self._workers.values(), key=lambda w: w.threads - w.used, default=None)
                used = sum(batch.threads for batch in self._batches() if batch.processor == name)
                total = sum(other.used for other in self._workers.values())
                if worker is None or worker.threads - worker.used < threads:
                    break
                if used + threads > self._caps[name] or total + threads > self.cpus:
                    break
                self._launch(name, worker, self._taken(queue), threads)

    def _fit(self, call: Call, name: str) -> int:
        most = max((worker.threads for worker in self._workers.values()), default=1)
        return max(1, min(call.threads, most, self._caps[name] or 1))

    def _taken(self, queue: deque[Call]) -> list[Call]:
        calls = [queue.popleft()]
        share = self._share(calls[0])
        like = (calls[0].task, calls[0].socket)
        while queue and len(calls) < share and (queue[0].task, queue[0].socket) == like:
            if self._share(queue[0]) == 1:
                break
            calls.append(queue.popleft())
        return calls

    def _launch(self, name: str, worker: Worker, calls: list[Call], threads: int) -> None:
        batch = Batch(name, {call.request: call for call in calls}, worker, threads, time.monotonic())
        worker.used += threads
        worker.batches.add(batch)
        self._sent.update(dict.fromkeys(batch.calls, batch))
        batch.task = self._spawn(self._run(batch))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, batch: Batch) -> None:
        """Send a batch, and take what it came to."""
        cluster = self._cluster
        assert cluster is not None
        try:
            if await self._prepare(cluster, batch):
                answer = await self._ask(cluster, batch)
                await self._take(cluster, batch, answer)
        except Cut as error:
            log.info("node %s: %s", self.name, error)
            if self._cluster is cluster:
                self._lose()
        except Exception as error:  # noqa: BLE001 - Dask's, of as many kinds as it has
            self._fail(batch, error)
        if batch in batch.worker.batches:
            self._over(batch)
        self._pump()
        if batch.processor in self._caps:
            self._listener.room(batch.processor)

    def _fail(self, batch: Batch, error: Exception) -> None:
        if type(error).__name__ == "KilledWorker":
            self._die(batch, str(error).partition("\n")[0])
            return
        text = str(error) if isinstance(error, EcError) else f"Dask cannot run it: {type(error).__name__}: {error}"
        calls = self._over(batch)
        self._listener.finished([failed(call, "task", text) for call in calls.values()])

    async def _prepare(self, cluster: Cluster, batch: Batch) -> bool:
        """Send code and files that the worker does not have; whether there is still something to run."""
        worker = batch.worker
        for call in batch.calls.values():
            code = {call.task, *(one for _, when, _, key in call.routes for one in (when, key) if one)}
            for sha256 in code - worker.blobs:
                try:
                    blob = self._listener.blob(sha256)
                except Exception as error:
                    raise EcError(f"task of {call.socket!r} cannot be unpickled: its code is gone") from error
                await cluster.act(worker.address, "learn", worker.token, sha256, blob)
                worker.blobs.add(sha256)
            for name, size in files(call):
                if name not in worker.files:
                    await self._send_file(cluster, worker, name)
                    self._hold(worker, name, size)
                worker.files.move_to_end(name)
        surplus = self._surplus(worker)
        if surplus:
            await cluster.act(worker.address, "drop", worker.token, surplus)
        return any(request in self._sent for request in batch.calls)

    async def _send_file(self, cluster: Cluster, worker: Worker, name: str) -> None:
        with (self._values / name).open("rb") as file:
            data = await asyncio.to_thread(file.read, PIECE_BYTES)
            while True:
                more = await asyncio.to_thread(file.read, PIECE_BYTES)
                await cluster.act(worker.address, "keep", worker.token, name, data, not more)
                if not more:
                    return
                data = more

    def _hold(self, worker: Worker, name: str, size: int) -> None:
        worker.files[name] = size

    def _surplus(self, worker: Worker) -> list[str]:
        """Files that are to go from a worker; none that a call there needs."""
        used = {name for batch in worker.batches for call in batch.calls.values() for name, _ in files(call)}
        gone, left = [], sum(worker.files.values())
        for name in [name for name in worker.files if name not in used]:
            if left <= KEPT_BYTES:
                break
            left -= worker.files.pop(name)
            gone.append(name)
        return gone

    async def _ask(self, cluster: Cluster, batch: Batch) -> Any:
        calls = list(batch.calls.values())
        batch.sent, batch.began = True, time.monotonic()
        timer = None
        if len(calls) == 1:
            (call,) = calls
            self._listener.started(call.request, call.attempt, time.time(), 0, batch.worker.pid)
            if call.timeout:
                text = f"{call.socket!r} ran longer than {call.timeout:g} s"
                timer = asyncio.get_running_loop().call_later(call.timeout, self._end, call.request, "timeout", text)
        key = f"{calls[0].socket}-ec_jupyter-{self._epoch}-{batch.worker.token}-{next(self._keys)}"
        header, buffers = pack_calls(calls, {})
        data = [bytes(one) for one in buffers]
        try:
            return await cluster.submit(batch.worker.address, key, "run", batch.worker.token, header, data)
        finally:
            if timer is not None:
                timer.cancel()

    async def _take(self, cluster: Cluster, batch: Batch, answer: dict[str, Any] | None) -> None:
        if answer is None:
            # another process has the address by now, and has not run it
            self._buried(batch.worker.address)
            return
        attempts = {n: call.attempt for n, call in batch.calls.items() if self._sent.get(n) is batch}
        outcomes = unpack_results(answer["head"], answer["data"], attempts)
        yields = {n: [Value(*one) for one in made] for n, made in answer["yields"].items() if n in attempts}
        for outcome in outcomes:
            for value in (*values_of(outcome), *yields.get(outcome.request, ())):
                await self._fetch(cluster, batch.worker, outcome, value)
        self._tell(batch, outcomes, yields, answer["said"])

    async def _fetch(self, cluster: Cluster, worker: Worker, outcome: Outcome, value: Value) -> None:
        """Bring a value that is a file home; it stays there too, for calls that come to that worker."""
        if value.file is None:
            return
        name, at = value.file, 0
        self._values.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._landing.beside(name)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            while data := await cluster.act(worker.address, "read", worker.token, name, at, PIECE_BYTES):
                at += len(data)
                await asyncio.to_thread(file.write, data)
        self._landing.take(name, keep=outcome.request in self._sent)
        self._landing.has(outcome.request, outcome.attempt, value)
        self._hold(worker, name, value.size)

    def _tell(
        self,
        batch: Batch,
        outcomes: list[Outcome],
        yields: dict[int, list[Value]],
        said: list[tuple[int, str, str]],
    ) -> None:
        mine = self._over(batch)
        outcomes = [outcome for outcome in outcomes if outcome.request in mine]
        for request, stream, text in said:
            if request in mine:
                self._listener.output(request, stream, text)
        for outcome in outcomes:
            call = mine[outcome.request]
            outcome.pid = batch.worker.pid
            self._durations.learn(call.task, outcome.seconds)
            self._suspects.discard(outcome.request)
            if outcome.request in yields:
                self._listener.yielded(outcome.request, outcome.attempt, call.skip, yields[outcome.request])
        if outcomes:
            self._listener.finished(outcomes)

    def recall(self, requests: Collection[int]) -> None:
        """Hand back those that have not begun; the others run on."""
        wanted, back = set(requests), list[int]()
        for queue in self._queues.values():
            back += [call.request for call in queue if call.request in wanted]
            kept = [call for call in queue if call.request not in wanted]
            queue.clear()
            queue.extend(kept)
        if back:
            self._listener.returned(back)

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        """End a call, running or not; an outcome of that kind follows. Unknown ones are no error.

        Its thread is interrupted; until Python code runs there again, it is not free for others.
        """
        self._end(request, kind)

    def _end(self, request: int, kind: str, text: str | None = None) -> None:
        call = self._unsure.pop(request, None)
        for queue in self._queues.values():
            for waiting in [one for one in queue if one.request == request]:
                queue.remove(waiting)
                call = waiting
        batch = self._sent.pop(request, None)
        if batch is not None:
            call = batch.calls[request]
            if self._cluster is not None:
                self._spawn(self._interrupt(self._cluster, batch.worker, call, kind))
        if call is not None:
            self._listener.finished([failed(call, kind, text or stop_text(call, kind))])

    async def _interrupt(self, cluster: Cluster, worker: Worker, call: Call, kind: str) -> None:
        try:
            await cluster.act(worker.address, "stop", worker.token, call.request, kind, stop_text(call, kind))
        except Exception as error:  # noqa: BLE001 - its outcome was told already; what runs on is dropped
            log.info("node %s: %s is not interrupted: %s", self.name, call.request, error)

    # what there is to know

    def running(self) -> dict[int, float]:
        """Requests that run now, and for how many seconds."""
        now = time.monotonic()
        return {n: now - batch.began for n, batch in self._sent.items() if batch.sent and len(batch.calls) == 1}

    def statistics(self) -> dict[str, object]:
        """CPUs lent and in use, and by processor its queue."""
        return {
            "cpus": self.cpus,
            "used": sum(worker.used for worker in self._workers.values()),
            "processors": {
                name: {"cpus": cpus, "queued": len(self._queues[name]), "slots": []}
                for name, cpus in self._caps.items()
            },
        }

    def facts(self) -> dict[str, Any]:
        """What there is to say of the node."""
        error = self._error if self.state != "up" else None
        refused = next(iter(self._refused.values()), None)
        return {
            "state": self.state, "cpus": self.cpus, "used": sum(worker.used for worker in self._workers.values()),
            "round_trip": None, "memory": None, "python": self._facts.get("python"),
            "version": self._facts.get("version"), "host": self._address, "since": self._since,
            "workers": len(self._workers), "error": str(error) if error is not None else None,
            "type": type(error).__name__ if error is not None else None, "note": refused,
        }  # fmt: skip
