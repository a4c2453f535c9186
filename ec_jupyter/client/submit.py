"""Submits: the frame that carries requests to the engine, and the identities they get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeGuard, overload

from ec_jupyter.engine.submit_records import Shape
from ec_jupyter.errors import EcError
from ec_jupyter.flow.submission import refusal
from ec_jupyter.wire import Header, Value

Call = tuple[str, dict[str, Value]] | tuple[str, dict[str, Value], str | None]
"""A socket, its arguments, and the id under which it is submitted only once."""

Kind = tuple[str, tuple[str, ...]]
"""A socket, and the arguments that calls of it bring."""

LOOK_SECONDS = 0.1
"""How long a mere look at a number that the engine has not told yet may take."""


class Columns(NamedTuple):
    """Calls of one socket that are alike: its small arguments, each of one type, one call after the other."""

    socket: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    calls: int
    values: Sequence[bytes]


class Asker(Protocol):
    """The client that submits, as what it has submitted needs it."""

    def _wait_accepted(self, accepted: Accepted, timeout: float | None) -> None:
        """Return once a submit is answered; waits for at most so many seconds, and raises what keeps the answer."""

    def _when_accepted(self, accepted: Accepted) -> Future[None]:
        """Done once a submit is answered, or it is known why it is not."""

    @property
    def connected(self) -> bool:
        """Whether an engine is connected at this moment."""


class Accepted(Sequence[int]):
    """Identities of requests that were accepted; the engine's answer is waited for when one is looked at."""

    __slots__ = ("_asker", "_calls", "_parts", "answer", "failed", "future", "numbers", "watched")

    def __init__(self, asker: Asker, numbers: Sequence[int], calls: int, watched: bool) -> None:
        # numbers: numbers of the submits in which they were written down, at one go
        # watched: their results were asked for as they were submitted
        self._asker, self.numbers, self._calls, self.watched = asker, numbers, calls, watched
        self._parts: dict[int, Sequence[int] | EcError] | None = None  # what it has said of each of several submits
        self.answer: Sequence[int] | EcError | None = None  # what the engine has said
        self.failed: EcError | None = None  # why nobody can be asked at present
        self.future: Future[None] | None = None  # set once there is an answer, if somebody asked for that

    def __len__(self) -> int:
        return self._calls

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...

    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        return self.ids()[at]

    def ids(self, timeout: float | None = None) -> Sequence[int]:
        """All of them, waited for so many seconds."""
        if self.answer is None:
            self._asker._wait_accepted(self, timeout)
        if isinstance(self.answer, EcError):
            raise self.answer
        assert self.answer is not None
        return self.answer

    def take(self, n: int, answer: Sequence[int] | EcError) -> bool:
        """Note what the engine has said of one of the submits; whether all is said."""
        if len(self.numbers) == 1:
            self.answer = answer
            return True
        parts = self._parts = self._parts or {}
        parts[n] = answer
        if len(parts) < len(self.numbers):
            return False
        self.answer = _joined([parts[one] for one in self.numbers])
        return True

    def settle(self) -> None:
        """Wake whoever awaits the answer."""
        future, self.future = self.future, None
        if future is not None:
            with suppress(InvalidStateError):  # somebody else has just done so, or gave up
                future.set_result(None)

    def when_answered(self) -> Future[None]:
        """Done once they are known, or it is known why there are none."""
        return self._asker._when_accepted(self)

    def known(self, at: int) -> int | None:
        """One of them, if they are known by now."""
        answer = self.answer
        return None if answer is None or isinstance(answer, EcError) else answer[at]

    def seen(self, at: int) -> int | None:
        """One of them, if they are known by now or in a moment."""
        try:
            return self.ids(LOOK_SECONDS if self._asker.connected else 0.0)[at]
        except (EcError, TimeoutError):
            return None


def _joined(answers: Iterable[Sequence[int] | EcError]) -> Sequence[int] | EcError:
    """The identities of all submits, or why there are none."""
    ids: list[int] = []
    for answer in answers:
        if isinstance(answer, EcError):
            return answer
        ids.extend(answer)
    return range(ids[0], ids[-1] + 1) if ids[-1] - ids[0] == len(ids) - 1 else ids


class Form:
    """Calls of a socket that bring the same arguments, all small and none of them lacking.

    Attributes
    ----------
    wiring : dict or None
        By which nothing is lacking.
    shapes : dict
        What the log says of such calls, by the types of their values.
    """

    __slots__ = ("names", "shapes", "socket", "wiring")

    def __init__(self, socket: str, names: tuple[str, ...]) -> None:
        self.socket, self.names = socket, names
        self.wiring: Mapping[str, Any] | None = None
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
