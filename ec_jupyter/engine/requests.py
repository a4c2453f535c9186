"""Records of requests: rows, arguments, results, output, what they came from. Read-only."""

from __future__ import annotations

import json
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.counts import STATES
from ec_jupyter.engine.ended import finished, head, heads
from ec_jupyter.engine.job import argument_value
from ec_jupyter.engine.store import id_list
from ec_jupyter.errors import FrameError, RequestNotFoundError, SocketNotFoundError
from ec_jupyter.wire import Header

Answer = tuple[dict[str, Any], list[bytes]]
COLUMNS = (
    "id", "socket", "run", "party", "tag", "state", "attempt", "deaths", "task", "revision", "node", "slot", "pid",
    "created", "started", "finished", "seconds", "error", "arguments", "emitted", "joined",
)  # fmt: skip


def requests(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """Records of requests: newest or oldest first, by identity or by start; `running`: for how many seconds, which."""
    where, parameters = _filter(core, header, running)
    order = "r.started" if header.get("by") == "started" else "r.id"
    direction = "DESC" if header.get("newest") else "ASC"
    fields = ", ".join("run.party" if c == "party" else f"r.{c}" for c in COLUMNS)
    rows = core.store.db.execute(
        f"SELECT {fields} FROM request r JOIN run ON run.id = r.run WHERE {where} "
        f"ORDER BY {order} {direction}, r.id LIMIT ?",
        (*parameters, header.get("limit") or 1000),
    ).fetchall()
    return {"rows": [_request_row(core, dict(zip(COLUMNS, r, strict=True)), running) for r in rows]}, []


def _filter(core: Core, header: Header, running: dict[int, float]) -> tuple[str, tuple[Any, ...]]:
    terms: list[str] = ["1"]
    parameters: list[Any] = []
    if header.get("socket") is not None:
        if header["socket"] not in core.topology.names:
            raise SocketNotFoundError.named(header["socket"], core.topology.names)
        terms.append("r.socket = ?")
        parameters.append(core.topology.names[header["socket"]])
    if header.get("run") is not None:
        terms.append("(run.id = ? OR run.party = (SELECT party FROM run WHERE id = ?))")
        parameters += [header["run"], header["run"]]
    if header.get("ids") is not None:
        terms.append("r.id IN (SELECT value FROM json_each(?))")
        parameters.append(id_list(header["ids"]))
    state = header.get("state")
    if state in ("running", "queued"):
        # one that another node has is on disk as running, also while it queues there
        among = "IN" if state == "running" else "NOT IN"
        terms.append(f"r.state IN ('queued', 'running') AND r.id {among} (SELECT value FROM json_each(?))")
        parameters.append(id_list(running))
    elif state is not None:
        if state not in STATES:
            raise FrameError(f"no request is ever {state!r}; states: {', '.join(STATES)}")
        terms.append("r.state = ?")
        parameters.append(state)
    if header.get("by") == "started":
        terms.append("r.started IS NOT NULL")
    return " AND ".join(terms), tuple(parameters)


def _request_row(core: Core, row: dict[str, Any], running: dict[int, float]) -> dict[str, Any]:
    task = core.topology.tasks.get(row.pop("task") or 0)
    arguments = json.loads(row.pop("arguments"))
    job = core.jobs.get(row["id"])
    row["socket"] = core.topology.sockets[row["socket"]].name
    row["version"] = task.version if task else None
    row["error"] = json.loads(row["error"]) if row["error"] else None
    row["argument_names"] = list(arguments)
    row["progress"] = None
    if row["state"] == "running":
        row["state"] = "queued"
    if job is not None and job.assigned:
        row["node"] = job.node
    if job is not None and job.assigned and row["id"] in running:
        current = core.topology.tasks.get(job.task)
        row |= {
            "state": "running", "attempt": job.attempt, "started": job.started, "seconds": running[row["id"]],
            "slot": job.extra.get("slot"), "pid": job.extra.get("pid"),
            "version": current.version if current else None, "progress": job.extra.get("progress"),
        }  # fmt: skip
    arrivals = [a for _, _, ids in arguments.values() for a in ids]
    row["parents"] = _parents(core, arrivals)
    return row


def _parents(core: Core, arrivals: list[int]) -> list[int]:
    if not arrivals:
        return []
    rows = core.store.db.execute(
        "SELECT DISTINCT source_request FROM arrival "
        "WHERE id IN (SELECT value FROM json_each(?)) AND source_request IS NOT NULL",
        (id_list(arrivals),),
    )
    return [source for (source,) in rows]


def _record(core: Core, header: Header) -> Any:
    row = core.store.db.execute("SELECT socket, arguments, state FROM request WHERE id = ?", (header["id"],)).fetchone()
    if row is None:
        raise RequestNotFoundError(f"no request {header['id']} in this flow")
    return row


def arguments(core: Core, header: Header) -> Answer:
    """The very arguments of a request, fixed values included."""
    socket, text, _ = _record(core, header)
    table = json.loads(text)
    found = core.values.load([i for _, ids, _ in table.values() for i in ids])
    buffers: list[bytes] = []
    out = {}
    for name, (kind, ids, _) in table.items():
        how, kept = argument_value(kind, [found[i] for i in ids])
        out[name] = {"kind": how, "values": heads(kept, buffers)}
    record = core.topology.sockets[socket]
    for name, fixed in record.fixed.items():
        if name not in out:
            out[name] = {"kind": "v", "values": heads([core.fixed[fixed.value]], buffers)}
    return {"arguments": out, "socket": record.name}, buffers


def result(core: Core, header: Header) -> Answer:
    """How one request ended; its state where it has not."""
    rows, buffers, unfinished = finished(core, [header["id"]])
    if unfinished:
        return {"row": {"id": header["id"], "state": "queued"}}, []
    return {"row": rows[0]}, buffers


def results(core: Core, header: Header) -> Answer:
    """Results of the done requests of a socket, in order of acceptance, in columns."""
    where, parameters = _filter(core, {**header, "state": "done"}, {})
    where += " AND r.joined IS NULL"
    rows = core.store.db.execute(
        f"SELECT r.id, r.result FROM request r JOIN run ON run.id = r.run WHERE {where} ORDER BY r.id DESC LIMIT ?",
        (*parameters, header.get("limit") or 1000),
    ).fetchall()
    found = core.values.load([value for _, value in rows if value is not None])
    buffers: list[bytes] = []
    out: list[Any] = []
    for key, value in reversed(rows):
        # a generator's results are its yields
        emitted = [v for (v,) in core.store.rows("emissions", (key,))] if value is None else []
        some = core.values.load(emitted) if emitted else {}
        out.append(heads([some[v] for v in emitted], buffers) if value is None else head(found[value], buffers))
    return {"many": [value is None for _, value in reversed(rows)], "values": out}, buffers


def output(core: Core, header: Header) -> Answer:
    """What a request's task printed, in order."""
    return {"chunks": [list(row) for row in core.store.rows("outputs", (header["id"],))]}, []


def attempts(core: Core, header: Header) -> Answer:
    """Attempts that did not end the request."""
    keys = ("attempt", "state", "error", "started", "seconds", "slot", "pid")
    rows = [dict(zip(keys, row, strict=True)) for row in core.store.rows("attempts", (header["id"],))]
    for row in rows:
        row["error"] = json.loads(row["error"]) if row["error"] else None
    return {"rows": rows}, []


def lineage(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """Everything a request came from and everything that came of it."""
    _record(core, header)
    edges: list[list[Any]] = []
    seen = {header["id"]}
    for back in (True, False):
        todo = [header["id"]]
        visited = {header["id"]}
        while todo:
            here = todo.pop()
            for edge in _edges(core, here, back=back):
                other = edge[0] if back else edge[1]
                edges.append(edge)
                if other not in visited:
                    visited.add(other)
                    todo.append(other)
        seen |= visited
    rows, _ = requests(core, {"ids": sorted(seen), "limit": len(seen)}, running)
    return {"nodes": rows["rows"], "edges": edges}, []


def _edges(core: Core, request: int, *, back: bool) -> list[list[Any]]:
    if not back:
        rows = core.store.rows("fed_by", (request,))
        return [[source, target, argument] for target, argument, source in rows]
    row = core.store.db.execute("SELECT arguments FROM request WHERE id = ?", (request,)).fetchone()
    edges = []
    for name, (_, _, arrivals) in json.loads(row[0]).items():
        edges += [[source, request, name] for source in _parents(core, arrivals)]
    return edges
