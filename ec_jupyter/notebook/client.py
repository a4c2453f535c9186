"""The kernel's line to a flow's engine: starts it, asks it, and finds it again when it was killed.

Any thread may call. Whoever waits for an answer reads the line itself, if nobody else does: a
thread in between would cost two switches a call. A thread of the client's own reads while nobody
waits, and finds a lost engine again.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from ec_jupyter.engine.inbox import inbox_folder
from ec_jupyter.engine.store import make_folder
from ec_jupyter.errors import ArgumentsError, EcError, EngineLostError, StoreLostError, from_wire
from ec_jupyter.flow.shown import merged
from ec_jupyter.nodes import values
from ec_jupyter.notebook import engines
from ec_jupyter.notebook.ends import Ends, Row, ranges, unpack
from ec_jupyter.notebook.line import Line, Question
from ec_jupyter.notebook.log import Log
from ec_jupyter.notebook.submission import Accepted, Call, fits, frame, lacking
from ec_jupyter.wire import PROTOCOL, Header, Value, encode

log = logging.getLogger(__name__)

YIELD_SECONDS = 0.02  # how long the client's own thread leaves the line to a caller who reads it
EAGER = 8  # submits that ask for their results at once, after somebody waited for one
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

# what the engine pushes only to those who ask for it; of "picture" nothing comes: it says that one is looked at
_ON_DEMAND = frozenset({"counts", "output", "picture"})

Push = Callable[[Header, list[bytes]], None]
__all__ = ["Accepted", "Call", "Client", "unpack"]


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

    def __init__(
        self, folder: Path, name: str, client_name: str, options: list[str], executable: str = sys.executable
    ) -> None:
        self.folder, self.name = folder, name
        self.client_name = client_name
        self.id = uuid.uuid4().hex
        self.flow_id = ""
        self.topology: dict[str, Any] = {}
        self.cpus = 0
        self.engine_pid = 0
        self.warnings: list[str] = []
        self._options, self._executable = options, executable
        self._values = folder / "values"
        self._numbers = count(1)
        self._questions: dict[int, Question] = {}
        self._ends = Ends(self._ask_ends, self._lead)
        self._listeners: dict[str, list[Push]] = {}
        self._kinds: set[str] = set()
        self._lock = threading.RLock()
        self._turn = threading.Lock()
        self._line: Line | None = None
        self._closed = False
        self._said_bye = ""
        self._gone: EcError | None = None
        self._place: tuple[int, int] | None = None
        self._losses = 0
        self._eager = 0
        self._sync = "power" in options
        self._log: Log
        self._takers: dict[str, Push] = {
            "ok": self._answered, "accepted": self._accepted, "results": self._ended, "finished": self._ended,
            "error": self._refused, "bye": self._bye,
        }  # fmt: skip

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
        executable: str | None = None,
        trust: bool = False,
    ) -> Client:
        """Connect to a flow's engine, started if none runs; under `executable`, if not this process's own.

        Raises
        ------
        EngineStartError, StoreError
            The engine cannot run on that folder; says why.
        UntrustedFlowError
            The folder came from elsewhere or belongs to somebody else, and `trust` was not said.
        PythonMismatchError
            The flow runs under another minor version of Python.
        """
        options = []
        for flag, value in (("--linger", linger), ("--durability", durability), ("--cpus", cpus)):
            options += [flag, str(value)] if value is not None else []
        client = cls(folder.resolve(), name, client_name, options, executable or sys.executable)
        make_folder(client.folder, trust=trust)
        client._place = _place(client.folder)
        client._log = Log(inbox_folder(client.folder) / f"{client.id}.log")
        try:
            client._connect()
        except BaseException:
            client._log.close(remove=True)
            raise
        return client

    # -- the line ------------------------------------------------------------
    def _connect(self) -> None:
        """Find or start the engine, say hello, ask again what is open, and read on."""
        with self._lock:
            if self._line is not None:
                return
            if self.lost:
                raise self._displaced()
            line = self._greet()
            try:
                self._greeted(line.frames.pop(0)[0])
            except BaseException:
                line.sock.close()
                raise
            self._line, self._said_bye = line, ""
            threading.Thread(target=self._read, args=(line,), name="ec-client", daemon=True).start()
            with suppress(OSError):
                # an engine that goes away meanwhile: who reads the line sees its end, and asks the next one
                self._ask_again(line.sock)

    def _greet(self) -> Line:
        """A line to an engine that has answered a hello; one that was just ending is followed by another."""
        hello = {
            "k": "hello", "n": 0, "protocol": PROTOCOL, "client": self.id, "name": self.client_name, "pid": os.getpid(),
            "python": PYTHON, "executable": sys.executable,
        }  # fmt: skip
        deadline = time.monotonic() + engines.START_SECONDS
        while time.monotonic() < deadline:
            line = Line(engines.reach(self.folder, self.name, self._executable, self._options))
            with suppress(OSError):
                line.sock.sendall(encode(hello))
                while not line.frames and line.read():
                    pass
            if line.frames:
                return line
            line.sock.close()
        raise EngineLostError(
            f"the engines of flow {self.name!r} go away at once; their log: {self.folder / 'engine.log'}"
        )

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
        if self._ends.asked:
            line.sendall(encode({"k": "wait", "ranges": ranges(list(self._ends.asked))}))

    def _read(self, line: Line) -> None:
        """Read while no caller does; at the line's end see what is to be done."""
        poll = line.poll()
        while True:
            poll.poll()
            if not self._turn.acquire(blocking=False):
                # a caller reads; it will most likely wait again in a moment
                time.sleep(YIELD_SECONDS)
                continue
            try:
                more = line.read()
                self._take_all(line)
            finally:
                self._turn.release()
            if not more:
                break
        with self._lock:
            if self._line is line:
                self._line = None
        with self._turn:
            # not under the eyes of a caller who polls it
            line.sock.close()
        if not self._closed:
            self._lost()

    def _lead(self, ready: Callable[[], bool], deadline: float | None) -> None:
        """Read in the caller's thread until `ready` or the deadline, unless another thread reads."""
        line = self._line
        if line is None or not self._turn.acquire(blocking=False):
            return
        reading = False
        try:
            if self._line is not line:
                return
            poll = line.poll()
            self._take_all(line)
            while not ready():
                left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
                if not poll.poll(left):
                    return
                reading = True
                if not line.read():
                    # the client's own thread sees the end too, and looks for another engine
                    return
                self._take_all(line)
                reading = False
        except BaseException:
            if reading:
                # an interrupt in the middle of a frame: nothing is lost by asking again on a new line
                line.hang_up()
            raise
        finally:
            self._turn.release()

    def _take_all(self, line: Line) -> None:
        frames, line.frames = line.frames, []
        for header, buffers in frames:
            self._take(header, buffers)

    def _lost(self) -> None:
        """The engine is gone: if somebody waits for it, start another; else wait for the next question."""
        if self._said_bye:
            self._give_up(
                self._gone
                or EngineLostError(
                    f"flow {self.name!r} was stopped; its requests stay on disk and go on with the next call"
                )
            )
            return
        self._losses += 1
        if self._losses > engines.MOST_DEATHS:
            log_path = self.folder / "engine.log"
            text = f"the engine of flow {self.name!r} ended {self._losses} times; its log: {log_path}"
            self._give_up(EngineLostError(text))
        elif self._questions or self._ends.futures:
            try:
                self._connect()
            except (EcError, OSError) as error:
                self._give_up(error if isinstance(error, EcError) else EngineLostError(str(error)))

    def _give_up(self, error: EcError) -> None:
        questions, self._questions = self._questions, {}
        for question in questions.values():
            question.tell(error)
        self._ends.fail(error)

    # -- what comes in -------------------------------------------------------
    def _take(self, header: Header, buffers: list[bytes]) -> None:
        self._takers.get(header["k"], self._pushed)(header, buffers)

    def _accepted(self, header: Header, buffers: list[bytes]) -> None:
        for n, first, many in header["rows"]:
            self._answered({"n": n, "ids": list(range(first, first + many))}, [])
        for n, ids in header["lists"]:
            self._answered({"n": n, "ids": ids}, [])

    def _ended(self, header: Header, buffers: list[bytes]) -> None:
        self._losses = 0
        self._ends.came(header, buffers)

    def _refused(self, header: Header, buffers: list[bytes]) -> None:
        question = self._questions.pop(header.get("n", 0), None)
        if question is not None:
            question.tell(from_wire(header["error"]))

    def _bye(self, header: Header, buffers: list[bytes]) -> None:
        self._said_bye = header.get("why", "stopped")
        if "error" in header:
            self._gone = from_wire(header["error"])

    def _pushed(self, header: Header, buffers: list[bytes]) -> None:
        kind = header["k"]
        if kind == "topology":
            self.topology = merged(self.topology, header["changes"])
        for listener in list(self._listeners.get(kind, ())):
            try:
                listener(header, buffers)
            except Exception:
                # a listener's mistake must not end the line for everybody else
                log.exception("listener for %s", kind)

    def _answered(self, header: Header, buffers: list[bytes]) -> None:
        question = self._questions.pop(header.get("n", 0), None)
        self._losses = 0
        if question is None:
            return
        if question.header["k"] == "submit":
            self._ends.accepted(header["ids"], watched=bool(question.header.get("watch")))
            if not self._questions:
                with self._lock:
                    self._log.cut(sure=not self._questions)
        question.tell((header, buffers))

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

    def _send(
        self, kind: str, header: Header, buffers: Sequence[bytes] = (), log: Log | None = None
    ) -> Question:
        with self._lock:
            if self._line is None and not self._closed:
                # before anything is written down: without an engine nothing is accepted
                self._connect()
            n = next(self._numbers)
            done = {"done": min(self._questions, default=n)} if n % 64 == 0 else {}
            question = self._questions[n] = Question({**header, "k": kind, "n": n, **done}, buffers)
            written = False
            try:
                if log is not None and not self._closed:
                    log.append(question.frame)
                    written = True
                self._post(question.frame)
            except BaseException:
                if written and self._line is not None:
                    # accepted, and interrupted before it was sent: it goes out on the next line
                    self._line.hang_up()
                elif not written:
                    self._questions.pop(n, None)
                raise
        return question

    def _post(self, frame: bytes) -> None:
        """Put a frame on the line; one that is lost with the line is asked again on the next."""
        if self._closed:
            raise EngineLostError(f"this notebook's line to flow {self.name!r} is closed")
        if self._line is None:
            self._connect()
            return
        try:
            self._line.sock.sendall(frame)
        except OSError:
            log.info("the engine of flow %s went away", self.name)

    def _wait(self, question: Question, timeout: float | None) -> tuple[Header, list[bytes]]:
        deadline = None if timeout is None else time.monotonic() + timeout
        self._lead(lambda: question.answer is not None, deadline)
        if deadline is not None:
            timeout = max(0.0, deadline - time.monotonic())
        if not question.lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(
                f"the engine of flow {self.name!r} has not answered {question.header['k']!r} in {timeout} s"
            )
        question.lock.release()
        if isinstance(question.answer, EcError):
            raise question.answer
        assert question.answer is not None
        return question.answer

    def _displaced(self) -> EcError:
        return self._gone or StoreLostError(
            f"the folder {self.folder} of flow {self.name!r} is not there any more; open the flow anew"
        )

    @property
    def lost(self) -> bool:
        """Whether the folder that was opened is not at its path any more."""
        return self._place is not None and _place(self.folder) != self._place

    @property
    def connected(self) -> bool:
        """Whether there is a line to an engine at this moment; a question would find or start one."""
        return self._line is not None

    def submit(self, rows: Iterable[Call], *, partial: bool = False) -> Accepted:
        """Accept requests: when this returns they are on disk, and whatever dies they will be run.

        Parameters
        ----------
        rows : iterable of (socket, arguments) or (socket, arguments, id)
            One row a request; arguments are pickled values by name. All are accepted, or none.
        partial : bool
            The arguments that they lack will come from elsewhere.

        Returns
        -------
        Accepted
            Their identities, which the engine gives; looking at one waits for it. If a socket is gone by
            the time the engine sees the frame, looking raises what a refused submit raises.

        Raises
        ------
        ArgumentsError
            A row lacks an argument; nothing was accepted.
        StoreFullError
            The disk has no room; nothing was accepted.
        EngineError
            There is no engine to be had; nothing was accepted.
        """
        calls = list(rows)
        wiring = self._wiring(calls, partial)
        header, buffers = frame(calls, wiring["revision"], partial)
        with self._lock:
            if self._eager > 0:
                self._eager -= 1
                header["watch"] = True
            question = self._send("submit", header, buffers, log=self._log)
        if self._sync or not fits(wiring, calls):
            # what this client does not know, the engine does, or refuses it
            self._wait(question, None)
        return Accepted(self._wait, question, len(calls))

    def _wiring(self, calls: list[Call], partial: bool) -> dict[str, Any]:
        """The wiring by which nothing is lacking; refuses what lacks an argument by the newest wiring there is."""
        if lacking(self.topology, calls, partial) is not None:
            # what this client knows may be older than an edit of another; the answer comes after that
            self.ask("ping", timeout=None)
        wiring = self.topology
        why = lacking(wiring, calls, partial)
        if why is not None:
            raise ArgumentsError(why)
        return wiring

    def finished(self, request: int) -> Future[Row]:
        """The future end of a request: a row with ``state`` and, as `Value`, ``value``, ``values`` or ``exception``."""
        # who waits for this one will most likely wait for the next: ask for it with the submit
        self._eager = EAGER
        return self._ends.future(request)

    def known_end(self, request: int) -> Row | None:
        """The row of a request that is known here to have ended."""
        self._eager = EAGER
        return self._ends.row(request)

    def _ask_ends(self, requests: list[int]) -> None:
        with self._lock:
            self._post(encode({"k": "wait", "ranges": ranges(requests)}))

    def forget(self, request: int) -> None:
        """Let the next `finished` ask anew: the request goes on after it had ended."""
        self._ends.forget(request)

    def listen(self, kind: str, callback: Push) -> Callable[[], None]:
        """Call `callback(header, buffers)` on the client's thread for each push of a kind; returns its undo."""
        question = None
        with self._lock:
            self._listeners.setdefault(kind, []).append(callback)
            if kind in _ON_DEMAND and kind not in self._kinds:
                self._kinds.add(kind)
                # to listen starts no engine: the next one that is there is told when it greets
                if self._line is not None:
                    question = self._send("subscribe", {"kinds": sorted(self._kinds)})
        if question is not None:
            self._wait(question, 60)
        return lambda: self._listen_no_more(kind, callback)

    def _listen_no_more(self, kind: str, callback: Push) -> None:
        with self._lock:
            self._listeners[kind].remove(callback)
            if self._listeners[kind] or kind not in self._kinds:
                return
            self._kinds.discard(kind)
            if self._line is not None and not self._closed:
                # nobody waits for the answer, and without an engine there is nobody to tell
                self._post(encode({"k": "subscribe", "n": 0, "kinds": sorted(self._kinds)}))

    def load(self, value: Value) -> object:
        """The object that a value holds; large arrays are mapped, read-only.

        Blocks while a value that was left on a cluster comes from there, or one that is lost is made anew.
        """
        if value.file is not None and not values.whole(value.file, self._values):
            self.ask("bring", {"files": [value.file]}, timeout=None)
        return values.load(value, self._values)

    def dump(self, value: object) -> Value:
        """Pickle an object for the flow; large ones become files of it.

        Raises
        ------
        StoreLostError
            The flow's folder is not where it was.
        """
        try:
            return values.dump(value, self._values, f"in.{self.id}.{uuid.uuid4().hex}")
        except FileNotFoundError:
            if not self.lost:
                raise
        raise self._displaced()

    def close(self) -> None:
        """Hang up; the flow goes on."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            line, self._line = self._line, None
        if line is not None:
            line.hang_up()
        # what was not answered is in the log, and the engine reads that when the line ends
        self._log.close(remove=not self._questions)
        self._give_up(EngineLostError(f"this notebook's line to flow {self.name!r} is closed"))


def _place(folder: Path) -> tuple[int, int] | None:
    """Which folder is at a path now; None if there is none."""
    try:
        state = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino
