"""Runs calls inside a worker of Dask, in Dask's threads.

The process is not ours: output of tasks is separated by thread, a call is stopped by an exception raised in its
thread, and value files lie in the worker's own folder.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ec_jupyter.errors import EcError
from ec_jupyter.nodes import current
from ec_jupyter.nodes.code import keep_source
from ec_jupyter.nodes.cpus import used_by
from ec_jupyter.nodes.lots import Results, unpack_calls
from ec_jupyter.nodes.worker.invoke import Invocation, Tasks
from ec_jupyter.nodes.worker.output import LastResort, Printed, printable
from ec_jupyter.version import VERSION
from ec_jupyter.wire import PROTOCOL, Call, Header, Value

LIVE_SECONDS = 0.2  # how often output of running calls is collected
UNHEARD_BYTES = 1 << 20  # how much unread output of a call is stored; the rest is counted
LISTEN_SECONDS = 5.0  # how long a request for output waits at most: it holds a connection
USED_SECONDS = 0.5  # between two looks at what the process has used, at least
Stop = tuple[str, str]  # kind and message a call is stopped with


class _Here(threading.local):
    """The call that runs in this thread."""

    events: Events | None = None


_here = _Here()
_runtimes: dict[str, DaskRuntime] = {}
_lock = threading.Lock()


class Events:
    """Output, progress and yields of one call, in order; stored until the engine has them."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.files: set[str] = set()  # those of its yields
        self._first = 0
        self._items: list[tuple[Any, ...]] = []
        self._printed = Printed(call.request, time.monotonic())
        self._progress: list[tuple[Any, ...]] = []
        self._unheard = 0
        self._lock = threading.Lock()

    def put(self, stream: str, text: str) -> None:
        """Keep what was printed, up to a limit for each second."""
        with self._lock:
            if self._unheard < UNHEARD_BYTES:
                self._printed.refill(time.monotonic())
            self._unheard += self._printed.keep(stream, text)

    def progress(self, done: float, total: float | None, text: str) -> None:
        """Keep how far it is."""
        with self._lock:
            # where it was first, and where it is
            self._progress[1:] = [("progress", done, total, printable(text))]

    def emit(self, value: Value) -> None:
        """Keep a yield."""
        with self._lock:
            self._items.append(("yield", value.data, *value.head()))
            if value.file is not None:
                self.files.add(value.file)

    def said(self, heard: int | None) -> tuple[int, list[tuple[Any, ...]]]:
        """Events from number `heard` on, and the number of the first; None: the call is over."""
        with self._lock:
            if heard is None:
                self._printed.admit()
            elif heard > self._first:
                self._unheard -= sum(len(item[2]) for item in self._items[: heard - self._first] if item[0] == "output")
                del self._items[: heard - self._first]
                self._first = heard
            self._items += [("output", *one) for one in self._printed.take()]
            self._items += self._progress
            self._progress = []
            return self._first, list(self._items)


class _Stream:
    """Replaces a stream of the process: stores the text of calls, passes everything else on."""

    def __init__(self, name: str, under: Any) -> None:
        self._name, self._under = name, under

    def write(self, text: str) -> int:
        events = _here.events
        if events is None:
            return int(self._under.write(text) or 0)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        events.put(self._name, text)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _here.events is None:
            self._under.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


def _log(stream: str, text: str) -> None:
    _here.events.put(stream, text) if _here.events is not None else sys.stderr.write(text)


def _install() -> None:
    """Replace the streams of this process; once."""
    if isinstance(sys.stdout, _Stream):
        return
    sys.stdout, sys.stderr = _Stream("stdout", sys.stdout), _Stream("stderr", sys.stderr)
    logging.lastResort = LastResort(_log)
    current.place.call = lambda: None if _here.events is None else _here.events.call
    current.place.say = _progress


def _progress(done: float, total: float | None, text: str) -> None:
    if _here.events is not None:
        _here.events.progress(done, total, text)


class DaskRuntime:
    """One flow in this process."""

    def __init__(self, flow: str, epoch: int, folder: Path) -> None:
        self.flow = flow  # identity of the flow
        self.folder = folder  # for value files; its own
        self.blobs: dict[str, bytes] = {}
        self.running: dict[int, tuple[int, int]] = {}
        self.events: dict[int, Events] = {}
        self.stops: dict[tuple[int, int], Stop] = {}
        self._epoch = epoch  # its engine's
        self._by_thread = threading.local()
        self._looked = 0.0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def run(self, header: Header, buffers: list[bytes]) -> dict[str, Any]:
        """Run calls one after the other; what they came to, as bytes."""
        for name, text in header.get("x", {}).items():
            keep_source(name, text)
        results, said = Results(), dict[int, tuple[int, list[tuple[Any, ...]]]]()
        calls = unpack_calls(buffers[0])
        for call in calls:
            events = self.events[call.request] = Events(call)
            began, clock = time.time(), time.monotonic()
            value, rest = self._outcome(call, events)
            results.add(call, began, time.monotonic() - clock, value, rest)
        for call in calls:
            events = self.events.pop(call.request)
            first, items = events.said(None)
            if items:
                said[call.request] = first, items
        frames = [(head, [bytes(one) for one in data]) for head, data in results.take()]
        return {"frames": frames, "said": said, "used": self.used()}

    def _outcome(self, call: Call, events: Events) -> tuple[Value | None, dict[str, Any] | None]:
        invocation = self._invocation()
        try:
            if call.spec.fresh:
                socket = call.spec.socket
                raise EcError(f"a call of {socket!r} cannot have a process of its own on a Dask cluster (fresh=True)")
            try:
                self._begin(call, events)
                value, rest = invocation.result(call)
            finally:
                self._end(call)
        except BaseException as error:  # noqa: BLE001 - the call's outcome
            self._clear(events)
            return None, invocation.failure(call, error, self.stops.pop((call.request, call.attempt), None))
        stopped = self.stops.pop((call.request, call.attempt), None)
        if stopped is not None:
            self._clear(events)
            return None, invocation.failure(call, KeyboardInterrupt(), stopped)
        return value, rest

    def _clear(self, events: Events) -> None:
        """Remove the files that a failed call has written for its result."""
        call = events.call
        for path in self.folder.glob(f"{call.request}.{self._epoch}.{call.attempt}.*"):
            if path.name not in events.files:
                path.unlink(missing_ok=True)

    def _begin(self, call: Call, events: Events) -> None:
        with _lock:
            if (call.request, call.attempt) in self.stops:
                raise KeyboardInterrupt
            self.running[call.request] = (threading.get_ident(), call.attempt)
        _here.events = events

    def _end(self, call: Call) -> None:
        _here.events = None
        with _lock:
            self.running.pop(call.request, None)
            # a stop that has not come through yet must not reach whatever this thread does next
            _raise(threading.get_ident(), None)

    def used(self) -> tuple[float, int] | None:
        """CPU seconds that this process has used, and bytes it holds; None where that was told just now."""
        now = time.monotonic()
        if now < self._looked + USED_SECONDS:
            return None
        self._looked = now
        return used_by(os.getpid())

    def stop(self, request: int, attempt: int, kind: str, message: str) -> None:
        """Interrupt a call as soon as Python code of its runs, or before it begins."""
        with _lock:
            # by attempt: one that comes too late must not meet the next
            self.stops[request, attempt] = (kind, message)
            thread, running = self.running.get(request, (0, None))
            if running == attempt:
                _raise(thread, KeyboardInterrupt)

    def _invocation(self) -> Invocation:
        if not hasattr(self._by_thread, "invocation"):
            tasks = Tasks(self._blob)
            self._by_thread.invocation = Invocation(tasks, self.folder, self._epoch, False, self._emit)
        invocation: Invocation = self._by_thread.invocation
        return invocation

    def _blob(self, sha256: str) -> bytes:
        if sha256 not in self.blobs:
            raise EcError("its code is not here")
        return self.blobs[sha256]

    @staticmethod
    def _emit(request: int, index: int, value: Value) -> None:
        if _here.events is not None:
            _here.events.emit(value)


