"""Submits: the frame that carries requests to the engine, and the identities they get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeGuard, overload

from ec_jupyter.client.transport import Question
from ec_jupyter.errors import EcError
from ec_jupyter.flow.submission import refusal
from ec_jupyter.wire import Header, Value

Call = tuple[str, dict[str, Value]] | tuple[str, dict[str, Value], str | None]
"""A socket, its arguments, and the id under which it is submitted only once."""

LOOK_SECONDS = 0.1
"""How long a mere look at a number that the engine has not told yet may take."""


class Asker(Protocol):
    """What questions can be asked of."""

    def _wait(self, question: Question, timeout: float | None) -> tuple[Header, list[bytes]]:
        """The answer to a question, waited for at most so many seconds."""

    def _when_answered(self, question: Question) -> Future[None]:
        """Done once a question is answered."""

    @property
    def connected(self) -> bool:
        """Whether an engine is connected at this moment."""


class Accepted(Sequence[int]):
    """Identities of requests that were accepted; the engine's answer is waited for when one is looked at."""

    def __init__(self, asker: Asker, question: Question, n: int) -> None:
        self._asker, self._question, self._n = asker, question, n
        self._ids: Sequence[int] | None = None

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...

    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        return self.ids()[at]

    def ids(self, timeout: float | None = None) -> Sequence[int]:
        """All of them, waited for so many seconds."""
        if self._ids is None:
            self._ids = self._asker._wait(self._question, timeout)[0]["ids"]
        return self._ids

    def number(self, at: int) -> Number:
        """One of them, once it is known."""
        return Number(self, at)

    def when_answered(self) -> Future[None]:
        """Done once they are known, or it is known why there are none."""
        return self._asker._when_answered(self._question)

    def seen(self) -> Sequence[int] | None:
        """All of them, if they are known by now or in a moment."""
        try:
            return self.ids(LOOK_SECONDS if self._asker.connected else 0.0)
        except (EcError, TimeoutError):
            return None


class Number:
    """The number that the engine gives a request."""

    __slots__ = ("_accepted", "_at")

    def __init__(self, accepted: Accepted, at: int) -> None:
        self._accepted, self._at = accepted, at

    def get(self, timeout: float | None) -> int:
        """It, waited for so many seconds."""
        return self._accepted.ids(timeout)[self._at]

    def when_answered(self) -> Future[None]:
        """Done once it is known, or it is known why there is none."""
        return self._accepted.when_answered()

    def seen(self) -> int | None:
        """It, if it is known by now or in a moment."""
        ids = self._accepted.seen()
        return None if ids is None else ids[self._at]


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
