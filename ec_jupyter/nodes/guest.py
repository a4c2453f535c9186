"""Runs calls inside the worker of another engine, such as Dask's: as a guest, in a thread that is not ours.

Nothing of the process belongs to us. What tasks print is told apart by thread, a call is stopped by an exception
raised in its thread, and files lie in a folder of the worker's own.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ec_jupyter.errors import EcError
from ec_jupyter.nodes import current
from ec_jupyter.nodes.batch import Job, Results, unpack_calls
from ec_jupyter.nodes.invoke import Invocation, Tasks, keep_source
from ec_jupyter.nodes.output import RATE_BYTES, amount, folded, printable
from ec_jupyter.wire import PROTOCOL, Header, Value

Stop = tuple[str, str]
"""Kind and message a call is stopped with."""


class _Here(threading.local):
    """What runs in this thread."""

    told: Told | None = None


_here = _Here()
_guests: dict[str, Guest] = {}
_lock = threading.Lock()


class Told:
    """What one call says: its output, and its yields."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.texts: list[tuple[str, str]] = []
        self.yields: list[Value] = []
        self._left = RATE_BYTES
        self._dropped = 0

    def put(self, stream: str, text: str) -> None:
        """Keep what was printed, up to a limit."""
        fits = text[: self._left]
        self._left -= len(fits)
        self._dropped += len(text) - len(fits)
        if self.texts and self.texts[-1][0] == stream:
            self.texts[-1] = (stream, self.texts[-1][1] + fits)
        elif fits:
            self.texts.append((stream, fits))

    def said(self) -> list[tuple[int, str, str]]:
        """What it has printed, in order."""
        if self._dropped:
            self.texts.append(("stderr", f"\n... {amount(self._dropped)} more\n"))
        return [(self.job.request, stream, printable(folded(text))) for stream, text in self.texts]


class _Stream:
    """Stands for a stream of the process: a call's text is kept, all else goes where it went before."""

    def __init__(self, name: str, under: Any) -> None:
        self._name, self._under = name, under

    def write(self, text: str) -> int:
        told = _here.told
        if told is None:
            return int(self._under.write(text) or 0)
        told.put(self._name, text)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _here.told is None:
            self._under.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


class _Log(logging.Handler):
    """Takes what no handler of the user's took."""

    def emit(self, record: logging.LogRecord) -> None:
        told, text = _here.told, self.format(record) + "\n"
        told.put("log", text) if told is not None else sys.stderr.write(text)


def _install() -> None:
    """Listen to what this process prints; once."""
    if isinstance(sys.stdout, _Stream):
        return
    sys.stdout, sys.stderr = _Stream("stdout", sys.stdout), _Stream("stderr", sys.stderr)
    log = _Log(logging.WARNING)
    log.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.lastResort = log
    current.place.call = _current


def _current() -> current.Current:
    told = _here.told
    if told is None:
        raise EcError("current() has a meaning only inside a task")
    job = told.job
    return current.Current(job.request, job.run, job.attempt, job.lot.socket)