def _raise(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )


# what the agent calls, by name


def enter(token: str, flow: str, epoch: int, workdir: str, local: str) -> dict[str, Any]:
    """Begin in this process; facts about it, and which files of the flow are here."""
    _install()
    if os.path.isdir(workdir) and workdir not in sys.path:
        # one file system for all, as clusters have: modules beside the notebook are there
        sys.path.append(workdir)
    folder = Path(local) / "ec_jupyter" / hashlib.sha256(flow.encode()).hexdigest()[:16]
    for old in [old for old, runtime in _runtimes.items() if runtime.folder == folder]:
        _end(old, "its engine is gone")
    _runtimes[token] = DaskRuntime(flow, epoch, folder)
    return {
        "pid": os.getpid(), "python": list(sys.version_info[:3]), "version": VERSION,
        "protocol": PROTOCOL, "host": platform.node(), "used": used_by(os.getpid()),
        # those that begin with a dot never became whole
        "files": {path.name: path.stat().st_size for path in folder.iterdir() if not path.name.startswith(".")},
    }  # fmt: skip


def run(token: str, header: Header, buffers: list[bytes]) -> dict[str, Any] | None:
    """Run calls; None where another process has this address now."""
    runtime = _runtimes.get(token)
    return None if runtime is None else runtime.run(header, buffers)


def learn(token: str, sha256: str, blob: bytes) -> None:
    """Keep the code of a task or condition."""
    _runtimes[token].blobs[sha256] = blob


def keep(token: str, name: str, at: int, data: bytes, last: bool) -> None:
    """Write a piece of a value file; the last one makes it whole."""
    beside = _runtimes[token].folder / f".{name}"
    with beside.open("r+b" if at else "wb") as file:
        file.seek(at)
        file.write(data)
    if last:
        beside.replace(beside.with_name(name))


def read(token: str, name: str, at: int, size: int) -> bytes:
    """A piece of a value file."""
    with (_runtimes[token].folder / name).open("rb") as file:
        file.seek(at)
        return file.read(size)


def place(token: str) -> str:
    """Where value files lie."""
    return str(_runtimes[token].folder)


def drop(token: str, names: list[str]) -> None:
    """Forget value files."""
    for name in names:
        (_runtimes[token].folder / name).unlink(missing_ok=True)


async def listen(token: str, heard: dict[int, int]) -> tuple[dict[int, tuple[int, list[Any]]], Any]:
    """New events of these calls, past the number read of each, and what the process has used; waits a while."""
    runtime = _runtimes[token]
    until = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < until:
        events = {request: runtime.events[request] for request in heard if request in runtime.events}
        said = {request: one.said(heard[request]) for request, one in events.items()}
        if any(items for _, items in said.values()) or not events:
            return {request: one for request, one in said.items() if one[1]}, runtime.used()
        await asyncio.sleep(LIVE_SECONDS)
    return {}, runtime.used()


def stop(token: str, request: int, attempt: int, kind: str, message: str) -> None:
    """Stop a call."""
    _runtimes[token].stop(request, attempt, kind, message)


def running(flow: str) -> list[int]:
    """Requests of a flow that run in this process."""
    with _lock:
        return [request for runtime in _runtimes.values() if runtime.flow == flow for request in runtime.running]


def leave(token: str, stored: list[str]) -> None:
    """Stop all calls, and remove all files but those `stored`."""
    runtime = _runtimes.get(token)
    if runtime is None:
        return
    _end(token, "the engine ends")
    for path in runtime.folder.iterdir():
        if path.name not in stored:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # some are to stay, or are on their way
        runtime.folder.rmdir()


def _end(token: str, why: str) -> None:
    """Stop all calls of an engine; it stays known until they have ended."""
    runtime = _runtimes[token]
    for request, (_, attempt) in list(runtime.running.items()):
        runtime.stop(request, attempt, "cancelled", why)
    if not runtime.running:
        del _runtimes[token]
