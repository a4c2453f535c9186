"""The worker process: takes frames of calls, runs them one at a time, sends frames of results.

The main thread reads calls and runs them. The ``control`` thread answers what must not wait for a
task to end (recall, stop) and kills the process group when the agent is gone. The ``flusher``
sends results that have waited while a batch is slow. Before each call its request is written to a
small mapped file, so that whoever finds this process dead knows which call did it.
"""

from __future__ import annotations

import faulthandler
import mmap
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ec_jupyter.errors import EcError
from ec_jupyter.nodes import cpus, current
from ec_jupyter.nodes.code import keep_source
from ec_jupyter.nodes.lots import Results, unpack_calls
from ec_jupyter.nodes.surroundings import Place
from ec_jupyter.nodes.worker.blame import BLAME, BLAME_BYTES, PROGRAM, STACK_SUFFIX
from ec_jupyter.nodes.worker.display import Display
from ec_jupyter.nodes.worker.imports import Finder
from ec_jupyter.nodes.worker.invoke import Invocation, Tasks, Told
from ec_jupyter.nodes.worker.output import Output, printable
from ec_jupyter.nodes.worker.setup import Setup, connected, failed, leave
from ec_jupyter.wire import Buffer, Call, FrameReader, Header, Value, encode

if TYPE_CHECKING:
    from ec_jupyter.nodes.worker.overlap import Overlap

FLUSH_SECONDS = 0.005
STARTED_SECONDS = 0.010
_READ_BYTES = 256 * 1024
_HELD_BYTES = 256 * 1024


def serve(setup: Setup) -> None:
    """Run calls until the agent ends this process; the task that loky runs."""
    if failed:
        raise EcError(f"{type(failed[0]).__name__}: {failed[0]}")
    Worker(setup).serve()


