"""Submits that clients have written down themselves, so that accepting one costs no round trip.

A client appends each submit to a log of its own in the flow's folder before it sends it: from then
on it is accepted, whoever dies. The engine takes submits from the connection; it reads a log when
its client is gone, and all logs when it starts, and takes what it has not taken yet. Frames of
one client are numbered, and which was taken last is written with what it led to.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ec_jupyter.errors import EcError, FrameError, to_wire
from ec_jupyter.flow.schema import ID
from ec_jupyter.wire import FrameReader, Header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ec_jupyter.engine.clients import Connection
    from ec_jupyter.engine.loop import Engine

log = logging.getLogger(__name__)


class Absent:
    """Stands for a client that is gone: what it would have been told goes nowhere."""

    name = ""

    def __init__(self, client: str) -> None:
        self.id = client

    def reply(self, header: Header, buffers: Iterable[bytes] = (), *, to: Header) -> None:
        """Tell nobody."""

    def accepted(self, frame: int, requests: list[int]) -> None:
        """Tell nobody."""

    def refuse(self, error: EcError, *, to: Header) -> None:
        """Tell nobody."""


class SubmitLogs:
    """The clients' logs of one flow.

    Attributes
    ----------
    last : dict of str to int
        The last submit taken from each client.
    deferred : list
        Submits that came while the disk took nothing.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.folder = inbox_folder(engine.folder)
        self.last: dict[str, int] = dict(engine.store.rows("all_clients"))
        self._left: set[str] = set()
        self.deferred: list[tuple[Connection | Absent, Header, list[bytes]]] = []

    def taken(self, client: str, frame: int) -> None:
        """Note that a submit was taken; its answer, written with the tick, says so on disk."""
        self.last[client] = frame

    def resume(self) -> None:
        """Take the submits that came while nothing could be written."""
        from ec_jupyter.engine.rpc import submit

        deferred, self.deferred = self.deferred, []
        for client, header, buffers in deferred:
            submit(self.engine, client, header, buffers)

    def read_all(self) -> None:
        """Take what is left in every log; those whose client is gone are removed once it is on disk."""
        logs = {path.stem for path in self.folder.glob("*.log")}
        for client in sorted(logs):
            self.read(client)
        for client in self.last.keys() - logs:
            self._forget(client)

    def read(self, client: str) -> None:
        """Take what one client has written down and the engine has not seen."""
        path = self.folder / f"{client}.log"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            # it hung up with nothing left to say
            self._forget(client)
            return
        gone = _lock(fd)
        if not gone:
            # it is just ending, or will be back
            self._left.add(client)
        with open(fd, "rb") as stream:
            # an unfinished frame at the end was never accepted: its client died writing it
            for header, buffers in _frames(stream.read(), path):
                if header["k"] == "submit" and ID.fits(header.get("n")) and header["n"] > self.last.get(client, 0):
                    self._take(Absent(client), header, buffers)
        if gone and self.engine.stalled is None:
            self.engine.after(lambda: self._remove(path, client))

    def look_again(self) -> None:
        """See whether those who had hung up and lived still are gone by now."""
        back = {connection.id for connection in self.engine.clients.all}
        left, self._left = self._left - back, set()
        for client in left:
            self.read(client)

    def _take(self, client: Absent, header: Header, buffers: list[bytes]) -> None:
        from ec_jupyter.engine.rpc import defect, submit

        try:
            submit(self.engine, client, header, buffers)
        except Exception as error:
            # no other frame has to wait for this one
            log.exception("submit %s of client %s", header["n"], client.id)
            refused = to_wire(defect(f"submit {header['n']}", error))
            self.engine.core.journal.answer(client.id, header["n"], {"refused": refused})

    def _remove(self, path: Path, client: str) -> None:
        path.unlink(missing_ok=True)
        self._forget(client)

    def _forget(self, client: str) -> None:
        """Drop the answers to a client that will not ask again."""
        if self.last.pop(client, None) is not None:
            self.engine.core.journal.step("drop_client", (client,))
            self.engine.schedule()


def _frames(data: bytes, path: Path) -> list[tuple[Header, list[bytes]]]:
    try:
        return FrameReader().feed(data)
    except FrameError as error:
        # a live client cut its log while it was read; all it held had been answered
        log.warning("%s: %s", path, error)
        return []


def _lock(fd: int) -> bool:
    """Whether the client is gone: it holds the lock of its log as long as it lives."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def identity_of(secret: str) -> str:
    """A client's identity, public; only who knows the secret that it is made of can say hello with it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


def inbox_folder(folder: Path) -> Path:
    """Where the clients of a flow keep their logs; made if need be."""
    submit_logs = folder / "inbox"
    submit_logs.mkdir(mode=0o700, exist_ok=True)
    return submit_logs
