"""The submit log of a client: a submit is appended before it is sent, and is accepted from then on."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ec_jupyter.engine.folder import refusal
from ec_jupyter.errors import StoreLostError

CUT_BYTES = 1 << 20
"""A log whose frames were all answered is emptied once it is larger than this."""


class SubmitLog:
    """An append-only file of frames, locked as long as this process lives.

    The engine reads it when the client is gone; `ec_jupyter.engine.submit_log` says how.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        state = os.fstat(self._fd)
        self._file = (state.st_dev, state.st_ino)
        self._size = 0

    def append(self, frame: bytes) -> None:
        """Append a frame, whole or not at all.

        Raises
        ------
        StoreFullError, StoreReadOnlyError
            It could not be written; the log is as it was.
        StoreLostError
            The flow's folder was removed, moved or replaced: the engine would not find what is written.
        """
        written = 0
        try:
            while written < len(frame):
                written += os.write(self._fd, frame[written:] if written else frame)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            error.filename = self.path
            raise refusal(self.path.parent.parent, error, "nothing was submitted") from error
        except BaseException:
            os.ftruncate(self._fd, self._size)
            raise
        if not self._found():
            os.ftruncate(self._fd, self._size)
            raise StoreLostError(
                f"the flow's folder {self.path.parent.parent} is not there any more; nothing was submitted"
            )
        self._size += len(frame)

    def _found(self) -> bool:
        """Whether the file is where the engine looks for it."""
        try:
            state = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (state.st_dev, state.st_ino) == self._file

    def cut(self, *, sure: bool) -> None:
        """Truncate a log whose frames were all answered (`sure`), if it has grown."""
        if sure and self._size > CUT_BYTES:
            os.ftruncate(self._fd, 0)
            self._size = 0

    def close(self, *, remove: bool) -> None:
        """Close the log; the engine takes what is left in it unless it is removed."""
        if remove:
            with suppress(FileNotFoundError):
                self.path.unlink()
        os.close(self._fd)

    def leave(self) -> None:
        """Close this forked process's copy of its parent's log."""
        os.close(self._fd)
