"""Runs calls of an ``async def`` beside each other: one event loop, a task for each call.

One of them has its turn at a time. Whose turn it is stands in the mapped file as long as it lasts, so that a crash is
charged to that call. What else a call says (text, progress, `current`) is told apart by a context variable, which its
tasks inherit, and its threads where `asyncio.to_thread` starts them.
"""

from __future__ import annotations

import asyncio
import mmap
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol

from ec_jupyter.nodes import current
from ec_jupyter.nodes.worker.blame import BLAME, PLACE, PLACES_AT
from ec_jupyter.nodes.worker.invoke import Invocation, Told
from ec_jupyter.nodes.worker.output import Output, Printed, printable
from ec_jupyter.wire import MOST_AT_ONCE, Buffer, Call, Header, Value


class Worker(Protocol):
    """The process: calls come from it, and what they come to goes there."""

    def take(self, fits: Callable[[Call], bool], begin: Callable[[Call], None]) -> bool:
        """Begin the call that is next; False: there is none, or it does not fit."""

    def receive(self) -> None:
        """Take in what has come."""

    def report(self, call: Call, began: float, seconds: float, outcome: Told) -> None:
        """Keep what a call came to until `flush`."""

    def flush(self) -> None:
        """Send what is kept."""

    def send(self, header: Header, buffers: list[Buffer] | None = None) -> None:
        """Send a frame."""


@dataclass(slots=True, eq=False)
class Running:
    """A call that runs."""

    call: Call
    place: int  # in the mapped file
    printed: Printed
    began: float  # wall clock
    clock: float  # monotonic
    task: asyncio.Task[None] | None = None
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)  # those that it has started
    inside: bool = True  # code of the task's runs, which may be stopped
    interrupted: bool = False  # it was stopped in its turn
    stopped: tuple[str, str] | None = None  # kind and message


_here: ContextVar[Running | None] = ContextVar("running", default=None)


class _Turns(Coroutine[Any, Any, Any]):
    """A coroutine of a call: says so for as long as it has its turn."""

    __slots__ = ("_coroutine", "_overlap", "_running")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], running: Running, overlap: Overlap) -> None:
        self._coroutine, self._running, self._overlap = coroutine, running, overlap

    def send(self, value: Any) -> Any:
        before = self._overlap.begin_turn(self._running)
        try:
            return self._coroutine.send(value)
        finally:
            self._overlap.end_turn(before)

    def throw(self, *error: Any) -> Any:
        before = self._overlap.begin_turn(self._running)
        try:
            return self._coroutine.throw(*error)
        finally:
            self._overlap.end_turn(before)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()


