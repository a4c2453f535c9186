"""Records of requests: rows, arguments, results, output, what they came from. Read-only."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from itertools import compress
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.ended import finished, head, heads
from ec_jupyter.engine.job import Job, argument_value
from ec_jupyter.engine.parts import Answer
from ec_jupyter.engine.row_values import result_id
from ec_jupyter.engine.rows import OF_PARTY, SQL, id_list
from ec_jupyter.errors import FrameError, RequestNotFoundError, SocketNotFoundError, by_name
from ec_jupyter.flow.states import ASKED, DELAYED, SHOWN, STATES
from ec_jupyter.wire import Header, packed, unpacked

COLUMNS = (
    "id", "socket", "run", "party", "tag", "state", "attempt", "deaths", "task", "revision", "node", "slot", "pid",
    "created", "started", "finished", "seconds", "error", "arguments", "emitted", "joined",
    "not_before",
)  # fmt: skip

_BESIDE = {"before": "<", "after": ">"}
ENDED_WELL = ("done", "skipped")


def requests(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """Records in columns: newest or oldest first, by identity or by start; `running`: for how many seconds, which."""
    where, parameters = filtered(core, header, running)
    direction = "DESC" if header.get("newest") else "ASC"
    order = f"r.started {direction}, r.id {direction}" if header.get("by") == "started" else f"r.id {direction}"
    fields = ", ".join(OF_PARTY if c == "party" else f"r.{c}" for c in COLUMNS)
    rows = core.store.db.execute(
        f"SELECT {fields} FROM request r LEFT JOIN run ON run.id = r.run WHERE {where} ORDER BY {order} LIMIT :limit",
        parameters,
    ).fetchall()
    return packed(_columns(core, rows, running, met=bool(header.get("met")))), []


_ASKING = "r.socket IN (SELECT value FROM json_each(:asking))"
_DELAYED = (
    f"(r.socket IN (SELECT value FROM json_each(:sleeping)) OR (coalesce(r.not_before, 0) > :now AND NOT {_ASKING}))"
)
_QUEUED = f"r.state = 'queued' AND r.state NOT IN {ENDED_WELL}"
# what tells requests apart that are queued
_OF_QUEUED = {
    "queued": f"NOT {_ASKING} AND NOT {_DELAYED}",
    ASKED: f"{_QUEUED} AND {_ASKING}",
    DELAYED: f"{_QUEUED} AND {_DELAYED}",
}


def filtered(core: Core, header: Header, running: dict[int, float]) -> tuple[str, dict[str, Any]]:
    """The requests `r` that a question is about, as SQL and its parameters."""
    terms: list[str] = ["1"]
    parameters: dict[str, Any] = {"limit": header.get("limit") or 1000}
    if header.get("socket") is not None:
        terms.append("r.socket = :socket")
        parameters["socket"] = by_name(core.topology.names, header["socket"], SocketNotFoundError)
    if header.get("run") is not None:
        terms.append(f"r.id IN ({SQL['ids_of_party']})")
        parameters["party"] = party_of(core, header["run"])
    if header.get("ids") is not None:
        terms.append("r.id IN (SELECT value FROM json_each(:ids))")
        parameters["ids"] = id_list(header["ids"])
    asked = {word: header[word] for word in _BESIDE if header.get(word) is not None}
    terms += [f"r.id {_BESIDE[word]} :{word}" for word in asked]
    parameters |= asked
    state = header.get("state")
    if state in ("running", "queued"):
        # one that another node has is on disk as running, also while it queues there
        among = "IN" if state == "running" else "NOT IN"
        terms.append(f"r.state IN ('queued', 'running') AND r.state NOT IN {ENDED_WELL}")
        terms.append(f"r.id {among} (SELECT value FROM json_each(:running))")
        parameters["running"] = id_list(running)
    if state in ("queued", ASKED, DELAYED):
        terms.append(_OF_QUEUED[state])
        parameters["asking"], parameters["sleeping"] = id_list(core.topology.asking), id_list(core.topology.sleeping)
        parameters["now"] = time.time()
    elif state is not None and state != "running":
        if state not in STATES:
            raise FrameError(f"no request is ever {state!r}; states: {', '.join(SHOWN)}")
        # a literal, and said twice: else SQLite does not see that an index has them
        terms.append(f"r.state = '{state}'" + ("" if state in ENDED_WELL else f" AND r.state NOT IN {ENDED_WELL}"))
    if header.get("by") == "started":
        terms.append("r.started IS NOT NULL")
    return " AND ".join(terms), parameters


def _columns(
    core: Core, rows: list[tuple[Any, ...]], running: dict[int, float], *, met: bool = False
) -> dict[str, list[Any]]:
    """Rows of requests as columns, with what is known of those that run now; `met`: and what each argument is from."""
    found = {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
    sockets, tasks = core.topology.sockets, core.topology.tasks
    # one call for all of them: each costs as much as reading a row
    arguments = json.loads(f"[{','.join(found.pop('arguments'))}]")
    now = time.time()
    shown = [
        _shown(core, now, "queued" if state == "running" else state, socket, at)
        for state, socket, at in zip(found["state"], found["socket"], found["not_before"], strict=True)
    ]
    found["due"] = [
        _due(core, *one) for one in zip(shown, found["socket"], found["created"], found.pop("not_before"), strict=True)
    ]
    found["state"] = shown
    found["socket"] = [sockets[socket].name for socket in found["socket"]]
    found["version"] = [tasks[task].version if task in tasks else None for task in found.pop("task")]
    found["error"] = [json.loads(text) if text else None for text in found["error"]]
    found["argument_names"] = [list(one) for one in arguments]
    found["parents"] = _parents(core, [[a for _, _, ids in one.values() for a in ids] for one in arguments])
    if met:
        found["met"] = [
            dict(zip(one, _parents(core, [ids for _, _, ids in one.values()]), strict=True)) for one in arguments
        ]
    found["progress"] = [None] * len(rows)
    for at, request in enumerate(found["id"]):
        job = core.jobs.get(request) if request in core.held else None
        if job is not None:
            for name, value in _assigned(core, job, running.get(request)).items():
                found[name][at] = value
    return found


def _shown(core: Core, now: float, state: str, socket: int, not_before: float | None) -> str:
    """A request's state as a person sees it."""
    if state != "queued":
        return state
    if socket in core.topology.asking:
        return ASKED
    waits = socket in core.topology.sleeping or (not_before is not None and not_before > now)
    return DELAYED if waits else state


