"""Keeps a client's line: finds or starts the engine, reads what it says, and finds the next when it is gone.

One thread does all of it, so that no caller ever waits for an engine longer than they want to. A
caller who waits for an answer reads the line itself, if nobody else does: a thread in between would
cost two switches a call.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ec_jupyter.client.launch import MOST_DEATHS
from ec_jupyter.client.transport import Transport
from ec_jupyter.client.waits import Deadline
from ec_jupyter.errors import EcError, EngineLostError
from ec_jupyter.wire import Header

log = logging.getLogger(__name__)

YIELD_SECONDS = 0.02  # how long the keeper leaves the line to a caller who reads it
STEADY_SECONDS = 10.0  # an engine that has lived so long does not end at its start
LONGEST = 100_000.0  # seconds of one poll: it counts milliseconds in 32 bits
MOST_HELD = 1 << 18  # bytes that may wait to be sent before a submit waits too, and its log stops growing


@dataclass(frozen=True)
class Life:
    """How the engine of a flow is, as its client knows.

    Attributes
    ----------
    state : str
        ``"running"``, ``"starting"`` (it died, and the next is looked for), ``"stopped"`` (by somebody, until
        it is asked for something), ``"failed"`` (it cannot be had; the next question tries again) or ``"killed"``
        (it died and nobody was there to start the next; said by a server, of a flow that it is not attached to).
    text : str
        What a person is told of it.
    since : float
        Wall clock at which it came to be so.
    """

    state: str
    text: str
    since: float

    def header(self) -> Header:
        """What a page is told."""
        return {"k": "engine", "state": self.state, "text": self.text, "since": self.since}


class Owner(Protocol):
    """Whose line it is."""

    def _dial(self) -> Transport:
        """A line to an engine that has answered a hello; blocks, and may raise an `EcError`."""

    def _joined(self, line: Transport) -> None:
        """Ask on a new line what is open."""

    def _take(self, header: Header, buffers: list[bytes]) -> None:
        """Take in a frame."""

    def _give_up(self, error: EcError) -> None:
        """Tell all who wait that they wait in vain."""

    def _lives(self, life: Life) -> None:
        """Hear how the engine is."""


class Connection:
    """The thread that keeps a line, and what others may know of it.

    Parameters
    ----------
    owner : Owner
        Whose line it is.
    name : str
        The flow's name, for messages.

    Attributes
    ----------
    lock : RLock
        Held while the line, or what is open on it, changes; never while somebody waits.
    line : Line or None
        The line, while there is one.
    life : Life
        How the engine is.
    stalled : str
        Why the engine takes nothing at present, as it says itself.
    closed : bool
        There will be no other line.
    """

    def __init__(self, owner: Owner, name: str) -> None:
        self._owner, self._name = owner, name
        self.lock = threading.RLock()
        self.line: Transport | None = None
        self.life = Life("stopped", "", time.time())
        self.stalled = ""
        self.closed = False
        self._changed = threading.Condition(self.lock)
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._error: EcError | None = None
        self._failures = 0
        self._deaths = 0

    # -- what callers do -----------------------------------------------------------
    def want(self) -> None:
        """Have a line looked for, if there is none; returns at once."""
        with self.lock:
            if self.line is not None or self.closed:
                return
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ec-client", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def ready(self, deadline: Deadline, most_held: int | None = None) -> Transport:
        """The line, once there is one and no more than `most_held` bytes wait to be sent on it.

        Raises
        ------
        EcError
            There is none to be had.
        TimeoutError
            There is none in time.
        """
        with self.lock:
            failures = self._failures
            while self.line is None or (most_held is not None and self.line.held > most_held):
                if self.closed:
                    raise self.closed_error()
                if self._error is not None and self._failures != failures:
                    raise self._error
                self.want()
                if not self._changed.wait(deadline.left):
                    raise TimeoutError(f"{self.trouble()}, and the time limit is over")
            return self.line

    def settled(self, deadline: Deadline) -> None:
        """Wait until no engine is being looked for."""
        with self.lock:
            while self._wanted and not self.closed:
                if not self._changed.wait(deadline.left):
                    raise TimeoutError(f"{self.trouble()}, and the time limit is over")

    def trouble(self) -> str:
        """Why an answer may be late."""
        if self.stalled:
            return self.stalled
        how = {"running": "does not answer", "starting": "is being started", "stopped": "was stopped"}
        return f"the engine of flow {self._name!r} {how.get(self.life.state, 'cannot be had')}"

    def closed_error(self) -> EcError:
        """What is raised once the line is closed for good."""
        return EngineLostError(f"this notebook's line to flow {self._name!r} is closed")

    def steady(self) -> None:
        """The engine has answered something: it does not end at every question."""
        self._deaths = 0

    def dismiss(self, state: str, text: str) -> None:
        """Leave the line, whose engine ends because it was asked to: what is asked from now on is for the next."""
        with self.lock:
            line, self.line = self.line, None
            if line is not None:
                line.stopped = True
                line.hang_up()
            self._wanted = False
            self._become(state, text)
            self._changed.notify_all()

    def close(self) -> None:
        """Hang up for good."""
        with self.lock:
            self.closed = True
            line, self.line = self.line, None
            if line is not None:
                line.hang_up()
            self._changed.notify_all()

    def lead(self, ready: Callable[[], bool], deadline: float | None) -> None:
        """Read in the caller's thread until `ready` or the deadline, unless another thread reads."""
        line = self.line
        if line is None or not self._turn.acquire(blocking=False):
            return
        reading = False
        try:
            if self.line is not line:
                return
            poll = line.poll()
            self._take_all(line)
            while not ready() and self.line is line:
                left = None if deadline is None else min(max(0.0, deadline - time.monotonic()), LONGEST) * 1000
                if not poll.poll(left):
                    return
                reading = True
                if not line.read():
                    # the keeper sees the end too, and looks for another engine
                    return
                self._take_all(line)
                reading = False
        except BaseException:
            if reading:
                # an interrupt in the middle of a frame: nothing is lost by asking again on a new line
                line.hang_up()
            raise
        finally:
            self._turn.release()

    # -- the thread ------------------------------------------------------------------
    def _run(self) -> None:
        while self._due():
            try:
                line = self._owner._dial()
            except EcError as error:
                self._fail(error)
            except OSError as error:
                self._fail(EngineLostError(str(error)))
            except Exception as error:
                # whoever waits must hear of it, whatever it is
                log.exception("looking for the engine of flow %s", self._name)
                self._fail(EngineLostError(f"the engine of flow {self._name!r} cannot be reached: {error!r}"))
            else:
                if self._join(line):
                    self._read(line)
                self._leave(line)

    def _due(self) -> bool:
        """Wait until a line is wanted; False once none will be."""
        with self.lock:
            while not self._wanted and not self.closed:
                self._changed.wait()
            if not self.closed and self.life.state != "starting":
                self._become("starting", "the engine is being started")
            return not self.closed

    def _join(self, line: Transport) -> bool:
        with self.lock:
            if self.closed:
                return False
            self.line, self._wanted = line, False
            self._owner._joined(line)
            self._become("running", "")
            self._changed.notify_all()
        return True

    def _read(self, line: Transport) -> None:
        """Read while no caller does, and send what could not be sent at once, until the line ends."""
        with self._turn:
            # what came with the answer to the hello
            self._take_all(line)
        while True:
            readable = self._poll(line, reading=True, seconds=None)
            if not readable:
                continue
            if not self._turn.acquire(blocking=False):
                # a caller reads; it will most likely wait again in a moment
                self._poll(line, reading=False, seconds=YIELD_SECONDS)
                continue
            try:
                more = line.read()
                self._take_all(line)
            except Exception:
                log.exception("the line to the engine of flow %s", self._name)
                return
            finally:
                self._turn.release()
            if not more:
                return

    def _poll(self, line: Transport, *, reading: bool, seconds: float | None) -> bool:
        """Wait for something to do, and send what can be; whether there is something to read."""
        poll = select.poll()
        poll.register(line.bell, select.POLLIN)
        wanted = (select.POLLIN if reading else 0) | (select.POLLOUT if line.held else 0)
        if wanted:
            poll.register(line.sock, wanted)
        events = dict(poll.poll(None if seconds is None else seconds * 1000))
        if line.bell.fileno() in events:
            line.heard()
        if line.held:
            with self.lock:
                line.flush()
                if line.held <= MOST_HELD:
                    self._changed.notify_all()
        return bool(events.get(line.sock.fileno(), 0) & ~select.POLLOUT)

    def _take_all(self, line: Transport) -> None:
        frames, line.frames = line.frames, []
        for header, buffers in frames:
            self._owner._take(header, buffers)

    def _leave(self, line: Transport) -> None:
        """A line has ended: after anything but a stop, look for the next engine."""
        with self.lock:
            if self.line is line:
                self.line = None
        with self._turn:
            # not under the eyes of a caller who polls it
            line.close()
        if self.closed or line.stopped:
            return
        self._deaths = 1 if time.monotonic() - line.since > STEADY_SECONDS else self._deaths + 1
        if self._deaths > MOST_DEATHS:
            text = f"the engine of flow {self._name!r} ended {self._deaths} times; its log is engine.log in its folder"
            self._fail(EngineLostError(text))
            return
        with self.lock:
            self._wanted = True
            self._become("starting", "the engine is gone, starting again")

    def _fail(self, error: EcError) -> None:
        with self.lock:
            self._error, self._wanted = error, False
            self._failures += 1
            self._become("failed", str(error))
            self._changed.notify_all()
        self._owner._give_up(error)

    def _become(self, state: str, text: str) -> None:
        self.life, self.stalled = Life(state, text, time.time()), ""
        self._owner._lives(self.life)
