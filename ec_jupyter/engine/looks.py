"""Which result of a socket is its newest, and the representations that were made of late. In memory alone."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.errors import RequestNotFoundError, SocketNotFoundError, unknown

KEPT_BYTES = 8 << 20  # so much of what workers have made is kept, for the next picture that shows the same value
WATCHED_SECONDS = 30.0  # for so long after a look the ends of calls are noted; while nobody looks they cost nothing
NEWEST = 50_000  # among so many of the newest requests a result is sought that was not noted
_FIND = (
    "SELECT id FROM request WHERE id > (SELECT MAX(id) FROM request) - ? AND socket = ? AND state = 'done' "
    "AND joined IS NULL ORDER BY id DESC LIMIT 1"
)


class Newest:
    """The newest result of each socket that somebody looks at."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._of: dict[int, int] = {}
        self._until = 0.0

    @property
    def watched(self) -> bool:
        """Whether somebody has looked just now: then the ends of calls are to be noted."""
        return self._until > time.monotonic()

    def note(self, requests: Sequence[int]) -> None:
        """These end well, in this order; called before they have."""
        at = 0
        for found, count in self._core.jobs.stretches(requests):
            at += count
            if found is not None:
                self._of[found.socket] = requests[at - 1]

    def of(self, name: str) -> int:
        """The request with the newest result of a socket. Raises RequestNotFoundError: none among the newest."""
        names = self._core.topology.names
        if name not in names:
            raise unknown(SocketNotFoundError, name, names)
        if not self.watched:
            # what ended since was not noted
            self._of.clear()
        self._until = time.monotonic() + WATCHED_SECONDS
        socket = names[name]
        noted = self._of.get(socket)
        if noted is not None and self._done(noted):
            return noted
        row = self._core.store.db.execute(_FIND, (NEWEST, socket)).fetchone()
        if row is None:
            raise RequestNotFoundError(f"no result of {name!r} among the newest {NEWEST:,} requests")
        self._of[socket] = int(row[0])
        return int(row[0])

    def _done(self, request: int) -> bool:
        """Whether it is: a late answer of an attempt that was given up is none."""
        row = self._core.store.db.execute("SELECT state FROM request WHERE id = ?", (request,)).fetchone()
        return row is not None and row[0] == "done"


class Kept:
    """Answers by the identity of their value, the least lately used dropped first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[int, ...], tuple[dict[str, Any], int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[int, ...]) -> dict[str, Any] | None:
        """The answer, if it is kept."""
        found = self._answers.get(key)
        if found is None:
            return None
        self._answers.move_to_end(key)
        return found[0]

    def keep(self, key: tuple[int, ...], answer: dict[str, Any], size: int) -> None:
        """Keep an answer of about `size` bytes."""
        self._bytes += size - self._answers.pop(key, ({}, 0))[1]
        self._answers[key] = answer, size
        while self._bytes > KEPT_BYTES:
            self._bytes -= self._answers.popitem(last=False)[1][1]
