"""Waiting for the engine, in cells and in event loops, without blocking what else runs."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from ec_jupyter.client.transport import Transport
from ec_jupyter.flow.options import time_limit
from ec_jupyter.wire import Header

_T = TypeVar("_T")

BEAT_SECONDS = 0.2  # how long an interrupt of a cell that awaits may go unnoticed
# how long a loop goes on to read after nothing waits in it any more: it will most likely wait again in a moment
LINGER_SECONDS = 0.05


def background(call: Callable[[], _T], name: str) -> Future[_T]:
    """Result of `call`, made on a thread of its own, which no interpreter waits for at its end."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def awaited(future: Future[_T], reading: AbstractContextManager[None]) -> Generator[Any, None, _T]:
    """What ``await`` takes for `future`; whoever gives up waiting leaves the future alone.

    While `reading` is entered the loop itself reads what ends the future.
    """
    if future.done():
        return future.result()
    loop, here = asyncio.get_running_loop(), threading.get_ident()
    woken: asyncio.Future[None] = loop.create_future()

    def told(_: object) -> None:
        if threading.get_ident() == here:
            _set(woken)
        else:
            wake(loop, lambda: _set(woken))

    future.add_done_callback(told)
    if not woken.done():
        with beating(), reading:
            yield from woken.__await__()
    return future.result()


def wake(loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
    """Call something in a loop from another thread; nothing waits in a loop that is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(action)


@contextmanager
def beating() -> Iterator[None]:
    """Wake the running loop now and then, for as long as something waits in it.

    An interrupt is only noticed by a loop that is awake: ipykernel's handler schedules the cell's
    end, but a signal does not wake the selector.
    """
    loop = asyncio.get_running_loop()
    pulse = _pulses.setdefault(loop, _Pulse())
    pulse.waiting += 1
    if not pulse.beats:
        pulse.beat(loop)
    try:
        yield
    finally:
        pulse.waiting -= 1


@dataclass
class _Pulse:
    """How many wait in a loop, and whether a timer is set already: one is enough for all of them."""

    waiting: int = 0
    beats: bool = False

    def beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self.beats = self.waiting > 0
        if self.beats:
            loop.call_later(BEAT_SECONDS, self.beat, loop)


_pulses: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pulse] = WeakKeyDictionary()


class Deadline:
    """How much of a time limit is left. Raises ArgumentsError: it is no number of seconds."""

    def __init__(self, seconds: float | None) -> None:
        seconds = None if seconds is None else time_limit(seconds)
        self.seconds = math.inf if seconds is None else seconds  # the limit; None is none, and so is infinity
        self.end = None if seconds is None else time.monotonic() + seconds  # when it is over, on the monotonic clock

    @property
    def left(self) -> float | None:
        """Seconds, at least 0; None where there is no limit."""
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.left == 0.0


class Listenable(Protocol):
    """What tells of changes in a flow."""

    def listen(self, kind: str, callback: Callable[[Header, list[bytes]], None]) -> Callable[[], None]:
        """Call `callback` at each push of a kind; returns its undo."""


def until(client: Listenable, kind: str, check: Callable[[], _T | None], deadline: Deadline) -> _T | None:
    """First result of `check` that is not None, asked again at each push of a kind.

    None once the deadline is over.
    """
    news = threading.Event()
    undo = client.listen(kind, lambda header, buffers: news.set())
    try:
        while True:
            news.clear()
            try:
                found = check()
            except TimeoutError:
                # the engine has not answered in the time that was left
                found = None
            if found is not None or deadline.over:
                return found
            news.wait(deadline.left)
    finally:
        undo()


def _set(woken: asyncio.Future[None]) -> None:
    # whoever waited may have been cancelled meanwhile
    if not woken.done():
        woken.set_result(None)


# -- a loop that reads for itself ----------------------------------------------
class LoopReader:
    """Lets the event loop that waits for something read for itself: a thread in between would cost two switches a call.

    One loop at a time; those who wait in another are told by the connection's thread. `lock`: held while a loop takes
    its turn. `read`: reads what has arrived on a transport, unless another thread does; False at the end of the stream.
    """

    def __init__(self, lock: AbstractContextManager[Any], read: Callable[[Transport], bool]) -> None:
        self._lock, self._read = lock, read
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: Transport | None = None
        self._fd = -1
        self._leaving: asyncio.TimerHandle | None = None
        self._waiting = 0

    def reads(self, transport: Transport) -> bool:
        """Whether a loop reads this transport, and something waits in it."""
        return self._waiting > 0 and self._transport is transport

    @contextmanager
    def reading(self, transport: Transport | None) -> Iterator[None]:
        """Have the running loop read a transport, for as long as something waits in it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            mine = self._begin(loop, transport)
        self._waiting += mine
        try:
            yield
        finally:
            self._waiting = max(0, self._waiting - mine)
            if mine and not self._waiting and self._leaving is None and not loop.is_closed():
                self._leaving = loop.call_later(LINGER_SECONDS, self._leave)

    def _begin(self, loop: asyncio.AbstractEventLoop, transport: Transport | None) -> bool:
        """Register the transport, if no other loop reads; whether this one does."""
        self.close()
        if transport is None or self._loop not in (None, loop):
            return False
        if self._transport is transport:
            return True
        self._end()
        try:
            # of its own: the connection's thread may close the other one at any time
            fd = os.dup(transport.sock.fileno())
        except OSError:
            return False
        try:
            loop.add_reader(fd, self._readable, transport)
        except NotImplementedError:
            os.close(fd)
            return False
        self._loop, self._transport, self._fd = loop, transport, fd
        return True

    def _readable(self, transport: Transport) -> None:
        if not self._read(transport):
            self._end()

    def _leave(self) -> None:
        self._leaving = None
        if not self._waiting:
            self._end()

    def _end(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
        self.forget()

    def close(self) -> None:
        """Let go of what a loop that is closed has left; one that runs sees the end of the stream."""
        if self._loop is not None and self._loop.is_closed():
            self.forget()

    def forget(self) -> None:
        """Let go of the file, in a loop that is closed or another process's."""
        if self._fd >= 0:
            os.close(self._fd)
        self._loop = self._transport = self._leaving = None
        self._fd, self._waiting = -1, 0
