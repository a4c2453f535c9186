"""The kernel's line to a flow's engine: starts it, asks it, and finds it again when it was killed.

Any thread may call; a thread of the client's own reads what the engine sends.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any

from ec_jupyter.engine.address import socket_path
from ec_jupyter.engine.store import make_folder
from ec_jupyter.errors import EcError, EngineLostError, EngineStartError, StoreLockedError, from_wire
from ec_jupyter.nodes import values
from ec_jupyter.wire import PROTOCOL, FrameReader, Header, Value, encode

log = logging.getLogger(__name__)

START_SECONDS = 30.0  # an engine that has not said it listens by then did not start
AHEAD = 2_000  # results asked for at once when somebody waits for one of many
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

Push = Callable[[Header, list[bytes]], None]


class _Question:
    """A frame that waits for its answer."""

    __slots__ = ("answer", "buffers", "frame", "header", "lock")

    def __init__(self, header: Header, buffers: Sequence[bytes]) -> None:
        self.header, self.buffers = header, buffers
        self.frame = encode(header, buffers)
        self.answer: tuple[Header, list[bytes]] | EcError | None = None
        self.lock = threading.Lock()
        self.lock.acquire()

    def tell(self, answer: tuple[Header, list[bytes]] | EcError) -> None:
        self.answer = answer
        self.lock.release()


class Client:
    """A connection to the engine of one flow.

    Use `Client.open`. If the engine is killed, the client starts another and asks again what was not
    answered; what had taken effect does not take effect twice.

    Attributes
    ----------
    folder : Path
        The flow's folder.
    flow_id, name : str
        The flow's identity and name.
    topology : dict
        The wiring as the engine last showed it.
    cpus : int
        CPUs of the local node.
    engine_pid : int
        The engine's process.
    warnings : list of str
        What the engine had to say at hello.
    """

    def __init__(self, folder: Path, name: str, client_name: str, options: list[str]) -> None:
        self.folder, self.name = folder, name
        self.client_name = client_name
        self.id = uuid.uuid4().hex
        self.flow_id = ""
        self.topology: dict[str, Any] = {}
        self.cpus = 0
        self.engine_pid = 0
        self.warnings: list[str] = []
        self._options = options
        self._numbers = count(1)
        self._questions: dict[int, _Question] = {}
        self._futures: dict[int, Future[dict[str, Any]]] = {}
        self._mine: dict[int, None] = {}
        self._listeners: dict[str, list[Push]] = {}
        self._kinds: set[str] = set()
        self._lock = threading.RLock()
        self._line: socket.socket | None = None
        self._closed = False
        self._said_bye = ""

    @classmethod
    def open(
        cls,
        folder: Path,
        name: str,
        *,
        client_name: str = "",
        linger: float | None = None,
        durability: str | None = None,
        cpus: int | None = None,
    ) -> Client:
        """Connect to a flow's engine, started if none runs.

        Raises
        ------
        EngineStartError, StoreError
            The engine cannot run on that folder; says why.
        PythonMismatchError
            The flow runs under another minor version of Python.
        """
        options = []
        for flag, value in (("--linger", linger), ("--durability", durability), ("--cpus", cpus)):
            options += [flag, str(value)] if value is not None else []
        client = cls(folder.resolve(), name, client_name, options)
        make_folder(client.folder)
        client._connect()
        return client

    # -- the line ------------------------------------------------------------
    def _connect(self) -> None:
        """Find or start the engine, say hello, ask again what is open, and read on."""
        with self._lock:
            if self._line is not None:
                return
            line = self._reach()
            reader = FrameReader()
            hello = {
                "k": "hello", "n": 0, "protocol": PROTOCOL, "client": self.id, "name": self.client_name, "pid": os.getpid(),
                "python": PYTHON, "executable": sys.executable,
            }  # fmt: skip
            line.sendall(encode(hello))
            frames: list[tuple[Header, list[bytes]]] = []
            while not frames:
                data = line.recv(1 << 18)
                if not data:
                    raise EngineLostError(
                        f"the engine of flow {self.name!r} went away at once; its log: {self.folder / 'engine.log'}"
                    )
                frames = reader.feed(data)
            self._greeted(frames[0][0])
            self._line, self._said_bye = line, ""
            threading.Thread(target=self._read, args=(line, reader, frames[1:]), name="ec-client", daemon=True).start()
            self._ask_again(line)

    def _greeted(self, header: Header) -> None:
        if header["k"] == "error":
            raise from_wire(header["error"])
        self.flow_id, self.engine_pid, self.cpus = header["flow"], header["engine"], header["cpus"]
        self.warnings, self.topology = header["warnings"], header["topology"]

    def _ask_again(self, line: socket.socket) -> None:
        if self._kinds:
            line.sendall(encode({"k": "subscribe", "n": 0, "kinds": sorted(self._kinds)}))
        for n in sorted(self._questions):
            question = self._questions[n]
            line.sendall(encode({**question.header, "again": True}, question.buffers))
        pending = [i for i, f in self._futures.items() if not f.done()]
        if pending:
            line.sendall(encode({"k": "wait", "n": 0, "ids": pending}))

    def _reach(self) -> socket.socket:
        path = socket_path(self.folder)
        deadline = time.monotonic() + START_SECONDS
        while True:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                line.connect(str(path))
                return line
            except (FileNotFoundError, ConnectionRefusedError):
                line.close()
            try:
                self._start()
            except StoreLockedError:
                # another client is starting it right now, or it is just ending
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _start(self) -> None:
        """Start the engine and wait until it says that it listens, or why it cannot."""
        ready, write = os.pipe()
        command = [sys.executable, "-m", "ec_jupyter.engine", str(self.folder), "--ready", str(write), *self._options]
        log_path = self.folder / "engine.log"
        with open(log_path, "ab") as output:
            # in a session of its own: an interrupt or the end of this kernel does not reach it
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[write],
                start_new_session=True,
            )
        os.close(write)
        threading.Thread(target=process.wait, name="ec-engine-end", daemon=True).start()
        with open(ready, "rb") as pipe:
            said = pipe.readline()
        if not said:
            tail = log_path.read_text(errors="replace").strip().splitlines()[-1:]
            raise EngineStartError(
                f"the engine of flow {self.name!r} did not start ({''.join(tail)}); its log: {log_path}"
            )
        line = json.loads(said)
        if "error" in line:
            raise from_wire(line["error"])

    def _read(self, line: socket.socket, reader: FrameReader, frames: list[tuple[Header, list[bytes]]]) -> None:
        while True:
            for header, buffers in frames:
                self._take(header, buffers)
            try:
                data = line.recv(1 << 18)
            except OSError:
                data = b""
            if not data:
                break
            frames = reader.feed(data)
        line.close()
        with self._lock:
            if self._line is line:
                self._line = None
        if not self._closed:
            self._lost()

    def _lost(self) -> None:
        """The engine is gone: if somebody waits for it, start another; else wait for the next question."""
        if self._said_bye:
            self._give_up(
                EngineLostError(
                    f"flow {self.name!r} was stopped; its requests stay on disk and go on with the next call"
                )
            )
        elif self._questions or any(not f.done() for f in self._futures.values()):
            try:
                self._connect()
            except (EcError, OSError) as error:
                self._give_up(error if isinstance(error, EcError) else EngineLostError(str(error)))

    def _give_up(self, error: EcError) -> None:
        questions, self._questions = self._questions, {}
        futures, self._futures = self._futures, {}
        for question in questions.values():
            question.tell(error)
        for future in futures.values():
            if not future.done():
                future.set_exception(error)

    # -- what comes in -------------------------------------------------------
    def _take(self, header: Header, buffers: list[bytes]) -> None:
        kind = header["k"]
        if kind == "ok":
            question = self._questions.pop(header.get("n", 0), None)
            if question is not None:
                question.tell((header, buffers))
        elif kind == "finished":
            self._finished(header["rows"], buffers)
        elif kind == "error":
            question = self._questions.pop(header.get("n", 0), None)
            if question is not None:
                question.tell(from_wire(header["error"]))
        elif kind == "bye":
            self._said_bye = header.get("why", "stopped")
        else:
            if kind == "topology":
                self.topology = header["topology"]
            for listener in list(self._listeners.get(kind, ())):
                try:
                    listener(header, buffers)
                except Exception:
                    # a listener's mistake must not end the line for everybody else
                    log.exception("listener for %s", kind)

    def _finished(self, rows: list[dict[str, Any]], buffers: list[bytes]) -> None:
        rest = iter(buffers)
        for row in rows:
            for key in ("value", "exception"):
                if row.get(key) is not None:
                    row[key] = unpack(row[key], rest)
            if row.get("values") is not None:
                row["values"] = [unpack(head, rest) for head in row["values"]]
            future = self._future(row["id"])
            if not future.done():
                future.set_result(row)

    def _future(self, request: int) -> Future[dict[str, Any]]:
        future = self._futures.get(request)
        if future is None:
            with self._lock:
                future = self._futures.setdefault(request, Future())
        return future

    # -- what a caller does ----------------------------------------------------
    def ask(
        self, kind: str, header: Header | None = None, buffers: Sequence[bytes] = (), *, timeout: float | None = 60
    ) -> tuple[Header, list[bytes]]:
        """Ask the engine and wait for its answer.

        Raises
        ------
        EcError
            What the engine refused, or that it cannot be reached.
        TimeoutError
            No answer within `timeout` seconds; the question still stands.
        """
        return self._wait(self._send(kind, header or {}, buffers), timeout)

    def _send(self, kind: str, header: Header, buffers: Sequence[bytes] = ()) -> _Question:
        with self._lock:
            n = next(self._numbers)
            done = min(self._questions, default=n)
            question = _Question({**header, "k": kind, "n": n, **({"done": done} if n % 64 == 0 else {})}, buffers)
            if self._closed:
                raise EngineLostError(f"this notebook's line to flow {self.name!r} is closed")
            self._questions[n] = question
            if self._line is None:
                try:
                    self._connect()
                except BaseException:
                    self._questions.pop(n, None)
                    raise
            else:
                try:
                    self._line.sendall(question.frame)
                except OSError:
                    # the reading thread sees the end of the line too, and asks again
                    log.info("the engine of flow %s went away", self.name)
        return question

    def _wait(self, question: _Question, timeout: float | None) -> tuple[Header, list[bytes]]:
        if not question.lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(
                f"the engine of flow {self.name!r} has not answered {question.header['k']!r} in {timeout} s"
            )
        if isinstance(question.answer, EcError):
            raise question.answer
        assert question.answer is not None
        return question.answer

    def submit(
        self, rows: Iterable[tuple[str, dict[str, Value]] | tuple[str, dict[str, Value], str | None]]
    ) -> list[int]:
        """Accept requests: their identities, once all of them are on disk.

        Parameters
        ----------
        rows : iterable of (socket, arguments) or (socket, arguments, id)
            One row a request; arguments are pickled values by name.

        Raises
        ------
        SocketNotFoundError, ArgumentsError, StoreFullError
            One of them cannot be; none was accepted.
        """
        heads: list[list[Any]] = []
        buffers: list[bytes] = []
        for name, arguments, *rest in rows:
            heads.append([name, {n: v.head() for n, v in arguments.items()}, *rest])
            buffers += [v.data for v in arguments.values() if v.data is not None]
        ids: list[int] = self.ask("submit", {"rows": heads}, buffers, timeout=None)[0]["ids"]
        for request in ids:
            self._mine[request] = None
        return ids

    def finished(self, request: int) -> Future[dict[str, Any]]:
        """The future end of a request: a row with ``state`` and, as `Value`, ``value``, ``values`` or ``exception``."""
        future = self._futures.get(request)
        if future is not None:
            return future
        future = self._future(request)
        with self._lock:
            wanted = [request]
            self._mine.pop(request, None)
            for other in list(self._mine)[:AHEAD]:
                del self._mine[other]
                self._future(other)
                wanted.append(other)
        self._send("wait", {"ranges": _ranges(wanted)})
        return future

    def forget(self, request: int) -> None:
        """Let the next `finished` ask anew: the request goes on after it had ended."""
        self._futures.pop(request, None)

    def listen(self, kind: str, callback: Push) -> Callable[[], None]:
        """Call `callback(header, buffers)` on the client's thread for each push of a kind; returns its undo."""
        self._listeners.setdefault(kind, []).append(callback)
        if kind in ("counts", "output", "progress") and kind not in self._kinds:
            self._kinds.add(kind)
            self.ask("subscribe", {"kinds": sorted(self._kinds)})
        return lambda: self._listeners[kind].remove(callback)

    def load(self, value: Value) -> object:
        """The object that a value holds; large arrays are mapped, read-only."""
        return values.load(value, self.folder / "values")

    def dump(self, value: object) -> Value:
        """Pickle an object for the flow; large ones become files of it."""
        return values.dump(value, self.folder / "values", f"in.{self.id}.{uuid.uuid4().hex}")

    def close(self) -> None:
        """Hang up; the flow goes on."""
        self._closed = True
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("the line to flow %s was down already", self.name)
        self._give_up(EngineLostError(f"this notebook's line to flow {self.name!r} is closed"))


def unpack(head: Sequence[Any], buffers: Iterable[bytes]) -> Value:
    """The value that a head in a reply stands for."""
    file, size, kind, *place = head
    if place == ["gone"]:
        next(iter(buffers))
        return Value(None, None, size, kind)
    return Value.of((file, size, kind), buffers)


def _ranges(ids: list[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for i in ids:
        if ranges and ranges[-1][0] + ranges[-1][1] == i:
            ranges[-1][1] += 1
        else:
            ranges.append([i, 1])
    return ranges
