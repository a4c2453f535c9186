"""The calls that a node has, as far as the engine knows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ec_jupyter.nodes import codec
from ec_jupyter.wire import Call


@dataclass
class Out:
    """A call that the node has; `call` is None where an earlier engine has sent it."""

    attempt: int
    processor: str
    call: Call | None
    sent: bool = False
    began: float | None = None


class InFlight:
    """Calls that were given to a node and have not ended."""

    def __init__(self) -> None:
        self.out: dict[int, Out] = {}  # by request, in the order they came
        self.cancels: dict[int, str] = {}  # those that were cancelled, and how; sent again after a cut
        self.recalls: set[int] = set()  # those to ask for when the node is there again

    def mine(self, request: int, attempt: int) -> Out | None:
        """The call, if it is this attempt that is there."""
        out = self.out.get(request)
        return out if out is not None and out.attempt == attempt else None

    def pop(self, request: int) -> Out | None:
        """Take a call off: it has ended, or is handed back."""
        self.cancels.pop(request, None)
        self.recalls.discard(request)
        return self.out.pop(request, None)

    def sent(self) -> list[int]:
        """Requests that may be there."""
        return [request for request, out in self.out.items() if out.sent]

    def unsent(self) -> list[int]:
        """Requests that surely are not there."""
        return [request for request, out in self.out.items() if not out.sent]

    def count(self, processor: str) -> float:
        """How many there are of a processor; those that share a worker count as the part of a place that they take."""
        calls = [out.call for out in self.out.values() if out.processor == processor]
        return sum([1 if call is None else 1 / call.spec.concurrent for call in calls])

    def by_processor(self, requests: Iterable[int]) -> dict[str, list[Call]]:
        """The calls themselves, as far as they are known."""
        found: dict[str, list[Call]] = {}
        for request in requests:
            out = self.out[request]
            if out.call is not None:
                found.setdefault(out.processor, []).append(out.call)
        return found

    def files(self) -> set[str]:
        """Value files that any of them needs."""
        return {file for out in self.out.values() if out.call is not None for file, _ in codec.files_in(out.call)}

    def running(self) -> dict[int, float]:
        """Requests that run now, and for how many seconds."""
        now = time.monotonic()
        return {request: now - out.began for request, out in self.out.items() if out.began is not None}
