"""Frames in both directions over two descriptors: urgent ones go first, large ones go in parts.

The engine and the agent server have one each. Files and large frames are cut into parts, which are sent
only while nothing urgent waits, and only as fast as the other side confirms them. So a large value on a
slow line delays neither a cancel nor the heartbeats.
"""

from __future__ import annotations

import asyncio
import io
import os
import select
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.values import private_file
from ec_jupyter.wire import MAX_FRAME_BYTES, Buffer, FrameReader, Header, encode

PART_BYTES = 256 * 1024
WINDOW_BYTES = 4 << 20
"""Bytes of parts that may be on their way: at 10 Mbit/s some seconds, less than the silence that counts."""

FRAME_BYTES = 4 * PART_BYTES  # what the other side may send as one frame; more is cut into parts
SILENT = "silent"  # how the reason begins for which a link ends of which nothing was heard
SILENT_BEATS = 3  # after so many heartbeats without a byte the connection counts as cut
_READ_BYTES = 256 * 1024
_TURN_BYTES = 1 << 20
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def clock() -> float:
    """Seconds that go on while the machine sleeps, where the system counts those."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class Files(Protocol):
    """What is told of files."""

    def coming(self, transport: Transport, header: Header, size: int) -> Path:
        """A file begins to come: where it is to be written."""

    def arrived(self, transport: Transport, header: Header, size: int) -> None:
        """A file is here whole."""

    def drained(self, transport: Transport) -> None:
        """There is room for more to send."""


class End(Files, Protocol):
    """The owner of a transport."""

    def frame(self, transport: Transport, header: Header, buffers: list[bytes]) -> None:
        """A frame has come; a `FrameError` ends the connection."""

    def ended(self, transport: Transport, reason: str) -> None:
        """The connection has ended."""


class _Outgoing:
    """Something to send in turn: a file, a large frame, or a small frame that must not overtake one of those."""

    def __init__(self, source: BinaryIO, size: int, header: Header | None) -> None:
        self.source = source
        self.left = self.size = size
        self.header = header
        self.begun = False


class Transport:
    """One connection to the other side, and the owner of its descriptors; `rest`: what was read before."""

    def __init__(
        self, end: End, read: int, write: int, heartbeat: float, rest: bytes = b"", quiet: bool = False
    ) -> None:
        self.round_trip: float | None = None  # seconds to the other side and back, the best of late
        self.ahead = 0.0  # how many seconds the other side's wall clock is ahead of ours
        self.assured = 0.0  # when we sent the last sign of life that the other side is known to have seen, on `clock`
        # pinged: when we last saw one of the other side's
        self.pinged = self._heard = clock()
        self.closed = False
        self.quiet = quiet  # send no signs of life yet: nobody is there to read them
        self.heartbeat = heartbeat  # seconds between signs of life
        self._end = end  # told what comes
        self._read, self._write = read, write
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(FRAME_BYTES)
        self._urgent: list[bytes] = []
        self._urgent_bytes = 0
        self._bulk: deque[_Outgoing] = deque()
        self._leaving = memoryview(b"")
        self._flushing = False
        self._unseen = 0
        self._taken = 0
        self._arriving: tuple[Header | None, BinaryIO, Path | None, int] | None = None
        self._left = 0
        self._beats = 0
        self._beaten: dict[int, tuple[float, float]] = {}
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        self._loop.add_reader(read, self._readable)
        self._beat_timer: asyncio.Handle = self._loop.call_soon(self._beat)
        if rest:
            self._loop.call_soon(self._take, rest)

    # what leaves

    @property
    def backlog(self) -> int:
        """Bytes that wait to leave, without those of files."""
        return self._urgent_bytes + len(self._leaving)

    @property
    def bulky(self) -> bool:
        """Whether anything large is still to leave."""
        return bool(self._bulk)

    def send(self, header: Header, buffers: Sequence[Buffer] = (), *, behind: bool = False) -> None:
        """Send a frame; `behind`: after files that leave already. Raises FrameError: too large; nothing was sent."""
        self.put(encode(header, buffers), behind=behind)

    def put(self, data: bytes, *, behind: bool = False) -> None:
        """Send what `encode` has made of a frame."""
        if behind or len(data) > PART_BYTES:
            self._bulk.append(_Outgoing(io.BytesIO(data), len(data), None))
        else:
            self._urgent.append(data)
            self._urgent_bytes += len(data)
        self._hurry()

    def send_file(self, path: Path, header: Header) -> int:
        """Send a file, whose `header` goes before it; its size. Raises OSError: it cannot be read; nothing was sent."""
        file = path.open("rb")
        size = os.fstat(file.fileno()).st_size
        self._bulk.append(_Outgoing(file, size, header))
        self._hurry()
        return size

    def send_bytes(self, data: bytes, header: Header) -> None:
        """Send bytes as if they were a file."""
        self._bulk.append(_Outgoing(io.BytesIO(data), len(data), header))
        self._hurry()

    async def flushed(self, seconds: float) -> None:
        """Wait until all has left, or the time is over."""
        end = clock() + seconds
        while not self.closed and (self.backlog or self._bulk) and clock() < end:
            await asyncio.sleep(0.005)

    def _hurry(self) -> None:
        # once a turn of the loop, so that frames sent together leave together
        if not self._flushing and not self.closed:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.closed:
            return
        budget = _TURN_BYTES
        try:
            while budget > 0 and (self._leaving or self._gather()):
                count = os.write(self._write, self._leaving)
                self._leaving = self._leaving[count:]
                budget -= count
        except BlockingIOError:
            budget = 0
        except OSError as error:
            return self.close(f"the connection has ended ({error.strerror})")
        if budget <= 0:
            self._loop.add_writer(self._write, self._flush)
            return None
        self._loop.remove_writer(self._write)
        return self._end.drained(self)

    def _gather(self) -> bool:
        if self._urgent:
            self._leaving = memoryview(b"".join(self._urgent))
            self._urgent.clear()
            self._urgent_bytes = 0
        else:
            self._leaving = memoryview(self._next_part())
        return bool(self._leaving)

    def _next_part(self) -> bytes:
        while self._bulk:
            item = self._bulk[0]
            if not item.begun and item.header is None and item.size <= PART_BYTES:
                return self._bulk.popleft().source.read()
            if not item.begun:
                item.begun = True
                return encode({"k": "open", "z": item.size, "f": item.header})
            if item.left <= 0:
                self._bulk.popleft().source.close()
                continue
            if self._unseen >= WINDOW_BYTES:
                break
            data = item.source.read(min(PART_BYTES, item.left))
            if not data:  # somebody has cut the file off
                self._bulk.popleft().source.close()
                return encode({"k": "torn"})
            item.left -= len(data)
            self._unseen += len(data)
            return encode({"k": "part"}, [data])
        return b""

    # what comes

    def _readable(self) -> None:
        try:
            data = os.read(self._read, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            return self.close(f"the connection has ended ({error.strerror})")
        if not data:
            return self.close("the connection has ended")
        return self._take(data)

    def _take(self, data: bytes) -> None:
        self._heard = clock()
        try:
            for header, buffers in self._reader.feed(data):
                if self.closed:
                    return
                own = self._own.get(header["k"])
                if own is None:
                    self._end.frame(self, header, buffers)
                else:
                    own(self, header, buffers)
        except (FrameError, RecursionError) as error:
            self.close(f"it sent what is no frame of ours: {error}")
        except OSError as error:
            self.close(f"what it sent cannot be written: {error}")

    def _open(self, header: Header, _: list[bytes]) -> None:
        size: Any = header.get("z")
        about: Any = header.get("f")
        if self._arriving is not None or not _whole(size) or not isinstance(about, dict | None):
            raise FrameError("a file begins in the middle of another")
        if about is None and size > MAX_FRAME_BYTES:
            raise FrameError(f"a frame claims {size} bytes (limit {MAX_FRAME_BYTES})")
        path = None if about is None else self._end.coming(self, about, size)
        sink: BinaryIO = io.BytesIO() if path is None else private_file(path)
        self._arriving = (about, sink, path, size)
        self._left = size
        if not size:
            self._complete()

    def _part(self, _: Header, buffers: list[bytes]) -> None:
        if self._arriving is None or len(buffers) != 1 or len(buffers[0]) > self._left:
            raise FrameError("a part belongs to no file")
        data = buffers[0]
        self._arriving[1].write(data)
        self._left -= len(data)
        self._taken += len(data)
        if self._taken >= WINDOW_BYTES // 8 or not self._left:
            self.send({"k": "got", "n": self._taken})
            self._taken = 0
        if not self._left:
            self._complete()

    def _complete(self) -> None:
        assert self._arriving is not None
        (about, sink, _, size), self._arriving = self._arriving, None
        if about is not None:
            sink.close()
            return self._end.arrived(self, about, size)
        assert isinstance(sink, io.BytesIO)
        frames = FrameReader().feed(sink.getvalue())
        if len(frames) != 1:
            raise FrameError("a large frame does not end where it says")
        return self._end.frame(self, *frames[0])

    def _abandon(self, *_frame: object) -> None:
        """Forget what is half here."""
        if self._arriving is not None:
            (_, sink, path, _), self._arriving = self._arriving, None
            sink.close()
            if path is not None:
                path.unlink(missing_ok=True)

    def _got(self, header: Header, _: list[bytes]) -> None:
        if not _whole(header.get("n")):
            raise FrameError("a count is no number")
        self._unseen = max(0, self._unseen - header["n"])
        self._hurry()

    # signs of life

    def _beat(self) -> None:
        if self.closed:
            return
        silent = clock() - self._heard
        if silent > SILENT_BEATS * self.heartbeat and not _waits(self._read):
            return self.close(f"{SILENT} for {silent:.1f} s (limit {SILENT_BEATS * self.heartbeat:g} s)")
        if not self.quiet:
            self._beats += 1
            self._beaten[self._beats] = (clock(), time.time())
            self.send({"k": "ping", "n": self._beats})
        self._beat_timer = self._loop.call_later(self.heartbeat, self._beat)
        return None

    def live(self, heartbeat: float) -> None:
        """Somebody is there: signs of life from now on, as often as this."""
        self.quiet = False
        self.heartbeat = heartbeat
        self._beat_timer.cancel()
        self._beat()

    def _ping(self, header: Header, _: list[bytes]) -> None:
        self.pinged = clock()
        self.send({"k": "pong", "n": header.get("n"), "w": time.time()})

    def _pong(self, header: Header, _: list[bytes]) -> None:
        count, wall = header.get("n"), header.get("w")
        if not _whole(count) or not isinstance(wall, int | float) or count not in self._beaten:
            raise FrameError("an answer to no question")
        sent, sent_wall = self._beaten[count]
        for old in [one for one in self._beaten if one <= count]:
            del self._beaten[old]
        self.assured = sent
        took = clock() - sent
        # the best of late: what waits behind a large value says nothing of the line
        self.round_trip = took if self.round_trip is None else min(took, self.round_trip * 1.25)
        self.ahead = wall - (sent_wall + took / 2)

    _own: dict[str, Any] = {  # noqa: RUF012 - never changed
        "open": _open,
        "part": _part,
        "torn": _abandon,
        "got": _got,
        "ping": _ping,
        "pong": _pong,
    }

    def close(self, reason: str) -> None:
        """Let go of the connection; what has not left is dropped."""
        if self.closed:
            return
        self.closed = True
        self._beat_timer.cancel()
        self._loop.remove_reader(self._read)
        self._loop.remove_writer(self._write)
        for fd in {self._read, self._write}:
            os.close(fd)
        for item in self._bulk:
            item.source.close()
        self._bulk.clear()
        self._urgent.clear()
        self._abandon()
        self._end.ended(self, reason)


def _whole(number: object) -> bool:
    return type(number) is int and number >= 0


def _waits(fd: int) -> bool:
    """Whether there is something to read: then it was this process that was slow."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
