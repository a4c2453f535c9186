"""What a flow is doing, seen without becoming its client: an engine stays for its clients, and not for a probe."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ec_jupyter.client.connection import EngineState
from ec_jupyter.client.launch import asked
from ec_jupyter.engine import disk, open_lots
from ec_jupyter.engine.address import connect, socket_path
from ec_jupyter.engine.store import refuse_emptied
from ec_jupyter.errors import FrameError, PythonMismatchError, StoreDamagedError
from ec_jupyter.flow.states import SHOWN
from ec_jupyter.wire import Header

ANSWER_SECONDS = 1.0  # how long an engine that is busy may take before its flow is shown without live numbers
READ_SECONDS = 2.0  # how long counting the requests of a stopped flow may take
REQUEST = ("socket", "id", "state", "attempt", "created", "started", "finished", "seconds", "error")
Row = dict[str, Any]


def ask(folder: Path) -> Header | None:
    """What the engine says of itself; None if none runs, no counts if it does not answer in time."""
    try:
        sock = connect(folder, ANSWER_SECONDS)
    except TimeoutError:
        return {}
    if sock is None:
        return None
    try:
        return asked(sock, "probe", ANSWER_SECONDS) or {}
    except (OSError, FrameError):
        return {}


def totals(sockets: Mapping[str, Mapping[str, Any]]) -> Row:
    """Requests by state, and values that wait for company, of all sockets together."""
    sums = {state: sum(row.get(state, 0) for row in sockets.values()) for state in SHOWN}
    arrived = [row.get("arrived", 0) for row in sockets.values()]
    return {"counts": sums, "arrived": sum(sum(n.values()) if isinstance(n, Mapping) else n for n in arrived)}


def read(folder: Path) -> Row:
    """What the database of a flow says; ``error`` where it cannot be read, ``executable`` its last engine's Python."""
    try:
        with closing(_open(folder)) as db:
            counted = "SELECT state, count(*) FROM request WHERE joined IS NULL GROUP BY state"
            states = Counter(dict(db.execute(counted).fetchall()))
            waiting = "SELECT count(*) FROM arrival WHERE state = 'waiting' OR state = 'shared' OR state = 'routing'"
            (arrived,) = db.execute(waiting).fetchone()
            versions = "SELECT json_extract(t.record, '$.python') FROM socket s JOIN task t ON t.id = s.task"
            pythons = [python or "" for (python,) in db.execute(versions)]
            found = db.execute("SELECT value FROM meta WHERE key = 'executable'").fetchone()
            notify = db.execute("SELECT value FROM meta WHERE key = 'notify'").fetchone()
    except (sqlite3.Error, StoreDamagedError) as error:
        nothing: Row = {"counts": None, "arrived": 0, "sockets": 0, "python": [], "notify": {}}
        return nothing | {"error": f"its database cannot be read: {error}"}
    return {
        "counts": {state: states[state] for state in SHOWN},
        "arrived": arrived,
        "sockets": len(pythons),
        "python": sorted(set(pythons)),
        "executable": found[0] if found else None,
        "notify": wanted(notify[0] if notify else None),
        "error": None,
    }


def size(folder: Path) -> disk.Sizes | None:
    """Bytes of a flow's files by kind; None where they cannot be read. It looks at each of them."""
    try:
        return disk.measured(folder)
    except OSError:
        return None


def wanted(text: object) -> dict[str, list[str]]:
    """Of what a page is to tell people, by how it tells them; of what no flow of ours has written, nothing."""
    try:
        found = json.loads(text) if isinstance(text, str) and text else {}
    except (ValueError, RecursionError):
        return {}
    whole = isinstance(found, dict) and all(isinstance(when, list) for when in found.values())
    return {to: [one for one in ("end", "failure") if one in when] for to, when in found.items()} if whole else {}


def _open(folder: Path) -> sqlite3.Connection:
    refuse_emptied(folder)
    db = open_lots.reading(folder, READ_SECONDS)
    open_lots.show(db)
    end = time.monotonic() + READ_SECONDS
    # millions of requests take longer to count than anybody looks at a list
    db.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    return db


def killed(folder: Path) -> bool:
    """Whether the flow's last engine was killed: one that ends takes its address away; ask where none runs."""
    return socket_path(folder) is not None


def at_rest(folder: Path) -> EngineState:
    """How a flow is that has no engine: ``stopped``, or ``killed`` with what waits for the next one."""
    if not killed(folder):
        return EngineState("stopped", f"flow {folder.name!r} is stopped", 0.0)
    counts = read(folder)["counts"] or {}
    calls = counts.get("queued", 0) + counts.get("running", 0)
    wait = f"; {calls} call{' waits' if calls == 1 else 's wait'}" if calls else ""
    return EngineState("killed", f"the engine of flow {folder.name!r} was killed{wait}", 0.0)


def request(folder: Path, key: int) -> Row | None:
    """A request as the database of a stopped flow has it; None if it has none of that identity."""
    fields = ", ".join(f"r.{name}" for name in REQUEST if name != "socket")
    query = f"SELECT s.name, {fields} FROM request r JOIN socket s ON s.id = r.socket WHERE r.id = ?"
    with closing(_open(folder)) as db:
        found = db.execute(query, (key,)).fetchone()
    if found is None:
        return None
    row = dict(zip(REQUEST, found, strict=True))
    return row | {"error": json.loads(row["error"]) if row["error"] else None}


def check_python(name: str, pythons: Iterable[str], mine: str) -> None:
    """Refuse a flow whose tasks are all of another minor version of Python, before anything is started for it."""
    versions = [python for python in pythons if python]
    if versions and mine not in versions:
        raise PythonMismatchError(
            f"the tasks of flow {name!r} are of Python {', '.join(versions)}, this server runs {mine}; "
            f"open the flow from its notebook"
        )


def sockets(folder: Path) -> list[str]:
    """Names of a flow's sockets, as its database has them; none where that cannot be read."""
    try:
        with closing(_open(folder)) as db:
            return [str(name) for (name,) in db.execute("SELECT name FROM socket ORDER BY id")]
    except (sqlite3.Error, StoreDamagedError):
        return []
