"""One slot of a processor: what the loop knows of its process, and of the calls that are there.

Frames go over two sockets the worker opens, which belong to the event loop. A thread holds the process (`Holder`).
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from ec_jupyter.nodes.cpu_locks import InheritedFd
from ec_jupyter.nodes.cpus import Pins, move, thread_limits
from ec_jupyter.nodes.incoming import Incoming
from ec_jupyter.nodes.local.holder import Holder, exit_text
from ec_jupyter.nodes.lots import pack_calls
from ec_jupyter.nodes.worker import blame
from ec_jupyter.nodes.worker.setup import Setup
from ec_jupyter.wire import Call, CallSpec, FrameReader, Header, encode

GRACE_SECONDS = 2.0  # how long a call may take to end once it has been interrupted
CLOSE_SECONDS = 1.0
CHANNELS = ("work", "control", "life")
"""Connections of a worker: its calls and results; what cannot wait; and one that only ends."""

_OUTSIDE = re.compile(r"killed by (SIGKILL|SIGTERM)")


class Owner(Protocol):
    """The owner of a slot: told what becomes of it."""

    def up(self, slot: Slot) -> None:
        """Its process is ready."""

    def said(self, slot: Slot, frames: list[tuple[Header, list[bytes]]]) -> None:
        """Its process has sent frames."""

    def down(self, slot: Slot, culprit: int | None, text: str | None) -> None:
        """Its process is gone; None: nobody is to blame, or it was told to end."""

    def blob(self, sha256: str) -> bytes:
        """The code of a task or condition."""


Heard = Callable[[Callable[[bytes], None], bytes], None]
"""Called with what takes the bytes that have come, and with them."""


def at_once(take: Callable[[bytes], None], data: bytes) -> None:
    """Take them, and no more."""
    take(data)


class WorkerConnection(Incoming):
    """One connection of a worker; `slots` has the slots by token, and the first frame names one of those."""

    def __init__(self, slots: dict[str, Slot], open_transports: set[asyncio.Transport], heard: Heard) -> None:
        self._slots, self._open_transports, self._heard = slots, open_transports, heard
        self._reader = FrameReader()
        self._slot: Slot | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        super().connection_made(transport)
        self._open_transports.add(self.line)

    def came(self, data: bytes) -> None:
        """Hand frames to the slot."""
        self._heard(self._received, data)

    def _received(self, data: bytes) -> None:
        frames = self._reader.feed(data)
        if self._slot is None and frames:
            header, _ = frames.pop(0)
            self._slot = self._slots.get(str(header.get("token")))
            if self._slot is None:
                return self.line.abort()
            self._slot.connected(self, header)
        if self._slot is not None and frames:
            self._slot.received(self, frames)
        return None

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the slot."""
        super().connection_lost(error)
        self._open_transports.discard(self.line)
        if self._slot is not None:
            self._slot.lost(self)


