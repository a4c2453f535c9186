"""A flow's memory over a real database, without an engine's loop, agent or clients."""

from __future__ import annotations

import json
import mmap
import pickle
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ec_jupyter.engine import lots, open_lots, recovery
from ec_jupyter.engine.acceptance import accept
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.rows import SQL, TABLES, Rows
from ec_jupyter.engine.store import Store
from ec_jupyter.flow.states import COUNTED
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL, Parameter, Plug, Processor, Socket, Task, to_json
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


_opened: list[Store | Memory] = []


def close_stores() -> None:
    """Let go of every flow that `open_store` has opened."""
    while _opened:
        _opened.pop().close()


def open_store(folder: Path) -> Store:
    """The store of a flow's next engine; the one before it is closed."""
    close_stores()
    store = Store(folder)
    _opened.append(store)
    return store


class Memory(Rows):
    """The rows of a flow without files or locks: what was committed is there for the next engine.

    Parameters
    ----------
    folder : Path, optional
        Where large values lie, if there are any.
    """

    def __init__(self, folder: Path = Path("/dev/null")) -> None:
        super().__init__(folder)
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(TABLES)
        self.meta = {"flow": "memory", "epoch": "0"}
        self._boards: dict[str, mmap.mmap] = {}
        _opened.append(self)

    def again(self) -> None:
        """The next engine opens it."""
        self.meta |= dict(self.rows("all_meta"))
        self.meta["epoch"] = str(int(self.meta["epoch"]) + 1)

    def board(self, name: str, size: int) -> mmap.mmap:
        """Memory that the next engine finds as it was left."""
        if name not in self._boards:
            self._boards[name] = mmap.mmap(-1, size)
        return self._boards[name]

    def close(self) -> None:
        """Forget all of it."""
        self.connection.close()


def start(place: Path | Memory, wiring: Topology | None = None) -> Core:
    """The core of the next engine of a flow in a folder or in memory; `wiring` where that is new."""
    store: Rows
    if isinstance(place, Memory):
        store = place
        place.again()
    else:
        store = open_store(place)
    if wiring is not None:
        _write(store, wiring)
    open_lots.read_back(store)
    core = Core(store)
    recovery.load(core)
    core.python = ""
    core.journal.commit()
    return core


def _write(store: Rows, wiring: Topology) -> None:
    with store.transaction() as db:
        for s in wiring.sockets.values():
            row = (s.id, s.name, s.processor, s.task, json.dumps(to_json(s)), s.join, None, s.wait)
            db.execute(SQL["put_socket"], row)
        for p in wiring.plugs.values():
            db.execute(SQL["put_plug"], (p.id, p.source, p.target, p.argument, json.dumps(to_json(p))))
        for t in wiring.tasks.values():
            row = (t.id, t.socket, t.version, t.identity, t.sha256, json.dumps(to_json(t)), 0.0)
            db.execute(SQL["put_task"], row)
        db.execute(SQL["put_processor"], ("main", None, None, None, 0, 1.0))


def submit(core: Core, name: str, **arguments: object) -> int:
    request = accept(core, core.topology.names[name], {k: value(v) for k, v in arguments.items()})
    core.journal.commit()
    return request


def begin(core: Core, name: str) -> tuple[int, int]:
    """Give the head of a socket's queue to a worker that does not exist; its request and attempt."""
    (call,) = lots.start(core, core.dispatch.take([core.topology.names[name]], 1), LOCAL)
    return call.request, call.attempt


def begin_one(core: Core, request: int, node: str = LOCAL) -> tuple[int, int]:
    """The same of a request that is queued, whatever lies before it; one on another `node` is claimed."""
    job = core.jobs.peek(request)
    assert job is not None
    assert core.dispatch.drop(job.socket, request)
    (call,) = lots.start(core, [request], node)
    if node != LOCAL:
        core.claim(core.jobs[request])
    core.suspects.end()
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


def agrees(core: Core) -> None:
    """Memory and rows say the same: how many requests are in which state, and which those in memory are in."""
    found: dict[int, dict[str, int]] = {}
    for socket, state, n in core.store.rows("counts"):
        row = found.setdefault(socket, {})
        row[COUNTED[state]] = row.get(COUNTED[state], 0) + n
    counts = {s: {state: n for state, n in row.items() if n} for s, row in core.states.counts.items()}
    assert {socket: row for socket, row in counts.items() if row} == found
    states = dict(core.store.db.execute("SELECT id, state FROM request"))
    known = {request: core.jobs[request].state for request in core.jobs}
    assert known == {request: states[request] for request in known}
    # what two submits have brought together is as its call is
    query = (
        "SELECT r.id, r.state, leader.state FROM request r JOIN request leader ON leader.id = r.joined WHERE r.state "
        "<> CASE WHEN leader.state IN ('waiting', 'queued', 'running') THEN 'waiting' ELSE leader.state END"
    )
    assert core.store.db.execute(query).fetchall() == []
