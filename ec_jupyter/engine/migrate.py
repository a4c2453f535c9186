"""Databases of older versions: the statements of each step, all in one transaction, a copy kept until it is through."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ec_jupyter.errors import StoreError

SCHEMA = 9  # the schema of new databases


def _without_slow_checks(db: sqlite3.Connection) -> None:
    # 2 to 3: SQLite made a table for each list of states, for each row; what is on disk stays the same, which is when
    # its documents allow the text of a table to be changed in place
    (version,) = db.execute("PRAGMA schema_version").fetchone()
    db.execute("PRAGMA writable_schema = ON")
    check = " CHECK (state IN ('waiting', 'queued', 'running', 'done', 'failed', 'cancelled', 'skipped'))"
    db.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, '') WHERE name = 'request'", (check,))
    db.execute(f"PRAGMA schema_version = {version + 1}")
    # read anew: what follows changes that text too
    db.execute("PRAGMA writable_schema = RESET")
    db.execute("DROP INDEX arrival_waiting")
    db.execute(
        "CREATE INDEX arrival_waiting ON arrival (party) "
        "WHERE state = 'waiting' OR state = 'shared' OR state = 'routing'"
    )


# what leads on from each older schema, but for the first: 2 to 3
STEPS: dict[int, tuple[str, ...]] = {
    2: (),
    # small values stand in the rows of requests from now on; those that have rows keep them, and so do runs
    3: (
        *(f"ALTER TABLE request ADD COLUMN {column}" for column in ("inputs BLOB", "bytes BLOB", "type TEXT")),
        "CREATE TABLE passed (source INTEGER, plug INTEGER, request INTEGER NOT NULL, arrival INTEGER NOT NULL, "
        "argument TEXT NOT NULL, PRIMARY KEY (source, plug)) WITHOUT ROWID",
    ),
    4: (
        "CREATE TABLE statistic (at INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, "
        "PRIMARY KEY (at, kind, key)) WITHOUT ROWID",
    ),
    # queued requests that are alike have one row together until they end
    5: ("CREATE TABLE lot (id INTEGER PRIMARY KEY, last INTEGER NOT NULL, body BLOB NOT NULL)",),
    # what ended together has one row among those of queued lots, and what came alone is in a file of its own at first:
    # an older version would lose the results. What is there stays as it is
    6: (),
    7: ("CREATE TABLE rank (run INTEGER PRIMARY KEY, priority INTEGER NOT NULL)",),
    8: ("ALTER TABLE processor ADD COLUMN weight REAL NOT NULL DEFAULT 1",),
}


def check(found: int, folder: Path) -> None:
    """Refuse a schema that this version neither has nor can bring up to date."""
    if found not in (0, SCHEMA, *STEPS):
        raise StoreError(f"the flow in {folder} has schema {found}; this version of ec_jupyter reads {SCHEMA}")


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring a database to the newest schema; if a step fails, or the process is killed, it is as it was.

    `db`: of the database, in no transaction, its only writer. `path`: where it is; a copy stands beside it meanwhile
    (``flow.db.schema-2``).
    """
    (found,) = db.execute("PRAGMA user_version").fetchone()
    for older in STEPS:
        # of a migration whose process was killed after its last commit
        if older < found:
            _copy(path, older).unlink(missing_ok=True)
    if found == SCHEMA:
        return
    copy = _copy(path, found)
    _keep(db, copy)
    db.execute("BEGIN IMMEDIATE")
    try:
        for schema in range(found, SCHEMA):
            if schema == 2:
                _without_slow_checks(db)
            for statement in STEPS[schema]:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    copy.unlink()


def _copy(path: Path, schema: int) -> Path:
    return path.with_name(f"{path.name}.schema-{schema}")


def _keep(db: sqlite3.Connection, copy: Path) -> None:
    fd = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.close(fd)
    try:
        with closing(sqlite3.connect(copy)) as kept:
            db.backup(kept)
    except BaseException:
        copy.unlink()
        raise