class Overlap:
    """The event loop of a worker, and the calls on it."""

    def __init__(self, worker: Worker, invocation: Invocation, output: Output, blame: mmap.mmap) -> None:
        self._worker, self._output, self._blame = worker, output, blame
        self._invocation = invocation.beside(self._emit)
        self._calls: dict[int, Running] = {}
        self._places = list(range(MOST_AT_ONCE))
        self._turn: Running | None = None
        self._launched: Running | None = None
        self._nobody = Printed()
        self._flushing = False
        # kept from one burst of calls to the next: what a task has opened on it goes on
        self.loop = asyncio.new_event_loop()
        self.loop.set_task_factory(self._made)
        asyncio.set_event_loop(self.loop)
        self._changed = asyncio.Event()

    def run(self, first: Call) -> None:
        """Run a call, and those that come meanwhile and fit; until all have ended."""
        before = current.place.call, current.place.say
        current.place.call, current.place.say = self._current, self._progress
        self._output.share(self._whose, self._beyond)
        serving = self.loop.create_task(self._serve(first))
        while not serving.done():
            try:
                self.loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt):
                # a task that a call has started raised it, and holds it for who awaits that
                continue
        self._output.alone()
        current.place.call, current.place.say = before

    async def _serve(self, first: Call) -> None:
        self._begin(first)
        while True:
            while self._worker.take(self._fits, self._begin):
                pass
            if not self._calls:
                return
            self._changed.clear()
            await self._changed.wait()

    def _fits(self, call: Call) -> bool:
        """Whether a call may run beside those that do: the environment is the same for all of a process."""
        if call.spec.concurrent == 1 or not self._calls:
            return call.spec.concurrent > 1
        one, other = (self._environment(some) for some in (next(iter(self._calls.values())).call, call))
        return None in (one, other) or one == other

    def _environment(self, call: Call) -> Any:
        try:
            return self._invocation.around(call).environment
        except Exception:  # noqa: BLE001 - the call says so itself, once it is its turn
            return None

    def _begin(self, call: Call) -> None:
        clock = time.monotonic()
        running = Running(call, self._places.pop(), Printed(call.request, clock), time.time(), clock)
        self._calls[call.request] = running
        PLACE.pack_into(self._blame, PLACES_AT + PLACE.size * running.place, call.request)
        context = copy_context()
        context.run(_here.set, running)
        running.task = context.run(self.loop.create_task, self._run(running))

    async def _run(self, running: Running) -> None:
        call = running.call
        try:
            outcome = await self._invocation.awaited(call)
            running.inside = False
            if running.stopped is not None:
                # it caught the cancel and returned; whoever stopped it has been told that it stops
                outcome = None, self._invocation.failure(call, asyncio.CancelledError(), running.stopped)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - the call's outcome
            running.inside = False
            outcome = None, self._invocation.failure(call, error, running.stopped)
        left = [task for task in running.tasks if task is not running.task and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        self._end(running, outcome)

    def _end(self, running: Running, outcome: Told) -> None:
        seconds = time.monotonic() - running.clock
        self._output.end(running.printed)
        PLACE.pack_into(self._blame, PLACES_AT + PLACE.size * running.place, 0)
        self._places.append(running.place)
        del self._calls[running.call.request]
        self._worker.report(running.call, running.began, seconds, outcome)
        if not self._flushing:
            # together with what else ends in this round of the loop
            self._flushing = True
            self.loop.call_soon(self._flush)
        self._changed.set()

    def _flush(self) -> None:
        self._flushing = False
        self._worker.flush()

    # -- turns -------------------------------------------------------------------
    def _made(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **how: Any) -> asyncio.Task[Any]:
        """The loop's task for a coroutine: of the call that starts it."""
        running = _here.get()
        if running is None:
            return asyncio.Task(coroutine, loop=loop, **how)
        task = asyncio.Task(_Turns(coroutine, running, self), loop=loop, **how)
        running.tasks.add(task)
        task.add_done_callback(running.tasks.discard)
        return task

    def begin_turn(self, running: Running) -> Running | None:
        """A call has its turn; whose it was before."""
        before, self._turn = self._turn, running
        BLAME.pack_into(self._blame, 0, running.call.request, running.call.attempt, running.clock)
        return before

    def end_turn(self, before: Running | None) -> None:
        """It is over."""
        if self._turn is not None:
            self._output.catch()
        self._turn = before
        BLAME.pack_into(self._blame, 0, before.call.request if before is not None else 0, 0, 0.0)

    # -- what calls say --------------------------------------------------------------
    def _current(self) -> Call | None:
        running = _here.get()
        return None if running is None else running.call

    def _progress(self, done: float, total: float | None, text: str) -> None:
        running = _here.get()
        if running is not None:
            header = {"k": "progress", "n": running.call.request, "d": done, "t": total, "x": printable(text)}
            self._worker.send(header)

    def _emit(self, request: int, index: int, value: Value) -> None:
        data: list[Buffer] = [] if value.data is None else [value.data]
        self._worker.send({"k": "yielded", "n": request, "f": index, "v": [value.head()]}, data)

    def _whose(self) -> Printed:
        running = _here.get()
        return self._nobody if running is None else running.printed

    def _beyond(self) -> Printed:
        """Whose text comes by the descriptors: who has the turn, or in nobody's who started a program, or is first."""
        if self._turn is not None:
            return self._turn.printed
        running = list(self._calls.values())
        if self._launched in running:
            running.insert(0, self._launched)
        return running[0].printed if running else self._nobody

    def program(self) -> int:
        """A call starts another program: its request."""
        self._launched = _here.get()
        return 0 if self._launched is None else self._launched.call.request

    # -- called by other threads, or at any time ---------------------------------------
    def receive(self) -> None:
        """The connection has something."""
        self._worker.receive()
        self._changed.set()

    def wake(self) -> None:
        """Calls have come."""
        self.loop.call_soon_threadsafe(self._changed.set)

    def stop(self, requests: set[int], kind: str | None, message: str) -> set[int]:
        """Cancel those that run, if a kind is given; which run."""
        mine = requests & self._calls.keys()
        for running in [self._calls[request] for request in mine] if kind is not None else ():
            running.stopped = running.stopped or (str(kind), message)
            self.loop.call_soon_threadsafe(self._cancel, running)
            if self._turn is running:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return mine

    def _cancel(self, running: Running) -> None:
        if running.task is not None and running.inside and not running.interrupted:
            running.task.cancel()

    def interrupt(self) -> None:
        """The signal that stops calls has come: end the turn of a call that is to stop."""
        running = self._turn
        if running is not None and running.stopped is not None and running.inside and not running.interrupted:
            running.interrupted = asyncio.current_task(self.loop) is running.task
            raise asyncio.CancelledError
