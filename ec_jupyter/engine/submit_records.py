"""The submit log as bytes: what a client writes down, and its engine reads while both have the file mapped.

A page of four words (see `Words`) stands before the records. A record is a `_HEAD`, then its body: a frame, the shape
of the calls that follow, or one or more calls of a shape in columns. Positions count all bytes that were ever written;
the byte at position ``base`` is the first one behind the page, so that a log whose submits were all answered begins
there again.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ec_jupyter.errors import FrameError
from ec_jupyter.wire import FrameReader, Header, Value, encode

PAGE = mmap.PAGESIZE
MAGIC = b"ECLOG1\0\0"

_HEAD = struct.Struct("<II16s")  # bytes of the body, a checksum of all the rest, and
_TAIL = struct.Struct("<QII")  # the submit's number, frames before it, what it is
_FRAME, _SHAPE = 0, 1  # what a record is, if it is no number of a shape
_FIRST = 2
_WATCHED = 1 << 31  # with the number of a shape: its client waits for the results
WORD = struct.Struct("<Q")
_word = WORD.unpack_from
_WORDS = struct.Struct("<QQQ")
# first submit, how many, calls of each, and the first request: what an ``accepted`` frame tells of requests
ROW = struct.Struct("<qqqq")
_TOLD = struct.Struct("<qqH")  # submit, request, and bytes of the type's name
_NUMBER = struct.Struct("<I")

LOT_CALLS = 2_000  # calls that are taken in at one go: everybody else waits meanwhile
LOT_BYTES = 1 << 20  # bytes of them
_ONE = struct.Struct("<II")
_RECORD = struct.Struct("<IIQII")  # a head and its tail at once
_LONE = struct.Struct("<IIQIII")  # the same, and how many calls the record has


class Shape(NamedTuple):
    """What calls share that are written in columns."""

    socket: str
    names: tuple[str, ...]  # names of the arguments that a submit brings
    types: tuple[str, ...]  # type of the value of each argument
    revision: int  # of the wiring by which the calls are complete
    partial: bool  # they lack arguments on purpose
    priority: int = 0  # of their runs

    def header(self) -> Header:
        """What the log gets."""
        head = {"socket": self.socket, "names": list(self.names), "types": list(self.types), "revision": self.revision}
        head |= {"priority": self.priority} if self.priority else {}
        return {**head, "partial": True} if self.partial else head


class Words:
    """The words before the records; each is written by one side, after what it speaks of."""

    def __init__(self, page: mmap.mmap | bytearray) -> None:
        self.page = page

    def get(self, place: int) -> int:
        """Read a word."""
        word: int = _word(self.page, place)[0]
        return word

    def all(self) -> tuple[int, int, int]:
        """What the client has written: how far, from where on, and to where it knows the answers."""
        return _WORDS.unpack_from(self.page, WRITTEN)

    def put(self, place: int, value: int) -> None:
        """Write a word."""
        # at one go: `pack_into` clears the bytes first, and the other side may look just then
        self.page[place : place + WORD.size] = WORD.pack(value)


WRITTEN = 8  # where the client writes the position behind the last whole record
BASE = 16  # where the client writes the position of the first byte behind the page
DONE = 24  # where the client writes a number: it knows the answers to all submits before that
ASLEEP = 32  # where the engine writes 1 to be rung at the next submit; who rings writes 0


@dataclass(slots=True)
class Lot:
    """Submits that follow each other, alike: calls of one socket with the same arguments, all of them small."""

    # first, frames: number of the first submit, and how many submits these are
    first: int
    shape: Header  # what they share: `socket`, `names`, `types`, `revision`, perhaps `partial` and `priority`
    each: int  # calls of one submit
    watched: bool  # their client waits for the results
    columns: list[list[bytes]]  # for each argument the pickled values, one a call
    frames: int = 1

    @property
    def calls(self) -> int:
        """Calls in all."""
        return self.each * self.frames

    def after(self, n: int) -> Lot:
        """Those of the submits that come after number `n`."""
        skip = min(max(0, n + 1 - self.first), self.frames)
        if not skip:
            return self
        columns = [column[skip * self.each :] for column in self.columns]
        return replace(self, first=self.first + skip, frames=self.frames - skip, columns=columns)


@dataclass(slots=True)
class Single:
    """A submit that is not of a lot: a frame."""

    first: int
    header: Header
    buffers: list[bytes]
    frames: int = 1

    @property
    def watched(self) -> bool:
        """Its client waits for the results."""
        return bool(self.header.get("watch"))

    def after(self, n: int) -> Single:
        """It, without frames if its number is not after `n`."""
        return self if self.first > n else replace(self, frames=0)


class Writer:
    """Makes records of submits."""

    def __init__(self) -> None:
        self._shapes: dict[Shape, int] = {}
        self._told: Shape | None = None

    def forget(self) -> None:
        """Begin anew: what was written is gone."""
        self._shapes.clear()

    def unmade(self) -> None:
        """The last record was not written after all."""
        if self._told is not None:
            self._shapes.pop(self._told, None)

    def frame(self, n: int, before: int, header: Header, buffers: Sequence[bytes]) -> bytes:
        """A submit as a frame."""
        self._told = None
        return _record(n, before, _FRAME, encode(header, buffers))

    def calls(
        self, numbers: Sequence[int], before: int, shape: Shape, calls: int, values: Sequence[bytes], *, watched: bool
    ) -> bytes:
        """Calls that are alike, their values one call after the other, as the submits of those `numbers`.

        The log gets the shape once. How many numbers it takes, `lots_of` says.
        """
        what, told = self._shapes.get(shape), b""
        self._told = None
        if what is None:
            self._told = shape
            what = self._shapes[shape] = len(self._shapes) + _FIRST
            told = _record(numbers[0], before, _SHAPE, json.dumps(shape.header()).encode())
        what = what | _WATCHED if watched else what
        if len(numbers) == 1:
            return told + _record(numbers[0], before, what, _body(calls, values))
        each, width, parts = -(-calls // len(numbers)), len(shape.names), [told]
        for at, n in enumerate(numbers):
            some = values[at * each * width : (at + 1) * each * width]
            parts.append(_record(n, before, what, _body(min(each, calls - at * each), some)))
        return b"".join(parts)


def lots_of(calls: int, values: Sequence[bytes]) -> int:
    """In how many submits, to which all of them belong, calls are written: each is taken in at one go."""
    if calls == 1:
        return 1
    lots = min(calls, max(-(-calls // LOT_CALLS), -(-sum(map(len, values)) // LOT_BYTES)))
    # as many as it takes with so many calls each: none is empty
    return -(-calls // -(-calls // lots))


def _body(calls: int, values: Sequence[bytes]) -> bytes:
    if len(values) == 1:
        return _ONE.pack(calls, len(values[0])) + values[0]
    return b"".join((struct.pack(f"<{len(values) + 1}I", calls, *map(len, values)), *values))


def _record(n: int, before: int, what: int, body: bytes) -> bytes:
    tail = _TAIL.pack(n, before, what)
    return _HEAD.pack(len(body), zlib.crc32(body, zlib.crc32(tail)), tail) + body


class Reader:
    """Reads records in order."""

    def __init__(self, *, checked: bool = False) -> None:
        self._checked = checked  # compare checksums: the log may have been left by a machine that stopped
        self._shapes: list[Header] = []
        self.fault: FrameError | None = None  # why nothing behind what was taken can be read

    def forget(self) -> None:
        """Begin anew, as the client has."""
        self._shapes.clear()

    def take(self, data: bytes, upto: float = math.inf, most: float = math.inf) -> tuple[list[Lot | Single], int]:
        """What whole records hold, and how many bytes they are.

        `data`: from where the last call ended. `upto`: how many frames of the client were handled: what it wrote down
        after more of them waits. `most`: how many calls, about.
        """
        found: list[Lot | Single] = []
        at, end, calls = 0, len(data), 0
        while end - at >= _HEAD.size and self.fault is None and calls < most:
            size, check, n, before, what = _RECORD.unpack_from(data, at)
            start = at + _HEAD.size
            if end - start < size or before > upto:
                break
            body = data[start : start + size]
            try:
                if self._checked and zlib.crc32(body, zlib.crc32(data[start - _TAIL.size : start])) != check:
                    raise FrameError(f"submit {n} is damaged")
                calls += self._add(found, n, what, body)
            except FrameError as error:
                self.fault = error
                break
            at = start + size
            if not self._checked and what & ~_WATCHED >= _FIRST:
                more, at = _follow(found[-1], what, data, at, upto, most - calls)
                calls += more
        return found, at

    def one(self, data: bytes, upto: float) -> Lot | None:
        """The call that is waited for and alone makes up a whole record; None: it is for `take`."""
        if len(data) < _LONE.size:
            return None
        size, _, n, before, what, each = _LONE.unpack_from(data)
        number = (what ^ _WATCHED) - _FIRST
        if _HEAD.size + size != len(data) or each != 1 or not 0 <= number < len(self._shapes) or before > upto:
            return None
        shape = self._shapes[number]
        return Lot(n, shape, 1, True, _columns(n, data[_HEAD.size :], len(shape["names"]))[1])

    def _add(self, found: list[Lot | Single], n: int, what: int, body: bytes) -> int:
        """Add what a record holds; how many calls."""
        number = what & ~_WATCHED
        if number >= _FIRST:
            if number - _FIRST >= len(self._shapes):
                raise FrameError(f"submit {n} has a shape that was not told")
            return _gather(found, n, self._shapes[number - _FIRST], body, watched=what != number)
        if number == _FRAME:
            found += [Single(n, header, buffers) for header, buffers in FrameReader().feed(body)]
            return 1
        self._shapes.append(_shape(body))
        return 0


def _gather(found: list[Lot | Single], n: int, shape: Header, body: bytes, *, watched: bool) -> int:
    """Add a submit to the last lot, if it is like it, or begin one; how many calls it has."""
    each, columns = _columns(n, body, len(shape["names"]))
    last = found[-1] if found else None
    if (
        isinstance(last, Lot)
        and last.shape is shape
        and last.each == each
        and last.watched == watched
        and last.first + last.frames == n
    ):
        last.frames += 1
        for column, more in zip(last.columns, columns, strict=True):
            column.extend(more)
    else:
        found.append(Lot(n, shape, each, watched, columns))
    return each


def _follow(lot: Lot | Single, what: int, data: bytes, at: int, upto: float, most: float) -> tuple[int, int]:
    """Add the submits of one value each that come next and are like a lot's last; how many, and where they end."""
    if isinstance(lot, Single) or lot.each * len(lot.columns) != 1:
        return 0, at
    column, end, n, unpack = lot.columns[0], len(data), lot.first + lot.frames, _LONE.unpack_from
    first = n
    while at + _LONE.size <= end and n - first < most:
        size, _, number, before, kind, each = unpack(data, at)
        stop = at + _HEAD.size + size
        if kind != what or number != n or each != 1 or before > upto or stop > end:
            break
        column.append(data[at + _HEAD.size + _ONE.size : stop])
        at, n = stop, n + 1
    lot.frames += n - first
    return n - first, at


