"""Submit logs: clients write submits to disk themselves, so that accepting one costs no round trip.

A client appends each submit to a log of its own in the flow's folder: from then on it is accepted, whoever dies. While
both are connected the engine reads the log as it grows; it reads it whole when its client is gone, and all logs when it
starts, and takes what it has not taken yet. Submits of one client are numbered, and which was taken last is written
with what it led to.
"""

from __future__ import annotations

import hashlib
import logging
import math
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.folder import locked
from ec_jupyter.engine.parts import Asker, Clock
from ec_jupyter.engine.submit_records import ASLEEP, BASE, DONE, LOT_CALLS, PAGE, WRITTEN, Lot, Reader, Single, Words
from ec_jupyter.errors import EcError, FrameError, defect, to_wire
from ec_jupyter.wire import Header

log = logging.getLogger(__name__)


class Connection(Asker, Protocol):
    """A client that is connected."""

    served: int  # frames of it that were handled since it told of its log

    @property
    def free(self) -> bool:
        """Whether what is said now is what the client reads next."""

    def answer(self, n: int, request: int, kind: str, data: bytes) -> None:
        """Say at once which request a submit has led to, and its result."""


LONE_BYTES = 1 << 16  # a record of a call that comes alone has no more
READ_BYTES = 1 << 18  # so much of a log is read at once, or more where a single record is larger
DROP_EVERY = 64  # answers that are kept though their client knows them, at most


class Absent:
    """Stands for a client that is gone: what it would have been told goes nowhere."""

    here = False

    def __init__(self, client: str) -> None:
        self.id = client

    def reply(self, header: Header, buffers: Iterable[bytes] = (), *, to: Header) -> None:
        """Tell nobody."""

    def accepted(self, answers: Sequence[tuple[int, Any]]) -> None:
        """Tell nobody."""

    def refuse(self, error: EcError, *, to: Header) -> None:
        """Tell nobody."""


class LiveLog:
    """The log of a connected client; `mapped`: what it writes is seen without being told, else it rings."""

    def __init__(self, folder: Path, client: Connection, *, mapped: bool) -> None:
        self.client, self._mapped = client, mapped
        self._fd = os.open(folder / f"{client.id}.log", os.O_RDWR | os.O_CLOEXEC)
        self._words = Words(mmap.mmap(self._fd, PAGE) if mapped else bytearray(PAGE))
        self._reader = Reader()
        self.at = self._base = self.done = self.dropped = 0
        self.refresh()

    def refresh(self) -> None:
        """Read the words, where they are not mapped: the client has rung."""
        if not self._mapped:
            self._words.page[:] = os.pread(self._fd, PAGE, 0)

    @property
    def news(self) -> bool:
        """Whether there is something to take."""
        return self._words.get(WRITTEN) != self.at

    def sleep(self) -> bool:
        """Ask to be rung, where a client has to be asked."""
        if self._mapped:
            self._words.put(ASLEEP, 1)
        return self._mapped

    def wake(self) -> None:
        """Ask for no more of that: the engine is about to look by itself."""
        if self._mapped:
            self._words.put(ASLEEP, 0)

    def take(self, upto: float) -> list[Lot | Single]:
        """Some of what was written after no more than so many frames, and not taken yet; none where there is none."""
        end, base = self._words.get(WRITTEN), self._words.get(BASE)
        if end == self.at:
            return []
        if base != self._base:
            # all was answered, and the log begins anew
            self._base = base
            self.at = max(self.at, base)
            self._reader.forget()
        found, size, wanted = list[Lot | Single](), 0, READ_BYTES
        while not size and self._reader.fault is None:
            data = os.pread(self._fd, min(end - self.at, wanted), PAGE + self.at - base)
            found, size = self._reader.take(data, upto, LOT_CALLS)
            if len(data) < wanted:
                break
            wanted *= 8
        self.at += size
        if self._reader.fault is not None:
            log.error("the log of client %s: %s", self.client.id, self._reader.fault)
            self.at = end
        self.done = self._words.get(DONE)
        return found

    def lone(self, after: int, fits: Callable[[str, Lot], bool]) -> Lot | None:
        """What comes next, if that is all: one small call after submit `after` that is waited for, and fits.

        The client is asked to ring for what comes after it.
        """
        end, base, done = self._words.all()
        if not self._mapped or end - self.at > LONE_BYTES or base != self._base:
            return None
        item = self._reader.one(os.pread(self._fd, end - self.at, PAGE + self.at - self._base), self.client.served)
        if item is None or item.first <= after or not fits(self.client.id, item):
            return None
        self.sleep()
        if self._words.get(WRITTEN) != end:
            return None
        self.at, self.done = end, done
        return item

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self._words.page, mmap.mmap):
            self._words.page.close()
        os.close(self._fd)


