"""A flow's memory over a real database, without an engine's loop, agent or clients."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

from ec_jupyter.engine import recovery
from ec_jupyter.engine.acceptance import accept
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.store import SQL, Store
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Parameter, Plug, Processor, Socket, Task, to_json
from ec_jupyter.wire import Outcome, Value


def value(thing: object) -> Value:
    data = pickle.dumps(thing)
    return Value(data, None, len(data), type(thing).__name__)


def topology(
    sockets: dict[str, Sequence[str]], plugs: Sequence[tuple[str, str, str]] = (), **options: object
) -> Topology:
    """Sockets by name with their arguments, and plugs (source, target, argument)."""
    ids = {name: i for i, name in enumerate(sockets, 1)}
    tasks, records = {}, {}
    for name, arguments in sockets.items():
        i = ids[name]
        signature = tuple(Parameter(a, "POSITIONAL_OR_KEYWORD", True) for a in arguments)
        tasks[100 + i] = Task(100 + i, i, 1, name, name, "", "", signature, python="")
        records[i] = Socket(i, name, "main", 100 + i, **options)  # type: ignore[arg-type]
    wires = {200 + n: Plug(200 + n, ids[a], ids[b], argument) for n, (a, b, argument) in enumerate(plugs)}
    return Topology(1, records, wires, {"main": Processor("main")}, tasks)


_opened: list[Store] = []


def close_stores() -> None:
    """Let go of every flow that `open_store` has opened."""
    while _opened:
        _opened.pop().close()


def open_store(folder: Path) -> Store:
    """The store of a flow's next engine; the one before it is closed."""
    close_stores()
    _opened.append(Store(folder))
    return _opened[0]


def start(folder: Path, wiring: Topology | None = None) -> Core:
    """The core of a flow's next engine; `wiring` where the folder is new."""
    store = open_store(folder)
    if wiring is not None:
        _write(store, wiring)
    core = Core(store)
    recovery.load(core)
    core.python = ""
    core.journal.commit()
    return core


def _write(store: Store, wiring: Topology) -> None:
    with store.transaction() as db:
        for s in wiring.sockets.values():
            row = (s.id, s.name, s.processor, s.task, json.dumps(to_json(s)), s.join, None, s.wait)
            db.execute(SQL["put_socket"], row)
        for p in wiring.plugs.values():
            db.execute(SQL["put_plug"], (p.id, p.source, p.target, p.argument, json.dumps(to_json(p))))
        for t in wiring.tasks.values():
            row = (t.id, t.socket, t.version, t.identity, t.sha256, json.dumps(to_json(t)), 0.0)
            db.execute(SQL["put_task"], row)
        db.execute(SQL["put_processor"], ("main", None, None, None, 0))


def submit(core: Core, name: str, **arguments: object) -> int:
    request = accept(core, core.topology.names[name], {k: value(v) for k, v in arguments.items()})
    core.journal.commit()
    return request


def begin(core: Core, name: str) -> tuple[int, int]:
    """Give the head of a socket's queue to a worker that does not exist; its request and attempt."""
    (request,) = core.dispatch.take([core.topology.names[name]], 1)
    call = core.call(core.jobs[request])
    return call.request, call.attempt


def done(core: Core, request: int, attempt: int, result: object) -> None:
    core.outcome(Outcome(request, attempt, "done", value(result)))
    core.journal.commit()


def raised(core: Core, request: int, attempt: int, text: str = "no") -> None:
    error = {"type": "ValueError", "message": text, "traceback": "", "kind": "task"}
    core.outcome(Outcome(request, attempt, "failed", error=error))
    core.journal.commit()


def dump(core: Core) -> list[str]:
    """All there is in the database, but for the engines that opened it."""
    return [line for line in core.store.db.iterdump() if "epoch" not in line]
