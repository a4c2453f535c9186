"""Calls that are no requests: their names, and what becomes of them. Nothing of them is stored.

They have the limits of any other call: one whose worker dies too often has failed, and so has one that is not tried
again because engines or agents were killed while it ran. How it ended is told to the code that sent it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from ec_jupyter.engine.failures import MOST_DEATHS, error
from ec_jupyter.wire import Outcome

REQUEST, EVALUATE, REMAKE = "request", "evaluate", "remake"
_REMAKES = 1 << 50

Then = Callable[[Outcome | None], None]  # is told what a side call came to; None: it was not run, or may be tried again


class CallId(NamedTuple):
    """What a call is: a request, the evaluation of a plug for an arrival, or the remaking of a request's result."""

    kind: str
    n: int

    @property
    def number(self) -> int:
        """Its name where only numbers are: among agents, in files and rows."""
        return {REQUEST: self.n, EVALUATE: -self.n, REMAKE: -_REMAKES - self.n}[self.kind]

    @classmethod
    def of(cls, number: int) -> CallId:
        """What a number names."""
        if number >= 0:
            return cls(REQUEST, number)
        return cls(EVALUATE, -number) if number > -_REMAKES else cls(REMAKE, -number - _REMAKES)


@dataclass(slots=True)
class _SideCall:
    attempt: int
    then: Then
    node: str | None


class SideCalls:
    """The side calls under way, by number."""

    def __init__(self) -> None:
        self.refused: dict[int, str] = {}  # those that are not tried again, and why
        self._out: dict[int, _SideCall] = {}
        self._deaths: Counter[int] = Counter()
        self._attempts = count(1).__next__

    def __iter__(self) -> Iterator[int]:
        return iter(self._out)

    def send(self, call: CallId, then: Then, node: str | None = None) -> int | None:
        """Note one that is about to go out; its attempt, or None where it is refused, which `then` is told."""
        if (why := self.refused.get(call.number)) is not None:
            then(_failed(call.number, 0, why))
            return None
        attempt = self._attempts()
        self._out[call.number] = _SideCall(attempt, then, node)
        return attempt

    def allow(self, call: CallId) -> None:
        """Try one again that was refused: a person wants it."""
        self.refused.pop(call.number, None)

    def placed(self, number: int, node: str | None) -> None:
        """One goes to a node, or to none yet."""
        if node is None:
            self.returned(number)
        else:
            self._out[number].node = node

    def node_of(self, number: int) -> str | None:
        """Where one is."""
        side_call = self._out.get(number)
        return side_call.node if side_call is not None else None

    def at(self, node: str) -> list[int]:
        """Those that are on a node."""
        return [number for number, side_call in self._out.items() if side_call.node == node]

    def outcome(self, outcome: Outcome) -> bool:
        """One was run; False where nobody waits for that attempt any more."""
        side_call = self._take(outcome.request, outcome.attempt)
        if side_call is not None:
            del self._deaths[outcome.request]
            side_call.then(outcome)
        return side_call is not None

    def returned(self, number: int, node: str | None = None) -> None:
        """One did not start, or was lost with this `node`."""
        if node in (None, self.node_of(number)) and number in self._out:
            self._out.pop(number).then(None)

    def died(self, number: int, attempt: int, text: str) -> None:
        """A worker died under one: it may be tried again, unless that has happened too often."""
        side_call = self._take(number, attempt)
        if side_call is None:
            return
        self._deaths[number] += 1
        deaths = self._deaths[number]
        if deaths <= MOST_DEATHS:
            side_call.then(None)
            return
        del self._deaths[number]
        side_call.then(_failed(number, attempt, f"it ended its worker {deaths} times, last: {text}"))

    def _take(self, number: int, attempt: int) -> _SideCall | None:
        side_call = self._out.get(number)
        return self._out.pop(number) if side_call is not None and side_call.attempt == attempt else None


def _failed(number: int, attempt: int, why: str) -> Outcome:
    return Outcome(number, attempt, "failed", error=error("WorkerDiedError", "died", why))
