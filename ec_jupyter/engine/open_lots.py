"""Lots on disk: requests that are alike, and queued or ended in one commit, have one row together.

A queued request of a lot has no row of its own until it ends, something befalls it alone (it fails, is cancelled, is
claimed), or somebody asks the database about requests; one that has ended gets its own before somebody asks about such,
or when nothing else is to be done. An engine that finds lots gives all that is left of them rows before anything else.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ec_jupyter.engine.folder import DATABASE
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.lot_bodies import End, Results, pack, pack_ends, unpack, unpack_ends, unpack_results
from ec_jupyter.engine.rows import SQL, Rows, write_all
from ec_jupyter.errors import FrameError

log = logging.getLogger(__name__)

TOGETHER = 16  # of fewer that end in one commit each gets its row at once
# so many have no rows of their own at most: somebody may ask for them, and waits for as long as it takes
MOST = 200_000
FEW = 16  # one of so many is worth to be read in columns
STEP = 500  # so many get rows at once while nothing is to be done: what comes in meanwhile waits some 3 ms

Row = Sequence[Any]


class _Ended(NamedTuple):
    """A row of requests that have ended: how many they are, the last of them, and of which sockets."""

    n: int
    last: int
    sockets: frozenset[int]


class OpenLots:
    """The lots of a flow whose requests have no rows of their own."""

    members: Callable[[JobLot], list[int]]  # requests of a lot that are queued, or with an agent

    def __init__(self, rows: dict[str, list[Row]], store: Rows) -> None:
        self._rows_of, self._store = rows, store  # `rows`: those of the next commit, by statement
        # those that are not on disk: what ends before the next commit is never written as open
        self.queued: list[JobLot] = []
        self._queued: dict[int, JobLot] = {}  # those on disk, by their first request
        self.ended: list[End] = []  # what has ended and is not on disk
        # what is, by its key, which is the first of them, negative, beside keys of queued lots
        self._ended: dict[int, _Ended] = {}
        self._left = 0  # how many these are
        self._adding: tuple[int, _Ended] | None = None

    def add(self, lot: JobLot) -> None:
        """Have a lot that was just made on disk with the next commit."""
        lot.left = len(lot.ids)
        self.queued.append(lot)

    def end(self, end: End) -> None:
        """Have requests of a lot on disk as ended with the next commit."""
        self.ended.append(end)
        self._drop(end.lot, len(end.block))

    def alone(self, lot: JobLot, request: int) -> None:
        """Give a request a row: it is by itself from now on."""
        if lot.left:
            self._rows_of["add_request"].extend(lot.rows([lot.place(request)]))
            self._drop(lot, 1)

    def _drop(self, lot: JobLot, n: int) -> None:
        """So many requests of a lot are queued in it no more with the next commit."""
        lot.left -= n
        if not lot.left and self._queued.pop(lot.ids[0], None) is not None:
            self._rows_of["drop_lot"].append((lot.ids[0],))

    # -- with a commit ---------------------------------------------------------------
    @property
    def waiting(self) -> int:
        """How many lots, and requests that end, the next commit writes."""
        return len(self.queued) + sum(len(end.block) for end in self.ended)

    def spread(self) -> None:
        """Give all requests rows: queued ones with the next commit, and those that have ended, and are on disk, now."""
        for lot in [*self._queued.values(), *self.queued]:
            if lot.left:
                self._rows_of["add_request"].extend(self._rows(lot))
                self._drop(lot, lot.left)
        self._spread_ended(list(self._ended))

    def records(self, *, asked: bool) -> tuple[list[Row], dict[str, list[Row]]]:
        """Rows of lots for the next commit, and rows by statement of requests that end and are to have their own.

        `asked`: that commit looks at rows of requests.
        """
        found: list[Row] = [(lot.ids[0], lot.ids[-1], pack(lot)) for lot in self.queued if lot.left]
        n = sum(len(end.block) for end in self.ended)
        self._adding = None
        if asked or n < TOGETHER or self._left + n > MOST:
            return found, self.rows()
        first = min([min(end.block.requests) for end in self.ended])
        last = max([max(end.block.requests) for end in self.ended])
        self._adding = -first, _Ended(n, last, frozenset([end.lot.socket for end in self.ended]))
        return [*found, (-first, last, pack_ends(self.ended))], {}

    def rows(self) -> dict[str, list[Row]]:
        """A row for each request that ends with the next commit, and for each result that made a call, by statement."""
        return _ended_rows(self.ended)

    def written(self) -> None:
        """Those are on disk now."""
        self._queued.update((lot.ids[0], lot) for lot in self.queued if lot.left)
        if self._adding is not None:
            key, kept = self._adding
            self._ended[key] = kept
            self._left += kept.n
            self._adding = None
        self.queued.clear()
        self.ended.clear()

    def clear(self) -> None:
        """There are no requests any more."""
        for some in (self.queued, self._queued, self.ended, self._ended):
            some.clear()
        self._left = 0

    # -- before somebody reads ---------------------------------------------------------
    def before_reading(self, queued: bool) -> None:
        """Give requests that are on disk rows at once: those that have ended, and those that are `queued` too."""
        self.spread_ended()
        if queued and self._queued:
            self._spread_queued(list(self._queued.values()))

    def _spread_queued(self, lots: list[JobLot]) -> None:
        rows = [row for lot in lots for row in self._rows(lot)]
        # where one has ended that is not on disk yet, its lot stays until it is
        waits = bool(self._rows_of["add_request"] or self.ended)
        try:
            with self._store.transaction() as db:
                write_all(db, "add_request", rows)
                db.executemany(SQL["drop_lot"], [] if waits else [(lot.ids[0],) for lot in lots])
        except sqlite3.OperationalError as error:
            # a full disk, say, which the next commit shows: who looks now is told of what has rows
            log.warning("queued requests cannot be written: %s", error)
            return
        for lot in lots:
            lot.left = 0
        self._queued.clear()
        if waits:
            self._rows_of["drop_lot"].extend((lot.ids[0],) for lot in lots)

    def _rows(self, lot: JobLot) -> list[Row]:
        return lot.rows(lot.where(self.members(lot)))

    # -- read in columns ---------------------------------------------------------------
    def results(
        self, wanted: int, socket: int | None = None, among: tuple[int, int] | None = None
    ) -> Iterator[Results]:
        """In columns, the results of those that are on disk and have no rows.

        `wanted`: so many are wanted: where that is few of those looked at, these get rows instead, and the next
        question finds them there. `socket`: of this socket alone. `among`: the first and the last that are of interest.
        """
        keys = [key for key, kept in self._ended.items() if socket is None or socket in kept.sockets]
        if among is not None:
            keys = [key for key in keys if -key <= among[1] and self._ended[key].last >= among[0]]
        if wanted * FEW < sum([self._ended[key].n for key in keys]):
            self._try_spread(keys)
        for key in [key for key in keys if key in self._ended]:
            (body,) = self._store.connection.execute(SQL["get_lot"], (key,)).fetchone()
            yield from unpack_results(body, socket)

    def spread_ended(self, most: int = MOST) -> bool:
        """Give those that have ended rows, about so many, as far as the disk lets it; whether there are others.

        Where it is full, who looks is told of what has rows.
        """
        upto = accumulate([kept.n for kept in self._ended.values()], initial=0)
        return self._try_spread([key for key, before in zip(self._ended, upto, strict=False) if before < most])

    def _try_spread(self, keys: Sequence[int]) -> bool:
        try:
            self._spread_ended(keys)
        except sqlite3.OperationalError as error:
            log.warning("rows of requests that have ended cannot be written: %s", error)
            return False
        return bool(self._ended)

    def _spread_ended(self, keys: Sequence[int]) -> None:
        if not keys:
            return
        with self._store.transaction() as db:
            for key in keys:
                (body,) = db.execute(SQL["get_lot"], (key,)).fetchone()
                _spread(db, body)
            db.executemany(SQL["drop_lot"], [(key,) for key in keys])
        for key in keys:
            self._left -= self._ended.pop(key).n
        self._store.committed()


def _spread(db: sqlite3.Connection, body: bytes) -> None:
    """Give what has ended rows."""
    for name, rows in _ended_rows(unpack_ends(body)).items():
        write_all(db, name, rows)


def _ended_rows(ends: Iterable[End]) -> dict[str, list[Row]]:
    ended, passed = list[Row](), list[Row]()
    for end in ends:
        ended += end.rows()
        passed += end.passed_rows()
    return {"add_ended": ended, "add_passed": passed}


# -- the next engine -----------------------------------------------------------------
def read_back(store: Rows) -> None:
    """Give what is left of lots rows; of a lot that cannot be read nothing is known but which requests they were."""
    if not store.one("all_lots"):
        return
    lost: list[range] = []
    with store.transaction() as db:
        for key, last, body in db.execute(SQL["all_lots"]).fetchall():
            try:
                if key < 0:
                    # before those that are queued: what has ended is open no more
                    _spread(db, body)
                else:
                    write_all(db, "add_request", _open(db, key, last, body, lost))
            except FrameError as error:
                log.error("requests %s to %s cannot be read: %s", abs(key), last, error)
                store.meta[f"aside:requests {abs(key)} to {last}"] = f"they cannot be read ({error})"
                lost.append(range(abs(key), last + 1))
                continue
            db.execute(SQL["drop_lot"], (key,))


def reading(folder: Path, seconds: float, how: str = "mode=ro") -> sqlite3.Connection:
    """The database of a flow for who only reads it, and waits so long for who writes."""
    db = sqlite3.connect(f"file:{quote(str(folder / DATABASE))}?{how}", uri=True, timeout=seconds)
    # it may have come from anywhere
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def show(db: sqlite3.Connection) -> None:
    """Let who only reads a database that no engine has see the requests of lots among the others."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'lot'").fetchone():
        # made by an older version
        return
    lots = db.execute(SQL["all_lots"]).fetchall()
    if not lots:
        return
    # SQLite looks for a name here first
    db.execute("CREATE TEMP TABLE opened AS SELECT * FROM main.request WHERE 0")
    db.execute("CREATE TEMP VIEW request AS SELECT * FROM main.request UNION ALL SELECT * FROM temp.opened")
    try:
        for key, last, body in lots:
            if key < 0:
                name, rows = "add_ended", [row for end in unpack_ends(body) for row in end.rows()]
            else:
                name, rows = "add_request", _open(db, key, last, body)
            db.executemany(SQL[name].replace("INTO request", "INTO temp.opened"), rows)
        # such a table has the columns, and not what stands in them by default
        db.execute("UPDATE temp.opened SET tag = '', attempt = coalesce(attempt, 0), deaths = 0, emitted = 0")
    except FrameError as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _open(db: sqlite3.Connection, key: int, last: int, body: bytes, lost: Iterable[range] = ()) -> list[Row]:
    """Rows of the requests of a lot that have none."""
    there = {one for (one,) in db.execute("SELECT id FROM request WHERE id BETWEEN ? AND ?", (key, last))}
    there.update(*lost)
    lot = unpack(body)
    return lot.rows([at for at, one in enumerate(lot.ids) if one not in there])
