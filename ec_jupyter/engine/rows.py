"""What is asked of a flow's database and written into it: the statements by name, without files, folders and locks."""

from __future__ import annotations

import json
import mmap
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

Parameters = Sequence[Any] | Mapping[str, Any]  # for `?`, or by the names in the statement


def named(text: str) -> dict[str, str]:
    """Statements of a ``.sql`` file by the names above them."""
    statements = {}
    for part in text.split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
        statements[name.strip()] = "\n".join(lines).strip().rstrip(";")
    return statements


_FILES = Path(__file__).parent

SQL = named(_FILES.joinpath("queries.sql").read_text())

TABLES = _FILES.joinpath("schema.sql").read_text()  # the script that makes the tables of a new database
# rows that one statement inserts, where there are as many: each call of SQLite costs as much as a third of a row
ROWS = 32


def _together(statement: str) -> str | None:
    """An insert of `ROWS` rows instead of one; None of what is no plain insert."""
    head, values, row = statement.partition("VALUES ")
    plain = head.startswith("INSERT") and re.fullmatch(r"\([^()]+\)", row)
    return head + values + ", ".join([row] * ROWS) if plain else None


_TOGETHER = {name: many for name, one in SQL.items() if (many := _together(one)) is not None}

# statements that mean requests of which those that are queued may have no rows
OF_ENDED = frozenset({"values_in_rows", "spans", "spans_of_attempts"})
# statements that mean any request, or what results have made. What has no row is in memory where one goes on with a
# queue, or read beside
OF_REQUESTS = (
    frozenset(name for name, sql in SQL.items() if re.search(r"\b(FROM|JOIN|UPDATE) (request|passed)\b", sql))
    - OF_ENDED
    - {"queued", "small_results"}
)
# the party of a request `r`: that of its run, which is its own party where it has no row
OF_PARTY = "coalesce(run.party, r.run)"


class Rows:
    """Named statements over the database of a flow, wherever that lies."""

    connection: sqlite3.Connection  # the one connection
    meta: dict[str, str]  # what the flow knows of itself

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # the flow's folder, where its value files are
        # gives each request that has ended a row, and those that are queued too, if that is said
        self.before_reading: Callable[[bool], None] = lambda queued: None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection for a question of its own: each request has a row."""
        self.before_reading(True)
        return self.connection

    @property
    def ended(self) -> sqlite3.Connection:
        """The same of those that have ended: queued ones may have none."""
        self.before_reading(False)
        return self.connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A context that commits at its end, or changes nothing."""
        db = self.connection
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        finally:
            # a commit that found no room leaves its transaction open, and the next one could not begin
            if db.in_transaction:
                db.execute("ROLLBACK")

    def write(self, name: str, parameters: Parameters = ()) -> None:
        """Run one named statement in a transaction of its own."""
        with self.transaction() as db:
            db.execute(SQL[name], parameters)

    def rows(self, name: str, parameters: Parameters = ()) -> list[Any]:
        """All rows of a named query."""
        return self._of(name).execute(SQL[name], parameters).fetchall()

    def one(self, name: str, parameters: Parameters = ()) -> Any:
        """The first row of a named query, or None."""
        return self._of(name).execute(SQL[name], parameters).fetchone()

    def _of(self, name: str) -> sqlite3.Connection:
        return self.db if name in OF_REQUESTS else self.ended if name in OF_ENDED else self.connection

    def blob(self, sha256: str) -> bytes:
        """The bytes of a task or condition. Raises LookupError: there is no such blob."""
        row = self.one("get_blob", (sha256,))
        if row is None:
            raise LookupError(f"no blob {sha256[:12]} in the flow")
        return bytes(row[0])

    def board(self, name: str, size: int) -> mmap.mmap:
        """Memory that the next engine finds as it was left."""
        raise NotImplementedError

    def committed(self) -> None:
        """Note that a transaction was written."""


def id_list(ids: Iterable[int]) -> str:
    """Ids as the one parameter of a query that reads them with json_each."""
    return json.dumps(list(ids))


def write_all(db: sqlite3.Connection, name: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run a named statement with each of some rows, several at once where it inserts; how many rows it changed."""
    whole = 0
    if name in _TOGETHER:
        whole = len(rows) - len(rows) % ROWS
        for at in range(0, whole, ROWS):
            db.execute(_TOGETHER[name], list(chain.from_iterable(rows[at : at + ROWS])))
    return whole + db.executemany(SQL[name], rows[whole:]).rowcount
