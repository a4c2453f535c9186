"""Requests on their way to the engine: the frame they travel in, and the identities they get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

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


def each(calls: list[Call]) -> tuple[Header, list[bytes]]:
    """A submit's frame, row by row."""
    rows = [[name, {n: v.head() for n, v in arguments.items()}, *rest] for name, arguments, *rest in calls]
    buffers = [v.data for _, arguments, *_ in calls for v in arguments.values() if v.data is not None]
    return {"rows": rows, "logged": True}, buffers


def alike(calls: list[Call]) -> tuple[Header, list[bytes]] | None:
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
