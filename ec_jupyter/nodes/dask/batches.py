"""Batches of calls sent to workers of a Dask cluster: their results, and their output while they run."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ec_jupyter.errors import EcError
from ec_jupyter.nodes.agents import NodeListener
from ec_jupyter.nodes.codec import unpack_outcomes
from ec_jupyter.nodes.dask.cluster import Cluster, Cut, SilentError
from ec_jupyter.nodes.dask.files import DaskFiles, GoneError, Spawn
from ec_jupyter.nodes.dask.workers import Batch, DaskWorkers, Worker
from ec_jupyter.nodes.durations import Durations
from ec_jupyter.nodes.local.agent_context import failed, stop_text
from ec_jupyter.nodes.lots import pack_calls, unpack_block
from ec_jupyter.wire import Call, Header, Outcome, Value

log = logging.getLogger(__name__)

BATCH_CALLS = 32
BATCH_SECONDS = 0.1  # calls that take so long together share a Dask task, for each task costs some 10 ms
QUIET_SECONDS = 0.25  # calls up to this long send their output with their result
MOST_LISTENING = 100  # how many workers are listened to at a time: each holds a connection of the scheduler


class DaskBatches:
    """Sends batches, and takes their outcomes."""

    def __init__(  # noqa: PLR0913 - what it works with, by name
        self,
        listener: NodeListener,  # told what becomes of the calls
        name: str,  # the node's
        workers: DaskWorkers,
        files: DaskFiles,
        epoch: int,  # the engine's
        *,
        spawn: Spawn,  # starts a background task
        cut: Callable[[Cluster], None],  # told of a connection that has broken
        gone: Callable[[str], None],  # told the address of a worker that another process has now
        ended: Callable[[str], None],  # told the processor of a batch that has ended
    ) -> None:
        self.sent: dict[int, Batch] = {}  # where each request is
        self._listener, self._name, self._epoch = listener, name, epoch
        self._workers, self._files, self._spawn = workers, files, spawn
        self._cut, self._gone, self._ended = cut, gone, ended
        self._suspects: set[int] = set()
        self._durations = Durations()
        self._keys = itertools.count(1)
        self._listening = asyncio.Semaphore(MOST_LISTENING)

    def share(self, call: Call) -> int:
        """How many calls like this one share a task of Dask's."""
        seconds = self._durations.get(call.spec.task)
        if seconds is None or call.spec.once or call.spec.timeout or call.request in self._suspects:
            return 1
        return max(1, min(BATCH_CALLS, int(BATCH_SECONDS / seconds))) if self._durations.short(call.spec.task) else 1

    def running(self) -> dict[int, float]:
        """Requests that run now, and for how many seconds."""
        now = time.monotonic()
        return {n: now - batch.began for n, batch in self.sent.items() if batch.sent and len(batch.calls) == 1}

    # sending

    def send(self, processor: str, worker: Worker, calls: list[Call], threads: int) -> None:
        """Have calls run in a worker, one after the other."""
        batch = Batch(processor, {call.request: call for call in calls}, worker, threads, time.monotonic())
        worker.used += threads
        worker.batches.add(batch)
        self.sent.update(dict.fromkeys(batch.calls, batch))
        batch.task = self._spawn(self._run(batch))
        if worker.listener is None or worker.listener.done():
            worker.listener = self._spawn(self._listen(worker))

    async def _run(self, batch: Batch) -> None:
        try:
            if await self._prepare(batch):
                await self._take(batch, await self._ask(batch))
        except Cut as error:
            log.info("node %s: %s", self._name, error)
            self._cut(batch.worker.cluster)
        except SilentError as error:
            log.info("node %s: %s", self._name, error)
            self._give_up(batch)
        except Exception as error:  # noqa: BLE001 - Dask's, of as many kinds as it has
            self._fail(batch, error)
        if batch in batch.worker.batches:
            self.over(batch)
        self._ended(batch.processor)

    async def _prepare(self, batch: Batch) -> bool:
        """Send code and files that the worker lacks; whether there are still calls to run."""
        for call in list(batch.calls.values()):
            try:
                await self._files.load(batch.worker, call)
            except GoneError as error:
                log.info("node %s: value file %s is gone; request %s goes back", self._name, error, call.request)
                del batch.calls[call.request]
                if self._mine(batch, call.request):
                    del self.sent[call.request]
                    self._listener.returned([call.request])
        await self._files.trim(batch.worker)
        for request in [request for request in batch.calls if self.sent.get(request) is not batch]:
            del batch.calls[request]
        return bool(batch.calls)

    async def _ask(self, batch: Batch) -> Any:
        calls = list(batch.calls.values())
        batch.sent, batch.began = True, time.monotonic()
        timer = None
        if len(calls) == 1:
            (call,) = calls
            self._listener.started(call.request, call.attempt, time.time(), 0, batch.worker.pid)
            if call.spec.timeout:
                text = f"{call.spec.socket!r} ran longer than {call.spec.timeout:g} s"
                timer = asyncio.get_running_loop().call_later(call.spec.timeout, self._late, call.request, text)
        key = f"{calls[0].spec.socket}-ec_jupyter-{self._epoch}-{batch.worker.token}-{next(self._keys)}"
        header, buffers = pack_calls(calls, {})
        data = [bytes(one) for one in buffers]
        try:
            worker = batch.worker
            return await worker.cluster.submit(worker.address, key, "run", worker.token, header, data)
        finally:
            if timer is not None:
                timer.cancel()

    async def _take(self, batch: Batch, answer: dict[str, Any] | None) -> None:
        if answer is None:
            # another process has the address by now, and has not run it
            batch.sent = False
            self._give_up(batch)
            self._gone(batch.worker.address)
            return
        batch.worker.uses = answer["used"] or batch.worker.uses
        outcomes = [outcome for frame in answer["frames"] for outcome in _outcomes(*frame)]
        await self._hear(batch, answer["said"])
        for outcome in outcomes:
            await self._files.take(batch.worker, outcome, partial(self._mine, batch, outcome.request))
        mine = self.over(batch)
        for outcome in outcomes:
            if outcome.request in mine:
                outcome.pid = batch.worker.pid
                self._durations.learn(mine[outcome.request].spec.task, outcome.seconds)
                self._suspects.discard(outcome.request)
                self._files.told(batch.worker, outcome)
            else:
                self._files.unwanted(batch.worker, outcome)
        wanted = [outcome for outcome in outcomes if outcome.request in mine]
        if wanted:
            self._listener.finished(wanted)

    def _mine(self, batch: Batch, request: int) -> bool:
        return self.sent.get(request) is batch

    # failures

    def _fail(self, batch: Batch, error: Exception) -> None:
        if type(error).__name__ == "KilledWorker":
            self._die(batch, str(error).partition("\n")[0], batch.worker.calls)
            return
        text = str(error) if isinstance(error, EcError) else f"Dask cannot run it: {type(error).__name__}: {error}"
        calls = self.over(batch)
        self._listener.finished([failed(call, "task", text) for call in calls.values()])

    def _give_up(self, batch: Batch) -> None:
        """Its worker does not answer: no call of it has begun, or the outcomes cannot be had."""
        calls = list(self.over(batch))
        if calls and batch.sent:
            self._listener.lost(self._name, calls)
        elif calls:
            self._listener.returned(calls)

    def worker_gone(self, worker: Worker, text: str) -> None:
        """A worker has died; `text` says how."""
        together = worker.calls
        for batch in list(worker.batches):
            self._die(batch, text, together)

    def _die(self, batch: Batch, text: str, together: int) -> None:
        """A worker died with these calls: a call that was alone there is to blame, or one that saw it twice."""
        calls = self.over(batch)
        lost = []
        for request, call in calls.items():
            if not batch.sent:
                self._listener.returned([request])
            elif together == 1 or request in self._suspects:
                self._listener.died(request, call.attempt, text)
            else:
                self._suspects.add(request)
                lost.append(request)
        if lost:
            self._listener.lost(self._name, lost)

    def over(self, batch: Batch) -> dict[int, Call]:
        """End a batch and free its threads; returns its calls that are still wanted."""
        calls = {n: call for n, call in batch.calls.items() if self._mine(batch, n)}
        for request in calls:
            del self.sent[request]
        if batch in batch.worker.batches:
            batch.worker.used -= batch.threads
            batch.worker.batches.discard(batch)
        if batch.task is not None and batch.task is not asyncio.current_task():
            batch.task.cancel()
        return calls

    def _late(self, request: int, text: str) -> None:
        call = self.stop(request, "timeout")
        if call is not None:
            self._listener.finished([failed(call, "timeout", text)])

    def stop(self, request: int, kind: str) -> Call | None:
        """Interrupt a call; the caller reports its outcome. None where the call was not sent."""
        batch = self.sent.pop(request, None)
        if batch is None:
            return None
        call = batch.calls[request]
        if batch.sent:
            self._spawn(self._interrupt(batch.worker, call, kind))
        return call

    async def _interrupt(self, worker: Worker, call: Call, kind: str) -> None:
        try:
            await worker.act("stop", call.request, call.attempt, kind, stop_text(call, kind))
        except Exception as error:  # noqa: BLE001 - its outcome was told already; what runs on is dropped
            log.info("node %s: %s is not interrupted: %s", self._name, call.request, error)

    # events of running calls

    async def _listen(self, worker: Worker) -> None:
        """Collect events of the calls in a worker while it has any."""
        while worker.batches:
            await asyncio.sleep(QUIET_SECONDS)
            long = time.monotonic() - QUIET_SECONDS
            batches = [batch for batch in worker.batches if batch.sent and batch.began < long]
            if not batches:
                continue
            heard = {request: batch.heard.get(request, 0) for batch in batches for request in batch.calls}
            try:
                async with self._listening:
                    said, uses = await worker.cluster.listen(worker.address, worker.token, heard)
                worker.uses = uses or worker.uses
                for batch in batches:
                    await self._hear(batch, {n: one for n, one in said.items() if n in batch.calls})
            except Exception as error:  # noqa: BLE001 - a worker that is gone is seen elsewhere; else it is asked again
                log.debug("node %s: %s", self._name, error)

    async def _hear(self, batch: Batch, said: dict[int, tuple[int, list[Any]]]) -> None:
        """Report events not reported before; `said`: by request, the number of its first event here, and the events."""
        async with batch.listening:
            for request, (first, things) in said.items():
                fresh = things[max(0, batch.heard.get(request, 0) - first) :]
                call = batch.calls[request]
                values = {i: Value(*rest) for i, (kind, *rest) in enumerate(fresh) if kind == "yield"}
                wanted = partial(self._mine, batch, request)
                for value in values.values():
                    await self._files.take_value(batch.worker, (request, call.attempt), value, wanted)
                batch.heard[request] = max(batch.heard.get(request, 0), first + len(things))
                if self._mine(batch, request):
                    self._pass_on(batch, call, fresh, values)

    def _pass_on(self, batch: Batch, call: Call, things: list[Any], values: dict[int, Value]) -> None:
        for kind, some in itertools.groupby(enumerate(things), lambda one: one[1][0]):
            if kind == "yield":
                made = [values[i] for i, _ in some]
                first = call.skip + batch.yields.get(call.request, 0)
                batch.yields[call.request] = batch.yields.get(call.request, 0) + len(made)
                self._listener.yielded(call.request, call.attempt, first, made)
                continue
            for _, (_, *rest) in some:
                if kind == "output":
                    self._listener.output(call.request, *rest)
                else:
                    self._listener.progress(call.request, *rest)


def _outcomes(header: Header, buffers: list[bytes]) -> list[Outcome]:
    return unpack_block(buffers[0]).outcomes() if header["k"] == "done" else unpack_outcomes(header, buffers)
