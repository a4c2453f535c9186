"""Frames between processes: a JSON header and raw buffers; and the records that travel in them.

A frame is eight bytes (length of the header, length of the buffers, little endian), a JSON
object whose ``k`` names its kind and whose ``b`` lists the buffers' lengths, then the buffers.
A header of one byte stands for one that has a kind alone, and one buffer: lots and blocks.
User values are only ever buffers: nobody who forwards a frame has to unpickle anything.
Standard library only: this module is part of what travels to a bare host.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from operator import itemgetter
from typing import Any

from ec_jupyter.errors import FrameError

PROTOCOL = 4
"""Number both sides must share; raised when a frame changes its meaning."""

INLINE_BYTES = 64 * 1024
"""Pickled values up to this size travel in frames; larger ones are files of the flow."""

MAX_FRAME_BYTES = 1 << 30
_PREFIX = struct.Struct("<II")
_MARKS = {"run": b"r", "done": b"d", "accepted": b"a", "told": b"t"}
_MARKED = {mark[0]: kind for kind, mark in _MARKS.items()}
RING = _PREFIX.pack(1, 0) + b"g"
"""The frame that is a kind alone, ``ring``: it wakes an engine that has nothing to do."""
_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_loads = json.JSONDecoder().decode

Header = dict[str, Any]
Buffer = bytes | memoryview


def encode(header: Header, buffers: Sequence[Buffer] = ()) -> bytes:
    """One frame as bytes; `header` is not kept and must be JSON with a ``k``."""
    total = 0
    if len(header) == len(buffers) == 1 and header["k"] in _MARKS and len(buffers[0]) < MAX_FRAME_BYTES:
        return b"".join((_PREFIX.pack(1, len(buffers[0])), _MARKS[header["k"]], buffers[0]))
    if buffers:
        lengths = [len(b) for b in buffers]
        header["b"] = lengths
        total = sum(lengths)
    try:
        head = _dumps(header).encode()
    except (TypeError, UnicodeEncodeError, RecursionError, ValueError) as error:
        raise FrameError(f"a {header.get('k')!r} frame cannot be written: {error}") from error
    if total + len(head) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {total + len(head)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return b"".join((_PREFIX.pack(len(head), total), head, *buffers))


class FrameReader:
    """Cuts a stream of bytes into frames; one a connection."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._parts: list[bytes] = []
        self._missing = 0
        self._limit = limit  # bytes a frame may have

    def widen(self) -> None:
        """Take frames of any size that a frame may have: who sends them is known by now."""
        self._limit = MAX_FRAME_BYTES

    @property
    def between(self) -> bool:
        """Whether what comes next is the beginning of a frame."""
        return not self._parts

    def feed(self, data: bytes) -> list[tuple[Header, list[bytes]]]:
        """Frames that are complete once `data` has been added.

        Raises FrameError: the bytes are no frames; the connection is of no more use.
        """
        if self._parts:
            # put together once, when all is there: a large frame comes in thousands of parts
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = b"".join(self._parts)
        frames = []
        at, end, wanted = 0, len(data), 8
        while end - at >= 8:
            head, body = _PREFIX.unpack_from(data, at)
            if head + body > self._limit:
                raise FrameError(f"a frame claims {head + body} bytes (limit {self._limit})")
            wanted = 8 + head + body
            if end - at < wanted:
                break
            frames.append(_cut(data, at + 8, head, body))
            at += wanted
            wanted = 8
        self._parts, self._missing = [data[at:]] if at < end else [], wanted - (end - at)
        return frames


def _cut(data: bytes, at: int, head: int, body: int) -> tuple[Header, list[bytes]]:
    if head == 1 and not body and data[at] == RING[-1]:
        return {"k": "ring"}, []
    if head == 1 and data[at] in _MARKED:
        return {"k": _MARKED[data[at]]}, [data[at + 1 : at + 1 + body]]
    try:
        header = _loads(data[at : at + head].decode())
        if not isinstance(header, dict) or not isinstance(header.get("k"), str):
            raise FrameError("a frame's header names no kind")
        lengths = header.pop("b", [])
        if sum(lengths) != body or any(type(n) is not int or n < 0 for n in lengths):
            raise FrameError("a frame's buffers do not add up")
    except (ValueError, TypeError, RecursionError) as error:
        raise FrameError(f"a frame's header cannot be read: {error}") from error
    at += head
    buffers = []
    for n in lengths:
        buffers.append(data[at : at + n])
        at += n
    return header, buffers


