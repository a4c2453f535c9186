"""Which calls of a pool run beside each other in one worker: those of a socket with ``concurrent=``.

Who ends a worker is known where a call does it in its own code. Where none can be named (the system wants its memory
back, a thread of a library crashes), all that ran are suspects: they run again, uncharged, beside half as many as
before, until one that ends its worker was alone there. No call is charged with what another one did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ec_jupyter.nodes.local.slot import Slot
from ec_jupyter.nodes.lots import BATCH_BYTES
from ec_jupyter.wire import Call


class Overlaps:
    """How many calls of a pool may run together in a slot."""

    def __init__(self) -> None:
        self.any = False  # the pool has had such calls
        self._most: dict[int, int] = {}  # of suspects: how many may run with each, itself included

    def room(self, slot: Slot, head: Call) -> int:
        """How many calls like `head` a slot takes that runs some of its socket; 0: it runs others, or is full."""
        if not slot.began or slot.draining or slot.leaving or slot.state != "ready":
            return 0
        first = next(iter(slot.calls.values()))
        return self._width((*slot.calls, head.request), head) - len(slot.calls) if _alike(first, head) else 0

    def batch(self, slot: Slot, queue: deque[Call]) -> list[Call]:
        """Calls off the head of a queue that join those of a slot."""
        calls = [head := queue.popleft()]
        requests, size = [*slot.calls, head.request], head.inline_bytes
        while queue and _alike(queue[0], head) and len(requests) < self._width((*requests, queue[0].request), head):
            size += queue[0].inline_bytes
            if size > BATCH_BYTES:
                break
            calls.append(queue.popleft())
            requests.append(calls[-1].request)
        return calls

    def suspect(self, calls: Sequence[Call]) -> None:
        """Let calls run again beside half as many: one of them has ended their worker, and nobody knows which."""
        self._most.update(dict.fromkeys([call.request for call in calls], max(1, len(calls) // 2)))

    def forget(self, requests: Iterable[int]) -> None:
        """Calls have ended."""
        for request in requests if self._most else ():
            self._most.pop(request, None)

    def _width(self, requests: Iterable[int], head: Call) -> int:
        known = [self._most[request] for request in requests if request in self._most] if self._most else []
        return min([head.spec.concurrent, *known])


def weight(call: Call) -> float:
    """The part of a place in a worker that a call takes."""
    return 1 / call.spec.concurrent


def _alike(one: Call, other: Call) -> bool:
    return one.spec.concurrent > 1 and one.spec.socket == other.spec.socket and one.spec.threads == other.spec.threads
