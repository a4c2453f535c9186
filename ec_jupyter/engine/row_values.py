"""Small values that stand in the row of a request: what they are called, and how its arguments are packed. Pure.

A positive identity of a value is a row of its own. A negative one is a place in the row of a request: its result, or
one of the arguments that it was submitted with. Whoever else is called with that value names it by the same identity.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from ec_jupyter.wire import Value

ROW_BYTES = 1024  # the largest value in the row of a request: three of them fit into one page of the database
_PLACES = 64
MOST_ARGUMENTS = _PLACES - 2  # so many arguments stand in a request's row
RESULT = 0  # the place of a result
_HEAD = struct.Struct("<HI")


def result_id(request: int) -> int:
    """Identity of the result in a request's row."""
    return -request * _PLACES


def argument_id(request: int, at: int) -> int:
    """Identity of one of the arguments in a request's row, counted from 0."""
    return -request * _PLACES - 1 - at


def place_of(value: int) -> tuple[int, int]:
    """The request in whose row a value stands, and its place there."""
    return divmod(-value, _PLACES)


def fits(value: Value) -> bool:
    """Whether a value may stand in the row of a request."""
    return value.data is not None and len(value.data) <= ROW_BYTES and len(value.type) <= ROW_BYTES


def pack(values: Iterable[Value]) -> bytes | None:
    """Arguments as the column ``inputs`` holds them; None where there are none."""
    parts: list[bytes] = []
    for value in values:
        kind, data = value.type.encode(errors="surrogatepass"), value.data or b""
        parts += (_HEAD.pack(len(kind), len(data)), kind, data)
    return b"".join(parts) or None


def pack_all(columns: Sequence[Sequence[bytes]], types: Sequence[str], n: int) -> list[bytes | None]:
    """The same of `n` requests: for each argument a column of pickles, which have one type."""
    if not columns:
        return [None] * n
    packed: list[list[bytes]] = []
    for column, kind in zip(columns, types, strict=True):
        name = kind.encode(errors="surrogatepass")
        size = len(name)
        packed.append([_HEAD.pack(size, len(data)) + name + data for data in column])
    return packed[0] if len(packed) == 1 else list(map(b"".join, zip(*packed, strict=True)))  # type: ignore[return-value]


def unpack(request: int, inputs: bytes) -> Iterator[tuple[int, Value]]:
    """Identities and values of the arguments in a request's row, as far as they are whole."""
    at = place = 0
    while at + _HEAD.size <= len(inputs):
        kind, size = _HEAD.unpack_from(inputs, at)
        data = at + _HEAD.size + kind
        if data + size > len(inputs):
            return
        text = inputs[data - kind : data].decode(errors="surrogatepass")
        yield argument_id(request, place), Value(inputs[data : data + size], None, size, text)
        at, place = data + size, place + 1
