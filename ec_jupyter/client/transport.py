"""The connection itself: a socket that frames come out of, and the questions on it."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress

from ec_jupyter.errors import EcError
from ec_jupyter.wire import FrameReader, Header, encode

Answer = tuple[Header, list[bytes]] | EcError


class Question:
    """A frame that waits for its answer."""

    __slots__ = ("_future", "answer", "buffers", "frame", "header", "lock")

    def __init__(self, header: Header, buffers: Sequence[bytes]) -> None:
        self.header, self.buffers = header, buffers
        self.frame = encode(header, buffers)
        self.answer: Answer | None = None
        self._future: Future[None] | None = None
        self.lock = threading.Lock()
        self.lock.acquire()

    @property
    def n(self) -> int:
        """Its number among the frames of its client."""
        return int(self.header["n"])

    def tell(self, answer: Answer) -> None:
        """Answer it; whoever waits goes on."""
        self.answer = answer
        if not isinstance(answer, EcError):
            # it is not sent again: what was asked need not be kept as long as somebody holds the answer
            self.frame, self.buffers = b"", ()
        future = self._future
        self.lock.release()
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(None)

    def again(self) -> None:
        """Wait for another answer than the one that came."""
        self.lock.acquire(blocking=False)
        self.answer = self._future = None

    def abandon(self, error: EcError) -> None:
        """Answer it in a process that did not ask it, whose locks may be held by threads that are not there."""
        self.answer, self._future = error, None
        self.lock = threading.Lock()

    def told(self) -> Future[None]:
        """Done once it is answered."""
        future: Future[None] = Future()
        self._future = future
        # the answer may have come just before: whoever takes the lock back knows
        if self.answer is not None:
            self._future = None
            with suppress(Exception):
                future.set_result(None)
        return future


class Transport:
    """A connected socket; nobody waits at it who does not want to.

    Attributes
    ----------
    frames : list
        What has come and was not taken yet.
    held : int
        Bytes that wait to be sent.
    stopped : bool
        The engine at its other end was asked to end.
    since : float
        When it was made, on the monotonic clock.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.frames: list[tuple[Header, list[bytes]]] = []
        self.held = 0
        self.stopped = False
        self.since = time.monotonic()
        self.bell, self._button = socket.socketpair()
        self.bell.setblocking(False)
        self._button.setblocking(False)
        self._reader = FrameReader()
        self._rest: deque[memoryview] = deque()

    def poll(self) -> select.poll:
        """Waits for something to read; each thread needs its own."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return poll

    def read(self) -> bool:
        """Take in what has come; False at the end of the line."""
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        self.frames += self._reader.feed(data)
        return bool(data)

    def put(self, frame: bytes) -> None:
        """Send a frame, or as much of it as goes at once: the rest leaves with `flush`. One thread at a time."""
        try:
            self._rest.append(memoryview(frame))
            self.held += len(frame)
            if len(self._rest) == 1:
                self.flush()
            if self.held:
                self.ring()
        except BaseException:
            # interrupted in the middle of a frame: what is not answered is asked again on the next line
            self.hang_up()
            raise

    def flush(self) -> None:
        """Send what was held, as far as it goes at once; what is lost with the line is asked again on the next."""
        while self._rest:
            part = self._rest[0]
            try:
                sent = self.sock.send(part)
            except BlockingIOError:
                return
            except OSError:
                # whoever reads sees the end of the line
                self._rest.clear()
                self.held = 0
                return
            self.held -= sent
            if sent == len(part):
                self._rest.popleft()
            else:
                self._rest[0] = part[sent:]

    def ring(self) -> None:
        """Wake whoever polls the bell."""
        with suppress(OSError):
            self._button.send(b"x")

    def heard(self) -> None:
        """Silence the bell."""
        with suppress(OSError):
            self.bell.recv(4096)

    def hang_up(self) -> None:
        """End the line; whoever polls it wakes."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket; what another process has of it stays as it is."""
        for end in (self.sock, self.bell, self._button):
            end.close()
