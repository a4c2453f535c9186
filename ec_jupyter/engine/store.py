"""The flow's SQLite database: opened with care, written in one transaction a tick.

One connection, on the engine's loop thread; a second one checkpoints the log in a thread of its
own, so that no tick waits for a disk to sync what is not asked to be synced.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from ec_jupyter.engine import trust as trusting
from ec_jupyter.engine.disk import KEPT_BYTES, Checkpointer, Rewriter, log_of, size_of
from ec_jupyter.engine.folder import FLOWS, Folder, Hold, refusal
from ec_jupyter.engine.migrate import SCHEMA, check, migrate
from ec_jupyter.engine.rows import SQL, TABLES, Rows
from ec_jupyter.errors import StoreDamagedError, StoreError, StoreFullError, StoreReadOnlyError
from ec_jupyter.nodes.values import sync_to_disk

FREE_BYTES = 1 << 20  # so much may stay free in a database, and a quarter of it
STEP_PAGES = 500  # given back at once
WHOLE_BYTES = 16 << 20  # an older database with no more content than this is written anew at once, in some 0.1 s
ROOM_BYTES = 1 << 16  # on a disk with less, the shared memory beside a database cannot be made
_MEMORY = ("SQLITE_IOERR_NOMEM", "SQLITE_IOERR_SHMMAP", "SQLITE_IOERR_MMAP")
_NETWORK = {"nfs", "nfs4", "afs", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph"}


class Store(Rows):
    """The database of one flow, owned by this process alone.

    `folder`: the flow's folder; made, private to the user, if it is not there. Raises StoreLockedError: another engine
    owns the flow; names its process and host; StoreReadOnlyError, StoreFullError, StoreDamagedError, StoreError: the
    folder or database cannot be used; nothing in it was changed.
    """

    def __init__(self, folder: Path, durability: str = "process") -> None:
        self.path = folder / "flow.db"
        super().__init__(folder)
        self._closed = _Closed(self.path)
        make_folder(folder)
        self.hold = Hold(folder)
        self._network = network = networked(folder)
        self._durability = durability  # "process" survives the death of any process, "power" also a power cut
        self._rewriter = None if network else Rewriter(self.path)
        try:
            self._look(network)
            self._connect()
            self.hold.take_database(network=network)
            self._closed.remove()
            self._set_up()
            self.meta = self._prepare()
        except BaseException as error:
            if hasattr(self, "connection"):
                self.connection.close()
            self.hold.close()
            if isinstance(error, sqlite3.Error):
                raise self.explain(error) from error
            raise
        self._begin()

    def _look(self, network: bool) -> None:
        """Refuse what cannot be used before anything is written: SQLite itself removes the log of an empty database.

        All of it is read only where it is not as its last engine left it when it ended well.
        """
        self.hold.check_database()
        refuse_emptied(self.folder)
        if not self.path.exists():
            return
        # one that only reads changes nothing when it is closed either; it cannot own the database alone
        mode = "rw" if network else "ro"
        with closing(sqlite3.connect(f"file:{quote(str(self.path))}?mode={mode}", uri=True, timeout=10)) as db:
            if network:
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
            (found,) = db.execute("PRAGMA user_version").fetchone()
            check(found, self.folder)
            if not self._closed.holds():
                (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError(" ".join(found.split()))

    def _connect(self) -> None:
        self.connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        os.chmod(self.path, 0o600)

    def _begin(self) -> None:
        """Have the log moved into the database as it grows; all files are there by now."""
        self._checkpointer = None if self._network else Checkpointer(self.path)
        self.hold.settle()

    def _let_go(self) -> None:
        """End the other connections."""
        if self._rewriter is not None:
            self._rewriter.stop()
        if self._checkpointer is not None:
            self._checkpointer.close()

    def mend(self) -> None:
        """Make the log and the memory beside the database anew, one of which somebody has removed or replaced.

        Raises sqlite3.Error: what the lost log held cannot be written into the database, or that not opened again.
        """
        self._let_go()
        # this connection still has them open
        busy, pages, moved = self.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        if busy or pages != moved:
            raise sqlite3.OperationalError("somebody reads it")
        self.connection.close()
        self._connect()
        self._set_up()
        self.connection.execute(SQL["put_meta"], ("epoch", self.meta["epoch"]))
        self._begin()

    def _set_up(self) -> None:
        db, network = self.connection, self._network
        if network:
            # no shared memory over a network: one owner, no readers beside it
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
        # of a new database; one that was made without it follows with the first VACUUM
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA journal_size_limit = {KEPT_BYTES}")
        db.execute(f"PRAGMA synchronous = {'FULL' if self._durability == 'power' else 'NORMAL'}")
        db.execute(f"PRAGMA wal_autocheckpoint = {1000 if network else 0}")
        db.execute("PRAGMA cache_size = -16384")

    def _prepare(self) -> dict[str, str]:
        (found,) = self.connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            self.connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        migrate(self.connection, self.path)
        return self._identify()

    def _identify(self) -> dict[str, str]:
        """Meta of the flow; a copied folder becomes a flow of its own."""
        meta = dict(self.rows("all_meta"))
        place = self.folder.stat()
        here = {"device": str(place.st_dev), "inode": str(place.st_ino)}
        self.new = any(meta.get(k) != v for k, v in here.items())
        if self.new:
            meta |= here | {"flow": uuid.uuid4().hex}
            # beside the database, so that an empty one is not taken for a new flow's
            (self.folder / "flow.id").write_text(meta["flow"] + "\n")
        meta["epoch"] = str(int(meta.get("epoch", 0)) + 1)
        # under which Python its tasks find their packages: whoever starts the next engine need not be that one
        meta["executable"] = sys.executable
        with self.transaction():
            self.connection.executemany(SQL["put_meta"], list(meta.items()))
        return meta

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A context that commits at its end, or changes nothing."""
        if self._rewriter is not None:
            self._rewriter.stop()
        with super().transaction() as db:
            yield db

    def board(self, name: str, size: int) -> mmap.mmap:
        """Shared memory in a file of the folder: it stands there however this process ends."""
        fd = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, size)
        found = mmap.mmap(fd, size)
        os.close(fd)
        return found

    def committed(self) -> None:
        """Tell the checkpointer that a transaction was written."""
        if self._checkpointer is not None:
            self._checkpointer.look()

    def rest(self) -> None:
        """Tell the checkpointer that nothing has been written for a while."""
        if self._checkpointer is not None:
            self._checkpointer.rest()

    def shrink(self, *, alone: bool) -> bool:
        """Give some of what is free in the database back to the disk, in milliseconds; whether there is more.

        `alone`: nobody is there to wait: a large older database may be written anew, which the next write ends.
        """
        free, pages, size, kind = (
            self.connection.execute(f"PRAGMA {word}").fetchone()[0]
            for word in ("freelist_count", "page_count", "page_size", "auto_vacuum")
        )
        if free * size < FREE_BYTES or free < pages // 4:
            return False
        content = (pages - free) * size
        try:
            if kind:
                # a script: of a statement without columns only one step is made, which frees one page
                self.connection.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")
            elif content < WHOLE_BYTES:
                self.connection.execute("VACUUM")
            else:
                if alone and self._rewriter is not None:
                    self._rewriter.start(content)
                return False
        except sqlite3.OperationalError:
            # a full disk, or a reader in the way: another time
            return False
        if self._checkpointer is not None:
            self._checkpointer.now()
        return bool(kind)

    def explain(self, error: sqlite3.Error) -> StoreError:
        """An SQLite error in the words of the person whose disk it is."""
        text = str(error)
        code = getattr(error, "sqlite_errorcode", 0)
        faulty = code & 0xFF == sqlite3.SQLITE_IOERR
        if code == sqlite3.SQLITE_FULL or "disk is full" in text or (faulty and self._crowded()):
            return StoreFullError(f"the disk under {self.folder} is full; free some space and the flow goes on")
        if faulty and error.sqlite_errorname in _MEMORY:
            return StoreError(
                f"the database {self.path} gets no memory ({error.sqlite_errorname}): "
                "raise the limit that the engine runs under (ulimit -v shows it), or end other programs"
            )
        if faulty:
            return StoreError(
                f"the disk under {self.folder} does not read or write ({error.sqlite_errorname}): "
                "see to it, and the flow goes on from what was written"
            )
        if "readonly" in text or "unable to open" in text:
            return StoreReadOnlyError(f"the flow in {self.folder} cannot be written ({text})")
        if type(error) is not sqlite3.DatabaseError:
            return StoreError(f"the database {self.path} cannot be used: {text}")
        return StoreDamagedError(
            f"the database {self.path} is damaged ({text}); it was left as it is: restore it from a copy"
        )

    def _crowded(self) -> bool:
        """Whether the disk has no room: SQLite calls it an I/O error where that ends its shared memory."""
        try:
            disk = os.statvfs(self.folder)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < ROOM_BYTES

    def close(self) -> None:
        """Write the log back and let go of the flow."""
        self._let_go()
        self.connection.close()
        self._closed.set()
        self.hold.close()


