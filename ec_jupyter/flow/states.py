"""The states of a request, and what leads from one to the next. Pure; nobody else sets a state.

A request that two submits have brought together with another one is as that one is, and counts no more by itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

NEW = ""  # not a request yet, or none of its own any more
STATES = ("waiting", "queued", "running", "done", "failed", "cancelled", "skipped")
ENDED = STATES[3:]

ASKED = "asked"
"""How a queued request is shown whose socket asks a person: no worker may have it, and an answer is its result.

It is queued like any other, so that it survives, is counted, is cancelled and follows a new version of its task as any
other does. What tells it apart is its socket's task: `Topology.asking`.
"""

DELAYED = "delayed"
"""How a queued request is shown that waits for its time: it was submitted for later, sleeps, or is tried again then."""

SHOWN = (*STATES[:2], DELAYED, ASKED, *STATES[2:])  # the states in which a person sees requests
Event = Literal[
    "submitted", "submitted in part", "fired", "joined", "withdrawn", "stranded", "claimed", "returned", "tried again",
    "finished", "answered", "failed", "skipped", "cancelled", "set aside", "refused", "retried", "taken after all",
    "given up",
]  # fmt: skip
EVENTS: tuple[Event, ...] = get_args(Event)

PERSONS: frozenset[Event] = frozenset({"retried", "taken after all", "given up"})
"""What a person does to a request that has ended."""

TRANSITIONS: dict[tuple[str, Event], str] = {
    (NEW, "submitted"): "queued",
    (NEW, "submitted in part"): "waiting",
    # values have met; or the last argument of one that waited has come
    (NEW, "fired"): "queued",
    ("waiting", "fired"): "queued",
    # it runs as one with another submit's
    ("waiting", "joined"): NEW,
    # its acceptance could not be written, and nobody was told of it
    ("queued", "withdrawn"): NEW,
    # its task has a new version, which asks for more
    ("queued", "stranded"): "waiting",
    # on disk: an agent gets it that may outlive this engine, or it must not run twice; else it stays queued
    ("queued", "claimed"): "running",
    # no worker has begun it
    ("queued", "returned"): "queued",
    ("running", "returned"): "queued",
    # it raised and has retries left, its worker died, its node was lost
    ("queued", "tried again"): "queued",
    ("running", "tried again"): "queued",
    ("queued", "finished"): "done",
    ("running", "finished"): "done",
    # a person has said what its result is, or it has slept; where a worker has it, that is too early or too late
    ("queued", "answered"): "done",
    ("queued", "failed"): "failed",
    ("running", "failed"): "failed",
    # tombstones came in place of its arguments; or it said so itself
    ("waiting", "skipped"): "skipped",
    ("queued", "skipped"): "skipped",
    ("running", "skipped"): "skipped",
    ("waiting", "cancelled"): "cancelled",
    ("queued", "cancelled"): "cancelled",
    ("running", "cancelled"): "cancelled",
    # engines have ended over it, or it cannot be read: before anything of the flow is in memory
    ("waiting", "set aside"): "failed",
    ("queued", "set aside"): "failed",
    ("running", "set aside"): "failed",
    # a plug cannot take its result, which stays; once it can, the request is done after all
    ("done", "refused"): "failed",
    ("failed", "taken after all"): "done",
    ("failed", "retried"): "queued",
    ("cancelled", "retried"): "queued",
    ("failed", "given up"): "skipped",
    ("cancelled", "given up"): "skipped",
}
"""What an event makes of a request in a state."""

COUNTED = {state: state for state in STATES} | {"running": "queued"}
"""What is claimed counts as queued: which calls run is known from their agents."""


class TransitionError(RuntimeError):
    """An event befell a request in whose state it cannot: a defect of ours."""


class Record(Protocol):
    """A request, as far as its state goes."""

    id: int
    socket: int
    state: str


@dataclass(slots=True)
class Named:
    """A request of which no more than this is at hand."""

    id: int
    socket: int
    state: str


class States:
    """Moves requests from state to state, and counts them."""

    def __init__(self) -> None:
        self.counts: dict[int, Counter[str]] = {}  # requests of each socket by state
        self.changed: set[int] = set()  # sockets whose numbers are others since somebody cleared this

    def move(self, request: Record, event: Event) -> str:
        """Let an event befall a request; its new state. Raises TransitionError: it cannot in the present state."""
        before = request.state
        state = TRANSITIONS.get((before, event))
        if state is None:
            raise TransitionError(f"request {request.id} is {before or 'new'} and cannot be {event}")
        request.state = state
        self._count(request.socket, before, state, 1)
        return state

    def move_all(self, socket: int, before: str, event: Event, n: int) -> str:
        """Let an event that can befall requests in a state befall `n` of a socket's; their new state."""
        state = TRANSITIONS[before, event]
        self._count(socket, before, state, n)
        return state

    def _count(self, socket: int, before: str, state: str, n: int) -> None:
        counter = self._counter(socket)
        if before:
            counter[COUNTED[before]] -= n
        if state:
            counter[COUNTED[state]] += n

    def found(self, socket: int, state: str, n: int) -> None:
        """Count requests that are on disk in a state."""
        self._counter(socket)[COUNTED[state]] += n

    def clear(self) -> None:
        """Count none."""
        self.changed.update(self.counts)
        self.counts.clear()

    def _counter(self, socket: int) -> Counter[str]:
        self.changed.add(socket)
        counter = self.counts.get(socket)
        if counter is None:
            counter = self.counts[socket] = Counter()
        return counter