class Worker:
    """The state of a worker process."""

    def __init__(self, setup: Setup) -> None:
        self._send_lock = threading.Lock()
        self._guard = threading.Lock()  # pending, running, recalled
        self._reading = threading.Lock()
        self._reader = FrameReader()
        self._incoming = memoryview(bytearray(_READ_BYTES))
        self._pending: deque[Call] = deque()
        self._recalled: set[int] = set()
        self._results = Results()
        self._held_since = 0.0
        self._yields: list[tuple[int, Value]] = []
        self._yields_sent = 0.0
        self._call: Call | None = None
        self._running = 0
        self._began = 0.0
        self._announced = 0
        self._inside = False
        self._limits = setup.limits
        self._threads: float = 0
        self._stopping: tuple[int, str, str] | None = None
        self._ended = False
        self._busy = threading.Event()
        self._never = threading.Event()
        self._main = threading.get_ident()
        self._tasks = Tasks(self._ask)
        self._place: Place
        self._asked = ""
        self._answer: bytes | EcError | None = None
        self._modules: dict[str, bytes | None] = {}
        self._finder = Finder(self._ask_module) if setup.fetch else None
        self._invocation = Invocation(self._tasks, Path(setup.folder), setup.epoch, setup.sync, self._emit)
        self._overlap: Overlap | None = None
        self._blame = _mapped(setup.blame)
        self._stack = open(setup.blame + STACK_SUFFIX, "wb", buffering=0)  # noqa: SIM115 - faulthandler's
        self._output = Output(self._print)
        self._work = connected(setup, "work")
        self._control = connected(setup, "control")

    def serve(self) -> None:
        """Run calls until told to end."""
        signal.signal(signal.SIGINT, self._interrupted)
        # before what a call leaves as it found it
        Display(self._display).install()
        self._place = self._tasks.place = Place(elsewhere=self._finder is not None, started=self._program_started)
        current.place.call = lambda: self._call
        current.place.say = self._progress
        self._output.install()
        faulthandler.enable(self._stack)
        if self._finder is not None:
            self._finder.install()
        for name, loop in (("control", self._obey), ("flusher", self._flush_slow)):
            threading.Thread(target=loop, name=name, daemon=True).start()
        while True:
            call = self._next()
            if call is not None:
                if call.spec.concurrent > 1:
                    self._run_beside(call)
                else:
                    self._run(call)
                continue
            self.flush()
            BLAME.pack_into(self._blame, 0, 0, 0, 0.0)
            if self._ended:
                return
            self._receive()

    # the main thread

    def _next(self) -> Call | None:
        """The next call, which runs from now on; the one before it does no more."""
        with self._guard:
            self._stopping = None
            if not self._pending:
                self._running = 0
                return None
            self._call = call = self._pending.popleft()
            self._running = call.request
        if self._pending and not self._busy.is_set():
            self._busy.set()
        return call

    def _run(self, call: Call) -> None:
        began, clock = time.time(), time.monotonic()
        self._began = clock
        BLAME.pack_into(self._blame, 0, call.request, call.attempt, clock)
        if call.spec.threads != self._threads:
            self._have(call.spec.threads)
        output, rest = self._output, None
        output.begin(call.request, clock)
        try:
            try:
                self._inside = True
                if self._stopping is not None and self._stopping[0] == call.request:
                    raise KeyboardInterrupt
                value, rest = self._invocation.result(call)
            finally:
                self._inside = False
        except BaseException as error:  # noqa: BLE001 - the call's outcome
            value, rest = None, self._invocation.failure(call, error, self._stopped(call))
        else:
            if self._stopping is not None and (stopped := self._stopped(call)) is not None:
                # it caught the interrupt and returned; whoever stopped it has been told that it stops
                value, rest = None, self._invocation.failure(call, KeyboardInterrupt(), stopped)
        self._place.leave()
        output.end()
        ended = time.monotonic()
        if self._yields:
            self._flush_yields()
        results = self._results
        with self._send_lock:
            if not results.count:
                self._held_since = ended
            results.add(call, began, ended - clock, value, rest)
        if results.bytes > _HELD_BYTES:
            self.flush()

    def _have(self, threads: float) -> None:
        self._threads = threads
        cpus.limit(max(1, int(threads)), self._limits)
        self._place.keep(self._limits)

    # calls that run beside each other

    def _run_beside(self, call: Call) -> None:
        """Run a call, and those that may run with it, until none is left."""
        with self._guard:
            self._running = 0
        if call.spec.threads != self._threads:
            self._have(call.spec.threads)
        if self._overlap is None:
            # asyncio, which few tasks need, is a part of what a worker's start takes
            from ec_jupyter.nodes.worker.overlap import Overlap

            self._overlap = Overlap(self, self._invocation, self._output, self._blame)
            self._overlap.loop.add_reader(self._work, self._overlap.receive)
        self._overlap.run(call)
        self._place.leave()

    def take(self, fits: Callable[[Call], bool], begin: Callable[[Call], None]) -> bool:
        """Begin the call that is next, if it fits and is still here."""
        pending = self._pending
        head = pending[0] if pending else None
        if head is None or not fits(head):
            return False
        with self._guard:
            if self._pending and self._pending[0] is head:
                begin(self._pending.popleft())
        return True

    def receive(self) -> None:
        """Take in what has come."""
        with self._reading, suppress(BlockingIOError):
            if not self._read(socket.MSG_DONTWAIT):
                leave()

    def report(self, call: Call, began: float, seconds: float, outcome: Told) -> None:
        """Keep what a call came to until `flush`."""
        with self._send_lock:
            self._results.add(call, began, seconds, *outcome)

    def _stopped(self, call: Call) -> tuple[str, str] | None:
        stopping = self._stopping
        return stopping[1:] if stopping is not None and stopping[0] == call.request else None

    def _interrupted(self, *_: object) -> None:
        # once a call, and never while our own code runs
        if self._inside and (self._stopping is None or self._stopping[0] == self._running):
            self._inside = False
            raise KeyboardInterrupt
        if self._overlap is not None:
            self._overlap.interrupt()

    def _receive(self) -> None:
        """Wait for frames and take them in."""
        with self._reading:
            if not self._read():
                leave()

    def _read(self, flags: int = 0) -> int:
        """Take in what there is; how many bytes that was."""
        # into the same bytes each time: to get as many for what may come costs more than to read it
        count = self._work.recv_into(self._incoming, 0, flags)
        self._take(bytes(self._incoming[:count]))
        return count

    def _take(self, data: bytes) -> None:
        for header, buffers in self._reader.feed(data):
            match header["k"]:
                case "run":
                    self._accept(header, buffers)
                case "blob":
                    self._learn(header, buffers)
                case "module":
                    self._modules[header["x"]] = buffers[0] if buffers else None
                case "end":
                    self._ended = True

    def _accept(self, header: Header, buffers: list[bytes]) -> None:
        for name, text in header.get("x", {}).items():
            keep_source(name, text)
        calls = unpack_calls(buffers[0])
        back = []
        with self._guard:
            if self._recalled:
                back = [call.request for call in calls if call.request in self._recalled]
                self._recalled.difference_update(back)
                calls = [call for call in calls if call.request not in back]
            self._pending.extend(calls)
        if back:
            self.send({"k": "back", "n": back})
        if self._overlap is not None:
            self._overlap.wake()

    def _learn(self, header: Header, buffers: list[bytes]) -> None:
        sha256 = header["h"]
        if "x" not in header:
            self._tasks.add(sha256, buffers[0])
        if sha256 == self._asked:
            self._answer = EcError(header["x"]) if "x" in header else buffers[0]

    def _ask(self, sha256: str) -> bytes:
        """The pickle of a function that was here and had to go."""
        with self._shield():
            self._asked, self._answer = sha256, None
            self.send({"k": "need", "h": sha256})
            while self._answer is None:
                self._receive()
            answer, self._answer, self._asked = self._answer, None, ""
        if isinstance(answer, EcError):
            raise answer
        return answer

    def _ask_module(self, name: str) -> bytes | None:
        """The source of a module beside the notebook; called on any thread that imports."""
        with self._shield():
            self.send({"k": "module", "x": name})
            while name not in self._modules:
                with self._reading:
                    # whoever read meanwhile may have had the answer
                    if name not in self._modules and not self._read():
                        leave()
        return self._modules.pop(name, None)

    @contextmanager
    def _shield(self) -> Iterator[None]:
        """Hold an interrupt back while a frame is half way: torn, it would end the connection."""
        if threading.get_ident() != self._main:
            yield
            return
        inside, self._inside = self._inside, False
        yield
        self._inside = inside
        if inside and self._call is not None and self._stopped(self._call) is not None:
            self._inside = False
            raise KeyboardInterrupt

    # what leaves

    def send(self, header: Header, buffers: list[Buffer] | None = None) -> None:
        """Send a frame."""
        with self._send_lock:
            self._write(header, buffers or [])

    def _write(self, header: Header, buffers: list[Buffer]) -> None:
        self._write_all([(header, buffers)])

    def _write_all(self, frames: list[tuple[Header, list[Buffer]]]) -> None:
        try:
            self._work.sendall(b"".join([encode(header, buffers) for header, buffers in frames]))
        except (BrokenPipeError, ConnectionResetError):
            leave()

    def flush(self) -> None:
        """Send what is kept."""
        with self._send_lock:
            if self._results.count:
                self._write_all(self._results.take())

    def _emit(self, request: int, index: int, value: Value) -> None:
        with self._send_lock:
            self._yields.append((index, value))
        if time.monotonic() - self._yields_sent >= FLUSH_SECONDS:
            with self._shield():
                self._flush_yields()
        elif not self._busy.is_set():
            self._busy.set()

    def _flush_yields(self) -> None:
        with self._send_lock:
            if not self._yields:
                return
            yields, self._yields = self._yields, []
            self._yields_sent = time.monotonic()
            heads = [value.head() for _, value in yields]
            buffers: list[Buffer] = [value.data for _, value in yields if value.data is not None]
            self._write({"k": "yielded", "n": self._running, "f": yields[0][0], "v": heads}, buffers)

    def _print(self, request: int, stream: str, text: str) -> None:
        self.send({"k": "output", "n": request, "s": stream, "x": text})

    def _display(self, value: str) -> None:
        with self._shield():
            self._output.show(value)

    def _progress(self, done: float, total: float | None, text: str) -> None:
        if self._running:
            with self._shield():
                self.send({"k": "progress", "n": self._running, "d": done, "t": total, "x": printable(text)})

    def _program_started(self) -> None:
        overlapping = self._overlap.program() if self._overlap is not None else 0
        PROGRAM.pack_into(self._blame, BLAME.size, overlapping or self._running)

    def _flush_slow(self) -> None:
        """The flusher: what a slow batch has done must not wait for the rest of it."""
        while True:
            self._busy.wait()
            wait = FLUSH_SECONDS
            while self._unfinished():
                self._never.wait(wait)
                self._flush_late()
                # nothing more to say of a call once it is known to be long
                wait = 10 * FLUSH_SECONDS if self._announced == self._running != 0 else FLUSH_SECONDS
            self._busy.clear()
            if self._unfinished():
                # begun since the last look, by a main thread that still saw this one awake
                self._busy.set()

    def _unfinished(self) -> bool:
        return bool(self._running or self._pending or self._results.count)

    def _flush_late(self) -> None:
        now = time.monotonic()
        if self._yields:
            self._flush_yields()
        with self._send_lock:
            if self._results.count and now - self._held_since >= FLUSH_SECONDS:
                self._write_all(self._results.take())
            # while this lock is held the call's result cannot leave, so this cannot come after it
            request = self._running
            if request and request != self._announced and now - self._began > STARTED_SECONDS:
                self._announced = request
                self._write({"k": "started", "n": request, "t": time.time() - (now - self._began)}, [])

    # the control thread

    def _obey(self) -> None:
        reader = FrameReader()
        while True:
            data = self._control.recv(_READ_BYTES)
            if not data:
                leave()
            for header, _ in reader.feed(data):
                self._drain()
                self._recall(header["n"], header.get("c"), header.get("x", ""))

    def _drain(self) -> None:
        """Take in what has arrived while a task runs; when none runs the main thread does."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            with suppress(BlockingIOError):
                while self._read(socket.MSG_DONTWAIT):
                    pass
        finally:
            self._reading.release()

    def _recall(self, requests: list[int], kind: str | None, message: str) -> None:
        """Hand back what has not begun; interrupt what has, if a kind is given."""
        wanted = set(requests)
        with self._guard:
            back = [call.request for call in self._pending if call.request in wanted]
            if back:
                self._pending = deque(call for call in self._pending if call.request not in wanted)
            if self._running in wanted:
                wanted.discard(self._running)
                if kind is not None:
                    self._stopping = (self._running, kind, message)
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            elif self._overlap is not None:
                wanted -= self._overlap.stop(wanted, kind, message)
            # on their way here, or done: those are gone before they could come again
            self._recalled |= wanted.difference(back)
        if back:
            self.send({"k": "back", "n": back})


def _mapped(path: str) -> mmap.mmap:
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), BLAME_BYTES)
