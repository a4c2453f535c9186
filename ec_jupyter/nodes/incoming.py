"""A connection whose bytes are read into the same memory each time, and at once where nothing else has come."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import cast

log = logging.getLogger(__name__)

# what is read is taken out at once: one does for all connections of a loop, and of no second loop in another thread
_memory = memoryview(bytearray(256 * 1024))
_open: dict[int, Incoming] = {}


class Incoming(asyncio.BufferedProtocol):
    """Takes bytes as they come; to get as much memory anew for what may come costs more than to read it."""

    _fd = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.line = cast(asyncio.Transport, transport)
        self._fd = transport.get_extra_info("socket").fileno()
        _open[self._fd] = self

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed."""
        _open.pop(self._fd, None)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where what comes is put."""
        return _memory

    def buffer_updated(self, nbytes: int) -> None:
        """Take it out."""
        self.came(bytes(_memory[:nbytes]))

    def came(self, data: bytes) -> None:
        """Take what has come."""
        raise NotImplementedError


def read_now(fd: int) -> bool:
    """Read what has come on a connection; False if it is none of ours, or the loop is to see to it."""
    connection = _open.get(fd)
    try:
        count = os.readv(fd, [_memory]) if connection is not None else 0
    except OSError:
        return False
    if not count or connection is None:
        return False
    try:
        connection.buffer_updated(count)
    except OSError:
        # as the loop does: the other side begins anew
        log.exception("a connection is closed")
        connection.line.abort()
    except Exception as error:  # noqa: BLE001 - told as the loop tells of what it calls itself
        told = {"message": "what has come was not taken", "exception": error}
        asyncio.get_running_loop().call_exception_handler(told)
    return True