def _columns(n: int, body: bytes, names: int) -> tuple[int, list[list[bytes]]]:
    """How many calls, and for each argument its values."""
    try:
        (each,) = _NUMBER.unpack_from(body)
        if each * names == 1:
            # what most submits are
            return 1, [[body[8:]]]
        lengths = struct.unpack_from(f"<{each * names}I", body, 4)
    except struct.error as error:
        raise FrameError(f"submit {n} is cut short") from error
    ends = list(accumulate(lengths, initial=4 + 4 * len(lengths)))
    if ends[-1] != len(body):
        raise FrameError(f"submit {n} does not add up")
    values = [body[start:end] for start, end in pairwise(ends)]
    return each, [values[at::names] for at in range(names)]


def _shape(body: bytes) -> Header:
    try:
        shape = json.loads(body)
        if not (isinstance(shape, dict) and isinstance(shape.get("names"), list)):
            raise ValueError("it names no arguments")
    except ValueError as error:
        raise FrameError(f"a shape cannot be read: {error}") from error
    return shape


def answers(item: Lot | Single, requests: Sequence[int]) -> list[tuple[int, dict[str, Any]]]:
    """What submits have led to as it is kept: the number of a submit, and which requests."""
    row = answer_row(item, requests)
    if row is not None:
        return [(item.first + item.frames - 1, {"row": row})]
    each = len(requests) // item.frames
    return [(item.first + at, {"ids": list(requests[at * each : (at + 1) * each])}) for at in range(item.frames)]


