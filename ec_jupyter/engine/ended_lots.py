"""Ends on disk: requests of lots that ended well in one commit have one row together, and each its own later.

Each gets one before anybody asks the database about requests that have ended, or when nothing else is to be done.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ec_jupyter.engine.lot_bodies import End, pack_ends, unpack_ends, unpack_results
from ec_jupyter.engine.rows import SQL, Rows, write_all

log = logging.getLogger(__name__)

TOGETHER = 16
"""Of fewer that end in one commit each gets its row at once."""

MOST = 50_000
"""So many have no rows of their own at most: somebody may ask for them, and waits for as long as it takes."""

FEW = 16
"""One of so many is worth to be read in columns."""

STEP = 2_000
"""So many get rows at once while nothing is to be done."""


def spread(db: sqlite3.Connection, body: bytes) -> None:
    """Give what such a body has rows."""
    for name, rows in _rows(unpack_ends(body)).items():
        write_all(db, name, rows)


def _rows(ends: Iterable[End]) -> dict[str, list[Sequence[Any]]]:
    ended, passed = list[Sequence[Any]](), list[Sequence[Any]]()
    for end in ends:
        ended += end.rows()
        passed += end.passed_rows()
    return {"add_ended": ended, "add_passed": passed}


class EndedLots:
    """What has ended and has no rows of its own.

    Parameters
    ----------
    store : Rows
        The flow's database.

    Attributes
    ----------
    new : list of End
        What is not on disk.
    """

    def __init__(self, store: Rows) -> None:
        self._store = store
        self.new: list[End] = []
        self._kept: dict[int, int] = {}  # how many, by the key of their row
        self._left = self._adding = 0

    def __len__(self) -> int:
        """How many requests end with the next commit."""
        return sum(len(end.block) for end in self.new)

    def add(self, end: End) -> None:
        """Have these on disk with the next commit."""
        self.new.append(end)

    # -- with a commit ---------------------------------------------------------------
    def rows(self) -> dict[str, list[Sequence[Any]]]:
        """A row for each request of the next commit, and for each result that made a call, by statement."""
        return _rows(self.new)

    def record(self, *, asked: bool) -> Sequence[Any] | None:
        """One row for all of them; None where each is to have its own.

        Parameters
        ----------
        asked : bool
            That commit looks at rows of requests.
        """
        n = len(self)
        self._adding = 0 if asked or n < TOGETHER or self._left + n > MOST else n
        if not self._adding:
            return None
        ids = [(end.block.requests[0], end.block.requests[-1]) for end in self.new]
        # lots that are queued have the first request as their key
        return -ids[0][0], max(last for _, last in ids), pack_ends(self.new)

    def written(self) -> None:
        """Those are on disk now."""
        if self._adding:
            self._kept[-self.new[0].block.requests[0]] = self._adding
            self._left += self._adding
            self._adding = 0
        self.new.clear()

    # -- read in columns ---------------------------------------------------------------
    def results(self, wanted: int, socket: int | None = None) -> Iterator[Sequence[Any]]:
        """Request, result and its type of those that are on disk and have no rows, of one socket or of all.

        Where somebody wants few of many, these get rows instead: the next question finds them.
        """
        if wanted * FEW < self._left:
            self.spread_now()
        for key in self._kept:
            (body,) = self._store.connection.execute(SQL["get_lot"], (key,)).fetchone()
            yield from unpack_results(body, socket)

    # -- rows of their own ---------------------------------------------------------------
    def spread_now(self, most: int = MOST) -> bool:
        """Do as `spread`, as far as the disk lets it: where it is full, who looks is told of what has rows."""
        try:
            return self.spread(most)
        except sqlite3.OperationalError as error:
            log.warning("rows of requests that have ended cannot be written: %s", error)
            return False

    def spread(self, most: int = MOST) -> bool:
        """Give requests that are on disk rows, so many or some more; whether there are others."""
        if not self._kept:
            return False
        keys: list[int] = []
        n = 0
        for key, some in self._kept.items():
            keys.append(key)
            n += some
            if n >= most:
                break
        with self._store.transaction() as db:
            for key in keys:
                (body,) = db.execute(SQL["get_lot"], (key,)).fetchone()
                spread(db, body)
            db.executemany(SQL["drop_lot"], [(key,) for key in keys])
        for key in keys:
            self._left -= self._kept.pop(key)
        self._store.committed()
        return bool(self._kept)

    def clear(self) -> None:
        """There are no requests any more."""
        self.new.clear()
        self._kept.clear()
        self._left = 0