def _due(core: Core, state: str, socket: int, created: float, not_before: float | None) -> float | None:
    """When a request may start that waits for its time."""
    if state != DELAYED:
        return None
    seconds = core.topology.sleeping.get(socket)
    return not_before if seconds is None else max(created, not_before or 0.0) + seconds


def _assigned(core: Core, job: Job, seconds: float | None) -> dict[str, Any]:
    """Fields of a request that a node has; `seconds` for which it has run, if it does."""
    if seconds is None:
        return {"node": job.node}
    task = core.topology.tasks.get(job.task)
    return {
        "node": job.node, "state": "running", "attempt": job.attempt, "started": job.started, "seconds": seconds,
        "slot": job.extra.get("slot"), "pid": job.extra.get("pid"), "version": task.version if task else None,
        "progress": job.extra.get("progress"),
    }  # fmt: skip


def _parents(core: Core, arrivals: list[list[int]]) -> list[list[int]]:
    """For each list of arrivals the requests that they came from."""
    named = {one for some in arrivals for one in some}
    sources = {one: -one for one in named if one < 0}
    wanted = named - sources.keys()
    if wanted:
        query = (
            "SELECT id, source_request FROM arrival "
            "WHERE id IN (SELECT value FROM json_each(?)) AND source_request IS NOT NULL"
        )
        sources.update(core.store.db.execute(query, (id_list(wanted),)))
    return [list(dict.fromkeys(sources[one] for one in some if one in sources)) for some in arrivals]


def record(core: Core, request: int, columns: str) -> Any:
    """Some columns of a request. Raises RequestNotFoundError: there is none of that number."""
    row = core.store.db.execute(f"SELECT {columns} FROM request WHERE id = ?", (request,)).fetchone()
    if row is None:
        raise RequestNotFoundError(f"no request {request} in this flow")
    return row


def arguments(core: Core, header: Header) -> Answer:
    """The very arguments of a request, fixed values included."""
    socket, text, inputs = record(core, header["id"], "socket, arguments, inputs")
    table = json.loads(text)
    found = core.values.of_requests([(header["id"], text, inputs)])
    buffers: list[bytes] = []
    out = {}
    for name, (kind, ids, _) in table.items():
        how, stored = argument_value(kind, [found[i] for i in ids])
        out[name] = {"kind": how, "values": heads(stored, buffers)}
    of = core.topology.sockets[socket]
    for name, fixed in of.fixed.items():
        if name not in out:
            out[name] = {"kind": "v", "values": heads([core.fixed[fixed.value]], buffers)}
    return {"arguments": out, "socket": of.name}, buffers


def task(core: Core, header: Header) -> Answer:
    """The function of a request, as it is pickled: that of the version that it ran, or would run."""
    socket, ran = record(core, header["id"], "socket, task")
    version = core.topology.tasks.get(ran) or core.topology.task(socket)
    told = {"version": version.version, "runs": not version.ask, "file": version.file, "source": version.source}
    return told, [core.store.blob(version.sha256)]