class SubmitLogs:
    """The clients' logs of one flow."""

    submit: Callable[[Asker, Lot | Single], None]  # takes in the requests of submits

    def __init__(self, core: Core, clock: Clock) -> None:
        self._core, self._clock = core, clock
        self.folder = submit_log_folder(core.store.folder)
        self.last: dict[str, int] = dict(core.store.rows("all_clients"))  # the last submit taken from each client
        self._left: set[str] = set()
        self._live: dict[str, LiveLog] = {}

    def taken(self, client: str, frame: int) -> None:
        """Note that a submit was taken; its answer, written with the tick, says so on disk."""
        self.last[client] = frame

    # -- of those who are connected ------------------------------------------------
    def attach(self, client: Connection, header: Header) -> None:
        """Read the log of a client that has connected, now and as it grows. Raises FrameError: it has none."""
        self._detach(client.id)
        try:
            live = self._live[client.id] = LiveLog(self.folder, client, mapped=header["mapped"])
        except (OSError, ValueError) as error:
            raise FrameError(f"the log of this client cannot be read: {error}") from error
        self._drain(live, math.inf, header["end"])

    def _detach(self, client: str) -> None:
        live = self._live.pop(client, None)
        if live is not None:
            live.close()

    def before(self, client: Connection) -> None:
        """Take what a client has submitted before the frame that it has just sent."""
        live = self._live.get(client.id)
        if live is not None and live.client is client:
            live.refresh()
            self._drain(live, client.served)

    def rung(self, client: Connection) -> None:
        """A client has submitted something: the next tick takes it."""
        live = self._live.get(client.id)
        if live is not None:
            live.refresh()
        self._clock.rouse()

    def lone(self, fits: Callable[[str, Lot], bool], rung: str | None = None) -> tuple[Connection, Lot] | None:
        """What clients, or that which has `rung`, have submitted, if it is one call that fits; whose it is."""
        if rung is None:
            news = [live for live in self._live.values() if live.news]
        else:
            news = [self._live[rung]] if rung in self._live else []
        if len(news) != 1:
            return None
        client = news[0].client
        item = news[0].lone(self.last.get(client.id, 0), fits)
        return None if item is None else (client, item)

    def booked(self, client: str, frame: int) -> None:
        """Note that a submit was taken of which its client was told; what it knows of need not be kept."""
        self.taken(client, frame)
        if client in self._live:
            self._drop_known(self._live[client])

    def look(self) -> bool:
        """Take some of what clients have submitted; whether they wait for the results of all of it.

        `rest` sees to it that the next tick takes more.
        """
        watched = True
        for live in self._live.values():
            for item in self._take_some(live, live.client.served):
                watched = watched and item.watched
        return watched

    def take_all(self) -> None:
        """Take what clients have submitted so far."""
        for live in self._live.values():
            self._drain(live, live.client.served)

    def _drain(self, live: LiveLog, upto: float, end: float = math.inf) -> None:
        while live.at < end and self._take_some(live, upto):
            pass

    def _take_some(self, live: LiveLog, upto: float) -> list[Lot | Single]:
        found = live.take(upto) if self._clock.stalled is None and live.news else []
        for item in found:
            self._take(live.client, item)
        self._drop_known(live)
        return found

    def _drop_known(self, live: LiveLog) -> None:
        if live.done >= live.dropped + DROP_EVERY:
            live.dropped = live.done
            self._core.journal.add("drop_accepted", (live.client.id, live.done))

    @property
    def news(self) -> bool:
        """Whether there is something to take."""
        return any(live.news for live in self._live.values())

    def wake(self) -> None:
        """Tell clients that they need not ring: a tick has begun, and `rest` looks again at its end."""
        for live in self._live.values():
            live.wake()

    def rest(self, *, busy: bool) -> bool:
        """Have a tick where there is more to take, or is about to be; be rung where there is not.

        `busy`: the next tick is a moment away, and whoever rings before that would disturb both. Returns bool: a client
        was just told to ring: who wrote at that moment may not have seen it, so `news` is to be looked at once more.
        """
        asked, going = False, self._clock.stalled is None
        for live in self._live.values():
            if not (going and (busy or live.news)):
                asked = live.sleep() or asked
            if going and (busy or live.news):
                self._clock.rouse()
        return asked

    # -- of those who are gone -----------------------------------------------------
    def read_all(self) -> None:
        """Take what is left in every log; those whose client is gone are removed once it is on disk."""
        logs = {path.stem for path in self.folder.glob("*.log")}
        for client in sorted(logs):
            self.read(client)
        for client in self.last.keys() - logs:
            self._forget(client)

    def read(self, client: str) -> None:
        """Take what one client has written down and the engine has not seen."""
        live = self._live.get(client)
        if live is not None and live.client.here:
            # back already, on another connection
            return
        self._detach(client)
        path = self.folder / f"{client}.log"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            # it hung up with nothing left to say
            self._forget(client)
            return
        # it holds the lock of its log as long as it lives
        gone = locked(fd) and self._clock.stalled is None
        if not gone:
            # it is just ending, or will be back; or the disk takes nothing at present
            self._left.add(client)
        with open(fd, "rb") as stream:
            for item in _whole(stream.read(), path) if self._clock.stalled is None else ():
                self._take(Absent(client), item)
        if gone:
            self._clock.after(lambda: self._remove(path, client))

    def look_again(self, connected: set[str]) -> None:
        """See whether those who had hung up and lived still are gone by now, if they are not `connected` again."""
        left, self._left = self._left - connected, set()
        for client in left:
            self.read(client)

    def _take(self, client: Asker, item: Lot | Single) -> None:
        item = item.after(self.last.get(client.id, 0))
        if not item.frames:
            # an engine before has taken it
            return
        before = self._core.journal.position
        self.taken(client.id, item.first + item.frames - 1)
        try:
            self.submit(client, item)
        except EcError as error:
            self._refuse(client, item, error)
        except Exception as error:
            # no other submit has to wait for this one
            log.exception("submit %s of client %s", item.first, client.id)
            self._refuse(client, item, defect(f"submit {item.first}", error))
            if self._core.journal.grown(before):
                # half of it was done: the next engine starts from what is on disk, which is whole
                self._clock.fall({"message": f"submit {item.first} was done by half", "exception": error})

    def _refuse(self, client: Asker, item: Lot | Single, error: EcError) -> None:
        self._core.journal.add("add_event", (self._core.now, "refused", client.id, str(error)))
        for n in range(item.first, item.first + item.frames):
            self._core.journal.answer(client.id, n, {"refused": to_wire(error)})
            client.refuse(error, to={"n": n})

    def _remove(self, path: Path, client: str) -> None:
        path.unlink(missing_ok=True)
        self._forget(client)

    def _forget(self, client: str) -> None:
        """Drop the answers to a client that will not ask again."""
        if self.last.pop(client, None) is not None:
            self._core.journal.step("drop_client", (client,))
            self._clock.schedule()


def _whole(data: bytes, path: Path) -> list[Lot | Single]:
    """What is in a log; an unfinished record at its end was never accepted: its client died writing it."""
    words, reader = Words(bytearray(data[:PAGE].ljust(PAGE, b"\0"))), Reader(checked=True)
    found, _ = reader.take(data[PAGE : PAGE + words.get(WRITTEN) - words.get(BASE)])
    if reader.fault is not None:
        log.error("%s: %s", path, reader.fault)
    return found


def identity_of(secret: str) -> str:
    """A client's identity, public; only who knows the secret that it is made of can say hello with it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


def submit_log_folder(folder: Path) -> Path:
    """Where the clients of a flow keep their logs; made if need be."""
    submit_logs = folder / "inbox"
    submit_logs.mkdir(mode=0o700, exist_ok=True)
    return submit_logs
