"""Value files on the workers of a Dask cluster: sent to them, copied between them, left there or fetched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from ec_jupyter.errors import EcError
from ec_jupyter.nodes.agents import Home, NodeListener
from ec_jupyter.nodes.codec import files_in, files_of, values_of
from ec_jupyter.nodes.dask.cluster import SilentError
from ec_jupyter.nodes.dask.workers import DaskWorkers, Worker
from ec_jupyter.nodes.downloads import Downloads
from ec_jupyter.nodes.values import private_file
from ec_jupyter.wire import Call, Outcome, Value

log = logging.getLogger(__name__)

PIECE_BYTES = 32 << 20
KEPT_BYTES = 2 << 30  # how many bytes of copies a worker keeps; those used longest ago are dropped first
Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class GoneError(Exception):
    """A value that was left on the cluster is lost."""


class DaskFiles:
    """Tracks which worker has which value file, and moves them. `stay`: results of more bytes are left there."""

    def __init__(self, listener: NodeListener, workers: DaskWorkers, home: Home, *, stay: int, spawn: Spawn) -> None:
        self.stored: dict[str, int] = {}  # files that are there and not here, and their bytes
        self._listener, self._workers, self._spawn = listener, workers, spawn
        self._values, self._sync, self._stay = home.folder / "values", home.sync, stay
        self._downloads = Downloads(self._values, home.epoch, home.sync)
        self._bringing: dict[str, asyncio.Task[bool]] = {}
        # values that were left there and are lost
        self._gone: set[str] = set()
        # to be dropped once the workers that have them can be reached again
        self._dropped: set[str] = set()

    # which worker has which file

    def entered(self, worker: Worker, found: Mapping[str, int]) -> None:
        """Note the files that a new worker already has, and drop those that are not wanted any more."""
        surplus = []
        for name, size in found.items():
            here = (self._values / name).exists()
            if name in self._dropped or not (here or _epoch(name) is not None):
                surplus.append(name)
                continue
            worker.files[name] = size
            if not here:
                self._leave(name, size)
        if surplus:
            self._spawn(self._drop(worker, surplus))

    def _leave(self, name: str, size: int) -> None:
        self.stored[name] = size
        self._gone.discard(name)
        self._listener.stays(name)

    def left(self, worker: Worker) -> None:
        """A worker is gone, with all it had."""
        for name in worker.files:
            self._check_lost(name)

    def _check_lost(self, name: str) -> None:
        if name in self.stored and not self._workers.holders(name):
            del self.stored[name]
            self._gone.add(name)

    def cut(self) -> None:
        """The scheduler is gone; workers report their files again when it is back."""
        self.stored.clear()

    def holds(self, name: str) -> bool:
        """Whether a worker has a file."""
        return any(name in worker.files for worker in self._workers.by_address.values())

    def release(self, names: Iterable[str]) -> None:
        """Drop these from all workers: nothing refers to them any more."""
        table: dict[Worker, list[str]] = {}
        for name in names:
            self.stored.pop(name, None)
            self._gone.discard(name)
            if self._workers.cluster is None:
                self._dropped.add(name)
            for worker in self._workers.holders(name):
                del worker.files[name]
                table.setdefault(worker, []).append(name)
        for worker, some in table.items():
            self._spawn(self._drop(worker, some))

    async def _drop(self, worker: Worker, names: list[str]) -> None:
        try:
            await worker.act("drop", names)
        except Exception as error:  # noqa: BLE001 - Dask's; if that worker comes back, it tells what it has
            log.info("worker %s: files are not dropped: %s", worker.address, error)
            self._dropped.update(names)

    # to the workers

    async def load(self, worker: Worker, call: Call) -> None:
        """Send a worker the code and files that a call needs and it lacks. Raises GoneError: a value there is lost."""
        code = set(call.spec.code)
        for sha256 in code - worker.blobs:
            try:
                blob = self._listener.blob(sha256)
            except Exception as error:
                raise EcError(f"task of {call.spec.socket!r} cannot be unpickled: its code is gone") from error
            await worker.act("learn", sha256, blob)
            worker.blobs.add(sha256)
        async with worker.loading:
            for name, size in files_in(call):
                if name not in worker.files:
                    await self._move(worker, name)
                    worker.files[name] = size
                worker.files.move_to_end(name)

    async def _move(self, worker: Worker, name: str) -> None:
        if (self._values / name).exists():
            await self._send(worker, name)
            return
        for holder in self._workers.holders(name):
            if await self._carry(worker, holder, name):
                return
        if self.holds(name) and await self.bring(name):
            # the workers do not reach each other
            await self._send(worker, name)
            return
        self._check_lost(name)
        if name in self._gone or name in self.stored:
            raise GoneError(name)
        raise EcError(f"value file {name!r} cannot be read: it is not there")

    async def _send(self, worker: Worker, name: str) -> None:
        with (self._values / name).open("rb") as file:
            at, data = 0, await asyncio.to_thread(file.read, PIECE_BYTES)
            while True:
                more = await asyncio.to_thread(file.read, PIECE_BYTES)
                await worker.act("keep", name, at, data, not more)
                if not more:
                    return
                at, data = at + len(data), more

    async def _carry(self, worker: Worker, holder: Worker, name: str) -> bool:
        at = 0
        while True:
            size = await worker.cluster.carry(
                worker.address, worker.token, name, holder.address, holder.token, at, PIECE_BYTES
            )
            if size is None:
                return False
            at += size
            if size < PIECE_BYTES:
                return True

    async def trim(self, worker: Worker) -> None:
        """Drop copies from a worker that has too many: never one that a call there needs, nor the last one."""
        used = {name for batch in worker.batches for call in batch.calls.values() for name, _ in files_in(call)}
        copies = [name for name in worker.files if name not in self.stored or len(self._workers.holders(name)) > 1]
        gone, left = [], sum(worker.files[name] for name in copies)
        for name in [name for name in copies if name not in used]:
            if left <= KEPT_BYTES:
                break
            left -= worker.files.pop(name)
            gone.append(name)
        if gone:
            await worker.act("drop", gone)

    # from the workers

    async def take(self, worker: Worker, outcome: Outcome, wanted: Callable[[], bool]) -> None:
        """Fetch the values of an outcome; a large result stays there, and only gets the name it has here."""
        for value in values_of(outcome):
            if value is outcome.value and self._staying(outcome):
                self._downloads.has(outcome.request, outcome.attempt, value)
            else:
                await self.take_value(worker, (outcome.request, outcome.attempt), value, wanted)

    def _staying(self, outcome: Outcome) -> list[tuple[str, int]]:
        """Name and size of the result where it stays on the cluster; else nothing."""
        files = files_of([outcome.value]) if outcome.state == "done" else []
        return [(name, size) for name, size in files if size > self._stay]

    def told(self, worker: Worker, outcome: Outcome) -> None:
        """Report what stays there of an outcome that is about to be reported."""
        for name, size in self._staying(outcome):
            worker.files[name] = size
            self._leave(name, size)

    def unwanted(self, worker: Worker, outcome: Outcome) -> None:
        """Drop what an unwanted outcome left there."""
        for name, _ in self._staying(outcome):
            self._spawn(self._drop(worker, [name]))

    async def take_value(
        self, worker: Worker, whose: tuple[int, int], value: Value, wanted: Callable[[], bool]
    ) -> None:
        """Fetch a value that is a file; the worker keeps a copy for calls that need it there."""
        if value.file is None:
            return
        name = value.file
        if wanted() and await self._fetch(worker, name, self._downloads, wanted):
            self._downloads.has(*whose, value)
            worker.files[value.file] = value.size
        else:
            self._spawn(self._drop(worker, [name]))

    async def _fetch(self, worker: Worker, name: str, downloads: Downloads, wanted: Callable[[], bool]) -> bool:
        beside, at = downloads.beside(name), 0
        try:
            with private_file(beside) as file:
                while data := await worker.act("read", name, at, PIECE_BYTES):
                    at += len(data)
                    await asyncio.to_thread(file.write, data)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        return downloads.take(name, keep=wanted())

    async def bring(self, name: str) -> bool:
        """Copy a file here, once for all who ask; False if no worker has it. Raises Cut, or OSError of this disk."""
        if name not in self._bringing:
            self._bringing[name] = self._spawn(self._bring(name))
            self._bringing[name].add_done_callback(lambda _: self._bringing.pop(name, None))
        return await asyncio.shield(self._bringing[name])

    async def _bring(self, name: str) -> bool:
        epoch = _epoch(name)
        if (self._values / name).exists():
            return True
        # under the very name: of an engine before this one, perhaps
        downloads = None if epoch is None else Downloads(self._values, epoch, self._sync)
        for holder in self._workers.holders(name):
            if downloads is None:
                break
            try:
                await self._fetch(holder, name, downloads, lambda: True)
            except (SilentError, KeyError, FileNotFoundError):
                holder.files.pop(name, None)
                continue
            self.stored.pop(name, None)
            return True
        self._check_lost(name)
        return False


def _epoch(name: str) -> int | None:
    """The epoch in the name of a result; None for any other file."""
    parts = name.split(".")
    return int(parts[1]) if len(parts) == 4 and all(part.lstrip("-").isdigit() for part in parts) else None