def result(core: Core, header: Header) -> Answer:
    """How one request ended; its state where it has not."""
    core.store.before_reading(False)
    rows, buffers, unfinished = finished(core, [header["id"]])
    if unfinished:
        return {"row": {"id": header["id"], "state": "queued"}}, []
    return {"row": rows[0]}, buffers


def party_of(core: Core, run: int) -> int:
    """The party of a run. Raises RequestNotFoundError: there is no such run."""
    row = core.store.one("party_of", (run,))
    if row is None:
        raise RequestNotFoundError(f"no run {run} in this flow")
    return int(row[0])


def results(core: Core, header: Header) -> Answer:
    """Results of the done requests of a socket, in order of acceptance.

    Those that are small are buffers with a column of types; `odd` has the rest by place, each one value or what a
    generator has yielded, their buffers behind. None yet where they are to be `complete` and the run is at work: `busy`
    says how many of its requests are.
    """
    if header.get("complete") and header.get("run") is not None:
        states = dict(core.store.rows("party_states", {"party": party_of(core, header["run"])}))
        busy = states.get("queued", 0) + states.get("running", 0)
        if busy:
            return {"busy": busy, "types": [], "odd": []}, []
    where, parameters = filtered(core, {**header, "state": "done"}, {})
    where += " AND r.joined IS NULL"
    limit = parameters["limit"]
    columns: list[tuple[int, int, bytes, str]] = []
    if parameters.keys() == {"limit", "socket"}:
        for ids, values, kinds in core.journal.lots.results(limit, parameters["socket"]):
            columns += zip(ids, map(result_id, ids), values, kinds, strict=True)
    else:
        core.store.before_reading(False)
    rows = core.store.connection.execute(
        f"SELECT r.id, r.result, r.bytes, r.type FROM request r WHERE {where} ORDER BY r.id DESC LIMIT :limit",
        parameters,
    ).fetchall()
    rows = sorted([*rows, *columns])[-limit:]
    # bytes of an earlier end may stand beside a result that is elsewhere now
    inside = [value is not None and value < 0 and data is not None for _, value, data, _ in rows]
    plain = rows if all(inside) else list(compress(rows, inside))
    buffers, types = [row[2] for row in plain], [row[3] for row in plain]
    left = [(at, *row) for at, row in enumerate(rows) if not inside[at]] if plain is not rows else []
    found = core.values.of_results([row[2:] for row in left])
    odd: list[list[Any]] = []
    for at, key, value, *_ in left:
        # a generator's results are its yields
        what = heads(core.values.emitted(key), buffers) if value is None else head(found[value], buffers)
        odd.append([at, value is None, what])
    return {"types": types, "odd": odd}, buffers


def output(core: Core, header: Header) -> Answer:
    """What a request's task printed, in order."""
    return {"chunks": [list(row) for row in core.store.rows("outputs", (header["id"],))]}, []


def attempts(core: Core, header: Header) -> Answer:
    """Attempts that did not end the request."""
    keys = ("attempt", "state", "error", "started", "seconds", "slot", "pid")
    rows = [dict(zip(keys, row, strict=True)) for row in core.store.rows("attempts", (header["id"],))]
    for row in rows:
        row["error"] = json.loads(row["error"]) if row["error"] else None
    # it waits for what another call, or a node, makes
    return {"rows": rows, "behind": core.delayed.get(header["id"]) == math.inf}, []


def lineage(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """Everything a request came from and everything that came of it; `limit` requests each way, the nearest first."""
    record(core, header["id"], "id")
    limit = header.get("limit")
    edges: list[list[Any]] = []
    seen = {header["id"]}
    for back in (True, False):
        todo = deque([header["id"]])
        visited = {header["id"]}
        while todo and (limit is None or len(visited) < limit):
            here = todo.popleft()
            for edge in _edges(core, here, back=back):
                other = edge[0] if back else edge[1]
                edges.append(edge)
                if other not in visited:
                    visited.add(other)
                    todo.append(other)
        seen |= visited
    table, _ = requests(core, {"ids": sorted(seen), "limit": len(seen)}, running)
    return {"nodes": unpacked(table), "edges": edges}, []


def _edges(core: Core, request: int, *, back: bool) -> list[list[Any]]:
    if not back:
        rows = core.store.rows("fed_by", {"request": request})
        return [[source, target, argument] for target, argument, source in rows]
    (text,) = record(core, request, "arguments")
    arrivals = {name: ids for name, (_, _, ids) in json.loads(text).items()}
    sources = _parents(core, list(arrivals.values()))
    return [[source, request, name] for name, some in zip(arrivals, sources, strict=True) for source in some]