def packed(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Records in columns: how many `records`, the `same` in all of them, and `each` of the other columns."""
    n = len(next(iter(columns.values()), ()))
    same = {name: column[0] for name, column in columns.items() if n and column.count(column[0]) == n}
    return {"records": n, "same": same, "each": {name: column for name, column in columns.items() if name not in same}}


def unpacked(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of `packed` columns, one dict each."""
    same, names = table["same"], list(table["each"])
    if not names:
        return [dict(same) for _ in range(table["records"])]
    return [{**same, **dict(zip(names, values, strict=True))} for values in zip(*table["each"].values(), strict=True)]


def same(value: Any) -> Any:
    """The value itself: the task of a call that only looks at what is on its way."""
    return value


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and every call makes several
class Value:
    """A pickled value, nowhere unpickled on its way; nobody changes one."""

    data: bytes | None  # the pickle itself, up to `INLINE_BYTES`
    file: str | None  # name of a file in the flow's `values` folder, for larger ones
    size: int  # bytes of the pickle and its buffers
    type: str  # qualified name of the value's type, for display

    @property
    def packed(self) -> Packed:
        """Itself as a call's argument; of one that was thrown away, a pickle of nothing."""
        return (self.data or b"") if self.file is None else self

    def head(self) -> list[Any]:
        """What stands for it in a header: [file or None, size, type]."""
        return [self.file, self.size, self.type]

    @classmethod
    def of(cls, head: Sequence[Any], buffers: Iterable[bytes]) -> Value:
        """The value of a header's entry; takes one buffer when it is inline."""
        file, size, kind = head
        return cls(None if file else next(iter(buffers)), file, size, kind)


@dataclass(frozen=True)
class CallSpec:
    """What alike calls have in common: calls that share one travel as one lot."""

    task: str  # SHA-256 of the pickled function; the agent asks `blobs` for the bytes
    socket: str  # name of the socket, for `ec.current()` and messages
    # the arguments. `kind` is "v" (one value), "l" (a gather: the list of all values) or "e" (a failure, or a list that
    # has some: the first value's data is the plan of it as JSON, which `nodes.current.rebuilt` follows, and the values
    # that it holds follow)
    shape: tuple[tuple[str, str], ...] = ()
    # plugs whose fate a worker decides: `when` is the SHA-256 of a pickled condition or None, `pick` that of the
    # function that takes the part it carries out of the result, `map` says that this is split into its elements, `key`
    # is the SHA-256 of the pickled function that gives the key of what is carried, or None
    routes: tuple[tuple[int, str | None, str | None, bool, str | None], ...] = ()
    timeout: float | None = None  # seconds a call may run
    threads: float = 1  # CPUs it takes while it runs
    fresh: bool = False  # run it in a process in which no other call has run, and end that after it
    memory: int | None = None  # bytes its worker's process tree may hold resident
    source: tuple[str, str] | None = None  # for tracebacks: the name the code carries and its source
    once: bool = False  # it must not run again once it has begun: it shares no message with others
    concurrent: int = 1  # so many calls of its socket a worker runs at once, on one event loop

    def __hash__(self) -> int:
        # that of all fields takes longer than to pack a call
        return hash((self.task, self.socket))

    @cached_property
    def plain(self) -> bool:
        """One value an argument, by keyword: nearly every call there is."""
        return all(kind == "v" and not name.startswith("*") for name, kind in self.shape)

    @cached_property
    def single(self) -> bool:
        """One value an argument."""
        return all(kind == "v" for _, kind in self.shape)

    @cached_property
    def limited(self) -> bool:
        """Whether a call is stopped where it takes too long or grows too large."""
        return self.timeout is not None or self.memory is not None

    @cached_property
    def code(self) -> list[str]:
        """SHA-256 of every function that a worker needs for it."""
        return [self.task, *(one for _, when, pick, _, key in self.routes for one in (when, pick, key) if one)]


MOST_AT_ONCE = 1_000
"""Calls that one worker runs at once, on its event loop."""

Packed = bytes | Value
"""A value of an argument: the inline pickle itself, or a value in a file."""


@dataclass(slots=True)
class Call:
    """One attempt at one request, on its way from the engine to the end of its worker."""

    # request, attempt: identity; what comes back carries both
    request: int
    attempt: int
    run: int  # identity of the run, for `ec.current()`
    spec: CallSpec  # what it has in common with calls like it
    values: Sequence[Packed] = ()  # those of all arguments, one after the other
    counts: Sequence[int] | None = None  # how many values each argument has; None: one
    skip: int = 0  # how many yields of a generator are committed already and must not be sent again

    @classmethod
    def of(
        cls, request: int, attempt: int, run: int, arguments: Iterable[tuple[str, str, Sequence[Value]]], **spec: Any
    ) -> Call:
        """A call that is like no other: `arguments` by name, kind and values; `spec` as `CallSpec` has it."""
        given = list(arguments)
        shared = CallSpec(shape=tuple((name, kind) for name, kind, _ in given), **spec)
        values = [value.packed for _, _, some in given for value in some]
        counts = None if shared.single else [len(some) for _, _, some in given]
        return cls(request, attempt, run, shared, values, counts)

    def files(self) -> list[Value]:
        """The values that are files."""
        return [value for value in self.values if not isinstance(value, bytes)]

    @property
    def inline_bytes(self) -> int:
        """Bytes of its arguments that travel in its frame."""
        return sum(len(value) for value in self.values if isinstance(value, bytes))


Fate = bool | Value | list[Value]
"""What a plug carries of a result: all of it or nothing, a part, or elements."""


@dataclass(slots=True)
class Outcome:
    """What one attempt came to."""

    request: int
    attempt: int
    state: str  # "done", "skipped" (the task returned `SKIP`) or "failed"
    value: Value | None = None  # result of a done call; None for a generator, whose yields came before
    # `type`, `message`, `traceback` (text), `kind` ("task", "timeout", "cancelled", "memory", "died", "unpicklable"),
    # and `exit` where a process died
    error: dict[str, Any] | None = None
    exception: Value | None = None  # the pickled exception, where it can be pickled and unpickled
    # plug to False (it carries nothing), True (the result), the value it picked, or the list of its elements' values
    routed: dict[int, Fate] = field(default_factory=dict)
    # plug to the keys of what it carries, one for each element
    keys: dict[int, list[str]] = field(default_factory=dict)
    emitted: int | None = None  # how many values a generator has yielded in all
    started: float = 0.0  # wall clock at which it began (for display)
    seconds: float = 0.0  # how long it ran
    slot: int = 0  # index of the slot that ran it
    pid: int = 0  # its process


@dataclass(slots=True)
class Block:
    """Results of calls in columns: each is done, and its result is inline and all there is to say."""

    # requests, attempts: which attempts, in the order they ended
    requests: Sequence[int]
    attempts: Sequence[int]
    values: list[bytes]  # the pickled results
    types: list[str]  # qualified names of their types, or one that all of them have
    # started, seconds: wall clock at which each began, and how long it ran
    started: Sequence[float]
    seconds: Sequence[float]
    # slot, pid: the slot and the process that ran all of them
    slot: int = 0
    pid: int = 0

    def __len__(self) -> int:
        return len(self.requests)

    def outcomes(self) -> list[Outcome]:
        """The same, one by one."""
        types = self.types if len(self.types) == len(self.requests) else self.types * len(self.requests)
        rows = zip(self.requests, self.attempts, self.values, types, self.started, self.seconds, strict=True)
        return [
            Outcome(
                request, attempt, "done", Value(data, None, len(data), kind), started=began, seconds=seconds,
                slot=self.slot, pid=self.pid,
            )
            for request, attempt, data, kind, began, seconds in rows
        ]  # fmt: skip

    def parts(self, size: int) -> Iterator[Block]:
        """The same in blocks of up to `size` bytes of values each, or of one result."""
        first = at = 0
        while first < len(self):
            left = size - len(self.values[first])
            at = first + 1
            while at < len(self) and left >= len(self.values[at]):
                left -= len(self.values[at])
                at += 1
            yield self.part(first, at)
            first = at

    def part(self, first: int, last: int) -> Block:
        """Those from one place up to another."""
        return self if last - first == len(self) else self._of(itemgetter(slice(first, last)))

    def only(self, wanted: Sequence[bool]) -> Block:
        """Those of a mask of the same length."""
        return self if all(wanted) else self._of(lambda column: list(compress(column, wanted)))

    def _of(self, pick: Callable[[Sequence[Any]], Any]) -> Block:
        """Those that are picked of each column."""
        return Block(
            pick(self.requests), pick(self.attempts), pick(self.values),
            self.types if len(self.types) == 1 else pick(self.types), pick(self.started), pick(self.seconds),
            self.slot, self.pid,
        )  # fmt: skip
