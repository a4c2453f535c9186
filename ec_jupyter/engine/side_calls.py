"""Side calls: calls that are not requests. Nothing of them is stored; the outcome goes to the code that sent them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from ec_jupyter.wire import Outcome

FIRST = 1 << 50
"""Side calls are numbered downwards from minus this; plug evaluations stand between them and the requests."""

NUMBERS = 1 << 10
"""So many numbers belong to each request that side calls run again."""


def whole(number: int) -> int:
    """The first of the numbers of the request that a side call runs again; any other call's number is its own."""
    return number + (-number - FIRST) % NUMBERS if number <= -FIRST else number


def first_of(request: int) -> int:
    """The first number of side calls that run a request again."""
    return -FIRST - request * NUMBERS


@dataclass(slots=True)
class _SideCall:
    """The node a side call is on, and the future that waits for it."""

    node: str
    end: asyncio.Future[Outcome | str]


class SideCalls:
    """The side calls under way."""

    def __init__(self) -> None:
        self._out: dict[int, _SideCall] = {}
        self._count = count()

    def __iter__(self) -> Iterator[int]:
        return iter(self._out)

    def send(self, node: str, request: int) -> tuple[int, asyncio.Future[Outcome | str]]:
        """The number of a new one that runs `request` again.

        And its end: an outcome, ``""`` if it was not run, or how its worker died.
        """
        number = first_of(request) - next(self._count) % NUMBERS
        end: asyncio.Future[Outcome | str] = asyncio.get_running_loop().create_future()
        self._out[number] = _SideCall(node, end)
        return number, end

    def node_of(self, number: int) -> str | None:
        """Where it is."""
        side_call = self._out.get(number)
        return side_call.node if side_call is not None else None

    def at(self, node: str) -> list[int]:
        """Those that are on a node."""
        return [number for number, side_call in self._out.items() if side_call.node == node]

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
        side_call = self._out.pop(number, None)
        if side_call is not None and not side_call.end.done():
            side_call.end.set_result(end)
