"""The calls that a node has, as far as the engine knows, and how many it is to have."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ec_jupyter.nodes import codec
from ec_jupyter.nodes.durations import SHORT_SECONDS, Durations
from ec_jupyter.nodes.local.answers import short_ahead
from ec_jupyter.nodes.local.processes import TROUBLE_SECONDS
from ec_jupyter.nodes.ssh.transport import clock
from ec_jupyter.wire import Call

PREFETCH = 64  # calls of a slot that may be on their way, at most
FAR_SECONDS = 1.0  # calls this long wait here, not there: another node may have a CPU for them sooner


@dataclass
class Out:
    """A call that the node has; `call` is None where an earlier engine has sent it."""

    attempt: int
    processor: str
    call: Call | None
    sent: bool = False
    began: float | None = None
    cancelled: str | None = None  # how it is to end; said again after a cut
    recalled: bool = False  # it is to be asked for when the node is there again


class InFlight:
    """Calls that were given to a node and have not ended."""

    def __init__(self) -> None:
        self.out: dict[int, Out] = {}  # by request, in the order they came

    def mine(self, request: int, attempt: int) -> Out | None:
        """The call, if it is this attempt that is there."""
        out = self.out.get(request)
        return out if out is not None and out.attempt == attempt else None

    def pop(self, request: int) -> Out | None:
        """Take a call off: it has ended, or is handed back."""
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


class Prefetch(Durations):
    """Learns how long calls of each processor take on one node."""

    def __init__(self) -> None:
        super().__init__()
        self._not_before: dict[str, float] = {}

    def troubled(self, processor: str) -> None:
        """Its workers do not start; none for some time."""
        self._not_before[processor] = clock() + TROUBLE_SECONDS

    def calls(self, processor: str, cpus: int, round_trip: float) -> int:
        """How many calls to have there in all."""
        if clock() < self._not_before.get(processor, 0.0):
            return 0
        seconds = self.get(processor)
        if seconds is None:
            return 2 * cpus
        ahead = min(PREFETCH, int(round_trip / seconds))
        if seconds <= SHORT_SECONDS:
            return cpus * (short_ahead(seconds) + ahead)
        # the slower a call and the nearer the node, the less is gained by one that waits there
        return cpus * ((1 if seconds > max(FAR_SECONDS, 20 * round_trip) else 2) + ahead)
