"""Lots: alike calls, and their results, in binary columns.

Calls that share a `CallSpec` are a *lot*: the spec once, then a column for each fact of a call, then the pickles of
the arguments. What only some calls have (an attempt above 1, a value in a file, several values of an argument) stands
beside, as JSON. A single call is a lot of one. Where a message has several lots, one more column says in which order
their calls run. Results come back as blocks of columns; an outcome that is more than a small result travels by itself
(`codec.pack_outcomes`).

Both are read as if they came from another machine, which some do: what is no lot or block is a `FrameError`.
"""

from __future__ import annotations

import json
import math
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain, groupby, islice, pairwise
from typing import Any

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.codec import WRONG, file_name, pack_outcomes
from ec_jupyter.nodes.durations import SHORT_SECONDS, Durations
from ec_jupyter.wire import Block, Buffer, Call, CallSpec, Header, Outcome, Packed, Value

BATCH_CALLS = 256
BATCH_BYTES = 1 << 20

_COUNT = struct.Struct("<I")
_LOT = struct.Struct("<IIII")  # bytes of the spec, calls, values, bytes of what only some have
_BLOCK = struct.Struct("<IIII")  # results, slot, pid, bytes of the types
_ONE_CALL = struct.Struct("<IIIII")  # what a single call begins with: no places, and its lot
_ONE_NUMBERS = struct.Struct("<qq")
_ONE_ARGUMENT = struct.Struct("<qqI")
_ONE_RESULT = struct.Struct("<IIIIqIddI")  # a block of one: its head and its columns
_MISREAD = (*WRONG, struct.error, UnicodeDecodeError)

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@lru_cache(maxsize=2048)
def _column(code: str, n: int) -> struct.Struct:
    """What packs a column; kept, for `struct` itself keeps few."""
    return struct.Struct(f"<{n}{code}")


# what shares a message


def short(queue: deque[Call], most: int, held: float, durations: Durations) -> list[Call]:
    """Calls off the head of a queue that leave together: all short, and together no long one.

    `queue`: what waits; the first is a short one, and taken in any case. `held`: CPUs that their slot has. `durations`:
    what is known of the tasks.
    """
    first = queue[0]
    seconds = durations.get(first.spec.task) or 0.0
    most = min(most, len(queue))
    if most * seconds <= SHORT_SECONDS:
        calls = list(islice(queue, most))
        if len({id(call.spec) for call in calls}) == 1 and _bytes(calls) <= BATCH_BYTES:
            # what is usual: calls of one kind
            for _ in calls:
                queue.popleft()
            return calls
    return _short(queue, most, held, durations)


def _bytes(calls: Sequence[Call]) -> int:
    """Bytes of arguments that travel in the frames of calls."""
    values = chain.from_iterable([call.values for call in calls])
    return sum([len(value) for value in values if isinstance(value, bytes)])


def _short(queue: deque[Call], most: int, held: float, durations: Durations) -> list[Call]:
    first = queue.popleft()
    calls, spec = [first], first.spec
    seconds = durations.get(spec.task) or 0.0
    left, size = SHORT_SECONDS - seconds, first.inline_bytes
    while queue and len(calls) < most:
        call = queue[0]
        if call.spec is not spec:
            spec, known = call.spec, durations.get(call.spec.task)
            if known is None or spec.once or spec.fresh or spec.concurrent > 1 or spec.threads > held:
                break
            seconds = known
        left -= seconds
        for value in call.values:
            size += len(value) if isinstance(value, bytes) else 0
        if left < 0 or size > BATCH_BYTES:
            break
        calls.append(queue.popleft())
    return calls


# calls


def pack_calls(calls: Sequence[Call], sources: dict[str, str]) -> tuple[Header, list[Buffer]]:
    """The ``run`` frame of these calls, in the order they are to run.

    `calls`: what travels. `sources`: sources by file name that the other side has already; those sent now are added.
    """
    header: Header = {"k": "run"}
    if len(calls) == 1 and _is_small(calls[0]):
        return header, [_pack_one(calls[0], header, sources)]
    lots: dict[CallSpec, list[tuple[int, Call]]] = {}
    for spec, some in groupby(enumerate(calls), _spec_of):
        lots.setdefault(spec, []).extend(some)
    parts: list[Buffer] = []
    for spec, lot in lots.items():
        _pack_lot(spec, [call for _, call in lot], parts)
        _tell_source(spec, header, sources)
    places = [place for lot in lots.values() for place, _ in lot] if len(lots) > 1 else []
    return header, [_COUNT.pack(len(places)) + _column("I", len(places)).pack(*places) + b"".join(parts)]


