"""Lots on disk: queued requests that are alike have one row together, and each its own once it ends or is needed.

A request of a lot is open as long as it has no row of its own: it gets one with its end, when something befalls it
alone (it fails, is cancelled, is claimed), and before anybody asks the database about requests. An engine that finds
lots gives all that is left of them rows before anything else.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ec_jupyter.engine.ended_lots import EndedLots, spread
from ec_jupyter.engine.hold import DATABASE
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.lot_bodies import pack, unpack, unpack_ends
from ec_jupyter.engine.rows import SQL, Rows, write_all
from ec_jupyter.errors import FrameError

log = logging.getLogger(__name__)

Row = Sequence[Any]


class OpenLots:
    """The lots of a flow whose requests have no rows of their own."""

    members: Callable[[JobLot], list[int]]  # requests of a lot that are open

    def __init__(self, rows: dict[str, list[Row]], ends: EndedLots, store: Rows) -> None:
        self._rows_of, self._ends, self._store = rows, ends, store  # `rows`: those of the next commit, by statement
        # those that are not on disk: what ends before the next commit is never written as open
        self.new: list[JobLot] = []
        self._kept: dict[int, JobLot] = {}

    def add(self, lot: JobLot) -> None:
        """Have a lot that was just made on disk with the next commit."""
        lot.left = len(lot.ids)
        self.new.append(lot)

    def ended(self, lot: JobLot, n: int) -> None:
        """So many requests of a lot get rows with the next commit."""
        lot.left -= n
        if not lot.left and self._kept.pop(lot.ids[0], None) is not None:
            self._rows_of["drop_lot"].append((lot.ids[0],))

    def alone(self, lot: JobLot, request: int) -> None:
        """Give a request a row: it is by itself from now on."""
        if lot.left:
            self._rows_of["add_request"].extend(lot.rows([lot.place(request)]))
            self.ended(lot, 1)

    # -- with a commit ---------------------------------------------------------------
    def records(self) -> list[Row]:
        """Rows of those that are not on disk and still open."""
        return [(lot.ids[0], lot.ids[-1], pack(lot)) for lot in self.new if lot.left]

    def written(self) -> None:
        """Those are on disk now."""
        self._kept.update((lot.ids[0], lot) for lot in self.new if lot.left)
        self.new.clear()

    def spread(self) -> None:
        """Give all requests rows with the next commit."""
        for lot in [*self._kept.values(), *self.new]:
            if lot.left:
                self._rows_of["add_request"].extend(self._rows(lot))
                self.ended(lot, lot.left)

    # -- before somebody reads ---------------------------------------------------------
    def spread_now(self) -> None:
        """Give all requests that are on disk rows, at once."""
        if not self._kept:
            return
        lots = list(self._kept.values())
        rows = [row for lot in lots for row in self._rows(lot)]
        # where one has ended that is not on disk yet, its lot stays until it is
        waits = bool(self._rows_of["add_request"] or self._ends.new)
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
        self._kept.clear()
        if waits:
            self._rows_of["drop_lot"].extend((lot.ids[0],) for lot in lots)

    def _rows(self, lot: JobLot) -> list[Row]:
        return lot.rows(lot.where(self.members(lot)))

    def clear(self) -> None:
        """There are no requests any more."""
        self.new.clear()
        self._kept.clear()


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
                    spread(db, body)
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
