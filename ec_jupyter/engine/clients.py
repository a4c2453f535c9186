"""The clients of an engine: notebooks, the server extension, other programs."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ec_jupyter.engine.address import ADDRESS, Proof, make_key, peer, socket_path
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.counts import Counts, leftover
from ec_jupyter.engine.ended import Watchers
from ec_jupyter.engine.parts import Loop
from ec_jupyter.engine.rerun import withdraw
from ec_jupyter.engine.store import Store
from ec_jupyter.engine.submit_log import SubmitLogs
from ec_jupyter.engine.submit_records import frames_of, told
from ec_jupyter.errors import EcError, FrameError, StoreError, defect, to_wire
from ec_jupyter.flow.rows import changes
from ec_jupyter.nodes.incoming import Incoming
from ec_jupyter.wire import RING, FrameReader, Header, encode

log = logging.getLogger(__name__)

PUSH_SECONDS = 0.2  # counts go out at most five times a second: what a picture can show and an eye can read
SOON_SECONDS = 0.02  # how long the first news after a pause waits for more
STRANGER_BYTES = 1 << 16  # bytes in a frame of who has not proved yet that it knows the flow's key
HIGH_BYTES = 1 << 20  # what a client may leave unread before it is told only what it asks for, and asked no further
MOST_HELD = 64 << 20  # bytes of frames that wait for a client to read before no more are taken from it
FRAME_BYTES = 500  # what a frame that waits costs at least
MOST_ASKED = 64  # questions of one client that are taken before the answers to those before have gone out
MOST_OWED = 2_000  # ends of requests that are told at once to a client that reads again
BRIEF = frozenset({"submit", "wait", "ping", "hello", "log", "ring"})  # frames whose answers are small
COUNT_SHARE = 20  # counting takes at most one part in so many of the engine's time, however much waits


Serve = Callable[["Connection", Header, list[bytes]], None]  # does what a frame asks for


class Connection(Incoming):
    """One client."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.reader = FrameReader(STRANGER_BYTES)
        self.transport: asyncio.Transport
        self.id = ""
        self.name = ""
        self.kinds: set[str] = set()
        self.greeted = self._met = False
        self.shown: dict[str, Any] | None = None
        self.choked = False
        self._owed: list[int] = []
        self._held: deque[tuple[Header, list[bytes]]] = deque()
        self._held_bytes = 0
        self._going = self._full = False
        self._asked = 0
        self.taken = 0
        self._proof: Proof | None = Proof(clients.key, clients.store.hold.folder.identity)
        self._out: list[tuple[int | None, bytes]] = []
        self._accepted: list[tuple[int, dict[str, Any]]] = []
        self.served = 0

    @property
    def here(self) -> bool:
        """Whether it is connected, and has said hello."""
        return self in self.clients.all

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected; they count once they have said hello."""
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_BYTES)
        if peer(transport.get_extra_info("socket")) not in (None, os.getuid()):
            transport.abort()

    def came(self, data: bytes) -> None:
        """Frames of the client."""
        ring = data == RING and self.reader.between and self._proof is None and self.free
        if ring and self.clients.loop.rung(self.id):
            self.served += 1
            return
        self.clients.loop.heard(self._received, data)

    @property
    def free(self) -> bool:
        """Whether what is said now is what the client reads next."""
        return not (self.choked or self._held or self._out or self._accepted or self.transport.is_closing())

    def answer(self, n: int, request: int, kind: str, data: bytes) -> None:
        """Say at once which request a submit has led to, and its result."""
        self.transport.write(told(n, request, kind, data))

    def _received(self, data: bytes) -> None:
        try:
            for header, buffers in self.reader.feed(data):
                if self._proof is not None:
                    self._prove(self._proof, header)
                elif self._held or self.choked:
                    self._hold(header, buffers)
                else:
                    self._serve(header, buffers)
        except FrameError as error:
            log.warning("client %s: %s", self.id, error)
            self.transport.write(encode({"k": "error", "n": 0, "error": to_wire(error)}))
            self.transport.close()

    def _serve(self, header: Header, buffers: list[bytes]) -> None:
        self.clients.take(self, header, buffers)
        if header["k"] not in BRIEF:
            self._asked += 1
        if self._asked >= MOST_ASKED:
            # what they lead to goes out first, and is counted before there is more of it
            self.choked = True
            self.clients.loop.after(self._go_on_soon)

    def _hold(self, header: Header, buffers: list[bytes]) -> None:
        """Keep a frame until the client has read what was sent to it; stop reading when that becomes much."""
        self._held.append((header, buffers))
        self._held_bytes += sum(map(len, buffers)) + FRAME_BYTES
        if self._held_bytes > MOST_HELD:
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """The client reads too slowly: what can be sent later is."""
        self.choked = self._full = True

    def resume_writing(self) -> None:
        """The client has read: send the rest."""
        self._full = False
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        if not self._going:
            self._going = True
            # not within the write that made room
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going = False
        if self._full or self.transport.is_closing():
            return
        self.choked, self._asked = False, 0
        if self.shown is not None:
            self.clients.topology()
        owed, self._owed = self._owed[:MOST_OWED], self._owed[MOST_OWED:]
        if owed:
            self.clients.watchers.ask(self, owed)
        while self._held and not self.choked:
            header, buffers = self._held.popleft()
            self._held_bytes -= sum(map(len, buffers)) + FRAME_BYTES
            self._serve(header, buffers)
        if not self._held:
            self.transport.resume_reading()
        if self._owed and not self.choked:
            self.choked = True
            self.clients.loop.after(self._go_on_soon)

    def ended(self, ids: Sequence[int], frame: Callable[[], bytes]) -> None:
        """Tell how watched requests ended: now, or once the client reads again."""
        if self.choked:
            self._owed += ids
        elif self._out or self._accepted:
            # with the answers that are about to leave
            self._out.append((None, frame()))
        else:
            self.transport.write(frame())

    def push(self, frame: bytes) -> None:
        """Send at once, but nothing before the answer to its hello; nothing to a client that does not read."""
        if self.choked:
            return
        if self._met:
            self.transport.write(frame)
        else:
            self._out.append((None, frame))

    def _prove(self, proof: Proof, header: Header) -> None:
        """Take a client's proof that it knows the flow's key; nothing is done for it before."""
        if header["k"] == "proof":
            proof.accept(header)
            self._proof = None
            self.reader.widen()
        elif self.clients.loop.look_around():
            self.transport.write(encode(proof.answer(header)))
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone; what it asked for goes on."""
        super().connection_lost(error)
        self.clients.leave(self)

    def send(self, header: Header, buffers: Iterable[bytes] = ()) -> None:
        """Send a frame with the next flush."""
        frame = encode(header, list(buffers))
        if self.clients.loop.stalled is not None:
            # no tick can be written now; what is said meanwhile (errors, what is on disk) promises nothing
            self._met = True
            self.transport.write(frame)
            return
        self._soon()
        self._out.append((header.get("n"), frame))

    def accepted(self, answers: Sequence[tuple[int, Any]]) -> None:
        """Say which requests submits have led to; all of a tick together."""
        self._soon()
        self._accepted += answers

    def _soon(self) -> None:
        if not self._out and not self._accepted:
            self.clients.loop.after(self.flush)

    def unsend(self, to: Header) -> None:
        """Take back the answer to a frame that has not left."""
        self._out = [(n, frame) for n, frame in self._out if n != to.get("n")]

    def flush(self) -> None:
        """Write what has gathered."""
        out, self._out = self._out, []
        accepted, self._accepted = self._accepted, []
        frames = [*frames_of(accepted), *(frame for _, frame in out)]
        self._met = True
        if frames and not self.transport.is_closing():
            self.transport.write(b"".join(frames))

    def reply(self, header: Header, buffers: Iterable[bytes] = (), *, to: Header) -> None:
        """Answer a frame once this tick is on disk."""
        self.send({"k": "ok", "n": to.get("n"), **header}, buffers)

    def refuse(self, error: EcError, *, to: Header) -> None:
        """Answer a frame with an error."""
        self.send({"k": "error", "n": to.get("n"), "error": to_wire(error)})


