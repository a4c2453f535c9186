"""The connection itself: a socket that frames come out of, and the questions on it."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

from ec_jupyter.errors import EcError
from ec_jupyter.wire import FrameReader, Header, encode


class Question:
    """A frame that waits for its answer."""

    __slots__ = ("answer", "buffers", "frame", "header", "lock")

    def __init__(self, header: Header, buffers: Sequence[bytes]) -> None:
        self.header, self.buffers = header, buffers
        self.frame = encode(header, buffers)
        self.answer: tuple[Header, list[bytes]] | EcError | None = None
        self.lock = threading.Lock()
        self.lock.acquire()

    def tell(self, answer: tuple[Header, list[bytes]] | EcError) -> None:
        """Answer it; whoever waits goes on."""
        self.answer = answer
        self.lock.release()


class Line:
    """A connected socket, and the frames that come out of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = FrameReader()
        self.frames: list[tuple[Header, list[bytes]]] = []

    def poll(self) -> select.poll:
        """Waits for something to read; each thread needs its own."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return poll

    def read(self) -> bool:
        """Take in what has come; False at the end of the line."""
        try:
            data = self.sock.recv(1 << 18)
        except OSError:
            data = b""
        self.frames += self.reader.feed(data)
        return bool(data)

    def hang_up(self) -> None:
        """End the line; whoever polls it wakes."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
