"""Reading a connection in the event loop in which its answers are awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ec_jupyter.client.transport import Transport

LINGER_SECONDS = 0.05
"""How long a loop goes on to read after nothing waits in it any more: it will most likely wait again in a moment."""


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
