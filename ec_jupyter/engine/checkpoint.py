"""Keeps a flow's database small beside the loop: its log is moved into it, and an older one is written anew."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path

CHECKPOINT_BYTES = 8 << 20
CHECKPOINT_AGAIN = 0.5  # seconds after a reader held more than that back
REWRITE_AGAIN = 30.0  # seconds from one attempt to write a larger one anew to the next


def log_of(database: Path) -> Path:
    """The write-ahead log of a database."""
    return Path(f"{database}-wal")


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Checkpointer:
    """Moves the log into the database in a thread, once it has grown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = log_of(path)
        self._wanted = threading.Event()
        self._over = False
        self._looks = 0
        self._thread = threading.Thread(target=self._run, name="ec-checkpoint", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """A transaction was written: move the log soon where it has grown."""
        self._looks += 1
        if self._looks % 64 == 0 and size_of(self._log) > CHECKPOINT_BYTES:
            self._wanted.set()

    def now(self) -> None:
        """Move what there is soon: only then the database's file gets smaller."""
        self._wanted.set()

    def _run(self) -> None:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        again: float | None = None
        # looks again by itself where a reader held the rest back: there may be no further commit
        while (self._wanted.wait(again), not self._over)[1]:
            self._wanted.clear()
            again = None
            try:
                # passive: takes what no reader or writer holds, and never makes them wait
                _, pages, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.OperationalError:
                # a full disk shows at the next commit, which tells the person
                continue
            if (pages - moved) * page_bytes > CHECKPOINT_BYTES:
                again = CHECKPOINT_AGAIN
        db.close()

    def close(self) -> None:
        """End the thread."""
        self._over = True
        self._wanted.set()
        self._thread.join()


class Rewriter:
    """Writes a database anew in a thread, so that it can give pages back from then on; gives way to any other write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._thread = threading.Thread()
        self._next = 0.0

    def start(self, content: int) -> None:
        """Begin, if it does not run, did not a moment ago, and the disk has room for the content twice more."""
        room = shutil.disk_usage(self._path.parent).free > 2 * content
        if self._thread.is_alive() or not room or time.monotonic() < self._next:
            return
        self.stop()
        self._next = time.monotonic() + REWRITE_AGAIN
        self._db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        self._thread = threading.Thread(target=self._run, args=(self._db,), name="ec-rewrite", daemon=True)
        self._thread.start()

    @staticmethod
    def _run(db: sqlite3.Connection) -> None:
        # ended by a write, no room for the copy, or a reader in the way: the database is as it was, until another time
        with suppress(sqlite3.OperationalError):
            # the log is synced with what comes next
            for setting in ("synchronous = NORMAL", "wal_autocheckpoint = 0", "auto_vacuum = INCREMENTAL"):
                db.execute(f"PRAGMA {setting}")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def stop(self) -> None:
        """End it: the database is as it was, or wholly rewritten where only copying it back was left to do."""
        if self._db is None:
            return
        while self._thread.is_alive():
            self._db.interrupt()
            self._thread.join(0.001)
        self._db.close()
        self._db = None
