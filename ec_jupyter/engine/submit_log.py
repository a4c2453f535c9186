"""Submit logs: clients write submits to disk themselves, so that accepting one costs no round trip.

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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.parts import Asker, Clock
from ec_jupyter.errors import EcError, FrameError, defect, to_wire
from ec_jupyter.flow.schema import ID
from ec_jupyter.wire import FrameReader, Header

log = logging.getLogger(__name__)


class Submitter(Asker, Protocol):
    """Who has submitted something."""

    id: str

    def accepted(self, frame: int, requests: list[int]) -> None:
        """Answer a submit that is logged."""


Submit = Callable[[Submitter, Header, list[bytes]], None]
"""Takes in the requests of a frame."""


class Absent:
    """Stands for a client that is gone: what it would have been told goes nowhere."""

    here = False

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

    Parameters
    ----------
    core : Core
        The flow.
    clock : Clock
        The loop.

    Attributes
    ----------
    last : dict of str to int
        The last submit taken from each client.
    deferred : list
        Submits that came while the disk took nothing.
    """

    def __init__(self, core: Core, clock: Clock) -> None:
        self._core, self._clock = core, clock
        self.folder = submit_log_folder(core.store.folder)
        self.last: dict[str, int] = dict(core.store.rows("all_clients"))
        self._left: set[str] = set()
        self.deferred: list[tuple[Submitter, Header, list[bytes]]] = []

    def taken(self, client: str, frame: int) -> None:
        """Note that a submit was taken; its answer, written with the tick, says so on disk."""
        self.last[client] = frame

    def defer(self, client: Submitter, header: Header, buffers: list[bytes]) -> None:
        """Keep a submit until the disk takes something again."""
        self.deferred.append((client, header, buffers))

    def resume(self, submit: Submit) -> None:
        """Take the submits that came while nothing could be written."""
        deferred, self.deferred = self.deferred, []
        for client, header, buffers in deferred:
            submit(client, header, buffers)

    def read_all(self, submit: Submit) -> None:
        """Take what is left in every log; those whose client is gone are removed once it is on disk."""
        logs = {path.stem for path in self.folder.glob("*.log")}
        for client in sorted(logs):
            self.read(client, submit)
        for client in self.last.keys() - logs:
            self._forget(client)

    def read(self, client: str, submit: Submit) -> None:
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
                    self._take(Absent(client), header, buffers, submit)
        if gone and self._clock.stalled is None:
            self._clock.after(lambda: self._remove(path, client))

    def look_again(self, connected: set[str], submit: Submit) -> None:
        """See whether those who had hung up and lived still are gone by now, if they are not `connected` again."""
        left, self._left = self._left - connected, set()
        for client in left:
            self.read(client, submit)

    def _take(self, client: Absent, header: Header, buffers: list[bytes], submit: Submit) -> None:
        try:
            submit(client, header, buffers)
        except Exception as error:
            # no other frame has to wait for this one
            log.exception("submit %s of client %s", header["n"], client.id)
            refused = to_wire(defect(f"submit {header['n']}", error))
            self._core.journal.answer(client.id, header["n"], {"refused": refused})

    def _remove(self, path: Path, client: str) -> None:
        path.unlink(missing_ok=True)
        self._forget(client)

    def _forget(self, client: str) -> None:
        """Drop the answers to a client that will not ask again."""
        if self.last.pop(client, None) is not None:
            self._core.journal.step("drop_client", (client,))
            self._clock.schedule()


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


def submit_log_folder(folder: Path) -> Path:
    """Where the clients of a flow keep their logs; made if need be."""
    submit_logs = folder / "inbox"
    submit_logs.mkdir(mode=0o700, exist_ok=True)
    return submit_logs