class _Closed:
    """The mark that a database was closed well, and has not changed since: its size and the time of its last change."""

    def __init__(self, path: Path) -> None:
        self._database, self._mark = path, path.with_name("flow.closed")

    def _state(self) -> str:
        found = self._database.stat()
        return f"{found.st_size} {found.st_mtime_ns}\n"

    def holds(self) -> bool:
        """Whether the database is as it was when it was closed well."""
        try:
            return not size_of(log_of(self._database)) and self._mark.read_text() == self._state()
        except (OSError, UnicodeDecodeError):
            return False

    def remove(self) -> None:
        """Take the mark away, for good, before anything is written."""
        if self._mark.exists():
            self._mark.unlink()
            sync_to_disk(self._mark.parent)

    def set(self) -> None:
        """Leave the mark, if nothing is left in the log."""
        with suppress(OSError):  # without it the next opening looks through the database
            if not size_of(log_of(self._database)):
                self._mark.write_text(self._state())


def refuse_emptied(folder: Path) -> None:
    """Let nobody open a database that lost its content: SQLite would remove the log beside it, which may hold all.

    Raises StoreDamagedError: the database is missing or empty, and was not; nothing was changed, and a copy of its log
    is kept.
    """
    database = folder / "flow.db"
    if size_of(database):
        return
    how, log = "empty" if database.exists() else "missing", log_of(database)
    if size_of(log):
        kept = log.with_name(log.name + ".kept")
        with suppress(OSError):  # a full disk, say: the log itself is where it was
            if not kept.exists():
                shutil.copy2(log, kept)
        copied = f" (copied to {kept.name})" if kept.exists() else ""
        raise StoreDamagedError(
            f"the database {database} is {how}, and its log {log.name}{copied} holds what was written last; "
            f"both were left as they were: put flow.db back beside its log, or restore the folder from a copy"
        )
    if (folder / "flow.id").exists():
        raise StoreDamagedError(
            f"the database {database} is {how}, and was not; the folder was left as it is: "
            f"restore flow.db from a copy, or remove {folder} to begin anew"
        )


def make_folder(folder: Path, *, trust: bool = False) -> None:
    """Make the flow's folder, private and ignored by git; `trust` lets it run if it came from elsewhere.

    Raises StoreReadOnlyError, StoreFullError, StoreError: it cannot be made or written; UntrustedFlowError: it was made
    elsewhere or belongs to somebody else; nothing in it was changed.
    """
    try:
        if folder.parent.name == FLOWS:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Folder(folder) as place:
            (trusting.trust if trust else trusting.check)(place, folder)
            if place.owner == os.getuid():
                os.fchmod(place.fd, 0o700)
        (folder / "values").mkdir(exist_ok=True, mode=0o700)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission to write", str(folder))
    except OSError as error:
        raise refusal(folder, error) from error


def networked(folder: Path) -> bool:
    """Whether a folder is on another machine's disk."""
    return mount_type(folder) in _NETWORK


def mount_type(folder: Path) -> str:
    """The type of file system a folder is on; empty where that is not known."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    real = str(folder.resolve()) + "/"
    mounts = [line.split()[1:3] for line in lines]
    fits = [(len(point), kind) for point, kind in mounts if real.startswith(point.rstrip("/") + "/")]
    return max(fits)[1] if fits else ""
