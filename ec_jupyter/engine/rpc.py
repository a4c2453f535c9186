"""What each frame of a client asks for, and who does it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from ec_jupyter.engine import asides, editing, ended, rerun, views
from ec_jupyter.engine.acceptance import accept, check
from ec_jupyter.engine.submit_log import Absent, identity_of
from ec_jupyter.errors import (
    EcError,
    EngineError,
    FrameError,
    PythonMismatchError,
    RequestNotFoundError,
    from_wire,
    to_wire,
)
from ec_jupyter.flow import schema
from ec_jupyter.nodes.codec import file_name
from ec_jupyter.wire import PROTOCOL, Header, Value

if TYPE_CHECKING:
    from ec_jupyter.engine.clients import Connection
    from ec_jupyter.engine.core import Core
    from ec_jupyter.engine.loop import Engine

Buffers = list[bytes]

log = logging.getLogger(__name__)


def defect(what: str, error: Exception) -> EngineError:
    """What a client is told where we are at fault."""
    return EngineError(f"{what} met a defect of ec_jupyter ({type(error).__name__}: {error}); engine.log has the rest")


def serve(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    """Do what a frame asks for, and reply after the commit.

    Raises
    ------
    EcError
        It cannot be done; nothing was changed.
    """
    kind = header["k"]
    action = _ACTIONS.get(kind)
    if action is None:
        raise FrameError(f"no frame is called {kind!r}")
    if not client.greeted and kind not in _OPEN:
        raise FrameError("the first frame must be a hello")
    schema.check(header, len(buffers))
    if kind in _WRITES:
        if engine.stalled is not None:
            raise engine.stalled
        if header.get("again") and _answered(engine, client, header):
            return
        if header.get("done"):
            engine.core.journal.add("drop_accepted", (client.id, header["done"]))
    action(engine, client, header, buffers)


def _answered(engine: Engine, client: Connection, header: Header) -> bool:
    """Repeat the answer to a frame that took effect before the client lost its engine."""
    row = engine.store.one("find_accepted", (client.id, header["n"]))
    reply = json.loads(row[0]).get(str(header["n"])) if row else None
    if reply is None:
        return False
    if "refused" in reply:
        client.refuse(from_wire(reply["refused"]), to=header)
    else:
        client.reply(reply, to=header)
        if header.get("watch"):
            # they may have ended before this client was back
            watch(engine, client, reply["ids"])
    return True


def _done(engine: Engine, client: Connection | Absent, reply: dict[str, Any], header: Header) -> None:
    """Answer a frame that changed something; the answer is on disk with the change."""
    engine.core.journal.answer(client.id, header["n"], reply)
    client.reply(reply, to=header)


def _hello(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    python = engine.core.python
    if header.get("protocol") != PROTOCOL:
        raise FrameError(
            f"the engine speaks protocol {PROTOCOL}, this client {header.get('protocol')}; "
            "stop the flow's engine with %ec_stop, and the next call starts one of this version"
        )
    if header.get("python") != python:
        raise PythonMismatchError(
            f"the flow in {engine.folder} runs Python {python}, this notebook {header.get('python')}; "
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
    engine.clients.all.add(client)
    client.shown = engine.clients.view()
    client.reply(
        {
            "flow": engine.store.meta["flow"],
            "name": engine.folder.name,
            "folder": str(engine.folder),
            "engine": os.getpid(),
            "cpus": engine.cpus,
            "warnings": warnings,
            "topology": client.shown,
        },
        to=header,
    )
    if engine.stalled is not None:
        client.send({"k": "notice", "text": str(engine.stalled), "stalled": str(engine.stalled)})
    for unit, why in asides.shown(engine.core).items():
        client.send({"k": "notice", "text": f"{unit} is set aside: {why}"})


def submit(engine: Engine, client: Connection | Absent, header: Header, buffers: Buffers) -> None:
    """Take requests in: all of a frame's, or none.

    A frame that its client has logged is accepted already: while the disk is full it waits, and if it
    cannot be, that is the answer to it for good.
    """
    submit_logs, n = engine.submit_logs, header["n"]
    if not header.get("logged"):
        assert not isinstance(client, Absent)
        if engine.stalled is not None:
            raise engine.stalled
        if not (header.get("again") and _answered(engine, client, header)):
            ids = _take_rows(engine, header, buffers)
            engine.clients.accepting.append((client, header, ids))
            _done(engine, client, {"ids": ids}, header)
        return
    if n <= submit_logs.last.get(client.id, 0):
        if not isinstance(client, Absent):
            engine.after(partial(_repeat, engine, client, header))
        return
    if engine.stalled is not None:
        submit_logs.deferred.append((client, header, buffers))
        return
    submit_logs.taken(client.id, n)
    try:
        ids = _take_rows(engine, header, buffers)
    except EcError as error:
        engine.core.journal.answer(client.id, n, {"refused": to_wire(error)})
        engine.core.journal.add("add_event", (engine.core.now, "refused", client.id, str(error)))
        client.refuse(error, to=header)
        return
    if header.get("watch") and not isinstance(client, Absent):
        watch(engine, client, ids)
    if header.get("done"):
        engine.core.journal.add("drop_accepted", (client.id, header["done"]))
    engine.core.journal.answer(client.id, n, {"ids": ids})
    client.accepted(n, ids)


def _repeat(engine: Engine, client: Connection, header: Header) -> None:
    if not _answered(engine, client, header):
        client.refuse(FrameError(f"submit {header['n']} was answered long ago"), to=header)


def _take_rows(engine: Engine, header: Header, buffers: Buffers) -> list[int]:
    core = engine.core
    schema.check_submit(header, len(buffers))
    if "socket" in header:
        return _take_columns(engine, header, buffers)
    rows = header["rows"]
    how = _how(core, header)
    sockets = [check(core, row[0], row[1], **how) for row in rows]
    ids, at = [], 0
    for socket, row in zip(sockets, rows, strict=True):
        arguments = {}
        for name, head in row[1].items():
            arguments[name] = Value(None if head[0] else buffers[at], head[0], head[1], head[2])
            at += head[0] is None
        ids.append(_accept(engine, socket, arguments, row[2] if len(row) > 2 else None))
    return ids


def _how(core: Core, header: Header) -> dict[str, bool]:
    """How strictly a submit is looked at: a client that knew an older wiring has let it go by that."""
    revision = core.topology.revision
    return {"partial": bool(header.get("partial")), "stale": header.get("revision", revision) != revision}


def _take_columns(engine: Engine, header: Header, buffers: Buffers) -> list[int]:
    """Calls of one socket with the same arguments, all of them small."""
    core, names, types = engine.core, header["names"], header["types"]
    socket = check(core, header["socket"], names, **_how(core, header))
    kinds = iter(repeat(types) if isinstance(types, str) else types)
    data = iter(buffers)
    return [
        accept(core, socket, {name: Value(one := next(data), None, len(one), next(kinds)) for name in names})
        for _ in range(header["calls"])
    ]


def _accept(engine: Engine, socket: int, arguments: dict[str, Value], submit_id: str | None) -> int:
    core = engine.core
    if submit_id is not None:
        # the same id again is the same request; one of this very tick is not on disk yet
        known = core.submitted.get((socket, submit_id))
        row = core.store.one("find_submit", (socket, submit_id)) if known is None else (known,)
        if row is not None:
            return int(row[0])
    return accept(core, socket, arguments, submit_id)


def _wait(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    """Subscribe to the end of requests; those that ended already are pushed at once."""
    wanted = list(header.get("ids", ()))
    for first, n in header.get("ranges", ()):
        wanted.extend(range(first, first + n))
    watch(engine, client, wanted)


def watch(engine: Engine, client: Connection, wanted: list[int]) -> None:
    """Tell a client how requests end, or ended."""
    jobs = engine.core.jobs
    engine.clients.watch(client, [i for i in wanted if i in jobs])
    rest = [i for i in wanted if i not in jobs]
    if rest:
        # after the commit the disk knows how all of them ended, or that they are queued there
        engine.look(lambda: _push_known(engine, client, rest))


def _push_known(engine: Engine, client: Connection, requests: list[int]) -> None:
    rows, buffers, unfinished = ended.finished(engine.core, requests)
    engine.clients.watch(client, unfinished)
    if rows:
        client.send({"k": "finished", "rows": rows}, buffers)


def _edit(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    revision, warnings = editing.edit(engine, header["changes"], buffers, client.name or client.id)
    _done(engine, client, {"revision": revision, "warnings": warnings}, header)


def _undo(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    revision, text, warnings = editing.undo(engine, forward=header["k"] == "redo")
    _done(engine, client, {"revision": revision, "text": text, "warnings": warnings}, header)


def _history(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    rows = [
        {"n": n, "text": text, "time": at, "undone": undone in (1, 2), "step": undone == 3}
        for n, text, at, undone in engine.store.rows("history")
    ]
    client.reply({"rows": rows}, to=header)


def _pause(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    editing.pause(engine, header.get("sockets", ()), header.get("processors", ()), paused=header["k"] == "pause")
    _done(engine, client, {}, header)


def _query(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    view = partial(_clients, engine) if header["what"] == "clients" else engine.views.find(header["what"])
    _look(engine, client, header, lambda: client.reply(*view(header), to=header))


def _clients(engine: Engine, header: Header) -> views.Answer:
    """Names of those who are connected, without the one who asks."""
    return {"names": [one.name for one in engine.clients.all if one.id != header["but"]]}, []


def _preview(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    """The text of a value; the answer comes when a worker has made it."""
    _look(engine, client, header, lambda: engine.preview.ask(client, header))


def _bring(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    """Have value files here; the answer comes when they are."""

    def brought(error: EcError | None) -> None:
        client.refuse(error, to=header) if error is not None else client.reply({}, to=header)

    names = [file_name(name) for name in header["files"]]
    engine.fleet.locator.miss(names)
    _look(engine, client, header, lambda: engine.fleet.locator.fetch(names, then=brought))


def _look(engine: Engine, client: Connection, header: Header, act: Callable[[], None]) -> None:
    """Answer after the commit, so that a question sees everything that was accepted before it."""

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

    engine.look(looked)


def _subscribe(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    client.kinds = set(header["kinds"])
    engine.clients.look_at_counts()
    editing.settle(engine)
    client.reply({}, to=header)


def _reach(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    """Answer when there is news of a node: it is there or cannot be reached, or its login asks something."""
    _look(engine, client, header, lambda: engine.fleet.prompts.wait(client, header))


def _answer(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    engine.fleet.prompts.answer(header["question"], header.get("text"))
    client.reply({}, to=header)


def _drained(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    engine.clients.draining.append((client, header))
    engine.schedule()


def _supply(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    rest = iter(buffers)
    values = {name: Value.of(head, rest) for name, head in header["values"].items()}
    rerun.supply(engine, header, values)
    _done(engine, client, {}, header)


def _discard(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    one = header.get("arrival")
    if header.get("argument") is not None:
        rerun.discard_missing(engine, header)
        _done(engine, client, {}, header)
        return
    rerun.discard(engine, header.get("arrivals", []) if one is None else [one], header.get("request"))
    _done(engine, client, {}, header)


def _cancel(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    _done(engine, client, rerun.cancel(engine, header), header)


def _retry(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    _done(engine, client, {"ids": rerun.retry(engine, header)}, header)


def _replay(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    ids = rerun.replay(engine, header)
    if not ids:
        raise RequestNotFoundError("nothing to replay: no request of that run is of that socket")
    _done(engine, client, {"ids": ids, "id": ids[0]}, header)


def _gc(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    files, size = rerun.collect(engine)
    client.reply({"files": files, "bytes": size}, to=header)


def _clear(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    rerun.clear(engine)
    client.reply({}, to=header)


def _stop(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    client.reply({}, to=header)
    engine.look(engine.stopped.set)


def _ping(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    client.reply({}, to=header)


def _glance(engine: Engine, client: Connection, header: Header, buffers: Buffers) -> None:
    """Counts for somebody who is no client: for his sake the engine does not stay."""
    client.reply({**engine.counts.now(), "python": engine.core.python, "engine": os.getpid()}, to=header)


Action = Callable[["Engine", "Connection", Header, Buffers], Any]

_ACTIONS: dict[str, Action] = {
    "hello": _hello,
    "submit": submit,
    "wait": _wait,
    "edit": _edit,
    "undo": _undo,
    "redo": _undo,
    "history": _history,
    "pause": _pause,
    "resume": _pause,
    "query": _query,
    "preview": _preview,
    "bring": _bring,
    "subscribe": _subscribe,
    "drained": _drained,
    "reach": _reach,
    "answer": _answer,
    "supply": _supply,
    "discard": _discard,
    "cancel": _cancel,
    "retry": _retry,
    "replay": _replay,
    "gc": _gc,
    "clear": _clear,
    "stop": _stop,
    "ping": _ping,
    "glance": _glance,
}

_OPEN = frozenset({"hello", "glance", "stop"})

_WRITES = frozenset(
    {"edit", "undo", "redo", "pause", "resume", "supply", "discard", "cancel", "retry", "replay", "clear"}
)
