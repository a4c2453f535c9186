"""A connection whose bytes are read into the same memory each time."""

from __future__ import annotations

import asyncio

# what is read is taken out at once: one does for all connections of a loop, and of no second loop in another thread
_memory = memoryview(bytearray(256 * 1024))


class Incoming(asyncio.BufferedProtocol):
    """Takes bytes as they come; to get as much memory anew for what may come costs more than to read it."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where what comes is put."""
        return _memory

    def buffer_updated(self, nbytes: int) -> None:
        """Take it out."""
        self.came(bytes(_memory[:nbytes]))

    def came(self, data: bytes) -> None:
        """Take what has come."""
        raise NotImplementedError
