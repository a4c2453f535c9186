"""A flow's folder by descriptor, and the engine's hold on it.

What is read and written is in that very folder, whatever its path leads to. Its engine holds it: no other engine has
it, and the folder is where it was. The lock file names the owner for people. The database is locked as well, so that
removing the lock file lets no second engine in. Whether all is where it was costs one look at the folder, which tells
when a name in it came, went or changed.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from ec_jupyter.errors import StoreError, StoreFullError, StoreLockedError, StoreLostError, StoreReadOnlyError

log = logging.getLogger(__name__)

FLOWS = ".ec_jupyter"  # folder beside the notebook that holds its flows
LOCK = "engine.lock"
DATABASE = "flow.db"
BESIDE = (f"{DATABASE}-wal", f"{DATABASE}-shm")  # what SQLite keeps beside the database
SETTLED_NS = 100_000_000  # a folder changed longer ago shows every further change: the clock it notes is coarse
_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Folder:
    """An open folder; links in it are not followed. Raises OSError: there is none of that name, or it is a link."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
        state = os.fstat(self.fd)
        self.owner = state.st_uid  # the user it belongs to
        self.identity = f"{state.st_dev}:{state.st_ino}"  # device and inode: which folder it is, wherever it is moved

    def read(self, name: str, limit: int = 4096) -> bytes:
        """The first bytes of a small file. Raises OSError: it is not there, is no file, or is a stranger's."""
        fd = os.open(name, os.O_RDONLY | _OPEN, dir_fd=self.fd)
        with open(fd, "rb") as file:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode) or state.st_uid not in (os.getuid(), self.owner):
                raise PermissionError(errno.EPERM, "it is not this user's file", name)
            return file.read(limit)

    def write(self, name: str, data: bytes) -> None:
        """Write a file that only its owner can read, whole or not at all; it takes the place of an older one."""
        beside = f"{name}.{os.getpid()}"
        self.remove(beside)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=self.fd)
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(beside, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def locked(fd: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file, if nobody else has it locked; whether it is."""
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def place_of(path: Path, *, follow: bool) -> tuple[int, int] | None:
    """Which file or folder a path leads to now, a link itself unless they are followed; None if there is none."""
    try:
        state = os.stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino


def refusal(folder: Path, error: OSError, undone: str = "") -> StoreError:
    """Why a flow's folder cannot be used, to the person whose it is; `undone`, as ``"nothing was submitted"``."""
    if isinstance(error, StoreError):
        return error
    what = f"{folder / str(error.filename2 or error.filename or '')}: {error.strerror or error}"
    undone = undone and f"; {undone}"
    if error.errno in _FULL:
        return StoreFullError(f"the disk under {folder} is full{undone}: free some space first")
    if error.errno in _READ_ONLY:
        return StoreReadOnlyError(f"the flow's folder {folder} cannot be written ({what}){undone}")
    return StoreError(f"the flow in {folder} cannot be used ({what}){undone}: put that right, or move it away")


# -- the hold of an engine -------------------------------------------------------
class Hold:
    """Locks the flow for this process, however that ends. Raises StoreError: another has it, or the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = path / DATABASE
        self._fd = -1
        self._marks: dict[str, tuple[int, int] | None] = {}
        self._seen: tuple[int, int, int] | None = None
        try:
            self.folder = Folder(path)
            self._lock = self._lock_file()
        except OSError as error:
            if hasattr(self, "folder"):
                self.folder.close()
            raise refusal(path, error) from error

    def _lock_file(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(LOCK, flags, 0o600, dir_fd=self.folder.fd)
        if not locked(fd):
            owner = os.read(fd, 500).decode(errors="replace")
            os.close(fd)
            raise self._refusal(owner)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        return fd

    def _refusal(self, owner: str = "") -> StoreLockedError:
        return StoreLockedError(f"the flow in {self.path} is run by another engine ({owner.strip() or 'unknown'})")

    def check_database(self) -> None:
        """See that the database, where there is one, is a file and no link. Raises StoreError: it is something else."""
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(self._database).st_mode):
                raise StoreError(f"{self._database} is no file of its own; a flow's database cannot be a link")

    def take_database(self, *, network: bool) -> None:
        """Lock the database, also where somebody removed the lock file; over a network SQLite's own lock does that."""
        # never closed before SQLite has closed its own: that would end the locks SQLite has on the file
        self._fd = os.open(self._database, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if not network and not locked(self._fd):
            raise self._refusal()

    def settle(self) -> None:
        """Note which files the database and those beside it are: there are no others for this engine."""
        self._marks, self._seen = {name: self._place(name) for name in (DATABASE, *BESIDE)}, None

    def _place(self, name: str) -> tuple[int, int] | None:
        return place_of(self.path / name, follow=False)

    def missing(self, *, surely: bool = False) -> list[str]:
        """Which files are not where they were; `surely`: the folder may not show a change, as over a network."""
        try:
            state = os.lstat(self.path)
            seen = (state.st_dev, state.st_ino, state.st_mtime_ns)
            if seen == self._seen and not surely:
                return []
            missing = [name for name, place in self._marks.items() if place and self._place(name) != place]
        except (FileNotFoundError, NotADirectoryError):
            return [*self._marks]
        except OSError:
            # a file system that does not answer has lost nothing yet
            return []
        self._seen = seen if not missing and time.time_ns() - state.st_mtime_ns > SETTLED_NS else None
        return missing

    def lost(self) -> StoreLostError:
        """What has become of the folder or the database, which is not where it was."""
        try:
            state = os.lstat(self.path)
            same = f"{state.st_dev}:{state.st_ino}" == self.folder.identity
        except OSError:
            state, same = None, False
        if same:
            what = f"the database {self._database} of the flow was removed or replaced"
            return StoreLostError(f"{what}; its engine keeps nothing more")
        where = moved_to(self.folder.fd)
        if where:
            what = f"the folder {self.path} of the flow was moved to {where}"
            return StoreLostError(f"{what}; ec.flow(folder='{where}') opens it")
        what = "replaced by another" if state else "removed, with all that it held"
        return StoreLostError(f"the folder {self.path} of the flow was {what}; its engine keeps nothing more")

    def renew(self) -> None:
        """Make the lock file anew if somebody has removed it."""
        try:
            if os.path.samestat(os.lstat(self.path / LOCK), os.fstat(self._lock)):
                return
        except FileNotFoundError:
            pass
        try:
            fresh = self._lock_file()
        except OSError as error:
            # an engine that was just started has it, and finds the database locked: it goes away again
            log.warning("%s was removed and cannot be made anew: %s", LOCK, error)
            return
        log.warning("%s was removed, and is made anew", LOCK)
        os.close(self._lock)
        self._lock = fresh

    def close(self) -> None:
        """Let go of the flow; after SQLite has."""
        if self._fd >= 0:
            os.close(self._fd)
        os.close(self._lock)
        self.folder.close()


def moved_to(fd: int) -> Path | None:
    """Where an open folder is now; None if it was removed, or the system does not tell."""
    with suppress(OSError):
        path = os.readlink(f"/proc/self/fd/{fd}")
        if os.path.samestat(os.lstat(path), os.fstat(fd)):
            return Path(path)
    return None