class Slot:
    """One CPU's worth of a processor."""

    def __init__(self, owner: Owner, processor: str, index: int, loop: asyncio.AbstractEventLoop) -> None:
        self.processor = processor
        self.index = index
        self.state = "cold"  # `cold` (no process), `starting`, `ready`, `ending` (told to end or dying)
        self.pid = 0
        # leaving: it gets no more calls before it has let go of its CPUs
        # follows: it may be bound to other CPUs than planned while those are in use elsewhere
        self.draining = self.leaving = self.follows = False
        self.calls: dict[int, Call] = {}  # calls sent and not answered, by request, in the order they will run
        self.announced: set[int] = set()
        self.began: dict[int, float] = {}  # of calls that run beside each other: when each was sent
        self.stops: dict[int, tuple[str, str]] = {}
        self.since = 0.0
        self._asked: set[int] = set()
        self.failures = 0
        # used, spent: its process has been sent a call; one of them was to have a process of its own
        # short: what it was sent last may share a batch with others
        self.used = self.spent = self.short = False
        self.pins: Pins = ()
        self._bound: Pins = ()
        self.threads = 1
        self._owner = owner
        self._loop = loop
        self._batches: list[set[int]] = []  # the calls that each open batch still has
        self._blobs: set[str] = set()
        self._kind: CallSpec | None = None  # the process has been sent all that calls of this kind need
        self._sources: dict[str, str] = {}
        self._killed: int | None = None
        self._closed = False
        self._token = ""
        self._connections: dict[str, WorkerConnection] = {}
        self._exit: tuple[str | None] | None = None
        self._blame_path: Path | None = None
        self._blame: mmap.mmap | None = None
        self._held_by = partial(Holder, f"slot {processor}/{index}", self._ended_soon)
        self.holder = self._held_by()

    # the process

    def _map(self, runtime: Path) -> None:
        """Make the file that says which call the process runs."""
        path = self._blame_path = runtime / f"{secrets.token_hex(4)}.call"
        path.touch(mode=0o600)
        os.truncate(path, blame.BLAME_BYTES)
        with path.open("r+b") as file:
            self._blame = mmap.mmap(file.fileno(), blame.BLAME_BYTES)

    def start(
        self,
        setup: Callable[[str, str, Pins], Setup],
        pins: Pins,
        threads: int,
        idle: float,
        runtime: Path,
        fds: Sequence[int] = (),
    ) -> str:
        """Start the process; the token its connections will name. Raises MemoryError: there is not enough for that."""
        try:
            self._map(runtime)
            if not self.holder.is_alive():
                self.holder.start()
        except (OSError, RuntimeError) as error:
            # of a thread for which there is no room, Python says no more than a text
            if getattr(error, "errno", errno.ENOMEM) != errno.ENOMEM:
                raise
            self._unmap()
            if not self.holder.is_alive():
                # from 3.13 on, a thread that could not be started cannot be started again
                self.holder = self._held_by()
            raise MemoryError(str(error)) from error
        self.state = "starting"
        self.pins, self.threads, self._bound = pins, threads, pins
        self._token = secrets.token_hex(16)
        self._exit = self._killed = None
        self._connections.clear()
        self._blobs.clear()
        self._sources.clear()
        self._kind = None
        self.used = self.spent = self.short = False
        env = thread_limits(threads)
        order = setup(self._token, str(self._blame_path), pins), InheritedFd(fds), env, max(idle, 30.0)
        self.holder.orders.put(order)
        return self._token

    def bind(self, cpus: Pins) -> None:
        """Be bound to the CPUs it has got, if it is bound to as many and not by the person."""
        if self.follows and self.pid and len(cpus) == len(self._bound) and cpus != self._bound:
            move(self.pid, cpus)
            self._bound = cpus

    def end(self) -> None:
        """Tell the process to end; it holds no call."""
        if self.state == "ready":
            self.state = "ending"
            self._write("work", encode({"k": "end"}))

    def kill(self, culprit: int | None = None) -> None:
        """Kill the process and all it has started; `culprit` is the call this is for, 0 where that is not known."""
        if self._killed is None:
            self._killed = culprit
        if self.pid:
            with suppress(ProcessLookupError, PermissionError):  # gone, or a zombie's empty group
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process for good; the thread ends once it is gone."""
        self._closed = True
        self.kill()
        self.holder.orders.put(None)

    def forget(self) -> None:
        """Remove what the slot has in the runtime folder; after `close` and the thread's end."""
        for connection in self._connections.values():
            connection.line.abort()
        self._unmap()

    def _unmap(self) -> None:
        if self._blame is not None:
            self._blame.close()
            self._blame = None
        if self._blame_path is not None:
            self._blame_path.unlink(missing_ok=True)
            self._blame_path.with_name(self._blame_path.name + blame.STACK_SUFFIX).unlink(missing_ok=True)

    def connected(self, connection: WorkerConnection, header: Header) -> None:
        """A connection has said which process it comes from."""
        self._connections[str(header["channel"])] = connection
        self.pid = int(header["pid"])
        if self._closed:
            self.kill()
        elif len(self._connections) == len(CHANNELS):
            self.state = "ready"
            self.since = time.monotonic()
            self._owner.up(self)

    def received(self, connection: WorkerConnection, frames: list[tuple[Header, list[bytes]]]) -> None:
        """Frames of the process."""
        if self._connections.get("work") is connection:
            self._owner.said(self, frames)

    def lost(self, connection: WorkerConnection) -> None:
        """A connection has ended: so has the process, or it will now."""
        for channel in [c for c, one in self._connections.items() if one is connection]:
            del self._connections[channel]
            self.state = "ending"
            self.kill()
        self._settle()

    def _ended_soon(self, token: str, text: str | None) -> None:
        # called by the holder's thread; the loop is gone when the whole process ends
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended, token, text)

    def _ended(self, token: str, text: str | None) -> None:
        if token != self._token:
            return
        self._exit = (text,)
        self.state = "ending"
        self.kill()
        # a child that left the group may hold the connection open for as long as it likes
        self._loop.call_later(CLOSE_SECONDS, self._abandon, token)
        self._settle()

    def _abandon(self, token: str) -> None:
        if token == self._token:
            for connection in list(self._connections.values()):
                connection.line.abort()

    def _settle(self) -> None:
        """Tell the owner once the process is gone and its last frame has been read."""
        if self._exit is None or self._connections or self.state == "cold":
            return
        text = exit_text(self._exit[0], self.pid)
        if text is not None:
            text += self._crash()
        running = int(blame.BLAME.unpack_from(self._blame)[0]) if self._blame is not None else 0
        if self.began:
            running = self._guilty(running, text)
        culprit = running if running in self.calls and self._killed is None else self._killed
        self.state = "cold"
        self.pid = 0
        self._token = ""
        self._unmap()
        self._owner.down(self, culprit if culprit in self.calls else None, text)

    def _guilty(self, running: int, text: str | None) -> int:
        """Of calls that ran beside each other, the one that has ended the process; 0: any of them may have."""
        if len(self.calls) == 1:
            return next(iter(self.calls))
        # killed from outside, whichever had its turn just then
        return 0 if text is None or _OUTSIDE.search(text) else running

    def _crash(self) -> str:
        """Where the process was when it crashed, if it could still say so."""
        with suppress(OSError):  # it died before it had the file
            assert self._blame_path is not None
            path = self._blame_path.with_name(self._blame_path.name + blame.STACK_SUFFIX)
            text = path.read_text(errors="replace")
            path.unlink()
            return blame.crashed_at(text)
        return ""

    # its calls

    @property
    def batches(self) -> int:
        """How many batches are on their way or in work."""
        return len(self._batches)

    @property
    def idle(self) -> bool:
        """Ready, with nothing to run."""
        return self.state == "ready" and not self.calls

    def send(self, calls: Sequence[Call], specs: Iterable[CallSpec]) -> None:
        """Send calls, of these kinds, to run in this order. Raises FrameError: too large together; nothing was sent."""
        parts = []
        for spec in specs:
            parts += [self._blob(sha256) for sha256 in spec.code if sha256 not in self._blobs]
        parts.append(encode(*pack_calls(calls, self._sources)))
        requests = {call.request: call for call in calls}
        if self._asked:
            # handed back and sent again: it may be asked for again
            self._asked.difference_update(requests)
        self.used = True
        self.spent = calls[0].spec.fresh
        self.calls.update(requests)
        self.since = time.monotonic()
        if calls[0].spec.concurrent > 1:
            self.began.update(dict.fromkeys(requests, self.since))
            self._batches = [set(self.calls)]
        else:
            self._batches.append(set(requests))
        self._write("work", b"".join(parts) if len(parts) > 1 else parts[0])

    def send_one(self, call: Call) -> None:
        """Send a call by itself, of which nothing has to be asked first, to a process that has nothing to do."""
        if call.spec is not self._kind:
            self.send([call], (call.spec,))
            self._kind = call.spec
            return
        self.calls[call.request] = call
        self._batches.append({call.request})
        self.since = time.monotonic()
        self._write("work", encode(*pack_calls([call], self._sources)))

    def answer(self, sha256: str) -> None:
        """Send a function that the process had to forget."""
        self._write("work", self._blob(sha256))

    def taker(self, name: str) -> Callable[[bytes | None], None]:
        """What takes a module that the process asks for now, whenever it comes."""
        token = self._token

        def take(data: bytes | None) -> None:
            if token == self._token:
                self._write("work", encode({"k": "module", "x": name}, [] if data is None else [data]))

        return take

    def recall(self, requests: Iterable[int]) -> None:
        """Ask for calls back that have not begun, once each."""
        asked = [request for request in requests if request not in self._asked]
        if asked:
            self._asked.update(asked)
            self._write("control", encode({"k": "recall", "n": asked}))

    def shed(self) -> None:
        """Ask for all back that has not begun."""
        if self.began:
            return
        running = self.running()[0]
        self.recall([request for request in self.calls if request != running and request not in self.stops])

    def stop(self, request: int, kind: str, message: str) -> None:
        """End a call: handed back if it has not begun, else interrupted, and killed after the grace."""
        if request in self.stops or request not in self.calls:
            return
        self.stops[request] = (kind, message)
        self._write("control", encode({"k": "recall", "n": [request], "c": kind, "x": message}))
        self._loop.call_later(GRACE_SECONDS, self._insist, request, self._token)

    def _insist(self, request: int, token: str) -> None:
        if token != self._token or request not in self.stops:
            return
        if request in self.all_running():
            self.kill(request)
        else:
            # behind a call that lets no other thread run: its turn to be handed back will come
            self._loop.call_later(GRACE_SECONDS, self._insist, request, token)

    def running(self) -> tuple[int, float]:
        """The request that runs, and when it began on the monotonic clock; (0, 0.0): none."""
        if self._blame is None:
            return 0, 0.0
        request, attempt, began = blame.BLAME.unpack_from(self._blame)
        call = self.calls.get(request)
        if call is None or call.attempt != attempt:
            return 0, 0.0
        return request, began

    def all_running(self) -> dict[int, float]:
        """The requests that run, and when each began on the monotonic clock."""
        if self.began:
            return dict(self.began)
        request, began = self.running()
        return {request: began} if request else {}

    def answered(self, requests: Sequence[int], attempts: Sequence[int] | None = None) -> list[Call]:
        """Take calls off that are done or handed back; an attempt that was given up takes off nothing."""
        here = self.calls
        if attempts is None:
            calls = [here.pop(request) for request in requests if request in here]
        else:
            pairs = zip(requests, attempts, strict=True)
            calls = [here.pop(n) for n, attempt in pairs if n in here and here[n].attempt == attempt]
        taken = requests if len(calls) == len(requests) else [call.request for call in calls]
        for batch in self._batches:
            batch.difference_update(taken)
        self._batches = [batch for batch in self._batches if batch]
        if self.announced:
            self.announced.difference_update(taken)
        for request in taken if self.began else ():
            self.began.pop(request, None)
        if self.stops:
            for call in calls:
                self.stops.pop(call.request, None)
        if not self.calls:
            self.since = time.monotonic()
            self.leaving = False
            self._asked.clear()
        return calls

    def ended(self, request: int, attempt: int) -> Call | None:
        """Take the only call off the slot, if it is that one."""
        call = self.calls.get(request)
        if call is None or call.attempt != attempt or len(self.calls) != 1:
            return None
        for kept in (self.calls, self._batches, self.announced, self.began, self.stops, self._asked):
            kept.clear()
        self.since = time.monotonic()
        self.leaving = False
        return call

    def _blob(self, sha256: str) -> bytes:
        self._blobs.add(sha256)
        try:
            return encode({"k": "blob", "h": sha256}, [self._owner.blob(sha256)])
        except Exception as error:  # noqa: BLE001 - the call is told
            # the worker asks again when it gets there, and then the call fails with this text
            self._blobs.discard(sha256)
            return encode({"k": "blob", "h": sha256, "x": f"the task's code is gone: {type(error).__name__}: {error}"})

    def _write(self, channel: str, data: bytes) -> None:
        connection = self._connections.get(channel)
        if connection is not None:
            connection.line.write(data)
