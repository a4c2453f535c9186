"""Lots in the database: requests that are alike in columns, as they were queued, and as they ended. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, count, pairwise, repeat
from typing import Any

from ec_jupyter.engine.jobs import JobLot, Where, some
from ec_jupyter.engine.row_values import result_id
from ec_jupyter.errors import FrameError
from ec_jupyter.wire import Block

_HEAD = struct.Struct("<II")  # bytes of the JSON, and requests
_END = struct.Struct("<IIIq")  # bytes of the lot, of the JSON and of what follows, and the socket

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

Row = Sequence[Any]


@lru_cache(maxsize=512)
def _column(code: str, n: int) -> struct.Struct:
    return struct.Struct(f"<{n}{code}")


@dataclass(slots=True)
class End:
    """Requests of a lot that have ended well, in their first attempt and by one worker."""

    lot: JobLot  # in which they were
    where: Where  # their places there
    block: Block  # their results
    # task, revision: what they ran, and the wiring when they ended
    task: int
    revision: int
    finished: float  # wall clock
    # plugs by which each result made a call by itself: which, to what argument, and the first of those requests and of
    # the arrivals by which the results came; the others follow it
    passed: list[tuple[int, str, int, int]] = field(default_factory=list)

    @property
    def times(self) -> list[Sequence[float]]:
        """When each was accepted, and when it ended; empty where that is the same of all."""
        return [some(column, self.where) for column in self.lot.times or ()]

    def rows(self) -> Iterable[Row]:
        """Their rows, for the statement ``add_ended``."""
        lot, block = self.lot, self.block
        ids = some(lot.ids, self.where)
        named, inside = lot.arguments(self.where)
        created, finished = self.times or (repeat(lot.created), repeat(self.finished))
        return zip(
            ids, repeat(lot.socket), some(lot.runs, self.where), repeat(lot.hops), repeat(block.slot),
            repeat(block.pid), repeat(self.task), repeat(self.revision), named, map(result_id, ids),
            created, block.started, finished, block.seconds, inside, block.values,
            block.types if len(block.types) == len(ids) else repeat(block.types[0]),
        )  # fmt: skip

    def passed_rows(self) -> Iterable[Row]:
        """Rows for the statement ``add_passed``."""
        ids = some(self.lot.ids, self.where)
        for plug, argument, request, arrival in self.passed:
            yield from zip(ids, repeat(plug), count(request), count(arrival), repeat(argument), strict=False)


# -- written ---------------------------------------------------------------------------
def pack(lot: JobLot) -> bytes:
    """A lot in columns; its parties are not in it."""
    n, came = len(lot.ids), lot.given is not None
    head = _dumps([lot.socket, lot.hops, lot.revision, lot.created, lot.names, lot.types, came]).encode()
    numbers: list[Sequence[int]] = [lot.ids, lot.runs, *(column for pair in lot.given or () for column in pair)]
    integers = _column("q", n).pack
    parts = [_HEAD.pack(len(head), n), head, *(integers(*column) for column in numbers)]
    for column in lot.columns if not came else ():
        parts += (_column("I", n).pack(*map(len, column)), *column)
    return b"".join(parts)


def pack_ends(ends: Iterable[End]) -> bytes:
    """What has ended together."""
    parts: list[bytes] = []
    for end in ends:
        block, n = end.block, len(end.block)
        lot = pack(end.lot.part(end.where))
        facts = [block.slot, block.pid, end.task, end.revision, end.finished, end.passed, end.times, block.types]
        head = _dumps(facts).encode()
        times = _column("d", 2 * n).pack(*block.started, *block.seconds)
        sizes = _column("I", n).pack(*map(len, block.values))
        values = b"".join(block.values)
        parts += (_END.pack(len(lot), len(head), 20 * n + len(values), end.lot.socket), lot, head, times, sizes, values)
    return b"".join(parts)


# -- read ------------------------------------------------------------------------------
def unpack(body: bytes) -> JobLot:
    """A lot of such a body; its parties are not in it. Raises FrameError: it is none."""
    try:
        size, n = _HEAD.unpack_from(body)
        start = _HEAD.size + size
        socket, hops, revision, created, names, types, came = json.loads(body[_HEAD.size : start])
        wide = 2 + 2 * len(names) * came
        numbers = list(_numbers(body, start, wide, n))
        ids, runs, *rest = numbers
        given = list(zip(rest[::2], rest[1::2], strict=True)) if came else None
        columns = [] if came else list(_values(body, start + 8 * n * wide, len(names), n))
    except (ValueError, TypeError, struct.error) as error:
        raise FrameError(f"{type(error).__name__}: {error}") from error
    return JobLot(socket, ids, runs, runs, tuple(names), types, columns, created, given, hops, revision=revision)


def unpack_ends(body: bytes) -> Iterator[End]:
    """What had ended together. Raises FrameError: it is no such body."""
    for _, start, head, after in _ends(body):
        lot = unpack(body[start:head])
        try:
            n = len(lot.ids)
            slot, pid, task, revision, finished, passed, own, types = json.loads(body[head:after])
            times = struct.unpack_from(f"<{2 * n}d", body, after)
            (values,) = _values(body, after + 16 * n, 1, n)
        except (ValueError, TypeError, struct.error) as error:
            raise FrameError(f"{type(error).__name__}: {error}") from error
        lot.times = (own[0], own[1]) if own else None
        block = Block(lot.ids, [1] * n, values, types, times[:n], times[n:], slot, pid)
        yield End(lot, slice(0, n), block, task, revision, finished, passed)


Results = tuple[Sequence[int], Sequence[bytes], Sequence[str]]  # requests, their results, and types of those


def unpack_results(body: bytes, socket: int | None) -> Iterator[Results]:
    """In columns, the results of what had ended together, of one socket or of all."""
    for whose, start, head, after in _ends(body):
        if socket in (None, whose):
            size, n = _HEAD.unpack_from(body, start)
            (ids,) = _numbers(body, start + _HEAD.size + size, 1, n)
            (values,) = _values(body, after + 16 * n, 1, n)
            types = json.loads(body[head:after])[-1]
            yield ids, values, types if len(types) == n else types * n


def _ends(body: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each part of such a body whose it is, and where its lot, its JSON and its columns begin."""
    at = 0
    try:
        while at < len(body):
            *sizes, socket = _END.unpack_from(body, at)
            start, head, after, at = accumulate(sizes, initial=at + _END.size)
            yield socket, start, head, after
    except struct.error as error:
        raise FrameError(f"{type(error).__name__}: {error}") from error


def _numbers(body: bytes, at: int, wide: int, n: int) -> Iterator[tuple[int, ...]]:
    for i in range(wide):
        yield struct.unpack_from(f"<{n}q", body, at + 8 * n * i)


def _values(body: bytes, at: int, wide: int, n: int) -> Iterator[list[bytes]]:
    for _ in range(wide):
        ends = list(accumulate(struct.unpack_from(f"<{n}I", body, at), initial=at + 4 * n))
        at = ends[-1]
        if at > len(body):
            raise ValueError("it is cut short")
        yield [body[i:j] for i, j in pairwise(ends)]
