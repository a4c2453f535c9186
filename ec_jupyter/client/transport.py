"""The socket of a connection, as a stream of frames, and a question that waits for its answer."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from ec_jupyter.errors import EcError
from ec_jupyter.wire import FrameReader, Header, encode

LONGEST = 100_000.0
"""Seconds of one poll: it counts milliseconds in 32 bits."""

READ_BYTES = 1 << 18

SPIN_SECONDS = 0.0002
"""So long a wait for one quick answer looks again and again: to be woken takes as long as the rest of a round trip."""

QUICK_SECONDS = 2 * SPIN_SECONDS
"""After an answer that took no longer the next one is expected to be quick."""

Answer = tuple[Header, list[bytes]] | EcError


class Question:
    """A frame that waits for its answer."""

    __slots__ = ("answer", "buffers", "frame", "header", "lock")

    def __init__(self, header: Header, buffers: Sequence[bytes]) -> None:
        self.header, self.buffers = header, buffers
        self.frame = encode(header, buffers)
        self.answer: Answer | None = None
        self.lock = threading.Lock()
        self.lock.acquire()

    @property
    def n(self) -> int:
        """Its number among the frames of its client."""
        return int(self.header["n"])

    def resolve(self, answer: Answer) -> None:
        """Set its answer and wake whoever waits."""
        self.answer = answer
        if not isinstance(answer, EcError):
            # it is not sent again: what was asked need not be kept as long as somebody holds the answer
            self.frame, self.buffers = b"", ()
        self.lock.release()

    def abandon(self, error: EcError) -> None:
        """Fail it in a forked process, where its lock may be held by a thread that does not exist."""
        self.answer = error
        self.lock = threading.Lock()


class Transport:
    """A connected, non-blocking socket that carries frames."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.frames: list[tuple[Header, list[bytes]]] = []  # received and not handled yet
        # unsent: bytes that wait to be sent
        # sent: frames that were sent, or wait to be, since the engine was told of the submit log
        self.unsent = self.sent = 0
        self.stopped = False  # the engine was asked to end
        self.since = time.monotonic()  # when it was made, on the monotonic clock
        self.wakeup, self._wakeup_sender = socket.socketpair()
        self.wakeup.setblocking(False)
        self._wakeup_sender.setblocking(False)
        self._reader = FrameReader()
        self._incoming = memoryview(bytearray(READ_BYTES))
        self._queue: deque[bytes | memoryview] = deque()
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._quick = False  # the answer that was waited for last came at once

    def wait(self, seconds: float | None, *, alone: bool = False) -> bool:
        """Wait until there is something to read; for the one thread that may read.

        `alone`: nothing but one answer is waited for.
        """
        began = time.monotonic()
        if alone and self._quick and (seconds is None or seconds > SPIN_SECONDS):
            while time.monotonic() - began < SPIN_SECONDS:
                if self._readable.poll(0):
                    return True
                # whoever has to do something for it goes first
                os.sched_yield()
        found = bool(self._readable.poll(None if seconds is None else min(seconds, LONGEST) * 1000))
        self._quick = alone and found and time.monotonic() - began < QUICK_SECONDS
        return found

    def read(self) -> bool:
        """Read what has arrived; False at the end of the stream."""
        try:
            # into the same bytes each time: to get as many for what may come costs more than to read it
            data = bytes(self._incoming[: self.sock.recv_into(self._incoming)])
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        self.frames += self._reader.feed(data)
        return bool(data)

    def send(self, frame: bytes) -> None:
        """Send a frame, or as much of it as goes at once: the rest leaves with `flush`. One thread at a time."""
        try:
            self.sent += 1
            self._queue.append(frame)
            self.unsent += len(frame)
            if len(self._queue) == 1:
                self.flush()
            if self.unsent:
                self.wake()
        except BaseException:
            # interrupted in the middle of a frame: what is not answered is asked again on the next transport
            self.shutdown()
            raise

    def flush(self) -> None:
        """Send unsent bytes, as far as they go at once; what is lost with the socket is asked again on the next."""
        while self._queue:
            part = self._queue[0]
            try:
                sent = self.sock.send(part)
            except BlockingIOError:
                return
            except OSError:
                # the reader sees the end of the stream
                self._queue.clear()
                self.unsent = 0
                return
            self.unsent -= sent
            if sent == len(part):
                self._queue.popleft()
            else:
                self._queue[0] = memoryview(part)[sent:]

    def wake(self) -> None:
        """Wake the thread that polls `wakeup`."""
        with suppress(OSError):
            self._wakeup_sender.send(b"x")

    def drain_wakeup(self) -> None:
        """Clear pending wakeups."""
        with suppress(OSError):
            self.wakeup.recv(4096)

    def shutdown(self) -> None:
        """Shut the socket down; whoever polls it wakes."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; another process's copy of it stays open."""
        for end in (self.sock, self.wakeup, self._wakeup_sender):
            end.close()
