"""Results that a picture shows: the newest of a socket, those beside it, which may hold what is looked for.

What was made of them of late is kept in memory.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.parts import Answer
from ec_jupyter.engine.requests import filtered
from ec_jupyter.errors import RequestNotFoundError, SocketNotFoundError, unknown
from ec_jupyter.wire import Header

KEPT_BYTES = 8 << 20  # so much of what workers have made is kept, for the next picture that shows the same value
WATCHED_SECONDS = 30.0  # for so long after a look the ends of calls are noted; while nobody looks they cost nothing
NEWEST = 50_000  # among so many of the newest requests a result is sought that was not noted
COUNTED = 50_000  # among so many requests a result's place is counted; further back, that it is further back has to do
BATCH = 500  # results that a worker looks through at once
BATCH_BYTES = 1 << 20  # bytes of them; the last may be more
_LAST = 'SELECT value FROM emission WHERE request = r.id ORDER BY "index" DESC LIMIT 1'
_FIND = (
    "SELECT id FROM request WHERE id > (SELECT MAX(id) FROM request) - ? AND socket = ? AND state = 'done' "
    "AND joined IS NULL ORDER BY id DESC LIMIT 1"
)


# -- the newest ----------------------------------------------------------------
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


# -- one beside the other ------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Batch:
    """Results to look through: the requests whose they are, and their pickles."""

    requests: list[int]
    pickles: list[bytes]
    until: int | None  # the last request of the batch; None where there are no more behind it
    large: int  # how many are left out, for they lie in files


def beside(core: Core, header: Header) -> Answer:
    """A result of a socket (the newest, or that of request `id` or before it), those beside it, and its place."""
    where, parameters = _results(core, header)
    place = {**parameters, "at": header.get("id"), "counted": COUNTED}
    here = "" if header.get("id") is None else "AND r.id <= :at"
    query = f"SELECT r.id, r.run, r.started, r.finished FROM request r WHERE {where}"
    found = core.store.db.execute(f"{query} {here} ORDER BY r.id DESC LIMIT 2", place).fetchall()
    row = dict(zip(("id", "run", "started", "finished"), found[0], strict=True)) if found else None
    place["at"] = row["id"] if row else header.get("id") or 0
    newer = core.store.db.execute(f"{query} AND r.id > :at ORDER BY r.id LIMIT 1", place).fetchone()
    above = "SELECT count(*) FROM request r WHERE {} AND r.id > :at AND r.id <= :at + :counted"
    (further,) = core.store.db.execute("SELECT max(id) > :at + :counted FROM request", place).fetchone()
    behind = None if further else core.store.db.execute(above.format(where), place).fetchone()[0]
    return {
        "asked": header.get("id"),
        "row": row,
        "older": found[1][0] if len(found) > 1 else None,
        "newer": newer and newer[0],
        "behind": behind,
        "of": _count(core, header, where, parameters),
    }, []


def batch(core: Core, header: Header) -> Batch:
    """The next results in which a text is looked for: older than request `before`, or newer than `after`."""
    where, parameters = _results(core, {**header, "limit": BATCH})
    order = "ASC" if header.get("after") is not None else "DESC"
    rows = core.store.db.execute(
        f"SELECT r.id, coalesce(r.result, ({_LAST})) FROM request r WHERE {where} ORDER BY r.id {order} LIMIT :limit",
        parameters,
    ).fetchall()
    found = core.values.load(value for _, value in rows if value is not None)
    requests, pickles, large, size = [], [], 0, 0
    for request, value in rows:
        stored = found.get(value)
        if stored is not None and stored.place == "inline" and stored.value.data is not None:
            requests.append(request)
            pickles.append(stored.value.data)
            size += len(stored.value.data)
        large += stored is not None and stored.place == "file"
        if size > BATCH_BYTES:
            return Batch(requests, pickles, request, large)
    return Batch(requests, pickles, rows[-1][0] if len(rows) == BATCH else None, large)


def _results(core: Core, header: Header) -> tuple[str, dict[str, Any]]:
    words = ("socket", "run", "before", "after", "limit")
    asked = {word: header[word] for word in words if header.get(word) is not None}
    where, parameters = filtered(core, {**asked, "state": "done"}, {})
    return f"{where} AND r.joined IS NULL", parameters


def _count(core: Core, header: Header, where: str, parameters: dict[str, Any]) -> int:
    """All results of the socket, or of a run."""
    if header.get("run") is None:
        counts = core.states.counts.get(core.topology.names[header["socket"]])
        return counts["done"] if counts else 0
    (n,) = core.store.db.execute(f"SELECT count(*) FROM request r WHERE {where}", parameters).fetchone()
    return int(n)
