"""Calls that are no requests: nothing is written down of them, and what they come to goes to who sent them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from ec_jupyter.wire import Outcome

FIRST = 1 << 50
"""Errands are numbered downwards from minus this; the looks of `routing` stand between them and the requests."""


@dataclass(slots=True)
class _Errand:
    """Where a call is, and who waits for it."""

    node: str
    end: asyncio.Future[Outcome | str]


class Errands:
    """What is under way."""

    def __init__(self) -> None:
        self._out: dict[int, _Errand] = {}
        self._numbers = count(-FIRST, -1)

    def __iter__(self) -> Iterator[int]:
        return iter(self._out)

    def send(self, node: str) -> tuple[int, asyncio.Future[Outcome | str]]:
        """The number of a new one, and its end: an outcome, ``""`` if it was not run, or how its worker died."""
        number = next(self._numbers)
        end: asyncio.Future[Outcome | str] = asyncio.get_running_loop().create_future()
        self._out[number] = _Errand(node, end)
        return number, end

    def node_of(self, number: int) -> str | None:
        """Where it is."""
        errand = self._out.get(number)
        return errand.node if errand is not None else None

    def at(self, node: str) -> list[int]:
        """Those that are on a node."""
        return [number for number, errand in self._out.items() if errand.node == node]

    def outcome(self, outcome: Outcome) -> None:
        """It was run."""
        self._end(outcome.request, outcome)

    def returned(self, number: int, node: str | None = None) -> None:
        """It was not, or was lost with this `node`."""
        if node in (None, self.node_of(number)):
            self._end(number, "")

    def died(self, number: int, text: str) -> None:
        """Its worker died."""
        self._end(number, text)

    def _end(self, number: int, end: Outcome | str) -> None:
        errand = self._out.pop(number, None)
        if errand is not None and not errand.end.done():
            errand.end.set_result(end)
