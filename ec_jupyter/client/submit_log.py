"""The submit log of a client: a submit is accepted once it is in it.

The log is mapped: a submit is copied behind the last one, then the word that says how far the log is written is
moved on; no system call, and whoever dies, both are in the file. Pages are allocated first: in a hole of a full disk
a write to memory would end the process. Where a disk cannot do that, or is behind a network, the log is written with
`write`.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import time
from contextlib import suppress
from pathlib import Path

from ec_jupyter.engine.folder import place_of, refusal
from ec_jupyter.engine.store import networked
from ec_jupyter.engine.submit_records import ASLEEP, BASE, DONE, MAGIC, PAGE, WORD, WRITTEN, Words, Writer
from ec_jupyter.errors import StoreLostError

ROOM_BYTES = 1 << 20
"""What a log has room for; it gets more where that is not enough, and gives it back."""

MOST_BYTES = 1 << 20
"""So much may be written and not answered before a submit waits: the engine writes the same again."""

_UNFIT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV)  # said by disks that cannot allocate or map
_SURE_SECONDS = 0.005  # a log that was where it belongs is believed to be there for so long


class SubmitLog:
    """A log of this process's, locked as long as it lives; `ec_jupyter.engine.submit_records` says what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = Writer()  # makes the records
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        state = os.fstat(self._fd)
        self._file = (state.st_dev, state.st_ino)
        self._seen = 0.0
        self._room = self._before = 0
        self.full = False  # it holds so much that the next submit waits until it is answered
        self._map: mmap.mmap | None = None
        self._words = Words(bytearray(MAGIC.ljust(PAGE, b"\0")))
        os.pwrite(self._fd, self._words.page, 0)
        self.mapped = not networked(path.parent)  # whether the engine sees what is written without being told
        self._grow(PAGE)

    # -- words -------------------------------------------------------------------
    @property
    def end(self) -> int:
        """Position behind the last record."""
        return self._words.get(WRITTEN)

    @property
    def appended(self) -> bool:
        """Whether the record that was appended last is in it, however `append` has ended."""
        return self.end != self._before

    @property
    def held(self) -> int:
        """Bytes in it."""
        written, base, _ = self._words.all()
        return written - base

    @property
    def unheard(self) -> bool:
        """Whether the engine has to be rung; asked by who rings it then."""
        if self._map is None:
            return True
        if not self._map[ASLEEP]:
            return False
        self._map[ASLEEP] = 0
        return True

    def _put(self, place: int, value: int) -> None:
        if self._map is None:
            # first in the file: an interrupt in between repeats what was written
            os.pwrite(self._fd, WORD.pack(value), place)
        self._words.put(place, value)

    def answered(self, n: int) -> None:
        """Say that all is answered that is in it, the submits before number `n`; it begins anew, if it has grown."""
        self._put(DONE, n)
        if self.held >= ROOM_BYTES // 4:
            self._cut()

    # -- records -----------------------------------------------------------------
    def append(self, record: bytes) -> None:
        """Append a record, whole or not at all.

        Raises StoreFullError, StoreReadOnlyError: it could not be written; the log is as it was; StoreLostError: the
        flow's folder was removed, moved or replaced: the engine would not find what is written.
        """
        now = time.monotonic()
        if now - self._seen > _SURE_SECONDS:
            self._look()
            self._seen = now
        words = self._words
        written, base, _ = words.all()
        self._before, start = written, PAGE + written - base
        try:
            if self._map is None:
                self._write(record, start)
            else:
                if start + len(record) > self._room:
                    self._grow(start + len(record))
                self._map[start : start + len(record)] = record
        except OSError as error:
            error.filename = self.path
            raise refusal(self.path.parent.parent, error, "nothing was submitted") from error
        self._put(WRITTEN, written + len(record))
        self.full = start > MOST_BYTES

    def _write(self, record: bytes, start: int) -> None:
        done = 0
        while done < len(record):
            done += os.pwrite(self._fd, record[done:], start + done)

    def _grow(self, end: int) -> None:
        """Have room up to `end`, on the disk and in memory."""
        if not self.mapped:
            return
        room = -(-end // ROOM_BYTES) * ROOM_BYTES
        try:
            os.posix_fallocate(self._fd, 0, room)
            self._remap(room)
        except OSError as error:
            if error.errno not in _UNFIT or self._map is not None:
                raise
            self.mapped = False

    def _remap(self, room: int) -> None:
        old, self._map = self._map, mmap.mmap(self._fd, room)
        self._words, self._room = Words(self._map), room
        if old is not None:
            old.close()

    def _look(self) -> None:
        """Refuse where the file is not where the engine looks for it."""
        if place_of(self.path, follow=True) != self._file:
            raise StoreLostError(
                f"the flow's folder {self.path.parent.parent} is not there any more; nothing was submitted"
            )

    def _cut(self) -> None:
        self.writer.forget()
        self.full = False
        # the engine looks at this word only once there is more behind what it has read
        self._put(BASE, self.end)
        if self._room > ROOM_BYTES:
            self._remap(ROOM_BYTES)
        if self._map is None or os.fstat(self._fd).st_size > ROOM_BYTES:
            os.ftruncate(self._fd, ROOM_BYTES if self._map is not None else PAGE)

    def close(self, *, remove: bool) -> None:
        """Close the log; the engine takes what is left in it unless it is removed."""
        if remove:
            with suppress(FileNotFoundError):
                self.path.unlink()
        self.leave()

    def leave(self) -> None:
        """Close this process's copy of the log, which may be its parent's."""
        if self._map is not None:
            self._map.close()
        os.close(self._fd)
