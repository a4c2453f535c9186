"""The engine's end of a node on another machine: does what the local agent does, over a session.

A call that was sent there counts as running until the node reports its end, or until it has surely
ended with the agent's process or its lease.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ec_jupyter.errors import FrameError, ProcessorNotFoundError, by_name
from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Home, OpenListener, Used
from ec_jupyter.nodes.codec import checked, file_name, numbers, only, unpack_outcomes, unpack_values, used_in, values_of
from ec_jupyter.nodes.downloads import Downloads
from ec_jupyter.nodes.local.agent_context import failed, stop_text
from ec_jupyter.nodes.local.processes import TROUBLE_SECONDS
from ec_jupyter.nodes.lots import unpack_block
from ec_jupyter.nodes.ssh.in_flight import InFlight, Out, Prefetch
from ec_jupyter.nodes.ssh.login import Login
from ec_jupyter.nodes.ssh.session import Session
from ec_jupyter.nodes.ssh.transport import Transport
from ec_jupyter.nodes.ssh.uploads import Uploads
from ec_jupyter.nodes.worker import imports
from ec_jupyter.version import VERSION
from ec_jupyter.wire import Call, Header


class RemoteAgent:
    """Runs calls on a node that is reached by a login.

    `record`: what the node is called, and lends. `idle`: seconds after which a worker there with nothing to do ends.
    `heartbeat`: seconds between signs of life, at most.
    """

    def __init__(
        self,
        record: Node,
        listener: OpenListener,
        home: Home,
        login: Login,
        *,
        idle: float = 300.0,
        heartbeat: float = 4.0,
    ) -> None:
        self.name = record.name
        self.cpus = record.cpus or 0  # CPUs it lends; 0 until it has said how many those are, unless the record does
        self._listener = listener  # told what becomes of the calls, and of the node
        self._workdir = home.workdir
        self._session = Session(self, record, home, login, idle=idle, heartbeat=heartbeat)
        self._uploads = Uploads(home.folder / "values", listener.blob, self._refused)
        self._downloads = Downloads(home.folder / "values", home.epoch, home.sync)
        self._calls = InFlight()
        self._processors: dict[str, tuple[int, str | list[int], float]] = {}
        self._prefetch = Prefetch()
        self._seen: set[int] = set()
        self._confirming: list[int] = []
        self._told: dict[str, Any] = {}
        self._uses: list[Used] = []
        self._base: dict[int, float] | None = None
        self._boot = ""

    @property
    def state(self) -> str:
        """``"starting"``, ``"up"``, ``"away"`` or ``"down"``."""
        return self._session.state

    # life

    def adopt(self, calls: Mapping[int, tuple[int, str]]) -> None:
        """Calls that an engine before this one sent there, told before `start`: each ends as others do, or is lost."""
        for request, (attempt, processor) in calls.items():
            self._calls.out[request] = Out(attempt, processor, None, sent=True)

    async def start(self) -> None:
        """Begin to log in."""
        await self._session.start()

    def retry(self) -> None:
        """Try to reach the node now."""
        self._session.retry()

    async def close(self, *, keep: bool = False) -> None:
        """End the agent there and all it has started, and the login; `keep`: leave it its lease."""
        await self._session.close(keep=keep)

    # what the engine wants

    def processor(self, name: str, cpus: int, affinity: str | Sequence[int] = "auto", weight: float = 1.0) -> None:
        """Make a processor, or change it while it works."""
        self._processors[name] = (cpus, affinity if isinstance(affinity, str) else list(affinity), weight)
        self._say_processor(name)
        self._listener.room(name)

    def _say_processor(self, name: str) -> None:
        cpus, affinity, weight = self._processors[name]
        self._session.say({"k": "processor", "n": name, "c": cpus, "a": affinity, "w": weight})

    def remove(self, name: str) -> None:
        """Take a processor away: what it has not begun is handed back, what runs goes on."""
        by_name(self._processors, name, ProcessorNotFoundError)
        del self._processors[name]
        self.recall([request for request, out in self._calls.out.items() if out.processor == name])
        self._session.say({"k": "remove", "n": name})

    def room(self, name: str) -> float:
        """How many more calls keep the processor's slots busy, the way there and back included."""
        if self._session.state != "up" or self._session.transport is None or name not in self._processors:
            return 0
        cpus = min(self._processors[name][0], self.cpus)
        wanted = self._prefetch.calls(name, cpus, self._session.transport.round_trip or 0.0)
        return max(0, wanted - self._calls.count(name))

    def assign(self, name: str, calls: list[Call]) -> None:
        """Append calls to the processor's queue there; they start in this order. Raises ProcessorNotFoundError."""
        by_name(self._processors, name, ProcessorNotFoundError)
        for call in calls:
            self._calls.out[call.request] = Out(call.attempt, name, call)
        if self._session.state == "up":
            self._send(name, calls)
        elif self._session.state != "starting":
            self.recall([call.request for call in calls])

    def _send(self, name: str, calls: Sequence[Call]) -> None:
        for call in calls:
            self._calls.out[call.request].sent = True
        self._uploads.send(name, calls)
        self._uploads.trim(self._calls.files)

    def _refused(self, calls: Sequence[Call], text: str) -> None:
        """A frame cannot hold these."""
        for call in calls:
            del self._calls.out[call.request]
        self._listener.finished([failed(call, "unpicklable", text) for call in calls])

    def recall(self, requests: Collection[int]) -> None:
        """Hand back those that have not begun; the others run on."""
        mine = [request for request in requests if request in self._calls.out]
        back = [request for request in mine if not self._calls.out[request].sent]
        for request in back:
            del self._calls.out[request]
        if back:
            self._listener.returned(back)
        rest = [request for request in mine if request in self._calls.out]
        if rest and not self._session.say({"k": "recall", "n": rest}):
            for request in rest:
                self._calls.out[request].recalled = True

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        """End a call, running or not; an outcome of that kind follows. Unknown ones are no error."""
        out = self._calls.out.get(request)
        if out is None:
            return
        if not out.sent and out.call is not None:
            del self._calls.out[request]
            self._listener.finished([failed(out.call, kind, stop_text(out.call, kind))])
            return
        out.cancelled = kind
        self._session.say({"k": "cancel", "n": request, "c": kind})

    def running(self) -> dict[int, float]:
        """Requests that run now, and for how many seconds."""
        return self._calls.running()

    def used(self) -> list[Used]:
        """Of each process there, what it has used since this engine knows the node, and the bytes it holds."""
        base = self._base or {}
        return [(name, pid, max(0.0, cpu - base.get(pid, 0.0)), held) for name, pid, cpu, held in self._uses]

    def _used(self) -> float:
        # what it said last may be older than the end of the last call
        return float(self._told.get("used", 0)) if self._calls.out else 0.0

    def facts(self) -> dict[str, Any]:
        """What there is to say of the node."""
        session = self._session
        memory = self._told.get("memory")
        python, up = session.found.get("python"), session.state == "up"
        return {
            "state": session.state, "cpus": self.cpus,
            "used": self._used() if up else 0, "others": self._told.get("others", 0) if up else 0,
            "round_trip": session.transport.round_trip if session.transport is not None else None,
            "memory": None if memory is None else {"used": memory[0], "total": memory[1]},
            "python": None if python is None else ".".join(map(str, python)),
            "version": VERSION if up else None,
            "host": session.login.host,
            "since": session.since,
            "error": str(session.error) if session.error is not None and not up else None,
            "type": type(session.error).__name__ if session.error is not None and not up else None,
            "note": session.note or None,
        }  # fmt: skip

    # what the session says

    def up(self, transport: Transport, header: Header) -> Header:
        """The node is there."""
        cpus, files, blobs, boot = checked(header, cpus=int, files=list, blobs=list, boot=str)
        if not all(isinstance(one, list) and len(one) == 2 and type(one[1]) is int for one in files):
            raise FrameError("'welcome' has no proper 'files'")
        self._uploads.begin(transport, [(file_name(name), size) for name, size in files], map(str, blobs))
        if boot != self._boot:
            self._boot = boot
            self._seen.clear()
            self._confirming.clear()
        self.cpus = max(1, cpus)
        known = [[request, out.attempt] for request, out in self._calls.out.items() if out.sent]
        return {"known": known, "processors": list(self._processors)}

    def met(self) -> None:
        """Say what there was to say while the node was away."""
        for name in self._processors:
            self._say_processor(name)
        recalls = []
        for request, out in self._calls.out.items():
            if out.cancelled is not None:
                self._session.say({"k": "cancel", "n": request, "c": out.cancelled})
            if out.recalled:
                out.recalled = False
                recalls.append(request)
        if recalls:
            self._session.say({"k": "recall", "n": recalls})
        self._send_all(self._calls.unsent())
        self._tell_room()

    def _send_all(self, requests: Iterable[int]) -> None:
        for name, calls in self._calls.by_processor(requests).items():
            self._send(name, calls)

    def out(self) -> list[int]:
        """Requests that were sent there and have not ended."""
        return self._calls.sent()

    def killed(self, ran: dict[int, bool]) -> None:
        """The agent there was killed while these ran."""
        mine = {request: program for request, program in ran.items() if request in self._calls.out}
        if mine:
            self._listener.killed(self.name, mine)

    def lose(self, requests: list[int]) -> None:
        """Attempts are over for sure; those that somebody has cancelled meanwhile end as cancelled."""
        lost = []
        for request in requests:
            out = self._calls.pop(request)
            if out is not None and out.cancelled is not None and out.call is not None:
                self._listener.finished([failed(out.call, out.cancelled, stop_text(out.call, out.cancelled))])
            elif out is not None:
                lost.append(request)
        if lost:
            self._listener.lost(self.name, lost)

    def changed(self) -> None:
        """The state or another fact has changed; what was never sent need not wait for a node that is not there."""
        if self._session.state in ("away", "down") and not self._session.closing:
            self.recall(self._calls.unsent())
        self._listener.node(self.name)

    def coming(self, transport: Transport, header: Header, size: int) -> Path:
        """A result begins to come."""
        return self._downloads.beside(header.get("n"))

    def arrived(self, transport: Transport, header: Header, size: int) -> None:
        """A result is here."""
        name, request, attempt = self._downloads.named(header.get("n"))
        wanted = self._calls.mine(request, attempt) is not None
        if self._downloads.take(header.get("n"), keep=wanted) and name == header["n"]:
            self._uploads.came(name, size)

    def drained(self, transport: Transport) -> None:
        """All that was to leave has left."""
        if not transport.bulky:
            self._uploads.settled()

    # what the node says

    def report(self, header: Header, buffers: list[bytes]) -> None:
        """A frame of the node: each that has to arrive comes until it is confirmed, and counts once."""
        kind = header["k"]
        if kind in self._news:
            self._news[kind](self, header, buffers)
            return
        if kind not in self._units:
            raise FrameError(f"{kind!r} has no meaning")
        (number,) = checked(header, u=int)
        if number not in self._seen:
            self._units[kind](self, header, buffers)
            self._seen.add(number)
        self._confirming.append(number)
        if len(self._confirming) == 1:
            self._listener.after(self._confirm)

    def _confirm(self) -> None:
        numbers, self._confirming = self._confirming, []
        if numbers:
            self._session.say({"k": "confirmed", "u": numbers})

    def _done(self, header: Header, buffers: list[bytes]) -> None:
        block = unpack_block(only(buffers))
        mine = list(map(self._calls.mine, block.requests, block.attempts))
        block = block.only([out is not None for out in mine])
        for out, request, seconds in zip(filter(None, mine), block.requests, block.seconds, strict=True):
            self._learn(out, seconds)
            self._calls.pop(request)
        ahead = self._ahead
        block.started = [started - ahead for started in block.started]
        if len(block):
            self._listener.done(block)
        self._tell_room()

    def _ended(self, header: Header, buffers: list[bytes]) -> None:
        outcomes, missing = [], []
        for outcome in unpack_outcomes(header, buffers):
            out = self._calls.mine(outcome.request, outcome.attempt)
            if out is None:
                continue
            if all(self._downloads.has(outcome.request, outcome.attempt, value) for value in values_of(outcome)):
                self._learn(out, outcome.seconds)
                outcome.started -= self._ahead
                outcomes.append(outcome)
                self._calls.pop(outcome.request)
            else:
                missing.append(outcome.request)
        if outcomes:
            self._listener.finished(outcomes)
        self.lose(missing)
        self._tell_room()

    def _learn(self, out: Out, seconds: float) -> None:
        if out.call is None or out.call.spec.concurrent == 1:
            # of calls that share a worker, seconds say nothing of how soon it takes more
            self._prefetch.learn(out.processor, seconds)

    @property
    def _ahead(self) -> float:
        """Seconds that the clock there is ahead of ours."""
        return self._session.transport.ahead if self._session.transport is not None else 0.0

    def _tell_room(self) -> None:
        for name in self._processors:
            self._listener.room(name)

    def _yielded(self, header: Header, buffers: list[bytes]) -> None:
        request, attempt, first, heads = checked(header, n=int, a=int, f=int, v=list)
        values = unpack_values(heads, buffers)
        if self._calls.mine(request, attempt) is None:
            return
        if all(self._downloads.has(request, attempt, value) for value in values):
            self._listener.yielded(request, attempt, first, values)
        else:
            self.lose([request])

    def _returned(self, header: Header, _: list[bytes]) -> None:
        requests = [request for request in numbers(header, "n") if self._calls.pop(request) is not None]
        if requests:
            self._listener.returned(requests)

    def _died(self, header: Header, _: list[bytes]) -> None:
        request, attempt, text = checked(header, n=int, a=int, x=str)
        if self._calls.mine(request, attempt) is not None:
            self._calls.pop(request)
            self._listener.died(request, attempt, text)

    def _output(self, header: Header, _: list[bytes]) -> None:
        request, stream, text = checked(header, n=int, s=str, x=str)
        if stream not in ("stdout", "stderr", "log"):
            raise FrameError(f"{stream!r:.100} is no stream")
        if request in self._calls.out:
            self._listener.output(request, stream, text)

    def _started(self, header: Header, _: list[bytes]) -> None:
        request, attempt, at, slot, pid = checked(header, n=int, a=int, t=float, w=int, p=int)
        out = self._calls.mine(request, attempt)
        if out is None or out.began is not None or self._session.transport is None:
            return
        at -= self._session.transport.ahead
        out.began = time.monotonic() - max(0.0, time.time() - at)
        self._listener.started(request, attempt, at, slot, pid)

    def _progress(self, header: Header, _: list[bytes]) -> None:
        request, done, text = checked(header, n=int, d=float, x=str)
        total = header.get("t")
        if total is not None:
            (total,) = checked(header, t=float)
        if request in self._calls.out:
            self._listener.progress(request, done, total, text)

    def _trouble(self, header: Header, _: list[bytes]) -> None:
        processor, text = checked(header, p=str, x=str)
        if processor in self._processors:
            self._prefetch.troubled(processor)
            asyncio.get_running_loop().call_later(TROUBLE_SECONDS, self._listener.room, processor)
            self._listener.trouble(processor, f"node {self.name!r}: {text}")

    def _facts(self, header: Header, _: list[bytes]) -> None:
        used, others, low = checked(header, used=float, others=int, low=int)
        memory = None if header.get("memory") is None else numbers(header, "memory")
        if memory is not None and len(memory) != 2:
            raise FrameError("'facts' has no proper 'memory'")
        self._told = {"used": used, "others": others, "memory": memory}
        self._uses = used_in(header)
        if self._base is None:
            # an engine before this one may have had calls there
            self._base = {pid: cpu for _, pid, cpu, _ in self._uses}
        self._seen = {number for number in self._seen if number >= low}
        self._listener.node(self.name)

    def _absent(self, header: Header, _: list[bytes]) -> None:
        """Calls that were on their way when the connection was cut are sent again; those that cannot be are lost."""
        gone = [request for request in numbers(header, "n") if request in self._calls.out]
        self._send_all(gone)
        self.lose([request for request in gone if request in self._calls.out and self._calls.out[request].call is None])

    def _module(self, header: Header, _: list[bytes]) -> None:
        (name,) = checked(header, x=str)
        found = imports.found(self._workdir, name)
        if found is None:
            self._session.say({"k": "module", "x": name})
        elif self._session.transport is not None:
            package, origin, source = found
            self._session.transport.send({"k": "module", "x": name, "p": package, "o": origin}, [source])

    _units: dict[str, Any] = {  # noqa: RUF012 - never changed
        "done": _done,
        "ended": _ended,
        "yielded": _yielded,
        "returned": _returned,
        "died": _died,
        "output": _output,
    }
    _news: dict[str, Any] = {  # noqa: RUF012 - never changed
        "started": _started,
        "progress": _progress,
        "trouble": _trouble,
        "facts": _facts,
        "absent": _absent,
        "module": _module,
    }
