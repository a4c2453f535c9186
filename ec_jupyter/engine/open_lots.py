"""Lots on disk: queued requests that are alike have one row together, and each its own once it ends or is needed.

A request of a lot is open as long as it has no row of its own: it gets one with its end, when something befalls it
alone (it fails, is cancelled, is claimed), and before anybody asks the database about requests. An engine that finds
lots gives all that is left of them rows before anything else.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol

from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.rows import SQL, Rows
from ec_jupyter.errors import FrameError

log = logging.getLogger(__name__)

_HEAD = struct.Struct("<II")  # bytes of the JSON, and requests

Row = Sequence[Any]


class Writer(Protocol):
    """Takes rows that are written with the next commit."""

    rows: dict[str, list[Row]]

    def add(self, name: str, row: Row) -> None:
        """Write a row with one of the hot statements."""

    def add_all(self, name: str, rows: Iterable[Row]) -> None:
        """Write rows with one of the hot statements."""


class OpenLots:
    """The lots of a flow whose requests have no rows of their own.

    Parameters
    ----------
    journal : Writer
        What is to be written.
    store : Rows
        The flow's database.

    Attributes
    ----------
    new : list of JobLot
        Those that are not on disk: what ends before the next commit is never written as open.
    members : callable
        Requests of a lot that are open.
    """

    members: Callable[[JobLot], list[int]]

    def __init__(self, journal: Writer, store: Rows) -> None:
        self._journal, self._store = journal, store
        self.new: list[JobLot] = []
        self._kept: dict[int, JobLot] = {}
        store.before_reading = self.spread_now

    def add(self, lot: JobLot) -> None:
        """Have a lot that was just made on disk with the next commit."""
        lot.left = len(lot.ids)
        self.new.append(lot)

    def ended(self, lot: JobLot, n: int) -> None:
        """So many requests of a lot get rows with the next commit."""
        lot.left -= n
        if not lot.left and self._kept.pop(lot.ids[0], None) is not None:
            self._journal.add("drop_lot", (lot.ids[0],))

    def alone(self, lot: JobLot, request: int) -> None:
        """Give a request a row: it is by itself from now on."""
        if lot.left:
            self._journal.add_all("add_request", lot.rows([lot.place(request)]))
            self.ended(lot, 1)

    # -- with a commit ---------------------------------------------------------------
    def records(self) -> list[Row]:
        """Rows of those that are not on disk and still open."""
        return [(lot.ids[0], lot.ids[-1], _body(lot)) for lot in self.new if lot.left]

    def written(self) -> None:
        """Those are on disk now."""
        self._kept.update((lot.ids[0], lot) for lot in self.new if lot.left)
        self.new.clear()

    def spread(self) -> None:
        """Give all requests rows with the next commit."""
        for lot in [*self._kept.values(), *self.new]:
            if lot.left:
                self._journal.add_all("add_request", self._rows(lot))
                self.ended(lot, lot.left)

    # -- before somebody reads ---------------------------------------------------------
    def spread_now(self) -> None:
        """Give all requests that are on disk rows, at once."""
        if not self._kept:
            return
        lots = list(self._kept.values())
        rows = [row for lot in lots for row in self._rows(lot)]
        # where one has ended that is not on disk yet, its lot stays until it is
        waits = any(self._journal.rows[name] for name in ("add_ended", "add_request"))
        try:
            with self._store.transaction() as db:
                db.executemany(SQL["add_request"], rows)
                db.executemany(SQL["drop_lot"], [] if waits else [(lot.ids[0],) for lot in lots])
        except sqlite3.OperationalError as error:
            # a full disk, say, which the next commit shows: who looks now is told of what has rows
            log.warning("queued requests cannot be written: %s", error)
            return
        for lot in lots:
            lot.left = 0
        self._kept.clear()
        if waits:
            self._journal.add_all("drop_lot", [(lot.ids[0],) for lot in lots])

    def _rows(self, lot: JobLot) -> list[Row]:
        return lot.rows(lot.where(self.members(lot)))

    def clear(self) -> None:
        """There are no requests any more."""
        self.new.clear()
        self._kept.clear()


# -- the next engine -----------------------------------------------------------------
def read_back(store: Rows) -> None:
    """Give what is left of lots rows; of a lot that cannot be read nothing is known but which requests they were."""
    found = store.rows("all_lots")
    if not found:
        return
    with store.transaction() as db:
        for first, last, body in found:
            try:
                rows = _open(db, first, last, body)
            except FrameError as error:
                log.error("requests %s to %s cannot be read: %s", first, last, error)
                store.meta[f"aside:requests {first} to {last}"] = f"they cannot be read ({error})"
                continue
            db.executemany(SQL["add_request"], rows)
            db.execute(SQL["drop_lot"], (first,))


def show(db: sqlite3.Connection) -> None:
    """Let who only reads a database that no engine has see the requests of lots among the others."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'lot'").fetchone():
        # made by an older version
        return
    try:
        rows = [row for lot in db.execute(SQL["all_lots"]).fetchall() for row in _open(db, *lot)]
    except FrameError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    if rows:
        # SQLite looks for a name here first
        db.execute("CREATE TEMP TABLE opened AS SELECT * FROM main.request WHERE 0")
        db.executemany(SQL["add_request"].replace("INTO request", "INTO temp.opened"), rows)
        db.execute("CREATE TEMP VIEW request AS SELECT * FROM main.request UNION ALL SELECT * FROM temp.opened")


