"""Ends on disk: requests of lots that ended well in one commit have one row together, and each its own later.

Each gets one before anybody asks the database about requests that have ended, or when nothing else is to be done.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from ec_jupyter.engine.lot_bodies import End, Results, pack_ends, unpack_ends, unpack_results
from ec_jupyter.engine.rows import SQL, Rows, write_all

log = logging.getLogger(__name__)

TOGETHER = 16  # of fewer that end in one commit each gets its row at once
# so many have no rows of their own at most: somebody may ask for them, and waits for as long as it takes
MOST = 200_000
FEW = 16  # one of so many is worth to be read in columns
STEP = 500  # so many get rows at once while nothing is to be done: what comes in meanwhile waits some 3 ms


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


class _Kept(NamedTuple):
    """A row of requests that have none: how many they are, the last of them, and of which sockets."""

    n: int
    last: int
    sockets: frozenset[int]


class EndedLots:
    """What has ended and has no rows of its own."""

    def __init__(self, store: Rows) -> None:
        self._store = store  # the flow's database
        self.new: list[End] = []  # what is not on disk
        # by its key, which is the first of them, negative, beside keys of queued lots
        self._kept: dict[int, _Kept] = {}
        self._adding: tuple[int, _Kept] | None = None
        self._left = 0

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

        `asked`: that commit looks at rows of requests.
        """
        n = len(self)
        self._adding = None
        if asked or n < TOGETHER or self._left + n > MOST:
            return None
        first = min([min(end.block.requests) for end in self.new])
        last = max([max(end.block.requests) for end in self.new])
        self._adding = -first, _Kept(n, last, frozenset([end.lot.socket for end in self.new]))
        return -first, last, pack_ends(self.new)

    def written(self) -> None:
        """Those are on disk now."""
        if self._adding is not None:
            key, kept = self._adding
            self._kept[key] = kept
            self._left += kept.n
            self._adding = None
        self.new.clear()

    # -- read in columns ---------------------------------------------------------------
    def results(
        self, wanted: int, socket: int | None = None, among: tuple[int, int] | None = None
    ) -> Iterator[Results]:
        """In columns, the results of those that are on disk and have no rows.

        `wanted`: so many are wanted: where that is few of those looked at, these get rows instead, and the next
        question finds them there. `socket`: of this socket alone. `among`: the first and the last that are of interest.
        """
        keys = [key for key, kept in self._kept.items() if socket is None or socket in kept.sockets]
        if among is not None:
            keys = [key for key in keys if -key <= among[1] and self._kept[key].last >= among[0]]
        if wanted * FEW < sum([self._kept[key].n for key in keys]):
            self._spread_now(keys)
        for key in [key for key in keys if key in self._kept]:
            (body,) = self._store.connection.execute(SQL["get_lot"], (key,)).fetchone()
            yield from unpack_results(body, socket)

    # -- rows of their own ---------------------------------------------------------------
    def spread_now(self, most: int = MOST) -> bool:
        """Give requests that are on disk rows, about so many, as far as the disk lets it; whether there are others.

        Where it is full, who looks is told of what has rows.
        """
        if not self._kept:
            return False
        upto = accumulate([kept.n for kept in self._kept.values()], initial=0)
        return self._spread_now([key for key, before in zip(self._kept, upto, strict=False) if before < most])

    def _spread_now(self, keys: Sequence[int]) -> bool:
        try:
            self._spread(keys)
        except sqlite3.OperationalError as error:
            log.warning("rows of requests that have ended cannot be written: %s", error)
            return False
        return bool(self._kept)

    def spread(self) -> None:
        """Give all requests that are on disk rows."""
        self._spread(list(self._kept))

    def _spread(self, keys: Sequence[int]) -> None:
        if not keys:
            return
        with self._store.transaction() as db:
            for key in keys:
                (body,) = db.execute(SQL["get_lot"], (key,)).fetchone()
                spread(db, body)
            db.executemany(SQL["drop_lot"], [(key,) for key in keys])
        for key in keys:
            self._left -= self._kept.pop(key).n
        self._store.committed()

    def clear(self) -> None:
        """There are no requests any more."""
        self.new.clear()
        self._kept.clear()
        self._left = 0
