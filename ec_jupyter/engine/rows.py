"""What is asked of a flow's database and written into it: the statements by name, without files, folders and locks."""

from __future__ import annotations

import json
import mmap
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
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

TABLES = _FILES.joinpath("schema.sql").read_text()
"""The script that makes the tables of a new database."""

OF_REQUESTS = frozenset(
    name for name, sql in SQL.items() if re.search(r"\b(FROM|JOIN|UPDATE) request\b", sql)
) - {"small_results", "values_in_rows", "queued", "spans", "spans_of_attempts"}
"""Statements that mean requests which may have no rows yet, beside ended ones and those that lie on disk alone."""

OF_PARTY = "coalesce(run.party, r.run)"
"""The party of a request `r`: that of its run, which is its own party where it has no row."""


class Rows:
    """Named statements over the database of a flow, wherever that lies.

    Parameters
    ----------
    folder : Path
        The flow's folder, where its value files are.

    Attributes
    ----------
    connection : sqlite3.Connection
        The one connection.
    before_reading : callable
        Gives each request a row.
    meta : dict of str to str
        What the flow knows of itself.
    """

    connection: sqlite3.Connection
    meta: dict[str, str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before_reading: Callable[[], None] = lambda: None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection for a question of its own: each request has a row."""
        self.before_reading()
        return self.connection

    def transaction(self) -> Transaction:
        """A context that commits at its end, or changes nothing."""
        return Transaction(self.connection)

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
        return self.db if name in OF_REQUESTS else self.connection

    def blob(self, sha256: str) -> bytes:
        """The bytes of a task or condition.

        Raises
        ------
        LookupError
            There is no such blob.
        """
        row = self.one("get_blob", (sha256,))
        if row is None:
            raise LookupError(f"no blob {sha256[:12]} in the flow")
        return bytes(row[0])

    def board(self, name: str, size: int) -> mmap.mmap:
        """Memory that the next engine finds as it was left."""
        raise NotImplementedError

    def committed(self) -> None:
        """Note that a transaction was written."""


class Transaction:
    """A transaction of one connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __enter__(self) -> sqlite3.Connection:
        self.db.execute("BEGIN IMMEDIATE")
        return self.db

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self.db.execute("COMMIT")
        finally:
            # a commit that found no room leaves its transaction open, and the next one could not begin
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")


def id_list(ids: Iterable[int]) -> str:
    """Ids as the one parameter of a query that reads them with json_each."""
    return json.dumps(list(ids))