class Guest:
    """One flow inside this process.

    Parameters
    ----------
    flow : str
        Identity of the flow.
    epoch : int
        Its engine's.
    folder : Path
        For value files; its own.
    """

    def __init__(self, flow: str, epoch: int, folder: Path) -> None:
        self.flow = flow
        self.folder = folder
        self.blobs: dict[str, bytes] = {}
        self.running: dict[int, int] = {}
        self.stops: dict[int, Stop] = {}
        self._epoch = epoch
        self._seats = threading.local()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def run(self, header: Header, buffers: list[bytes]) -> dict[str, Any]:
        """Run calls one after the other; what they came to, as bytes."""
        for lot in header["g"]:
            if "source" in lot:
                keep_source(*lot["source"])
        results, said, yields = Results(), list[tuple[int, str, str]](), dict[int, list[Value]]()
        for job in unpack_calls(header, buffers):
            told = Told(job)
            began, clock = time.time(), time.monotonic()
            value, rest = self._outcome(job, told)
            results.add(job.request, began, time.monotonic() - clock, value, rest)
            said += told.said()
            if told.yields:
                yields[job.request] = told.yields
        columns, data = results.take()
        made = {n: [(v.data, *v.head()) for v in values] for n, values in yields.items()}
        return {"head": columns, "data": [bytes(one) for one in data], "said": said, "yields": made}

    def _outcome(self, job: Job, told: Told) -> tuple[Value | None, dict[str, Any] | None]:
        invocation = self._invocation()
        try:
            try:
                self._begin(job, told)
                value, rest = invocation.result(job)
            finally:
                self._end(job)
        except BaseException as error:  # noqa: BLE001 - the call's outcome
            return None, invocation.failure(job, error, self.stops.pop(job.request, None))
        stopped = self.stops.pop(job.request, None)
        if stopped is not None:
            return None, invocation.failure(job, KeyboardInterrupt(), stopped)
        return value, rest

    def _begin(self, job: Job, told: Told) -> None:
        with _lock:
            if job.request in self.stops:
                raise KeyboardInterrupt
            self.running[job.request] = threading.get_ident()
        _here.told = told

    def _end(self, job: Job) -> None:
        _here.told = None
        with _lock:
            self.running.pop(job.request, None)
            # a stop that has not come through yet must not reach whatever this thread does next
            _raise(threading.get_ident(), None)

    def stop(self, request: int, kind: str, message: str) -> None:
        """Interrupt a call as soon as Python code of its runs, or before it begins."""
        with _lock:
            self.stops[request] = (kind, message)
            if request in self.running:
                _raise(self.running[request], KeyboardInterrupt)

    def _invocation(self) -> Invocation:
        if not hasattr(self._seats, "invocation"):
            tasks = Tasks(self._blob)
            self._seats.invocation = Invocation(tasks, self.folder, self._epoch, False, self._emit)
        invocation: Invocation = self._seats.invocation
        return invocation

    def _blob(self, sha256: str) -> bytes:
        if sha256 not in self.blobs:
            raise EcError("its code is not here")
        return self.blobs[sha256]

    @staticmethod
    def _emit(request: int, index: int, value: Value) -> None:
        if _here.told is not None:
            _here.told.yields.append(value)


def _raise(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )


# what the engine's end asks for, by name


def enter(token: str, flow: str, epoch: int, workdir: str, local: str) -> dict[str, Any]:
    """Come into this process; what there is to know of it."""
    _install()
    if os.path.isdir(workdir) and workdir not in sys.path:
        # one file system for all, as clusters have: modules beside the notebook are there
        sys.path.append(workdir)
    leave(flow, "its engine is gone")
    _guests[token] = Guest(flow, epoch, Path(local) / "ec_jupyter" / token)
    return {
        "pid": os.getpid(), "python": list(sys.version_info[:3]), "version": sys.modules["ec_jupyter"].__version__,
        "protocol": PROTOCOL, "host": platform.node(),
    }  # fmt: skip


def run(token: str, header: Header, buffers: list[bytes]) -> dict[str, Any] | None:
    """Run calls; None in a process that is not the one they were sent to."""
    guest = _guests.get(token)
    return None if guest is None else guest.run(header, buffers)


def learn(token: str, sha256: str, blob: bytes) -> None:
    """Keep the code of a task or condition."""
    _guests[token].blobs[sha256] = blob


def keep(token: str, name: str, data: bytes, last: bool) -> None:
    """Append to a value file; the last piece makes it whole."""
    beside = _guests[token].folder / f".{name}"
    with beside.open("ab") as file:
        file.write(data)
    if last:
        beside.replace(beside.with_name(name))


def read(token: str, name: str, at: int, size: int) -> bytes:
    """A piece of a value file."""
    with (_guests[token].folder / name).open("rb") as file:
        file.seek(at)
        return file.read(size)


def drop(token: str, names: list[str]) -> None:
    """Forget value files."""
    for name in names:
        (_guests[token].folder / name).unlink(missing_ok=True)


def stop(token: str, request: int, kind: str, message: str) -> None:
    """Stop a call."""
    _guests[token].stop(request, kind, message)


def running(flow: str) -> list[int]:
    """Requests of a flow that run in this process."""
    with _lock:
        return [request for guest in _guests.values() if guest.flow == flow for request in guest.running]


def leave(flow: str, why: str = "the engine ends") -> None:
    """Stop all calls of a flow, and leave nothing."""
    for token in [token for token, guest in _guests.items() if guest.flow == flow]:
        guest = _guests[token]
        for request in list(guest.running):
            guest.stop(request, "cancelled", why)
        if not guest.running:
            del _guests[token]
            with suppress(OSError):  # the worker's folder goes with the worker
                shutil.rmtree(guest.folder)