def frames_of(accepted: Sequence[tuple[int, dict[str, Any]]]) -> list[bytes]:
    """Frames that say what submits have led to."""
    rows = [ROW.pack(*answer["row"]) for _, answer in accepted if "row" in answer]
    lists = [(n, answer["ids"]) for n, answer in accepted if "ids" in answer]
    frames = [encode({"k": "accepted"}, [b"".join(rows)])] if rows else []
    return [*frames, encode({"k": "listed", "lists": lists})] if lists else frames


def told(n: int, request: int, kind: str, data: bytes) -> bytes:
    """The frame that says what a submit of one call has led to: which request, and its result."""
    name = kind.encode()
    return encode({"k": "told"}, [_TOLD.pack(n, request, len(name)) + name + data])


def read_told(body: bytes) -> tuple[int, int, Value]:
    """The submit's number, the request and the result."""
    n, request, size = _TOLD.unpack_from(body)
    at = _TOLD.size + size
    data = body[at:]
    return n, request, Value(data, None, len(data), body[_TOLD.size : at].decode())


def answer_row(item: Lot | Single, requests: Sequence[int]) -> tuple[int, int, int, int] | None:
    """First submit, how many, calls of each, and the first request; None where requests do not follow on each other."""
    first = requests[0] if requests else 0
    if not isinstance(requests, range) and list(requests) != list(range(first, first + len(requests))):
        return None
    return item.first, item.frames, len(requests) // item.frames, first
