"""Runs an agent on a node for the engine, and keeps its reports until the engine has confirmed them.

It lives on without a connection for the length of its lease, counted from the last heartbeat that the
engine is known to have seen, and listens on a private socket for the next connection. Calls run on
meanwhile; their outcomes are reported once the engine is back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ec_jupyter.errors import EcError, FrameError
from ec_jupyter.nodes import bootstrap
from ec_jupyter.nodes import cpus as machine
from ec_jupyter.nodes.codec import checked, file_name, files_of, numbers, only
from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.nodes.local.agent_context import failed, stop_text
from ec_jupyter.nodes.lots import unpack_calls
from ec_jupyter.nodes.ssh.reports import Reports
from ec_jupyter.nodes.ssh.transport import Transport, clock
from ec_jupyter.wire import PROTOCOL, Block, Call, Header, Outcome, Value

log = logging.getLogger(__name__)

FACTS_SECONDS = 0.5
LOOK_SECONDS = 0.25
FAREWELL_SECONDS = 2.0


@dataclass
class Held:
    """A call that is here and has not ended."""

    call: Call
    processor: str
    started: float | None = None
    slot: int = 0
    pid: int = 0


class AgentServer:
    """An agent that is driven through a transport."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders  # what the engine wants, and what the bootstrap has found out
        self.folder: Path = Path(orders["run"]) / orders["key"]
        self.over = asyncio.Event()
        self._lease = float(orders["lease"])
        self._heartbeat = float(orders["heartbeat"])
        self._boot = os.urandom(8).hex()
        self._transport: Transport | None = None
        self._greeted = self._met = False
        self._epoch = int(orders["epoch"])
        self._assured = clock()
        self._held: dict[int, Held] = {}
        self._ending: dict[int, int] = {}
        self._later: dict[int, tuple[str, Call]] = {}
        self._sources: dict[str, str] = {}
        self._asked: dict[str, list[Callable[[bytes | None], None]]] = {}
        self._facts: dict[str, Any] = {}
        for name in ("values", "blobs", "spool"):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._reports = Reports(self.folder / "spool", self.folder / "values")
        self._lent = max(1, min(orders["cpus"] or machine.cpu_count(), machine.cpu_count()))
        self.agent = Agent(
            self, name=orders["name"], cpus=self._lent, folder=self.folder, runtime=self.folder, epoch=self._epoch,
            workdir=_workdir(self.folder), idle=float(orders["idle"]), modules=self.module,
            shared=True,
        )  # fmt: skip

    async def run(self) -> None:
        """Work until told to end, or until the lease is over."""
        await self.agent.start()
        path = self.folder / "s"
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(4)
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(listening, self._accept, listening)
        self._attach(self.orders["read"], self.orders["write"])
        look = asyncio.create_task(self._look())
        try:
            await self.over.wait()
        finally:
            look.cancel()
            loop.remove_reader(listening)
            listening.close()
            path.unlink(missing_ok=True)
            await self.agent.close()
            if self._transport is not None:
                await self._transport.flushed(FAREWELL_SECONDS)
                self._transport.close("the end")

    def _accept(self, listening: socket.socket) -> None:
        with suppress(BlockingIOError):
            sock, _ = listening.accept()
            fd = sock.detach()
            self._attach(fd, fd)

    def _attach(self, read: int, write: int) -> None:
        """A connection has come: it replaces the one before, and counts once it has said hello."""
        if self._transport is not None:
            self._transport.close("another connection has come")
        self._greeted = False
        self._reports.pause()
        self._transport = Transport(self, read, write, self._heartbeat)
        self._transport.send(self._welcome())

    def _welcome(self) -> Header:
        return {
            "k": "welcome",
            "protocol": PROTOCOL,
            "boot": self._boot,
            "spec": self.orders["spec"],
            "machine": [socket.gethostname(), machine.boot_id()],
            "pid": os.getpid(),
            "cpus": self._lent,
            "left": self.orders.get("left", []),
            "files": [[path.name, path.stat().st_size] for path in (self.folder / "values").glob("[!.]*")],
            "blobs": [path.name for path in (self.folder / "blobs").glob("[!.]*")],
        }

    async def _look(self) -> None:
        """Watch the lease, and report facts that have changed."""
        said = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._transport is not None:
                self._assured = max(self._assured, self._transport.assured)
            if self._lease and clock() > self._assured + self._lease:
                log.info("lease over")
                self.over.set()
            if clock() - said >= FACTS_SECONDS:
                said = clock()
                # folders for temporary files are tidied by age; one that is gone all the same must not end the watch
                with suppress(OSError):
                    os.utime(self.folder)
                self._say_facts()

    def _say_facts(self) -> None:
        facts = {
            "used": self.agent.busy,
            "others": self.agent.others,
            "memory": machine.memory(),
            "low": self._reports.lowest(),
            "uses": self.agent.used(),
        }
        if facts != self._facts and self._say({"k": "facts", **facts}):
            self._facts = facts

    def _say(self, header: Header) -> bool:
        """Send what may be lost."""
        if self._transport is None or not self._greeted:
            return False
        self._transport.send(header)
        return True

    # what the transport says

    def frame(self, transport: Transport, header: Header, buffers: list[bytes]) -> None:
        """A frame of the engine."""
        act = self._acts.get(header["k"])
        if act is None or transport is not self._transport or not (self._greeted or header["k"] in ("hello", "bye")):
            raise FrameError(f"{header['k']!r} has no meaning here")
        try:
            act(self, header, buffers)
        except FrameError:
            raise
        except EcError as error:
            log.error("%s: %s", header["k"], error)

    def coming(self, transport: Transport, header: Header, size: int) -> Path:
        """A value or a function's code begins to come."""
        return self.folder / self._place(header, ".")

    def arrived(self, transport: Transport, header: Header, size: int) -> None:
        """It is here."""
        (self.folder / self._place(header, ".")).replace(self.folder / self._place(header, ""))

    def _place(self, header: Header, dot: str) -> str:
        if "h" in header:
            return f"blobs/{dot}{file_name(header['h'])}"
        return f"values/{dot}{file_name(header.get('n'))}"

    def drained(self, transport: Transport) -> None:
        """There is room for more reports."""
        self._reports.drained()

    def ended(self, transport: Transport, reason: str) -> None:
        """The connection has ended; calls run on."""
        log.info("the connection has ended: %s", reason)
        self._assured = max(self._assured, transport.assured)
        if transport is not self._transport:
            return
        self._transport = None
        self._greeted = False
        self._reports.pause()
        self._detach()
        if not self._lease or not self._met:
            # it is to end with its connection, or that ended before the engine had said hello
            self.over.set()

    def _detach(self) -> None:
        """Let the process go that waits for us on behalf of the login."""
        fd = self.orders.pop("detach", None)
        if fd is not None:
            with suppress(OSError):
                os.write(fd, bootstrap.DETACHED)
            os.close(fd)

    # what the engine says

    def _hello(self, header: Header, _: list[bytes]) -> None:
        epoch, known, lease, heartbeat, names = checked(
            header, epoch=int, known=list, lease=float, beat=float, processors=list
        )
        if epoch < self._epoch:
            raise FrameError("an engine from before the one that was here last")
        self._epoch, self._lease, self._heartbeat = epoch, float(lease), float(heartbeat)
        assert self._transport is not None
        self._transport.live(self._heartbeat)
        self._greeted = self._met = True
        self._sources.clear()
        self._facts = {}
        # what was used before this engine's first call is not its own
        self._say_facts()
        for name in self.agent.processors - set(names):
            self.agent.remove(name)
        wanted: dict[int, int] = dict(known)
        for request in [n for n, held in self._held.items() if wanted.get(n) != held.call.attempt]:
            self._give_up(request)
        self._reports.forget(self._reports.requests() - wanted.keys())
        here = self._held.keys() | self._reports.requests() | self._later.keys()
        self._say({"k": "absent", "n": [request for request in wanted if request not in here]})
        for request, held in self._held.items():
            if held.started is not None:
                self._say_started(request, held)
        for name in self._asked:
            self._say({"k": "module", "x": name})
        self._reports.begin(self._transport)

    def _give_up(self, request: int) -> None:
        """Cancel a call whose outcome is not wanted any more."""
        held = self._held.pop(request)
        self._ending[request] = held.call.attempt
        self.agent.cancel(request)

    def _processor(self, header: Header, _: list[bytes]) -> None:
        name, cpus = checked(header, n=str, c=int)
        affinity = header.get("a", "auto")
        self.agent.processor(name, min(cpus, self._lent), affinity, header.get("w", 1.0))

    def _assign(self, header: Header, buffers: list[bytes]) -> None:
        (processor,) = checked(header, p=str)
        ready = []
        self._sources.update({str(name): str(text) for name, text in dict(header.get("x", {})).items()})
        for call in unpack_calls(only(buffers), self._sources):
            if call.request in self._held:
                continue  # sent twice, for the connection was cut
            if call.request in self._ending:
                # an attempt that nobody wants any more has not quite ended
                self._later[call.request] = (processor, call)
                continue
            self._held[call.request] = Held(call, processor)
            ready.append(call)
        if ready:
            self._give(processor, ready)

    def _give(self, processor: str, calls: list[Call]) -> None:
        try:
            self.agent.assign(processor, calls)
        except EcError:
            # the processor has just been taken away
            self.returned([call.request for call in calls])

    def _cancel(self, header: Header, _: list[bytes]) -> None:
        request, kind = checked(header, n=int, c=str)
        if request in self._later:
            call = self._later.pop(request)[1]
            self._reports.outcomes([failed(call, kind, stop_text(call, kind))])
        elif request in self._held:
            self.agent.cancel(request, kind)

    def _drop(self, header: Header, _: list[bytes]) -> None:
        for name in header.get("f", ()):
            (self.folder / "values" / file_name(name)).unlink(missing_ok=True)

    def _module(self, header: Header, buffers: list[bytes]) -> None:
        for answer in self._asked.pop(str(header.get("x")), ()):
            answer(json.dumps([header.get("p"), header.get("o")]).encode() + b"\n" + buffers[0] if buffers else None)

    _acts: dict[str, Any] = {  # noqa: RUF012 - never changed
        "hello": _hello,
        "processor": _processor,
        "remove": lambda self, header, _: self.agent.remove(header["n"]),
        "run": _assign,
        "recall": lambda self, header, _: self.agent.recall([n for n in numbers(header, "n") if n in self._held]),
        "cancel": _cancel,
        "confirmed": lambda self, header, _: self._reports.confirmed(numbers(header, "u")),
        "drop": _drop,
        "module": _module,
        "bye": lambda self, *_: self.over.set(),
    }

    # what the agent says

    def blob(self, sha256: str) -> bytes:
        """The code of a task."""
        return (self.folder / "blobs" / sha256).read_bytes()

    def module(self, name: str, answer: Callable[[bytes | None], None]) -> None:
        """A task imports a module that may lie beside the notebook: ask the engine."""
        asked = self._asked.setdefault(name, [])
        asked.append(answer)
        if len(asked) == 1:
            self._say({"k": "module", "x": name})

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> None:
        """A call runs."""
        held = self._mine(request, attempt)
        if held is not None:
            held.started, held.slot, held.pid = at, slot, pid
            self._say_started(request, held)

    def _say_started(self, request: int, held: Held) -> None:
        self._say({
            "k": "started", "n": request, "a": held.call.attempt, "t": held.started, "w": held.slot, "p": held.pid,
        })  # fmt: skip

    def _mine(self, request: int, attempt: int) -> Held | None:
        held = self._held.get(request)
        return held if held is not None and held.call.attempt == attempt else None

    def finished(self, outcomes: list[Outcome]) -> None:
        """Calls have ended."""
        self._reports.outcomes([one for one in outcomes if self._take(one.request, one.attempt)])

    def _take(self, request: int, attempt: int) -> bool:
        """Take a call off that has ended; whether anybody wants to know."""
        if self._mine(request, attempt) is None:
            self._over(request)
            return False
        del self._held[request]
        return True

    def done(self, block: Block) -> None:
        """Calls have ended well."""
        self._reports.done(block.only(list(map(self._take, block.requests, block.attempts))))

    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None:
        """A generator has yielded."""
        if self._mine(request, attempt) is not None:
            header = {"k": "yielded", "n": request, "a": attempt, "f": first, "v": [value.head() for value in values]}
            self._reports.add(header, [request], [v.data for v in values if v.data is not None], files_of(values))

    def returned(self, requests: list[int]) -> None:
        """Calls are handed back."""
        back = [request for request in requests if self._held.pop(request, None) is not None]
        for request in requests:
            if request not in back:
                self._over(request)
        if back:
            self._reports.add({"k": "returned", "n": back}, back)

    def died(self, request: int, attempt: int, text: str) -> None:
        """A call has killed its worker."""
        if self._take(request, attempt):
            self._reports.add({"k": "died", "n": request, "a": attempt, "x": text}, [request])

    def _over(self, request: int) -> None:
        """An unwanted attempt has ended; the next may begin."""
        self._ending.pop(request, None)
        later = self._later.pop(request, None)
        if later is not None:
            processor, call = later
            self._held[request] = Held(call, processor)
            self._give(processor, [call])

    def output(self, request: int, stream: str, text: str) -> None:
        """A call has printed."""
        if request in self._held:
            self._reports.add({"k": "output", "n": request, "s": stream, "x": text}, [request])

    def progress(self, request: int, done: float, total: float | None, text: str) -> None:
        """A call says how far it is."""
        if request in self._held:
            self._say({"k": "progress", "n": request, "d": done, "t": total, "x": text})

    def room(self, processor: str) -> None:
        """The engine counts for itself."""

    def trouble(self, processor: str, text: str) -> None:
        """Workers do not start."""
        self._say({"k": "trouble", "p": processor, "x": text})


def _workdir(otherwise: Path) -> Path:
    """The user's home, as for any command over SSH: what tasks write beside themselves stays."""
    home = Path.home()
    return home if home.is_dir() and os.access(home, os.R_OK | os.X_OK) else otherwise
