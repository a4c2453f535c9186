"""Waiting for the engine, in cells and in event loops, without blocking what else runs."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from ec_jupyter.flow.options import time_limit
from ec_jupyter.wire import Header

_T = TypeVar("_T")

BEAT_SECONDS = 0.2  # how long an interrupt of a cell that awaits may go unnoticed


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
