"""The session with a node: logs in again after a cut, tracks its state, and knows when its calls surely ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from contextlib import suppress
from typing import Any, Protocol

from ec_jupyter.errors import (
    EcError,
    FrameError,
    HostKeyError,
    NodeError,
    NodeLostError,
    NodeStartError,
    PythonMismatchError,
    SshAuthError,
)
from ec_jupyter.model import Node
from ec_jupyter.nodes import bundle
from ec_jupyter.nodes.agents import Home
from ec_jupyter.nodes.codec import checked
from ec_jupyter.nodes.ssh.login import Login, enter, last_line
from ec_jupyter.nodes.ssh.transport import SILENT, SILENT_BEATS, Files, Transport, clock
from ec_jupyter.wire import PROTOCOL, Header

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds until the next try to reach a node
STUBBORN_SECONDS = 300.0  # the same after a failure that a person has to fix: a host counts the logins it refuses
START_BEAT = 10.0
CLOSE_SECONDS = 10.0
FENCE_SLACK = 1.0
ENDED_SECONDS = 2.0
CUT = 255  # exit code of `ssh` where the line was cut; else it is that of the command there
RESTARTED = "the machine was restarted while it was away"
ENDED = (
    "the agent there was killed, or ended with its login while it was away; a host that ends what a login leaves "
    "behind (KillUserProcesses=yes) keeps it after `loginctl enable-linger` there"
)
_STUBBORN = (HostKeyError, SshAuthError, PythonMismatchError)


class Owner(Files, Protocol):
    """The owner of a session."""

    def up(self, transport: Transport, header: Header) -> Header:
        """The node is connected; the header says what it has. Returns what it is to have."""

    def met(self) -> None:
        """The node knows what it is to have, and takes calls."""

    def report(self, header: Header, buffers: list[bytes]) -> None:
        """The node has sent a frame."""

    def changed(self) -> None:
        """Its state or another fact has changed."""

    def out(self) -> list[int]:
        """Requests that were sent there."""

    def killed(self, ran: dict[int, bool]) -> None:
        """The agent was killed while these calls ran, of which some had started programs."""

    def lose(self, requests: list[int]) -> None:
        """Their attempts are over for sure."""


class Session:
    """The connection to one node, and what is known of it; what it takes besides is as `RemoteAgent` has it."""

    def __init__(self, owner: Owner, record: Node, home: Home, login: Login, *, idle: float, heartbeat: float) -> None:
        self.name = record.name
        self.login = login
        self.state = "starting"  # "starting", "up", "away" (its agent may run) or "down"
        self.boot = ""  # which process the agent there is; empty: none that is known
        self.note = ""
        self.error: EcError | None = None
        self.since = time.time()
        self.found: dict[str, Any] = {}
        self.transport: Transport | None = None
        self.closing = False
        self._owner = owner  # told what comes
        self.coming, self.arrived, self.drained = owner.coming, owner.arrived, owner.drained
        self._epoch, self._lease = home.epoch, record.lease
        # several in a lease, or it would end between two of them
        self._beat = min(heartbeat, record.lease / 8) if record.lease else heartbeat
        # without one the agent ends when it has heard nothing for so long
        self._alone = record.lease or SILENT_BEATS * self._beat
        self._orders = _orders(record, home, login.python, idle, self._beat)
        self._machine: list[str] = []
        self._pinged = clock()
        self._fence: asyncio.TimerHandle | None = None
        self._parted: asyncio.Future[str] | None = None
        self._again = asyncio.Event()
        self._died = False
        self._task: asyncio.Task[None] | None = None

    # its life

    async def start(self) -> None:
        """Begin to log in."""
        self._pinged = clock()
        self._set_fence()
        self._task = asyncio.create_task(self._keep())
        self._task.add_done_callback(_tell)

    def retry(self) -> None:
        """Try to reach the node now."""
        self._again.set()

    async def close(self, *, keep: bool) -> None:
        """End the agent there, unless it is to `keep` what it has, and the login."""
        self.closing = True
        if self._fence is not None:
            self._fence.cancel()
        if self.transport is not None and self._parted is not None and not self.transport.quiet and not keep:
            self.transport.send({"k": "bye"})
            await asyncio.wait([self._parted], timeout=CLOSE_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.login.close()

    async def _keep(self) -> None:
        tries = 0
        while not self.closing:
            welcomed, pause = False, PAUSES[min(tries, len(PAUSES) - 1)]
            try:
                welcomed = await self._visit()
            except EcError as error:
                self.error = error
                if isinstance(error, _STUBBORN):
                    pause = STUBBORN_SECONDS
            except OSError as error:
                self.error = NodeStartError(f"node {self.name!r}: {error}")
            if self.closing:
                return
            may_run = clock() < self._fence_time() and bool(self.boot or self._owner.out())
            self._change("away" if may_run else "down")
            tries, pause = (1, PAUSES[0]) if welcomed else (tries + 1, pause)
            self._again.clear()
            await _happens(self._again, pause)

    async def _visit(self) -> bool:
        """Log in and stay until the connection ends; whether there was an agent."""
        process, rest, self.found = await enter(self.login, self._orders)
        self.error = None
        self._parted = asyncio.get_running_loop().create_future()
        transport = self.transport = Transport(self, *process.give(), max(START_BEAT, self._beat), rest, quiet=True)
        try:
            reason = await self._parted
            if not reason.startswith(SILENT):
                # what it said when it ended, and its code, tell why
                await _happens(process.ended, ENDED_SECONDS)
        finally:
            transport.close("the end")
            await process.close()
        if self.error is None:
            heard = f": {last_line(process.errors)}" if process.errors.strip() else ""
            kind = NodeStartError if transport.quiet else NodeError
            self.error = kind(f"node {self.name!r} on host {self.login.host!r}: {reason}{heard}")
        # not the line, nor this end of it: the process there
        self._died = not transport.quiet and process.code is not None and 0 <= process.code < CUT
        return not transport.quiet

    def _change(self, state: str) -> None:
        if state != self.state:
            log.info("node %s is %s%s", self.name, state, f": {self.error}" if self.error else "")
            self.state, self.since = state, time.time()
        self._owner.changed()

    def say(self, header: Header) -> bool:
        """Send a frame; False where nobody is there."""
        if self.state != "up" or self.transport is None:
            return False
        self.transport.send(header)
        return True

    # the fence: when what was sent there surely runs no more

    def _fence_time(self) -> float:
        # the agent counts from a sign of life that we had seen by then, so it ends before this
        return self._pinged + 1.1 * self._alone + FENCE_SLACK

    def _set_fence(self) -> None:
        if self._fence is not None:
            self._fence.cancel()
        wait = max(0.05, self._fence_time() - clock())
        self._fence = asyncio.get_running_loop().call_later(wait, self._at_fence)

    def _at_fence(self) -> None:
        if self.transport is not None and not self.transport.quiet:
            self._pinged = max(self._pinged, self.transport.pinged)
        if clock() < self._fence_time():
            return self._set_fence()
        self._fence = None
        requests = self._owner.out()
        if self.boot or requests:
            self.boot = ""
            text = f"node {self.name!r} was away for longer than its lease of {self._alone:g} s"
            self.error = NodeLostError(f"{text}; its {len(requests)} requests are queued again ({self.error})")
            self._change("down")
        return self._owner.lose(requests)

    # what the transport says

    def frame(self, transport: Transport, header: Header, buffers: list[bytes]) -> None:
        """A frame of the node."""
        if transport is not self.transport:
            return
        act = self._before.get(header["k"])
        if (act is None) == transport.quiet:
            raise FrameError(f"{header['k']!r} is out of place")
        if act is None:
            self._owner.report(header, buffers)
        else:
            act(self, header)

    def ended(self, transport: Transport, reason: str) -> None:
        """The connection has ended."""
        if transport is not self.transport:
            return
        if not transport.quiet:
            self._pinged = max(self._pinged, transport.pinged)
        self.transport = None
        if self._parted is not None and not self._parted.done():
            self._parted.set_result(reason)
        if not self.closing and self.state == "up":
            self.error = NodeError(f"node {self.name!r} on host {self.login.host!r}: {reason}")
            self._change("away")

    def _noted(self, header: Header) -> None:
        (text,) = checked(header, x=str)
        if text:
            self.note = last_line(text)
            self._owner.changed()

    def _wanted(self, _: Header) -> None:
        assert self.transport is not None
        self.transport.put(bundle.pip_frame())

    def _failed(self, header: Header) -> None:
        (text,) = checked(header, x=str)
        self.error = NodeStartError(
            f"what node {self.name!r} requires cannot be installed on host {self.login.host!r}: {last_line(text)}"
        )

    def _welcomed(self, header: Header) -> None:
        protocol, boot, spec, machine = checked(header, protocol=int, boot=str, spec=str, machine=list)
        left = _pairs(header.get("left", []))
        transport = self.transport
        assert transport is not None
        if protocol != PROTOCOL or spec != self._orders["spec"]:
            # of another version, or with other requirements: it ends, and the next login starts anew
            transport.send({"k": "bye"})
            self.error = NodeStartError(f"node {self.name!r} ran in another way and starts anew")
            return
        self.error, self.note = None, ""
        self._meet(boot, [str(one) for one in machine], left)
        wanted = self._owner.up(transport, header)
        self._pinged = clock()
        self._set_fence()
        transport.live(self._beat)
        transport.send({"k": "hello", "epoch": self._epoch, "lease": self._lease, "beat": self._beat, **wanted})
        self._change("up")
        self._owner.met()

    def _meet(self, boot: str, machine: list[str], left: dict[int, bool]) -> None:
        """Is it the agent we knew? If not, that one has ended: at once on the same machine, else with its lease."""
        before, self.boot = self.boot, boot
        known, self._machine = self._machine, machine
        if not before or before == boot:
            return  # of what an engine before this one sent, the agent says what it has not
        gone = self._owner.out()
        if known[:1] == machine[:1]:
            self.note = RESTARTED if known != machine else ENDED
            if self._died and known == machine:
                self._owner.killed(left)
            self._owner.lose(gone)
        else:
            wait = max(0.0, self._fence_time() - clock())
            asyncio.get_running_loop().call_later(wait, self._owner.lose, gone)

    _before: dict[str, Any] = {  # noqa: RUF012 - never changed
        "note": _noted,
        "want": _wanted,
        "failed": _failed,
        "welcome": _welcomed,
    }


def _orders(record: Node, home: Home, python: str, idle: float, beat: float) -> dict[str, Any]:
    spec = json.dumps([bundle.bundle()[0], python, sorted(record.requirements)])
    return {
        "key": hashlib.sha256(f"{home.flow}\n{record.name}".encode()).hexdigest()[:16],
        "spec": hashlib.sha256(spec.encode()).hexdigest(),
        "name": record.name, "cpus": record.cpus, "epoch": home.epoch, "idle": idle, "lease": record.lease,
        "heartbeat": beat, "requirements": list(record.requirements),
    }  # fmt: skip


def _pairs(left: object) -> dict[int, bool]:
    """What ran when the agent before was killed."""
    if isinstance(left, list) and all(isinstance(one, list) and list(map(type, one)) == [int, bool] for one in left):
        return dict(left)
    raise FrameError("'welcome' has no proper 'left'")


async def _happens(event: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _tell(task: asyncio.Task[None]) -> None:
    """Pass a defect of ours to the loop's exception handler."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "the session with a node broke", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
