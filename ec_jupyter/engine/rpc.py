"""What each frame of a client asks for, and who does it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from ec_jupyter.engine import asides, rerun
from ec_jupyter.engine.acceptance import accept, accept_lot, check
from ec_jupyter.engine.callbacks import Callbacks
from ec_jupyter.engine.clients import Clients, Connection
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.counts import Counts
from ec_jupyter.engine.editing import Editor
from ec_jupyter.engine.fleet import Fleet
from ec_jupyter.engine.parts import Answer, Asker, Loop
from ec_jupyter.engine.questions import answer
from ec_jupyter.engine.retention import Limits, Retention
from ec_jupyter.engine.submit_log import SubmitLogs, identity_of
from ec_jupyter.engine.submit_records import Lot, Single, answers
from ec_jupyter.engine.value_preview import ValuePreview
from ec_jupyter.engine.views import Views
from ec_jupyter.errors import (
    EcError,
    FrameError,
    PythonMismatchError,
    RequestNotFoundError,
    SocketNotFoundError,
    by_name,
    defect,
    from_wire,
    to_wire,
)
from ec_jupyter.flow import schema
from ec_jupyter.nodes.codec import file_name
from ec_jupyter.wire import PROTOCOL, Header, Value

Buffers = list[bytes]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rpc:
    """Does what clients ask for, with the parts of the engine that it takes."""

    core: Core
    loop: Loop
    clients: Clients
    fleet: Fleet
    editor: Editor
    counts: Counts
    views: Views
    preview: ValuePreview
    submit_logs: SubmitLogs
    cpus: int
    callbacks: Callbacks
    retention: Retention
    _checked: list[Any] = field(default_factory=list)

    def serve(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Do what a frame asks for, and reply after the commit. Raises EcError: it cannot be; nothing has changed."""
        kind = header["k"]
        action = _ACTIONS.get(kind)
        if action is None:
            raise FrameError(f"no frame is called {kind!r}")
        if not client.greeted and kind not in _OPEN:
            raise FrameError("the first frame must be a hello")
        if kind != "wait":
            # what a client waits for was taken before it knew the numbers
            self.submit_logs.before(client)
        schema.check(header, len(buffers))
        if kind in _WRITES:
            # a map is in many lots, and they all meet the same wiring
            self.submit_logs.take_all()
            if self.loop.stalled is not None:
                raise self.loop.stalled
            if header.get("again") and self._answered(client, header):
                return
            if header.get("done"):
                self.core.journal.add("drop_accepted", (client.id, header["done"]))
        action(self, client, header, buffers)

    def _answered(self, client: Connection, header: Header) -> bool:
        """Repeat the answer to a frame that took effect before the client lost its engine."""
        row = self.core.store.one("find_accepted", (client.id, header["n"]))
        reply = json.loads(row[0]).get(str(header["n"])) if row else None
        if reply is None:
            return False
        if "refused" in reply:
            client.refuse(from_wire(reply["refused"]), to=header)
        else:
            client.reply(reply, to=header)
            if header.get("watch"):
                # they may have ended before this client was back
                self.clients.watchers.ask(client, reply["ids"])
        return True

    def _done(self, client: Asker, reply: dict[str, Any], header: Header) -> None:
        """Answer a frame that changed something; the answer is on disk with the change."""
        self.core.journal.answer(client.id, header["n"], reply)
        client.reply(reply, to=header)

    def _hello(self, client: Connection, header: Header, buffers: Buffers) -> None:
        python = self.core.python
        if header.get("protocol") != PROTOCOL:
            raise FrameError(
                f"the engine speaks protocol {PROTOCOL}, this client {header.get('protocol')}; "
                "stop the flow's engine with %ec_stop, and the next call starts one of this version"
            )
        if header.get("python") != python:
            raise PythonMismatchError(
                f"the flow in {self.core.store.folder} runs Python {python}, this notebook {header.get('python')}; "
                f"use a kernel of Python {python}, or stop the flow's engine first"
            )
        if header.get("client") != identity_of(str(header.get("secret"))):
            raise FrameError("this client says hello with the identity of another; open the flow with ec.flow()")
        client.id, client.name, client.greeted = str(header["client"]), str(header.get("name") or ""), True
        warnings = []
        if header.get("executable") not in (None, sys.executable):
            warnings.append(
                f"tasks run under {sys.executable}, this notebook under {header['executable']}: packages may differ"
            )
        self.clients.join(client)
        flow, folder = self.core.store.meta["flow"], self.core.store.folder
        hello = {"flow": flow, "name": folder.name, "folder": str(folder), "engine": os.getpid(), "cpus": self.cpus}
        client.reply({**hello, "warnings": warnings, "topology": client.shown}, to=header)
        if self.loop.stalled is not None:
            text = str(self.loop.stalled)
            client.send({"k": "notice", "text": text, "stalled": text, "error": to_wire(self.loop.stalled)})
        for unit, why in asides.shown(self.core).items():
            client.send({"k": "notice", "text": f"{unit} is set aside: {why}"})

    def _submit(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Take requests in that are in no log: all of a frame's, or none."""
        if self.loop.stalled is not None:
            raise self.loop.stalled
        if not (header.get("again") and self._answered(client, header)):
            schema.check_submit(header, len(buffers))
            names = _sockets(Single(0, header, buffers))
            self.fleet.bounds.check(client.id, names)
            self.fleet.bounds.came(client.id, names)
            ids = self._take_rows(header, buffers)
            self.clients.accept(client, header, ids)
            self._done(client, {"ids": ids}, header)

    def _log(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Read a client's log from now on, and say once more what its submits have led to."""
        self.submit_logs.attach(client, header)
        client.served = -1
        self.loop.after(partial(self._answer_again, client, header["since"]))

    def _answer_again(self, client: Connection, since: int) -> None:
        for (reply,) in self.core.store.rows("accepted_since", (client.id, since)):
            for n, said in json.loads(reply).items():
                if "refused" in said:
                    client.refuse(from_wire(said["refused"]), to={"n": int(n)})
                elif "row" in said or "ids" in said:
                    client.accepted([(int(n), said)])
                else:
                    client.reply(said, to={"n": int(n)})

    def submit(self, client: Asker, item: Lot | Single, ids: Sequence[int] | None = None) -> None:
        """Take in what a client has logged: it is accepted already; if it cannot be, that is the answer for good.

        A lot may have got its numbers before. Raises EcError: it cannot be.
        """
        self.loop.interrupt()
        if self.core.topology.limited:
            self.fleet.bounds.came(client.id, _sockets(item))
        ids = self._take_lot(item, ids) if isinstance(item, Lot) else self._take_rows(item.header, item.buffers)
        if item.watched and isinstance(client, Connection):
            self.clients.watchers.ask(client, ids)
        client.accepted(self._kept(client.id, item, ids))

    def book(self, client: str, item: Lot, ids: Sequence[int]) -> None:
        """Take in what a client has logged and was told of."""
        self._take_lot(item, ids)
        self._kept(client, item, ids)

    def _kept(self, client: str, item: Lot | Single, ids: Sequence[int]) -> list[tuple[int, Any]]:
        """What submits have led to, as it is kept from now on."""
        found = answers(item, ids)
        for n, reply in found:
            self.core.journal.answer(client, n, reply)
        return found

    def _take_rows(self, header: Header, buffers: Buffers) -> list[int]:
        core = self.core
        schema.check_submit(header, len(buffers))
        rows = header["rows"]
        how = self._how(core, header)
        sockets = [check(core, row[0], row[1], **how) for row in rows]
        ids, rest = [], iter(buffers)
        for socket, row in zip(sockets, rows, strict=True):
            arguments = {name: Value.of(head, rest) for name, head in row[1].items()}
            key, when = row[2] if len(row) > 2 else None, (header.get("at"), header.get("priority", 0))
            ids.append(accept(core, socket, arguments, key, *when))
        if header.get("callback") is not None:
            self.callbacks.keep(ids, header["callback"])
            self.clients.watchers.ask(self.callbacks, ids)
        return ids

    @staticmethod
    def _how(core: Core, header: Header) -> dict[str, bool]:
        """How strictly a submit is checked: one that was made for an older wiring is checked less strictly."""
        revision = core.topology.revision
        return {"partial": bool(header.get("partial")), "stale": header.get("revision", revision) != revision}

    def _take_lot(self, lot: Lot, ids: Sequence[int] | None = None) -> Sequence[int]:
        core, shape = self.core, lot.shape
        if self._checked[:2] != [id(shape), id(core.topology)]:
            schema.check_shape(shape)
            socket = check(core, shape["socket"], shape["names"], **self._how(core, shape))
            # calls of one kind follow each other; what is kept here is not another one of that identity
            self._checked[:] = id(shape), id(core.topology), socket, shape, core.topology
        return accept_lot(core, self._checked[2], lot, ids)

    def _wait(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Subscribe to the end of requests; those that ended already are pushed at once."""
        wanted = list(header.get("ids", ()))
        for first, n in header.get("ranges", ()):
            wanted.extend(range(first, first + n))
        self.clients.watchers.ask(client, wanted)

    def _edit(self, client: Connection, header: Header, buffers: Buffers) -> None:
        dry = bool(header.get("dry"))
        reply = self.editor.edit(header["changes"], buffers, client.name or client.id, dry=dry)
        client.reply(reply, to=header) if dry else self._done(client, reply, header)

    def _undo(self, client: Connection, header: Header, buffers: Buffers) -> None:
        if header["k"] == "undo":
            self.editor.undoing.check(header, client.id)
        self._done(client, self.editor.undo(forward=header["k"] == "redo"), header)

    def _history(self, client: Connection, header: Header, buffers: Buffers) -> None:
        rows = [
            {"n": n, "text": text, "time": at, "undone": undone in (1, 2), "step": undone == 3}
            for n, text, at, undone in self.core.store.rows("history")
        ]
        client.reply({"rows": rows}, to=header)

    def _pause(self, client: Connection, header: Header, buffers: Buffers) -> None:
        self.editor.pause(header.get("sockets", ()), header.get("processors", ()), paused=header["k"] == "pause")
        self._done(client, {}, header)

    def _query(self, client: Connection, header: Header, buffers: Buffers) -> None:
        view = self._clients if header["what"] == "clients" else self.views.find(header["what"])
        self.loop.see(self._looked(client, header, lambda: client.reply(*view(header), to=header)))

    def _clients(self, header: Header) -> Answer:
        """Names of the connected clients other than the one that asks."""
        return {"names": [one.name for one in self.clients.all if one.id != header["but"]]}, []

    def _preview(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """The text of a value; the answer comes when a worker has made it."""
        self._look(client, header, lambda: self.preview.ask(client, header))

    def _bring(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Have value files here; the answer comes when they are."""

        def brought(error: EcError | None) -> None:
            client.refuse(error, to=header) if error is not None else client.reply({}, to=header)

        names = [file_name(name) for name in header["files"]]
        self.fleet.locator.miss(names)
        self._look(client, header, lambda: self.fleet.locator.fetch(names, then=brought))

    def _look(self, client: Connection, header: Header, act: Callable[[], None]) -> None:
        """Answer after the commit, so that a question sees everything that was accepted before it."""
        self.loop.look(self._looked(client, header, act))

    def _looked(self, client: Connection, header: Header, act: Callable[[], None]) -> Callable[[], None]:
        """What answers, or says why not."""

        def looked() -> None:
            try:
                act()
            except EcError as error:
                client.refuse(error, to=header)
            except Exception as error:
                # a defect of ours in one answer is no reason to end the flow
                what = header.get("what", header["k"])
                log.exception("question for %s", what)
                client.refuse(defect(f"a question for {what!r}", error), to=header)

        return looked

    def _subscribe(self, client: Connection, header: Header, buffers: Buffers) -> None:
        client.kinds = set(header["kinds"])
        self.clients.look_at_counts()
        self.editor.settle()
        client.reply({}, to=header)

    def _reach(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Answer when there is news of a node: it is there or cannot be reached, or its login asks something."""
        self._look(client, header, lambda: self.fleet.prompts.wait(client, header))

    def _admit(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Say for how many submits there is room, once there is."""
        self.fleet.bounds.ask(client, header)
        self.loop.schedule()

    def _answer(self, client: Connection, header: Header, buffers: Buffers) -> None:
        self.fleet.prompts.answer(header["question"], header.get("text"))
        client.reply({}, to=header)

    def _drained(self, client: Connection, header: Header, buffers: Buffers) -> None:
        self.clients.drain(client, header)
        self.loop.schedule()

    def _supply(self, client: Connection, header: Header, buffers: Buffers) -> None:
        rest = iter(buffers)
        values = {name: Value.of(head, rest) for name, head in header["values"].items()}
        rerun.supply(self.core, header, values)
        self.editor.undoing.did(header)
        self._done(client, {}, header)

    def _respond(self, client: Connection, header: Header, buffers: Buffers) -> None:
        head = header.get("value")
        value = Value.of(head, iter(buffers)) if head is not None else None
        answer(self.core, header, value, header.get("who") or client.name or client.id)
        self.editor.undoing.did(header)
        self._done(client, {}, header)

    def _discard(self, client: Connection, header: Header, buffers: Buffers) -> None:
        one = header.get("arrival")
        if header.get("argument") is not None:
            rerun.discard_missing(self.core, header)
        else:
            rerun.discard(self.core, header.get("arrivals", []) if one is None else [one], header.get("request"))
        self.editor.undoing.did(header)
        self._done(client, {}, header)

    def _cancel(self, client: Connection, header: Header, buffers: Buffers) -> None:
        reply = rerun.cancel(self.core, self.fleet, header)
        if reply["cancelled"] or reply["killed"]:
            self.editor.undoing.did(header)
        self._done(client, reply, header)

    def _retry(self, client: Connection, header: Header, buffers: Buffers) -> None:
        self._done(client, {"ids": rerun.retry(self.core, header)}, header)

    def _replay(self, client: Connection, header: Header, buffers: Buffers) -> None:
        ids = rerun.replay(self.core, header)
        if not ids:
            raise RequestNotFoundError("nothing to replay: no request of that run is of that socket")
        self._done(client, {"ids": ids, "id": ids[0]}, header)

    def _notify(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Keep what pages are to tell people of the flow."""
        meta = self.core.store.meta
        wanted = {**json.loads(meta.get("notify") or "{}"), header["to"]: header["when"]}
        meta["notify"] = json.dumps({to: when for to, when in wanted.items() if when})
        self.core.journal.step("put_meta", ("notify", meta["notify"]))
        self._done(client, {}, header)

    def _keep_runs(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """What of ended runs stays; `only` tells how large the flow is."""
        if not header.get("only"):
            self.retention.keep(Limits(**{word: header.get(word) for word in ("seconds", "runs", "bytes", "failed")}))
        self._done(client, {"bytes": self.retention.size(), "keep": asdict(self.retention.limits)}, header)

    def _gc(self, client: Connection, header: Header, buffers: Buffers) -> None:
        self.core.journal.commit()
        if not header.get("dry"):
            self.retention.collect()
        files, size = rerun.collect(self.core, self.fleet.locator, self.clients.ids, dry=header.get("dry") or False)
        client.reply({"files": files, "bytes": size}, to=header)

    def _clear_cache(self, client: Connection, header: Header, buffers: Buffers) -> None:
        names = self.core.topology.names
        sockets = [by_name(names, name, SocketNotFoundError) for name in header["sockets"]]
        results, size = self.fleet.cache.clear(sockets or list(self.core.topology.sockets))
        client.reply({"results": results, "bytes": size}, to=header)

    def _clear(self, client: Connection, header: Header, buffers: Buffers) -> None:
        rerun.clear(self.core, self.fleet)
        self.callbacks.clear()
        self.clients.watchers.clear()
        rerun.collect(self.core, self.fleet.locator, self.clients.ids)
        self.editor.undoing.did(header)
        client.reply({}, to=header)

    def _stop(self, client: Connection, header: Header, buffers: Buffers) -> None:
        client.reply({}, to=header)
        self.loop.look(self.loop.stopped.set)

    def _ping(self, client: Connection, header: Header, buffers: Buffers) -> None:
        client.reply({}, to=header)

    def _probe(self, client: Connection, header: Header, buffers: Buffers) -> None:
        """Counts for a non-client; does not keep the engine alive."""
        notify = self.core.store.meta.get("notify", "")
        reply = {"python": self.core.python, "engine": os.getpid(), "notify": notify}
        client.reply({**self.counts.now(), **reply}, to=header)


def _sockets(item: Lot | Single) -> dict[str, int]:
    """How many submits come to which socket."""
    if isinstance(item, Lot):
        return {item.shape["socket"]: item.calls}
    return Counter(row[0] for row in item.header.get("rows", ()))


Action = Callable[[Rpc, Connection, Header, Buffers], Any]

_ACTIONS: dict[str, Action] = {
    "hello": Rpc._hello, "log": Rpc._log, "submit": Rpc._submit, "wait": Rpc._wait, "edit": Rpc._edit,
    "undo": Rpc._undo, "redo": Rpc._undo, "history": Rpc._history, "pause": Rpc._pause, "resume": Rpc._pause,
    "query": Rpc._query, "preview": Rpc._preview, "bring": Rpc._bring, "subscribe": Rpc._subscribe,
    "drained": Rpc._drained, "reach": Rpc._reach, "admit": Rpc._admit, "answer": Rpc._answer, "supply": Rpc._supply,
    "discard": Rpc._discard, "respond": Rpc._respond, "cancel": Rpc._cancel, "retry": Rpc._retry,
    "replay": Rpc._replay, "notify": Rpc._notify, "gc": Rpc._gc, "keep": Rpc._keep_runs,
    "clear_cache": Rpc._clear_cache, "clear": Rpc._clear, "stop": Rpc._stop, "ping": Rpc._ping, "probe": Rpc._probe,
}  # fmt: skip

_OPEN = frozenset({"hello", "probe", "stop"})

_WRITES = frozenset({
    "edit", "undo", "redo", "pause", "resume", "supply", "discard", "respond", "cancel", "retry", "replay", "clear",
    "notify",
})  # fmt: skip
