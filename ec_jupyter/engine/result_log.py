"""The result log: what calls that came alone have led to, from the moment it is told until the database has it.

A file of the flow's folder that is mapped: a result is copied behind the last one, then a word says how far the log is
written. Whoever dies, both are in the file, and the next engine writes the rows.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from ec_jupyter.engine.folder import place_of
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.lot_bodies import End
from ec_jupyter.engine.rows import SQL, Rows
from ec_jupyter.errors import FrameError
from ec_jupyter.wire import Block, Header

log = logging.getLogger(__name__)

NAME = "engine.results"
LOG_BYTES = 1 << 20

_WORD = struct.Struct("<Q")  # bytes of records behind it
_HEAD = struct.Struct("<II")  # bytes of a record, and their checksum
_FACTS = struct.Struct("<qqqqddddI")  # `Facts`, and how many parts follow


@lru_cache(maxsize=64)
def _front(parts: int) -> struct.Struct:
    """What packs `Facts`, how many parts follow, and their lengths."""
    return struct.Struct(f"{_FACTS.format}{parts}I")


class Facts(NamedTuple):
    """What a submit of one call has led to, but for its bytes."""

    # n, request: the submit, and the request that it became
    n: int
    request: int
    # slot, pid: which slot and process ran it
    slot: int
    pid: int
    # created, ended: wall clock at which it was taken in, and was done
    created: float
    ended: float
    # started, seconds: when it began to run, and for how long it did
    started: float
    seconds: float


def head_of(client: str, socket: int, task: int, shape: Header) -> bytes:
    """What results of alike calls of one client share."""
    return json.dumps([client, socket, task, shape["revision"], shape["names"], shape["types"]]).encode()


def record_of(facts: Sequence[float], head: bytes, kind: str, values: Sequence[bytes], result: bytes) -> bytes:
    """A result as bytes: of a call of such arguments, what it returned and the name of its type."""
    parts = (head, kind.encode(), *values, result)
    return b"".join((_front(len(parts)).pack(*facts, len(parts), *map(len, parts)), *parts))


def _read(record: bytes) -> tuple[str, Facts, JobLot, Block]:
    """Whose submit it was, and its request and result. Raises FrameError: it is none."""
    try:
        *found, n = _FACTS.unpack_from(record)
        facts, at = Facts(*found), _FACTS.size + 4 * n
        ends = list(accumulate(struct.unpack_from(f"<{n}I", record, _FACTS.size), initial=at))
        head, kind, *values, result = [record[start:end] for start, end in pairwise(ends)]
        client, socket, task, revision, names, types = json.loads(head)
    except (ValueError, TypeError, struct.error) as error:
        raise FrameError(f"{type(error).__name__}: {error}") from error
    one = range(facts.request, facts.request + 1)
    columns = [[value] for value in values]
    lot = JobLot(socket, one, one, one, tuple(names), types, columns, facts.created, task=task, revision=revision)
    part = Block(one, (1,), [result], [kind.decode()], [facts.started], [facts.seconds], facts.slot, facts.pid)
    return client, facts, lot, part


class ResultLog:
    """The result log of an engine. `size`: bytes of records in it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.open()

    def open(self) -> None:
        """Begin with an empty file."""
        self.size = 0
        self._map: mmap.mmap | None = None
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        state = os.fstat(fd)
        self._file = (state.st_dev, state.st_ino)
        # where the disk has no room for it, or cannot keep one, calls that come alone are booked before they are told
        with suppress(OSError):
            # in a hole of a full disk, a write to memory would end the process
            os.posix_fallocate(fd, 0, LOG_BYTES)
            self._map = mmap.mmap(fd, LOG_BYTES)
            self.clear()
        os.close(fd)

    @property
    def lost(self) -> bool:
        """Whether somebody has removed or replaced the file."""
        return place_of(self._path, follow=False) != self._file

    def append(self, record: bytes) -> bool:
        """Keep a record, whole or not at all; False where there is no room."""
        start = _WORD.size + self.size
        end = start + _HEAD.size + len(record)
        if self._map is None or end > LOG_BYTES:
            return False
        self._map[start:end] = _HEAD.pack(len(record), zlib.crc32(record)) + record
        self.size = end - _WORD.size
        self._map[: _WORD.size] = _WORD.pack(self.size)  # at one go: `pack_into` clears it first
        return True

    def clear(self) -> None:
        """The database has all that was in it."""
        self.size = 0
        if self._map is not None:
            _WORD.pack_into(self._map, 0, 0)


def read_back(store: Rows) -> None:
    """Write the rows of results that an engine told before it ended.

    What the database has already is passed over. Where it has not what came before, the machine has stopped and lost
    that: then these calls are run anew with those, from the logs of their clients.
    """
    found = list(_records(store.folder / NAME))
    if not found:
        return
    top = max(store.one("top_ids")[0] or 0, int(dict(store.rows("all_meta")).get("request", 0)))
    with store.transaction() as db:
        for record in found:
            try:
                client, facts, lot, part = _read(record)
            except FrameError as error:
                log.error("a result cannot be read: %s", error)
                return
            if facts.request <= top:
                continue
            if facts.request != top + 1:
                log.error("the result of request %s is left out: the database ends with %s", facts.request, top)
                return
            top = facts.request
            end = End(lot, slice(0, 1), part, lot.task, lot.revision, facts.ended)
            db.executemany(SQL["add_ended"], end.rows())
            answer = {facts.n: {"row": [facts.n, 1, 1, facts.request]}}
            db.execute(SQL["add_accepted"], (client, facts.n, json.dumps(answer)))


def _records(path: Path) -> Iterator[bytes]:
    """What is in a log; what is damaged ends it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    if len(data) < _WORD.size:
        return
    at, end = _WORD.size, min(_WORD.size + _WORD.unpack_from(data)[0], len(data))
    while end - at >= _HEAD.size:
        size, check = _HEAD.unpack_from(data, at)
        record = data[at + _HEAD.size : at + _HEAD.size + size]
        at += _HEAD.size + size
        if at > end or zlib.crc32(record) != check:
            log.error("%s is damaged", path)
            return
        yield record
