"""A flow's folder by descriptor: what is read and written is in that very folder, whatever its path leads to."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Self

from ec_jupyter.errors import StoreError, StoreFullError, StoreReadOnlyError

FLOWS = ".ec_jupyter"  # folder beside the notebook that holds its flows
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
