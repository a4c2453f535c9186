"""Requests on their way to the engine: the frame they travel in, and the identities they get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard, overload

from ec_jupyter.flow.submission import refusal
from ec_jupyter.notebook.line import Question
from ec_jupyter.wire import Header, Value

Call = tuple[str, dict[str, Value]] | tuple[str, dict[str, Value], str | None]
"""A socket, its arguments, and the id under which it is submitted only once."""

Wait = Callable[[Question, float | None], tuple[Header, list[bytes]]]
"""Waits for the answer to a question, for so many seconds."""


class Accepted(Sequence[int]):
    """Identities of requests that were accepted; the engine's answer is waited for when one is looked at."""

    def __init__(self, wait: Wait, question: Question, n: int) -> None:
        self._wait, self._question, self._n = wait, question, n
        self._ids: list[int] | None = None

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> list[int]: ...

    def __getitem__(self, at: int | slice) -> int | list[int]:
        if self._ids is None:
            self._ids = self._wait(self._question, None)[0]["ids"]
        return self._ids[at]


def frame(calls: list[Call], revision: int, partial: bool) -> tuple[Header, list[bytes]]:
    """A submit's frame; `revision` is that of the wiring by which the calls are complete, or `partial` on purpose."""
    header, buffers = _alike(calls) or _each(calls)
    return header | {"revision": revision} | ({"partial": True} if partial else {}), buffers


def _each(calls: list[Call]) -> tuple[Header, list[bytes]]:
    """A submit's frame, row by row."""
    rows = [[name, {n: v.head() for n, v in arguments.items()}, *rest] for name, arguments, *rest in calls]
    buffers = [v.data for _, arguments, *_ in calls for v in arguments.values() if v.data is not None]
    return {"rows": rows, "logged": True}, buffers


def _alike(calls: list[Call]) -> tuple[Header, list[bytes]] | None:
    """A submit's frame in columns, where all calls are of one socket, with the same arguments, all of them small."""
    if not calls:
        return None
    socket, names = calls[0][0], list(calls[0][1])
    buffers: list[bytes] = []
    types: list[str] = []
    for name, arguments, *rest in calls:
        if name != socket or list(arguments) != names or (rest and rest[0] is not None):
            return None
        for value in arguments.values():
            if value.data is None:
                return None
            buffers.append(value.data)
            types.append(value.type)
    one = set(types)
    kinds: str | list[str] = one.pop() if len(one) == 1 else types
    return {"socket": socket, "names": names, "calls": len(calls), "types": kinds, "logged": True}, buffers


def fits(wiring: Mapping[str, Any], calls: Iterable[Call]) -> bool:
    """Whether a wiring has all that calls name."""
    return all(_known(wiring["sockets"].get(name), given) for name, given in _kinds(calls))


def lacking(wiring: Mapping[str, Any], calls: Iterable[Call], partial: bool) -> str | None:
    """Why one of the calls cannot be accepted with the arguments it has; None where all can.

    What names a socket or argument that is not there is the engine's to refuse.
    """
    for name, given in _kinds(calls):
        socket = wiring["sockets"].get(name)
        if not _known(socket, given) or all(argument in given for argument in socket["needed"]):
            continue
        why = refusal(name, given, socket["needed"], socket["hold"], socket["join"], partial=partial)
        if why is not None:
            return why
    return None


def _known(socket: Mapping[str, Any] | None, given: Iterable[str]) -> TypeGuard[Mapping[str, Any]]:
    return socket is not None and {p["name"] for p in socket["task"]["signature"]}.issuperset(given)


def _kinds(calls: Iterable[Call]) -> set[tuple[str, tuple[str, ...]]]:
    return {(name, tuple(arguments)) for name, arguments, *_ in calls}
