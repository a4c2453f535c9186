"""The client of one flow's engine: accepts submits, asks questions, and receives outcomes.

Any thread may call; none waits for an engine longer than it asked to. `ec_jupyter.client.connection`
makes and keeps the connection.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from itertools import chain, count
from pathlib import Path
from typing import Any
from weakref import WeakSet

from ec_jupyter.client import launch
from ec_jupyter.client.connection import MAX_UNSENT
from ec_jupyter.client.result_futures import Row
from ec_jupyter.client.rpc import Accepted, Rpc
from ec_jupyter.client.seen import Seen
from ec_jupyter.client.submit import (
    Call,
    Columns,
    Form,
    Kind,
    bounded,
    columns_of,
    fits,
    frame,
    lacking,
)
from ec_jupyter.client.submit_log import SubmitLog
from ec_jupyter.client.transport import Transport
from ec_jupyter.client.waits import Deadline
from ec_jupyter.engine.folder import place_of, refusal
from ec_jupyter.engine.store import make_folder
from ec_jupyter.engine.submit_log import identity_of, submit_log_folder
from ec_jupyter.engine.submit_records import Shape, lots_of
from ec_jupyter.errors import (
    ArgumentsError,
    EcError,
    EngineLostError,
    FlowInUseError,
    RequestNotFoundError,
    StoreLostError,
    from_wire,
)
from ec_jupyter.nodes import values
from ec_jupyter.wire import PROTOCOL, RING, Header, Value, encode, unpacked

log = logging.getLogger(__name__)

EAGER = 8  # submits that ask for their results at once, after somebody waited for one
ROOM_SECONDS = 1.0  # how long the engine's word is good that a socket has room for more; there it is good for longer
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Client(Rpc):
    """A connection to the engine of one flow.

    Use `Client.open`. If the engine is killed, the client starts another and asks again what was not
    answered; what had taken effect does not take effect twice.
    """

    def __init__(
        self, folder: Path, name: str, client_name: str, options: list[str], executable: str = sys.executable
    ) -> None:
        self.folder, self.name = folder, name
        self.client_name = client_name
        self.flow_id = ""  # the flow's identity
        self.topology: dict[str, Any] = {}  # the wiring as the engine last showed it
        self.cpus = 0  # CPUs of the local node
        self.engine_pid = 0  # the engine's process
        self.warnings: list[str] = []  # what the engine had to say at hello
        self._options, self._executable = options, executable
        self._values = folder / "values"
        self._place: tuple[int, int] | None = None
        self._sync = "power" in options
        self._follows = True
        self._log: SubmitLog | None = None
        self.seen = Seen()  # what pictures have shown of values
        self._reset()

    def _reset(self) -> None:
        """Start as a client of this process, with no open questions."""
        # the engine takes who knows the secret for the client that the identity is made of
        self._secret = secrets.token_hex(16)
        self.id = identity_of(self._secret)
        self._pid = os.getpid()
        self._eager = self._newest = 0
        self._room: dict[str, tuple[int, float]] = {}
        self._files = count()
        self._whole: tuple[dict[str, Any], set[Kind]] = ({}, set())
        self._reset_rpc()

    @classmethod
    def open(  # noqa: PLR0913 - how it is opened, by name
        cls,
        folder: Path,
        name: str,
        *,
        client_name: str = "",
        linger: float | None = None,
        durability: str | None = None,
        cpus: int | None = None,
        executable: str | None = None,
        trust: bool = False,
        follow: bool = True,
    ) -> Client:
        """Connect to a flow's engine, started if none runs; under `executable`, if not this process's own.

        With ``follow=False`` none is started, now or when it dies, until `follow` says otherwise. Raises
        EngineStartError, StoreError: the engine cannot run on that folder; says why; UntrustedFlowError: the folder
        came from elsewhere or belongs to somebody else, and `trust` was not said; PythonMismatchError: the flow runs
        under another minor version of Python.
        """
        options = []
        for flag, value in (("--linger", linger), ("--durability", durability), ("--cpus", cpus)):
            options += [flag, str(value)] if value is not None else []
        client = cls(folder.resolve(), name, client_name, options, executable or sys.executable)
        client.follow(follow)
        make_folder(client.folder, trust=trust)
        client._place = place_of(client.folder, follow=True)
        try:
            client._open_log()
            client._connection.wait_connected(Deadline(None))
        except BaseException as error:
            client.close()
            if isinstance(error, OSError) and not isinstance(error, EcError):
                raise refusal(client.folder, error) from error
            raise
        _clients.add(client)
        return client

    # -- the connection --------------------------------------------------------
    def _dial(self) -> Transport:
        """Connect to an engine and exchange hellos; one that was just ending is followed by another."""
        if self.lost:
            raise self._folder_lost()
        hello = {
            "k": "hello", "n": 0, "protocol": PROTOCOL, "client": self.id, "secret": self._secret,
            "name": self.client_name, "pid": os.getpid(), "python": PYTHON, "executable": sys.executable,
        }  # fmt: skip
        follows = self._follows
        try:
            transport = launch.dial(self._reach, hello)
        except EngineLostError:
            if follows or not self._follows:
                raise
            # somebody has come meanwhile for whom one is to be started
            transport = launch.dial(self._reach, hello)
        try:
            self._on_hello(transport.frames.pop(0)[0])
        except BaseException:
            transport.close()
            raise
        return transport

    def _reach(self) -> socket.socket:
        return launch.reach(self.folder, self.name, self._executable, self._options, start=self._follows)

    def follow(self, whether: bool) -> None:
        """Set whether an engine is started where none runs or the last one died."""
        self._follows = whether

    def _on_hello(self, header: Header) -> None:
        if header["k"] == "error":
            raise from_wire(header["error"])
        self.flow_id, self.engine_pid, self.cpus = header["flow"], header["engine"], header["cpus"]
        self.warnings, self.topology = header["warnings"], header["topology"]

    # -- what a caller does ----------------------------------------------------
    def _accept(
        self, calls: list[Call], columns: Columns | None, revision: int, partial: bool, how: Header
    ) -> Accepted:
        """Write a submit to the log, in columns if it has any; without an engine nothing is written or accepted."""
        header, buffers = ({}, []) if columns else frame(calls, revision, partial, how)
        several = columns.calls if columns else len(calls)
        with self._lock:
            transport = self._connection.transport
            if transport is None or not self._has_room(transport):
                transport = self._connection.wait_connected(Deadline(None), self._has_room)
            log = self._log or self._open_log()
            watched, lots = self._eager > 0, 1 if columns is None else lots_of(several, columns.values)
            numbers = [next(self._numbers) for _ in range(lots)]
            accepted = Accepted(self, numbers, several, watched)
            if columns is not None:
                shape = Shape(columns.socket, columns.names, columns.types, revision, partial, how.get("priority", 0))
                record = log.writer.calls(numbers, transport.sent, shape, several, columns.values, watched=watched)
            else:
                head = {**header, "n": numbers[0], "watch": watched}
                record = log.writer.frame(numbers[0], transport.sent, head, buffers)
            self._append(log, accepted, record, transport)
        return accepted

    def _append(self, log: SubmitLog, accepted: Accepted, record: bytes, transport: Transport) -> None:
        """Accept what is written down in a record, and ring an engine that sleeps; the lock is held."""
        self._eager -= accepted.watched
        for n in accepted.numbers:
            self._submits[n] = accepted
        self._newest = accepted.numbers[-1]
        try:
            log.append(record)
        except BaseException:
            if not log.appended:
                for n in accepted.numbers:
                    self._submits.pop(n, None)
                log.writer.unmade()
            raise
        if log.unheard:
            transport.send(RING)

    def _has_room(self, transport: Transport) -> bool:
        """Whether the engine has taken so much of what was submitted that more can be."""
        full = self._log is not None and self._log.full and self._submits
        return not full and transport.unsent <= MAX_UNSENT

    def _open_log(self) -> SubmitLog:
        if self._log is None:
            self._log = SubmitLog(submit_log_folder(self.folder) / f"{self.id}.log")
        return self._log

    def _on_line(self, transport: Transport) -> None:
        """Have a new engine read the log, and answer what was not answered."""
        log, since = self._open_log(), min(self._submits, default=self._newest + 1)
        for accepted in list(self._submits.values()):
            # an engine that is gone knew of it
            accepted.watched = False
        transport.send(encode({"k": "log", "mapped": log.mapped, "end": log.end, "since": since}))
        transport.sent = 0

    def _all_accepted(self) -> None:
        self._open_log().answered(self._newest + 1)

    def _folder_lost(self) -> EcError:
        return self._gone or StoreLostError(
            f"the folder {self.folder} of flow {self.name!r} is not there any more; open the flow anew"
        )

    @property
    def lost(self) -> bool:
        """Whether the folder that was opened is not at its path any more."""
        return self._place is not None and place_of(self.folder, follow=True) != self._place

    def submit(
        self, rows: Iterable[Call], *, partial: bool = False, at: float | None = None, priority: int = 0,
        callback: str | None = None,
    ) -> Accepted:  # fmt: skip
        """Accept requests, all or none: when this returns they are on disk, and whatever dies they will be run.

        `rows`: arguments are pickled values by name. `partial`: those that they lack will come from elsewhere. `at`:
        wall clock before which none may start. `priority`: of their runs, beside that of each socket. `callback`: an
        address that is told of the end of each. Looking at their identities waits for the engine, which gives them; if
        a socket is gone by then, that raises what a refused submit raises.

        Raises ArgumentsError: a row lacks an argument; StoreFullError: the disk has no room; EngineError: there is no
        engine to be had. Nothing was accepted then.
        """
        calls = list(rows)
        alone: Header = {word: what for word, what in (("at", at), ("callback", callback)) if what is not None}
        how = alone | ({"priority": priority} if priority else {})
        return self._submit(calls, None if alone else columns_of(calls), partial, how)

    def admit(self, socket: str, n: int, *, wait: bool = True) -> int:
        """For how many of `n` submits a socket has room; waits until it has for one.

        Raises QueueFullError: it is full, and who submits does not `wait`, or the socket says that nobody does.
        """
        record = self.topology["sockets"].get(socket)
        if record is None or not bounded(record):
            return n
        with self._lock:
            room, until = self._room.pop(socket, (0, 0.0))
        if room <= 0 or until < time.monotonic():
            room = int(self.ask("admit", {"socket": socket, "calls": n, "wait": wait}, timeout=None)[0]["calls"])
            until = time.monotonic() + ROOM_SECONDS
        with self._lock:
            self._room[socket] = room - n, until
        return min(room, n)

    def submit_alike(
        self, socket: str, names: tuple[str, ...], columns: Sequence[values.Pickles], calls: int, *, partial: bool,
        priority: int = 0,
    ) -> Accepted:  # fmt: skip
        """Accept so many calls of a socket as `submit` does: arguments of these names, in columns."""
        types, data = tuple([column.type for column in columns]), [column.data for column in columns]
        values = data[0] if len(data) == 1 else list(chain.from_iterable(zip(*data, strict=True)))
        how: Header = {"priority": priority} if priority else {}
        return self._submit([], Columns(socket, names, types, calls, values), partial, how)

    def submit_one(self, form: Form, types: tuple[str, ...], values: list[bytes]) -> Accepted:
        """Accept a call of a form, as `submit` does: values of these types, one for each argument."""
        wiring, log = self.topology, self._log
        shape = form.shapes.get(types) if form.wiring is wiring else None
        if shape is None or log is None or self._sync:
            return self._submit_first(form, types, values)
        with self._lock:
            transport = self._connection.transport
            if transport is None or not self._has_room(transport):
                transport = self._connection.wait_connected(Deadline(None), self._has_room)
            accepted = Accepted(self, (next(self._numbers),), 1, self._eager > 0)
            record = log.writer.calls(accepted.numbers, transport.sent, shape, 1, values, watched=accepted.watched)
            self._append(log, accepted, record, transport)
        return accepted

    def _submit_first(self, form: Form, types: tuple[str, ...], values: list[bytes]) -> Accepted:
        """Accept a call of a form of which it is not known that it lacks nothing."""
        accepted = self._submit([], Columns(form.socket, form.names, types, 1, values), False, {})
        wiring, whole = self._whole
        if (form.socket, form.names) in whole:
            if form.wiring is not wiring:
                form.wiring, form.shapes = wiring, {}
            form.shapes[types] = Shape(form.socket, form.names, types, wiring["revision"], False)
        return accepted

    def _submit(self, calls: list[Call], columns: Columns | None, partial: bool, how: Header) -> Accepted:
        wiring = self.topology
        known, whole = self._whole
        if columns is not None and known is wiring and columns[:2] in whole:
            accepted = self._accept(calls, columns, wiring["revision"], partial, how)
        else:
            accepted = self._accept_strange(calls, columns, partial, how)
        if self._sync:
            accepted.ids()
        return accepted

    def _accept_strange(self, calls: list[Call], columns: Columns | None, partial: bool, how: Header) -> Accepted:
        """Accept calls of which it is not known that they lack nothing, or that have little in common."""
        kinds = {columns[:2]} if columns else {(name, tuple(arguments)) for name, arguments, *_ in calls}
        wiring = self._wiring(kinds, partial)
        accepted = self._accept(calls, columns, wiring["revision"], partial, how)
        if not fits(wiring, kinds):
            # what this client does not know, the engine does, or refuses it
            accepted.ids()
        elif not partial:
            known, whole = self._whole
            self._whole = (wiring, whole | kinds if known is wiring else kinds)
        return accepted

    def _wiring(self, kinds: Collection[Kind], partial: bool) -> dict[str, Any]:
        """The wiring by which nothing is lacking; refuses what lacks an argument by the newest wiring there is."""
        if lacking(self.topology, kinds, partial) is not None:
            # what this client knows may be older than an edit of another; the answer comes after that
            self.ask("ping", timeout=None)
        wiring = self.topology
        why = lacking(wiring, kinds, partial)
        if why is not None:
            raise ArgumentsError(why)
        return wiring

    def finished(self, request: int) -> Future[Row]:
        """The future outcome of a request: a row with ``state`` and, as `Value`, its value, values or exception."""
        # whoever waits for this one will most likely wait for the next: ask for it with the submit
        self._eager = EAGER
        return self._awaited(request)

    def known_result(self, request: int) -> Value | None:
        """The result of a request, if it is known here and small; None says nothing."""
        self._eager = EAGER
        return self._futures.result(request)

    def row(self, request: int) -> Row:
        """What the engine knows of a request. Raises RequestNotFoundError: there is none of that number."""
        rows = unpacked(self.ask("query", {"what": "requests", "ids": [request], "limit": 1})[0])
        if not rows:
            raise RequestNotFoundError(f"no request {request} in this flow")
        return rows[0]

    def forget(self, request: int) -> None:
        """Let the next `finished` ask anew: the request goes on after it had ended."""
        self._futures.forget(request)

    def load(self, value: Value, timeout: float | None = None) -> object:
        """The object that a value holds; large arrays are mapped, read-only.

        Blocks, for `timeout` seconds at most, while a value that was left on a cluster comes from there, or one
        that is lost is made anew.
        """
        if value.file is not None and not values.whole(value.file, self._values):
            try:
                self.ask("bring", {"files": [value.file]}, timeout=timeout)
            except TimeoutError:
                text = f"the value did not come within {timeout or 0:.3g} s: it is on its way from a node, or made anew"
                raise TimeoutError(f"{text} by one; flow.nodes says which are away") from None
        return values.load(value, self._values)

    def dump(self, value: object, what: str = "value") -> Value:
        """Pickle an object for the flow; large ones become files of it.

        Raises StoreLostError: the flow's folder is not where it was; StoreFullError, StoreReadOnlyError, StoreError:
        the file cannot be written.
        """
        try:
            return values.dump(value, self._values, lambda: f"in.{self.id}.{next(self._files)}", what=what)
        except OSError as error:
            if isinstance(error, EcError):
                raise
            if self.lost:
                raise self._folder_lost() from error
            raise refusal(self.folder, error, f"the {what} was not written") from error

    def stop(self) -> None:
        """End the engine, if one runs; what is asked from now on is for the next one.

        Raises TimeoutError: it does not answer.
        """
        self._connection.wait_settled(Deadline(launch.START_SECONDS))
        if self._connection.transport is not None:
            self.ask("stop")
        else:
            launch.stop(self.folder, self.name)

    def end(self) -> None:
        """Stop the engine and return once it is gone: the folder is nobody's."""
        pid = self.engine_pid
        self.stop()
        launch.ended(pid, self.name)

    def end_alone(self, what: str, *, force: bool, hint: str) -> None:
        """`end` for something that needs the folder alone: unless others use the flow, or by force."""
        reply, _ = self.ask("query", {"what": "clients", "but": self.id})
        if reply["names"] and not force:
            others = ", ".join(sorted({name or "another program" for name in reply["names"]}))
            raise FlowInUseError(f"flow {self.name!r} is in use by {others} and was not {what}; {hint}")
        self.end()

    def close(self) -> None:
        """Close the connection; the flow goes on."""
        if self._connection.closed:
            return
        self._connection.close()
        if self._log is not None:
            # what was not answered is in the log, and the engine reads that when the connection ends
            self._log.close(remove=not self._submits)
        self._fail_pending(self._connection.closed_error())

    def _reset_after_fork(self) -> None:
        """Become another client than the parent process's, whose connection and log are left alone."""
        closed, transport = self._connection.closed, self._connection.transport
        asked, submits = self._questions, self._submits
        error = EngineLostError(
            f"it was asked by process {self._pid}, before this process was forked from it: that one gets the answer"
        )
        self._connection.looper.forget()
        if transport is not None:
            transport.close()
        if self._log is not None:
            self._log.leave()
            self._log = None
        self._reset()
        self._connection.closed = closed
        for question in asked.values():
            question.abandon(error)
        for submit in submits.values():
            submit.answer = error


_clients: WeakSet[Client] = WeakSet()


def clients() -> list[Client]:
    """The open connections of this process."""
    return [client for client in _clients if not client._connection.closed]


def _forked() -> None:
    """A forked child shares sockets and files with its parent: it lets go of them."""
    for client in list(_clients):
        client._reset_after_fork()


os.register_at_fork(after_in_child=_forked)
