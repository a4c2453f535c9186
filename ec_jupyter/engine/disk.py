"""The room that a flow takes on the disk: told at once, though looked at rarely; and kept small, beside the loop.

The log is moved into the database, and an older database is written anew.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# bytes of a flow's files: of its ``database``, its ``values``, its ``logs`` (all else), and in ``total``
Sizes = dict[str, int]
FEW = 64  # so many files are looked at while somebody waits, which takes 0.2 ms
REST_SECONDS = 5.0
SHARE = 100  # what was looked at stands for 5 s, or for this many times as long as the look took
_DATABASE, _VALUES = "flow.db", "values"
KEPT_BYTES = 8 << 20  # so many bytes of a log that was moved stay on disk, to be written again
MOST_BYTES = 64 << 20  # a longer log is moved while its flow is at work: that takes CPUs and disk from the calls
HELD_BACK_AGAIN = 0.5  # seconds after a reader held more than `KEPT_BYTES` back
RESTARTS = 50  # attempts to have a long log begin anew, between two transactions
RESTART_AGAIN = 0.002  # seconds between them
REWRITE_AGAIN = 30.0  # seconds from one attempt to write a larger one anew to the next


def measured(folder: Path, most: int | None = None) -> Sizes | None:
    """What a flow's files take; None where there are more than `most` of them, OSError where they cannot be read."""
    found = {"database": 0, "values": 0, "logs": 0}
    for n, (kind, size) in enumerate(_files(folder), 1):
        if most is not None and n > most:
            return None
        found[kind] += size
    return {**found, "total": sum(found.values())}


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Kind and bytes of each file; of links nothing."""
    todo = [("", folder)]
    while todo:
        kind, place = todo.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append((kind or ("values" if entry.name == _VALUES else "logs"), Path(entry.path)))
                    continue
                try:
                    size = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    # it went while we looked
                    continue
                yield kind or ("database" if entry.name.startswith(_DATABASE) else "logs"), size


class Disk:
    """How large the flow in a folder is, as of a while ago."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: Sizes | None = None
        self._next = 0.0

    def size(self) -> Sizes | None:
        """What is known by now; of many files they are counted in a thread, and None is known before the first time."""
        began = time.monotonic()
        if began >= self._next:
            self._next = began + REST_SECONDS
            if not self._look(FEW):
                self._next = float("inf")
                threading.Thread(target=self._look_at_all, name="ec-disk", daemon=True).start()
        return self._known

    def _look(self, most: int | None) -> bool:
        """Take the size, where there are no more files than that."""
        try:
            found = measured(self._folder, most)
        except OSError:
            # the folder goes; whoever stops the engine for that says so
            return True
        self._known = found or self._known
        return found is not None

    def _look_at_all(self) -> None:
        began = time.monotonic()
        self._look(None)
        ended = time.monotonic()
        self._next = ended + max(REST_SECONDS, SHARE * (ended - began))


# -- kept small ------------------------------------------------------------------
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
    """Moves the log into the database in a thread: once the flow rests, and while it is at work where it is long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = log_of(path)
        self._wanted = threading.Event()
        self._over = False
        self._written = 0  # transactions since the log was last to be moved
        self._thread = threading.Thread(target=self._run, name="ec-checkpoint", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """A transaction was written: move the log soon where it is long."""
        self._written += 1
        if self._written % 64 == 0 and size_of(self._log) > MOST_BYTES:
            self.now()

    def rest(self) -> None:
        """Nothing has been written for a while: move what there is, if it is worth it."""
        if self._written and size_of(self._log) > KEPT_BYTES // 8:
            self.now()

    def now(self) -> None:
        """Move what there is soon: only then the database's file gets smaller."""
        self._written = 0
        self._wanted.set()

    def _run(self) -> None:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        db.execute("PRAGMA busy_timeout = 0")
        again: float | None = None
        # looks again by itself where a reader held the rest back: there may be no further commit
        while (self._wanted.wait(again), not self._over)[1]:
            self._wanted.clear()
            try:
                left = self._move(db) * page_bytes
            except sqlite3.OperationalError:
                # a full disk shows at the next commit, which tells the person
                left = 0
            again = HELD_BACK_AGAIN if left > KEPT_BYTES else None
        db.close()

    def _move(self, db: sqlite3.Connection) -> int:
        """Move the log; how many of its pages are left."""
        # passive: takes what no reader or writer holds, and never makes them wait
        _, pages, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        for _ in range(RESTARTS if size_of(self._log) > MOST_BYTES else 0):
            # what was written meanwhile is little: a transaction waits for it, for else the log would grow on and on
            busy, pages, moved = db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if not busy:
                # the next transaction begins it anew, and makes it shorter
                break
            time.sleep(RESTART_AGAIN)
        return int(pages - moved)

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
