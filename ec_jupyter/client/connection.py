"""A client's connection: finds or starts the engine, reads its frames, and reconnects when the engine is gone.

One thread does this, so that no caller waits for an engine longer than it wants to. A caller that waits for
an answer reads the socket itself if no other thread does: a thread in between would cost two switches a call.
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
from ec_jupyter.client.waits import Deadline, LoopReader
from ec_jupyter.errors import EcError, EngineLostError
from ec_jupyter.wire import Header

log = logging.getLogger(__name__)

YIELD_SECONDS = 0.02  # how long the connection's thread leaves reading to a caller
STEADY_SECONDS = 10.0  # an engine that has run so long does not crash at its start
MAX_UNSENT = 1 << 18  # bytes that may wait to be sent before a submit waits too, and its log stops growing


@dataclass(frozen=True)
class EngineState:
    """How the engine of a flow is, as its client knows."""

    # "running", "starting" (it died, and the next is looked for), "stopped" (by somebody, until it is asked for
    # something), "failed" (it cannot be had; the next question tries again) or "killed" (it died and nobody was there
    # to start the next; said by a server, of a flow that it is not attached to)
    state: str
    text: str  # what a person is told of it
    since: float  # wall clock at which it came to be so

    def header(self) -> Header:
        """What a page is told."""
        return {"k": "engine", "state": self.state, "text": self.text, "since": self.since}


class Owner(Protocol):
    """The client that a connection belongs to."""

    def _dial(self) -> Transport:
        """Connect to an engine and exchange hellos; blocks, and may raise an `EcError`."""

    def _on_connected(self, transport: Transport) -> None:
        """Ask the open questions again on a new transport."""

    def _on_frame(self, header: Header, buffers: list[bytes]) -> None:
        """Handle a frame."""

    def _fail_pending(self, error: EcError) -> None:
        """Fail every open question."""

    def _on_state(self, life: EngineState) -> None:
        """Handle a change of the engine's state."""