class Clients:
    """The open connections of an engine, and what each of them waits for."""

    def __init__(self, core: Core, store: Store, loop: Loop, submit_logs: SubmitLogs) -> None:
        self.core, self.store, self.loop, self.submit_logs = core, store, loop, submit_logs
        self.key = make_key(store.hold.folder, anew=store.new)
        self.serve: Serve
        self.counts: Counts
        self.all: set[Connection] = set()
        self.watchers = Watchers(core, loop)
        self.draining: list[tuple[Connection, Header]] = []
        self.accepting: list[tuple[Connection, Header, list[int]]] = []
        self._path: Path
        self._listening: asyncio.Server | None = None
        self._counts: asyncio.TimerHandle | None = None
        self._next_counts = 0.0
        self._anew: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self.all)

    @property
    def ids(self) -> set[str]:
        """Identities of those who are connected."""
        return {connection.id for connection in self.all}

    async def listen(self, serve: Serve, counts: Counts, runtime: Path) -> None:
        """Begin to take connections; again, where somebody has removed the socket or what says where it is."""
        loop, self.serve, self.counts = asyncio.get_running_loop(), serve, counts
        old, self._path = self._listening, runtime / "clients"
        self._path.unlink(missing_ok=True)
        self._listening = await loop.create_unix_server(lambda: Connection(self), str(self._path))
        os.chmod(self._path, 0o600)
        self.store.hold.folder.write(ADDRESS, os.fsencode(self._path))
        if old is not None:
            old.close()

    @property
    def found(self) -> bool:
        """Whether clients can find the engine; true before it listens."""
        return self._listening is None or (self._path.exists() and socket_path(self.store.folder) == self._path)

    async def close(self) -> None:
        """Send everybody away."""
        # first, for a server that is closed removes its socket from Python 3.13 on
        if not self.loop.lost and self.found:
            self.store.hold.folder.remove(ADDRESS)
        if self._listening is not None:
            self._listening.close()
        for connection in list(self.all):
            self._say_bye(connection)
            connection.transport.close()

    def _say_bye(self, connection: Connection) -> None:
        if self.loop.lost is not None:
            # what is still to be said was written where nobody will find it
            connection.transport.write(encode({"k": "bye", "why": "lost", "error": to_wire(self.loop.lost)}))
            return
        if not self.loop.broken:
            connection.send({"k": "bye", "why": "stopped", "taken": connection.taken})
        connection.flush()

    def take(self, connection: Connection, header: Header, buffers: list[bytes]) -> None:
        """Do what a frame asks for; what comes after a stop is for the next engine."""
        if self.loop.stopped.is_set():
            if not connection.greeted:
                connection.transport.close()
            return
        if header["k"] == "ring":
            connection.served += 1
            self.submit_logs.rung(connection)
            return
        if self.loop.interrupt():
            self.loop.commit()  # who asks may have been told of what is not written yet
        n = header.get("n")
        connection.taken = max(connection.taken, n) if isinstance(n, int) else connection.taken
        before = self.core.journal.position
        try:
            self.serve(connection, header, buffers)
        except EcError as error:
            connection.refuse(error, to=header)
        except sqlite3.OperationalError as error:
            self.loop.stall(error)
            connection.refuse(self.store.explain(error), to=header)
        except Exception as error:
            # a defect of ours in one frame is that frame's error
            log.exception("frame %s of client %s", header.get("k"), connection.id)
            connection.refuse(defect(f"a {header.get('k')!r} frame", error), to=header)
            if self.core.journal.grown(before):
                # half of it was done: the next engine starts from what is on disk, which is whole
                connection.flush()
                self.loop.fall({"message": f"frame {header.get('k')!r} was done by half", "exception": error})
        finally:
            connection.served += 1

    def join(self, connection: Connection) -> None:
        """One has said hello: show it the wiring from now on."""
        self.all.add(connection)
        connection.shown = self.view()

    def accept(self, connection: Connection, header: Header, requests: list[int]) -> None:
        """Note what a submit of this tick has led to."""
        self.accepting.append((connection, header, requests))

    def drain(self, connection: Connection, header: Header) -> None:
        """Answer a client once nothing runs and nothing may start."""
        self.draining.append((connection, header))

    def leave(self, connection: Connection) -> None:
        """Forget a client."""
        self.loop.interrupt()
        self.all.discard(connection)
        self.watchers.leave(connection)
        self.draining = [(c, h) for c, h in self.draining if c is not connection]
        if connection.greeted:
            # what it has written down and not sent is taken
            self.submit_logs.read(connection.id)
        self.loop.schedule()

    # -- pushes --------------------------------------------------------------
    def committed(self) -> None:
        """Tell clients what ended in the tick that was just written."""
        core = self.core
        ended, core.ended = core.ended, []
        self.watchers.tell(ended)
        self.accepting.clear()
        if self.draining and self.loop.idle:
            waiting, self.draining = self.draining, []
            for connection, header in waiting:
                connection.reply(leftover(core), to=header)
                connection.flush()
        if core.states.changed:
            self.look_at_counts()

    @property
    def looked_at(self) -> bool:
        """Whether a client shows a picture of the flow."""
        return any("picture" in c.kinds for c in self.all)

    def look_at_counts(self) -> None:
        """Push counts soon, to those who asked for them."""
        if self._counts is None and any("counts" in c.kinds for c in self.all):
            loop = asyncio.get_running_loop()
            self._counts = loop.call_at(max(loop.time() + SOON_SECONDS, self._next_counts), self._push_counts)

    def _push_counts(self) -> None:
        self._counts = None
        self.core.states.changed.clear()
        clock = asyncio.get_running_loop().time
        began = clock()
        self.push("counts", self.counts.now())
        self._next_counts = clock() + max(PUSH_SECONDS, COUNT_SHARE * (clock() - began))
        due = self.counts.lists.due
        if due is not None and (self._anew is None or self._anew.when() < began):
            self._anew = asyncio.get_running_loop().call_at(due, self.look_at_counts)

    def push(self, kind: str, header: Header, *, everyone: bool = False) -> None:
        """Send something to all who subscribed to its kind."""
        listeners = [c for c in self.all if everyone or kind in c.kinds]
        if listeners:
            frame = encode({"k": kind, **header})
            for connection in listeners:
                connection.push(frame)

    def view(self) -> dict[str, Any]:
        """The wiring as clients see it."""
        return self.counts.topology()

    def topology(self) -> None:
        """Show everybody what has changed in the wiring since they saw it last."""
        if not self.all:
            return
        now = self.view()
        seen = {id(c.shown): c.shown for c in self.all if c.shown is not None}
        frames = {key: encode({"k": "topology", "changes": changes(old, now)}) for key, old in seen.items()}
        for connection in self.all:
            if connection.shown is not None and not connection.choked:
                connection.push(frames[id(connection.shown)])
                connection.shown = now

    def notice(self, text: str, *, logged: bool = False, **more: Any) -> None:
        """Tell everybody something they should know; it is in the log too, if it was not `logged` with more to say."""
        if not logged:
            self.core.journal.add("add_event", (time.time(), "notice", None, text))
        self.push("notice", {"text": text, **more}, everyone=True)

    def output(self, request: int, stream: str, text: str) -> None:
        """Pass on what a task printed."""
        job = self.core.jobs.get(request)
        if job is not None and request > 0:
            name = self.core.topology.sockets[job.socket].name
            self.push("output", {"request": request, "socket": name, "stream": stream, "text": text})

    def refuse(self, error: StoreError) -> None:
        """The disk is full: submits of this tick were not accepted after all."""
        core = self.core
        for connection, header, requests in self.accepting:
            # one that may have completed a join already stays: its answer comes once it is on disk
            if withdraw(core, requests):
                core.journal.answers.get(connection.id, {}).pop(header["n"], None)
                connection.unsend(header)
                connection.refuse(error, to=header)
        self.accepting.clear()
