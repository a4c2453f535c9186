"""Open files of this process: workers get what is left of them, and idle ones give theirs back.

A worker takes some ten: pipes of loky's, its connections, and one file it shares with us. A
processor whose worker finds no room waits, says so once, and is served as others are done.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable

from ec_jupyter.nodes.local.slot import Slot

SLOT_HANDLES = 12  # open files that a worker takes here: 11, and one while it starts
RESERVE = 64  # open files that are left to clients, nodes and the flow's own files; of a small limit, an eighth
AGAIN_SECONDS = 1.0  # how often a waiting pool tries again: files of clients and nodes become free as well
MOST = 65_536  # the limit is raised to this at most: some programs loop over all possible descriptors


class Handles:
    """Decides which pool may start a worker; `slots`: all that are here, `spare`: whether one is not needed now."""

    def __init__(self, slots: Callable[[], Iterable[Slot]], spare: Callable[[Slot], bool]) -> None:
        self._slots, self._spare = slots, spare
        self._waiting: dict[Callable[[], None], None] = {}  # what lets the pools go on that wait

    def room(self) -> bool:
        """Whether there is room for another worker's files."""
        starting = sum(slot.state == "starting" for slot in self._slots())
        return left() >= SLOT_HANDLES * (1 + starting)

    def wait(self, pump: Callable[[], None]) -> bool:
        """Queue a pool that found no room, by what lets it go on when there may be some; whether it is new."""
        new = pump not in self._waiting
        self._waiting[pump] = None
        self.free(len(self._waiting) - sum(slot.state == "ending" for slot in self._slots()))
        return new

    def free(self, most: int = 1 << 20) -> None:
        """End idle workers, the longest idle first."""
        idle = sorted((slot for slot in self._slots() if self._spare(slot)), key=lambda slot: slot.since)
        for slot in idle[: max(0, most)]:
            slot.end()

    def idle(self, slot: Slot) -> None:
        """A worker is idle: end it if a pool waits."""
        if self._waiting and self._spare(slot):
            slot.end()

    def gone(self) -> None:
        """A worker has ended: waiting pools may use its files."""
        for pump in list(self._waiting):
            pump()

    def leave(self, pump: Callable[[], None]) -> None:
        """A pool has nothing to start any more."""
        self._waiting.pop(pump, None)


def limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def left() -> int:
    """How many more files may be opened for workers."""
    most = limit()
    try:
        return most - min(RESERVE, most // 8) - len(os.listdir("/dev/fd"))
    except OSError:
        # not even one to look with
        return 0


def raise_limit() -> None:
    """Raise the limit of open files as far as the system allows, up to `MOST`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