def _open(db: sqlite3.Connection, first: int, last: int, body: bytes) -> list[Row]:
    """Rows of the requests of a lot that have none."""
    there = {key for (key,) in db.execute("SELECT id FROM main.request WHERE id BETWEEN ? AND ?", (first, last))}
    lot = _read(body)
    return lot.rows([at for at, key in enumerate(lot.ids) if key not in there])


def _body(lot: JobLot) -> bytes:
    """A lot in columns."""
    n = len(lot.ids)
    head = json.dumps(
        [lot.socket, lot.hops, lot.revision, lot.created, lot.names, lot.types, lot.given is not None]
    ).encode()
    numbers: list[Sequence[int]] = [lot.ids, lot.runs, *(column for pair in lot.given or () for column in pair)]
    parts = [_HEAD.pack(len(head), n), head, *(struct.pack(f"<{n}q", *column) for column in numbers)]
    for column in lot.columns if lot.given is None else ():
        parts += (struct.pack(f"<{n}I", *map(len, column)), *column)
    return b"".join(parts)


def _read(body: bytes) -> JobLot:
    """A lot of such a body; its parties are not in it.

    Raises
    ------
    FrameError
        It is none.
    """
    try:
        size, n = _HEAD.unpack_from(body)
        start = _HEAD.size + size
        socket, hops, revision, created, names, types, came = json.loads(body[_HEAD.size : start])
        wide = 2 + 2 * len(names) * came
        numbers = list(_numbers(body, start, wide, n))
        ids, runs, *rest = numbers
        given = list(zip(rest[::2], rest[1::2], strict=True)) if came else None
        columns = [] if came else list(_values(body, start + 8 * n * wide, len(names), n))
    except (ValueError, TypeError, struct.error) as error:
        raise FrameError(f"{type(error).__name__}: {error}") from error
    lot = JobLot(socket, ids, runs, runs, tuple(names), types, columns, created, given, hops)
    lot.revision = revision
    return lot


def _numbers(body: bytes, at: int, wide: int, n: int) -> Iterator[tuple[int, ...]]:
    for i in range(wide):
        yield struct.unpack_from(f"<{n}q", body, at + 8 * n * i)


def _values(body: bytes, at: int, wide: int, n: int) -> Iterator[list[bytes]]:
    for _ in range(wide):
        ends = list(accumulate(struct.unpack_from(f"<{n}I", body, at), initial=at + 4 * n))
        at = ends[-1]
        if at > len(body):
            raise ValueError("it is cut short")
        yield [body[i:j] for i, j in pairwise(ends)]