def _tell_source(spec: CallSpec, header: Header, sources: dict[str, str]) -> None:
    source = spec.source
    if source is not None and sources.get(source[0]) != source[1]:
        sources[source[0]] = source[1]
        header.setdefault("x", {})[source[0]] = source[1]


def _is_small(call: Call) -> bool:
    """Whether it is a first attempt that has nothing but small values."""
    small = [value for value in call.values if value.__class__ is bytes]
    return call.attempt == 1 and not call.skip and call.spec.single and len(small) == len(call.values)


def _pack_one(call: Call, header: Header, sources: dict[str, str]) -> bytes:
    """What `pack_calls` makes of one small call."""
    spec, values = call.spec, call.values
    _tell_source(spec, header, sources)
    head, n = _packed_spec(spec), len(values)
    lengths = _column("I", n).pack(*map(len, values))  # type: ignore[arg-type]
    begin = _ONE_CALL.pack(0, len(head), 1, n, 0)
    return b"".join((begin, head, _ONE_NUMBERS.pack(call.request, call.run), lengths, *values))  # type: ignore[arg-type]


def _spec_of(placed: tuple[int, Call]) -> CallSpec:
    return placed[1].spec


def _pack_lot(spec: CallSpec, calls: list[Call], parts: list[Buffer]) -> None:
    n = len(calls)
    values = list(chain.from_iterable([call.values for call in calls]))
    some = _sparse(spec, calls, values)
    data: list[bytes] = values if "f" not in some else [v if isinstance(v, bytes) else b"" for v in values]  # type: ignore[assignment]
    head, rest = _packed_spec(spec), _dumps(some).encode() if some else b""
    parts += (
        _LOT.pack(len(head), n, len(data), len(rest)),
        head,
        _column("q", n).pack(*[call.request for call in calls]),
        _column("q", n).pack(*[call.run for call in calls]),
        _column("I", len(data)).pack(*map(len, data)),
        rest,
        *data,
    )


def _sparse(spec: CallSpec, calls: list[Call], values: Sequence[Packed]) -> dict[str, Any]:
    """What only some calls have."""
    found: dict[str, Any] = {}
    attempts = [call.attempt for call in calls]
    if attempts.count(1) != len(attempts):
        found["a"] = attempts
    if skips := [(i, call.skip) for i, call in enumerate(calls) if call.skip]:
        found["k"] = skips
    if files := [(i, value.head()) for i, value in enumerate(values) if not isinstance(value, bytes)]:
        found["f"] = files
    if not spec.single:
        found["c"] = [call.counts or [1] * len(spec.shape) for call in calls]
    return found


@lru_cache(maxsize=256)
def _packed_spec(spec: CallSpec) -> bytes:
    source = None if spec.source is None else spec.source[0]
    return _dumps([
        spec.task, spec.socket, spec.shape, spec.routes, spec.timeout, spec.threads, spec.fresh, spec.memory, source,
        spec.once, spec.concurrent,
    ]).encode()  # fmt: skip