class Connection:
    """The connection of a client, and the thread that keeps it."""

    def __init__(self, owner: Owner, name: str) -> None:
        self._owner, self._name = owner, name
        # held while the transport or the set of open questions changes; never while waiting
        self.lock = threading.RLock()
        self.transport: Transport | None = None  # the connected socket, while there is one
        self.life = EngineState("stopped", "", time.time())  # how the engine is
        self.stalled = ""  # why the engine takes nothing at present, as it says itself
        self.closed = False  # no new transport will be opened
        self._changed = threading.Condition(self.lock)
        self._sleepers = 0
        self._read_lock = threading.Lock()
        self.looper = LoopReader(self.lock, self._read_some)  # reads in the event loop that waits
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._error: EcError | None = None
        self._stall: EcError | None = None
        self._failures = 0
        self._deaths = 0

    # -- what callers do -----------------------------------------------------------
    def connect_soon(self) -> None:
        """Have the thread connect, if there is no transport; returns at once."""
        with self.lock:
            if self.transport is not None or self.closed:
                return
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ec-client", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait_connected(
        self, deadline: Deadline, fit: Callable[[Transport], bool] = lambda transport: True
    ) -> Transport:
        """The transport, once there is one and it is `fit`.

        Raises EcError: no engine can be reached or started, or it can write nothing and so takes nothing; TimeoutError:
        there is none in time.
        """
        with self.lock:
            failures = self._failures
            while self.transport is None or not fit(self.transport):
                if self.closed:
                    raise self.closed_error()
                if self._error is not None and self._failures != failures:
                    raise self._error
                if self.transport is not None and self._stall is not None:
                    raise type(self._stall)(f"{self._stall}; nothing was submitted")
                self.connect_soon()
                if not self._sleep(deadline.left):
                    raise TimeoutError(f"{self.trouble()}, and the time limit is over")
            return self.transport

    def wait_settled(self, deadline: Deadline) -> None:
        """Wait until no connection is being made."""
        if not self.wait_for(lambda: not self._wanted or self.closed, deadline):
            raise TimeoutError(f"{self.trouble()}, and the time limit is over")

    def wait_for(self, claim: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until something holds, looked at whenever `notify` is called; whether it does."""
        with self.lock:
            while not claim():
                if not self._sleep(deadline.left):
                    return claim()
        return True

    def stall(self, text: str, error: EcError | None) -> None:
        """Note why the engine takes nothing at present, or that it takes something again."""
        with self.lock:
            self.stalled, self._stall = text, error
            self._changed.notify_all()

    def notify(self) -> None:
        """Have those look again who wait."""
        with self.lock:
            if self._sleepers:
                self._changed.notify_all()

    def _sleep(self, seconds: float | None) -> bool:
        """Wait for a change, with the lock; False where the time is over."""
        self._sleepers += 1
        try:
            return self._changed.wait(seconds)
        finally:
            self._sleepers -= 1

    def trouble(self) -> str:
        """Why an answer may be late."""
        if self.stalled:
            return self.stalled
        how = {"running": "does not answer", "starting": "is being started", "stopped": "was stopped"}
        return f"the engine of flow {self._name!r} {how.get(self.life.state, 'cannot be had')}"

    def closed_error(self) -> EcError:
        """The error of a connection that is closed for good."""
        return EngineLostError(f"this line to flow {self._name!r} is closed; ec.flow(...) opens another")

    def note_answer(self) -> None:
        """The engine has answered something: it does not crash at every question."""
        self._deaths = 0

    def renew(self) -> None:
        """Go on with a new transport, on which what is open is asked again."""
        transport = self.transport
        if transport is not None:
            transport.shutdown()

    def disconnect(self, state: str, text: str) -> None:
        """Let go of an engine that ends because it was asked to; later questions go to the next one."""
        with self.lock:
            transport, self.transport = self.transport, None
            if transport is not None:
                transport.stopped = True
                transport.shutdown()
            self._wanted = False
            self._set_state(state, text)
            self._changed.notify_all()

    def close(self) -> None:
        """Disconnect for good."""
        with self.lock:
            self.looper.close()
            self.closed = True
            transport, self.transport = self.transport, None
            if transport is not None:
                transport.shutdown()
            self._changed.notify_all()

    def read_until(self, ready: Callable[[], bool], deadline: float | None, *, alone: bool = False) -> None:
        """Read in the caller's thread until `ready` or the deadline, unless another thread reads.

        `alone`: nothing but one answer is waited for.
        """
        transport = self.transport
        if transport is None or not self._read_lock.acquire(blocking=False):
            return
        reading = False
        try:
            if self.transport is not transport:
                return
            self._deliver(transport)
            while not ready() and self.transport is transport:
                seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not transport.wait(seconds, alone=alone):
                    return
                reading = True
                if not transport.read():
                    # the thread sees the end of the stream too, and reconnects
                    return
                self._deliver(transport)
                reading = False
        except BaseException:
            if reading:
                # an interrupt in the middle of a frame: nothing is lost by asking again on a new transport
                transport.shutdown()
            raise
        finally:
            self._read_lock.release()

    def _read_some(self, transport: Transport) -> bool:
        """Read what has arrived, unless another thread reads; False at the end of the stream."""
        if not self._read_lock.acquire(blocking=False):
            return True
        try:
            more = self.transport is transport and transport.read()
            self._deliver(transport)
            return more
        except BaseException:
            transport.shutdown()
            raise
        finally:
            self._read_lock.release()

    # -- the thread ------------------------------------------------------------------
    def _run(self) -> None:
        while self._wait_wanted():
            try:
                transport = self._owner._dial()
            except EcError as error:
                self._fail(error)
            except OSError as error:
                self._fail(EngineLostError(str(error)))
            except Exception as error:
                # whoever waits is told of it, whatever it is
                log.exception("looking for the engine of flow %s", self._name)
                self._fail(EngineLostError(f"the engine of flow {self._name!r} cannot be reached: {error!r}"))
            else:
                if self._adopt(transport):
                    self._read(transport)
                self._drop(transport)

    def _wait_wanted(self) -> bool:
        """Wait until a connection is wanted; False once it is closed for good."""
        with self.lock:
            while not self._wanted and not self.closed:
                self._sleep(None)
            if not self.closed and self.life.state != "starting":
                self._set_state("starting", "the engine is being started")
            return not self.closed

    def _adopt(self, transport: Transport) -> bool:
        with self.lock:
            if self.closed:
                return False
            self.transport, self._wanted = transport, False
            self._owner._on_connected(transport)
            self._set_state("running", "")
            self._changed.notify_all()
        return True

    def _read(self, transport: Transport) -> None:
        """Read while no caller does, and send what could not be sent at once, until the stream ends."""
        with self._read_lock:
            # what came with the answer to the hello
            self._deliver(transport)
        left = False
        while True:
            readable = self._poll(transport, reading=True, seconds=None)
            if not readable:
                continue
            if (self.looper.reads(transport) and not left) or not self._read_lock.acquire(blocking=False):
                # a caller or its loop reads; it will most likely wait again in a moment
                left = True
                self._poll(transport, reading=False, seconds=YIELD_SECONDS)
                continue
            left = False
            try:
                more = transport.read()
                self._deliver(transport)
            except Exception:
                log.exception("the connection to the engine of flow %s", self._name)
                return
            finally:
                self._read_lock.release()
            if not more:
                return

    def _poll(self, transport: Transport, *, reading: bool, seconds: float | None) -> bool:
        """Wait for something to do, and send what can be; whether there is something to read."""
        poll = select.poll()
        poll.register(transport.wakeup, select.POLLIN)
        wanted = (select.POLLIN if reading else 0) | (select.POLLOUT if transport.unsent else 0)
        if wanted:
            poll.register(transport.sock, wanted)
        events = dict(poll.poll(None if seconds is None else seconds * 1000))
        if transport.wakeup.fileno() in events:
            transport.drain_wakeup()
        if transport.unsent:
            with self.lock:
                transport.flush()
                if transport.unsent <= MAX_UNSENT:
                    self._changed.notify_all()
        return bool(events.get(transport.sock.fileno(), 0) & ~select.POLLOUT)

    def _deliver(self, transport: Transport) -> None:
        frames, transport.frames = transport.frames, []
        for header, buffers in frames:
            self._owner._on_frame(header, buffers)

    def _drop(self, transport: Transport) -> None:
        """Reconnect after the end of a transport, unless the engine was stopped."""
        with self.lock:
            if self.transport is transport:
                self.transport = None
        with self._read_lock:
            # not under the eyes of a caller who polls it
            transport.close()
        if self.closed or transport.stopped:
            return
        self._deaths = 1 if time.monotonic() - transport.since > STEADY_SECONDS else self._deaths + 1
        if self._deaths > MOST_DEATHS:
            text = f"the engine of flow {self._name!r} ended {self._deaths} times; its log is engine.log in its folder"
            self._fail(EngineLostError(text))
            return
        with self.lock:
            self._wanted = True
            self._set_state("starting", "the engine is gone, starting again")

    def _fail(self, error: EcError) -> None:
        with self.lock:
            self._error, self._wanted = error, False
            self._failures += 1
            self._set_state("failed", str(error))
            self._changed.notify_all()
        self._owner._fail_pending(error)

    def _set_state(self, state: str, text: str) -> None:
        self.life = EngineState(state, text, time.time())
        self.stalled, self._stall = "", None
        self._owner._on_state(self.life)
