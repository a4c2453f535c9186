"""Submits: what carries requests to the engine, and what they lack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from ec_jupyter.engine.submit_records import Shape
from ec_jupyter.flow.submission import refusal
from ec_jupyter.wire import Header, Value

Call = tuple[str, dict[str, Value]] | tuple[str, dict[str, Value], str | None]
"""A socket, its arguments, and the id under which it is submitted only once."""

Kind = tuple[str, tuple[str, ...]]
"""A socket, and the arguments that calls of it bring."""


class Columns(NamedTuple):
    """Calls of one socket that are alike: its small arguments, each of one type, one call after the other."""

    socket: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    calls: int
    values: Sequence[bytes]


class Form:
    """Calls of a socket that bring the same arguments, all small and none of them lacking."""

    __slots__ = ("names", "shapes", "socket", "wiring")

    def __init__(self, socket: str, names: tuple[str, ...]) -> None:
        self.socket, self.names = socket, names
        self.wiring: Mapping[str, Any] | None = None  # by which nothing is lacking
        # what the log says of such calls, by the types of their values
        self.shapes: dict[tuple[str, ...], Shape] = {}


def columns_of(calls: Sequence[Call]) -> Columns | None:
    """The columns of calls; None where they are not alike, or not all small."""
    socket, arguments = calls[0][0], calls[0][1]
    names, types = tuple(arguments), tuple([value.type for value in arguments.values()])
    values: list[bytes] = []
    for call in calls:
        given = call[1]
        if call[0] != socket or (given is not arguments and tuple(given) != names):
            return None
        if len(call) == 3 and call[2] is not None:
            return None
        for value, kind in zip(given.values(), types, strict=True):
            if value.data is None or value.type != kind:
                return None
            values.append(value.data)
    return Columns(socket, names, types, len(calls), values)


def frame(calls: list[Call], revision: int, partial: bool, how: Header) -> tuple[Header, list[bytes]]:
    """A submit's frame; `revision` is that of the wiring by which the calls are complete, or `partial` on purpose.

    `how`: ``at``, before which they may not start, and the ``priority`` of their runs.
    """
    rows = [[name, {n: v.head() for n, v in arguments.items()}, *rest] for name, arguments, *rest in calls]
    buffers = [v.data for _, arguments, *_ in calls for v in arguments.values() if v.data is not None]
    header: Header = {"k": "submit", "rows": rows, "revision": revision, **({"partial": True} if partial else {})}
    return {**header, **how}, buffers


def fits(wiring: Mapping[str, Any], kinds: Iterable[Kind]) -> bool:
    """Whether a wiring has all that calls name."""
    return all(_known(wiring["sockets"].get(name), given) for name, given in kinds)


def lacking(wiring: Mapping[str, Any], kinds: Iterable[Kind], partial: bool) -> str | None:
    """Why one of the calls cannot be accepted with the arguments it has; None where all can.

    What names a socket or argument that is not there is the engine's to refuse.
    """
    for name, given in kinds:
        socket = wiring["sockets"].get(name)
        if not _known(socket, given) or all(argument in given for argument in socket["needed"]):
            continue
        why = refusal(name, given, socket["needed"], socket["hold"], socket["join"], partial=partial)
        if why is not None:
            return why
    return None


def bounded(socket: Mapping[str, Any]) -> bool:
    """Whether a submit to a socket has to ask whether there is room."""
    return socket.get("limit") is not None and socket["full"] != "drop-oldest"


def _known(socket: Mapping[str, Any] | None, given: Iterable[str]) -> TypeGuard[Mapping[str, Any]]:
    return socket is not None and {p["name"] for p in socket["task"]["signature"]}.issuperset(given)