@lru_cache(maxsize=256)
def _read_spec(data: bytes) -> CallSpec:
    task, socket, shape, routes, timeout, threads, fresh, memory, source, once, concurrent = json.loads(data)
    return CallSpec(
        task, socket, tuple((name, kind) for name, kind in shape), tuple((p, w, c, m, k) for p, w, c, m, k in routes),
        timeout, threads, fresh, memory, None if source is None else (source, ""), once, concurrent,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _sourced(data: bytes, text: str) -> CallSpec:
    spec = _read_spec(data)
    assert spec.source is not None
    return CallSpec(**{**_fields(spec), "source": (spec.source[0], text)})


def _fields(spec: CallSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in CallSpec.__dataclass_fields__}


def unpack_calls(data: bytes, sources: dict[str, str] | None = None) -> list[Call]:
    """The calls of a ``run`` frame's buffer.

    `data`: the lots. `sources`: the text of sources by file name, for those who send the calls on. Raises FrameError:
    it is none.
    """
    calls: list[Call] = []
    try:
        if sources is None and (one := _unpack_one_call(data)) is not None:
            return [one]
        (n,) = _COUNT.unpack_from(data)
        at = _COUNT.size + 4 * n
        while at < len(data):
            at = _unpack_lot(data, at, sources, calls)
        if n:
            placed = sorted(zip(_column("I", n).unpack_from(data, _COUNT.size), range(n), strict=True))
            calls = [calls[i] for _, i in placed]
    except _MISREAD as error:
        raise FrameError(f"calls cannot be read: {type(error).__name__}: {error}") from error
    return calls


def _unpack_one_call(data: bytes) -> Call | None:
    """The call of a frame that has one, with one small value; None: it has something else."""
    places, size, n, m, more = _ONE_CALL.unpack_from(data)
    if places or n != 1 or m != 1 or more:
        return None
    at = _ONE_CALL.size + size
    request, run, length = _ONE_ARGUMENT.unpack_from(data, at)
    spec, value = _read_spec(data[_ONE_CALL.size : at]), data[at + _ONE_ARGUMENT.size :]
    whole = spec.single and len(spec.shape) == 1 and len(value) == length
    return Call(request, 1, run, spec, [value]) if whole else None


def _unpack_lot(data: bytes, at: int, sources: dict[str, str] | None, calls: list[Call]) -> int:
    """Add the calls of the lot that begins there; where it ends."""
    size, n, m, more = _LOT.unpack_from(data, at)
    at += _LOT.size
    head = data[at : at + size]
    spec = _read_spec(head)
    if sources is not None and spec.source is not None:
        spec = _sourced(head, sources.get(spec.source[0], ""))
    at += size
    if at + 16 * n + 4 * m > len(data):
        raise ValueError("it is cut short")
    requests = _column("q", n).unpack_from(data, at)
    runs = _column("q", n).unpack_from(data, at + 8 * n)
    lengths = _column("I", m).unpack_from(data, at + 16 * n)
    at += 16 * n + 4 * m
    some = json.loads(data[at : at + more]) if more else {}
    values, at = _cut(data, at + more, lengths)
    packed: list[Packed] = values  # type: ignore[assignment]
    for i, (name, bytes_, kind) in some.get("f", ()):
        packed[i] = Value(None, file_name(name), bytes_, kind)
    attempts = some.get("a") or (1,) * n
    if spec.single:
        width = len(spec.shape)
        if m != n * width:
            raise ValueError("arguments are missing")
        given = [packed[i : i + width] for i in range(0, m, width)] if width else [[]] * n
        made = [
            Call(request, attempt, run, spec, one)
            for request, attempt, run, one in zip(requests, attempts, runs, given, strict=True)
        ]
    else:
        made = list(_gathering(zip(requests, attempts, runs, some["c"], strict=True), spec, packed))
    for i, skip in some.get("k", ()):
        made[i].skip = skip
    calls += made
    return at


def _gathering(rows: Iterable[tuple[int, int, int, list[int]]], spec: CallSpec, values: list[Packed]) -> Iterator[Call]:
    at = 0
    for request, attempt, run, counts in rows:
        end = at + sum(counts)
        yield Call(request, attempt, run, spec, values[at:end], counts)
        at = end


def _cut(data: bytes, at: int, lengths: Sequence[int]) -> tuple[list[bytes], int]:
    """Pieces of these lengths, and where the last one ends."""
    ends = list(accumulate(lengths, initial=at))
    if ends[-1] > len(data):
        raise ValueError("it is cut short")
    return [data[i:j] for i, j in pairwise(ends)], ends[-1]


# results


def pack_block(block: Block) -> tuple[Header, list[Buffer]]:
    """The ``done`` frame of a block."""
    n, types = len(block), "\n".join(block.types).encode()
    if n == 1:
        value = block.values[0]
        facts = block.requests[0], block.attempts[0], block.started[0], block.seconds[0], len(value)
        return {"k": "done"}, [_ONE_RESULT.pack(1, block.slot, block.pid, len(types), *facts) + types + value]
    return {"k": "done"}, [
        b"".join((
            _BLOCK.pack(n, block.slot, block.pid, len(types)),
            _column("q", n).pack(*block.requests),
            _column("I", n).pack(*block.attempts),
            _column("d", n).pack(*block.started),
            _column("d", n).pack(*block.seconds),
            _column("I", n).pack(*map(len, block.values)),
            types,
            *block.values,
        ))
    ]  # fmt: skip


def unpack_block(data: bytes) -> Block:
    """The results of a ``done`` frame's buffer. Raises FrameError: it is none."""
    try:
        n, slot, pid, size = _BLOCK.unpack_from(data)
        if n == 1:
            return _unpack_one(data)
        at = _BLOCK.size
        if at + 32 * n > len(data):
            raise ValueError("it is cut short")
        requests = _column("q", n).unpack_from(data, at)
        attempts = _column("I", n).unpack_from(data, at + 8 * n)
        started = _column("d", n).unpack_from(data, at + 12 * n)
        seconds = _column("d", n).unpack_from(data, at + 20 * n)
        lengths = _column("I", n).unpack_from(data, at + 28 * n)
        at += 32 * n
        types = data[at : at + size].decode().split("\n")
        values, end = _cut(data, at + size, lengths)
        if end != len(data) or not n or len(types) not in (1, n):
            raise ValueError("its columns do not fit")
        _check_times(started, seconds)
    except _MISREAD as error:
        raise FrameError(f"results cannot be read: {type(error).__name__}: {error}") from error
    return Block(requests, attempts, values, types, started, seconds, slot, pid)


def _unpack_one(data: bytes) -> Block:
    _, slot, pid, size, request, attempt, began, seconds, length = _ONE_RESULT.unpack_from(data)
    at = _ONE_RESULT.size
    if at + size + length != len(data):
        raise ValueError("its columns do not fit")
    started, took = (began,), (seconds,)
    _check_times(started, took)
    kind, value = data[at : at + size].decode(), data[at + size :]
    return Block((request,), (attempt,), [value], [kind], started, took, slot, pid)


def _check_times(started: Sequence[float], seconds: Sequence[float]) -> None:
    if not math.isfinite(sum(started)) or not math.isfinite(sum(seconds)) or min(seconds) < 0:
        raise ValueError("a time in it is none")


Row = tuple[int, int, float, float, bytes, str]


class Results:
    """What a worker has finished and not sent yet."""

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self._frames: list[tuple[Header, list[Buffer]]] = []
        self._rows: list[Row] = []
        self._odd: list[Outcome] = []

    def add(self, call: Call, began: float, seconds: float, value: Value | None, rest: dict[str, Any] | None) -> None:
        """Add one outcome; `rest` holds what a small result alone does not have: fields of an `Outcome`."""
        self.count += 1
        if rest is None and value is not None and value.data is not None:
            if self._odd:
                self._close()
            self._rows.append((call.request, call.attempt, began, seconds, value.data, value.type))
            self.bytes += value.size
            return
        if self._rows:
            self._close()
        outcome = Outcome(call.request, call.attempt, "done", value, started=began, seconds=seconds)
        for name, fact in (rest or {}).items():
            setattr(outcome, name, fact)
        self._odd.append(outcome)
        self.bytes += value.size if value is not None and value.data is not None else 0

    def _close(self) -> None:
        """Pack what has come: others follow."""
        if len(self._rows) == 1:
            (row,) = self._rows
            self._frames.append(pack_block(Block(row[:1], row[1:2], [row[4]], [row[5]], row[2:3], row[3:4])))
        elif self._rows:
            requests, attempts, started, seconds, values, types = zip(*self._rows, strict=True)
            kinds = types[:1] if types.count(types[0]) == len(types) else types
            self._frames.append(pack_block(Block(requests, attempts, list(values), list(kinds), started, seconds)))
        if self._odd:
            self._frames.append(pack_outcomes(self._odd))
        self._rows, self._odd = [], []

    def take(self) -> list[tuple[Header, list[Buffer]]]:
        """The frames; nothing is left here."""
        self._close()
        frames, self._frames = self._frames, []
        self.count = self.bytes = 0
        return frames
