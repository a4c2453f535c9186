"""What can be seen of a running flow: rows for tables, pictures and records. Read-only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Ended, Kept
from ec_jupyter.engine.store import id_list
from ec_jupyter.errors import FrameError, RequestNotFoundError, SocketNotFoundError
from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.meeting import Arrival, Meeting
from ec_jupyter.flow.party import Party
from ec_jupyter.flow.tag import ROOT, Path, Tag, from_text, path, to_text
from ec_jupyter.model import Plug, Socket, to_json
from ec_jupyter.wire import Header

if TYPE_CHECKING:
    from ec_jupyter.engine.loop import Engine

Answer = tuple[dict[str, Any], list[bytes]]
STATES = ("waiting", "queued", "running", "done", "failed", "cancelled", "skipped")


# -- values in replies -------------------------------------------------------
def _heads(values: Iterable[Kept], buffers: list[bytes]) -> list[list[Any]]:
    heads = []
    for kept in values:
        heads.append([*kept.value.head(), kept.place])
        if kept.value.data is not None:
            buffers.append(kept.value.data)
        elif kept.value.file is None:
            buffers.append(b"")
    return heads


def _one(kept: Kept | None, buffers: list[bytes]) -> list[Any] | None:
    return _heads([kept], buffers)[0] if kept is not None else None


def ended_row(core: Core, ended: Ended) -> tuple[dict[str, Any], list[bytes]]:
    """How a request ended, with the result that its caller waits for."""
    buffers: list[bytes] = []
    row: dict[str, Any] = {"id": ended.id, "state": ended.state, "attempt": ended.job.attempt}
    row["socket"] = core.topology.sockets[ended.job.socket].name
    if ended.value is not None:
        row["value"] = _one(ended.value, buffers)
    if ended.error is not None:
        row["error"] = ended.error
        row["exception"] = _one(ended.exception, buffers)
    if ended.value is None and ended.state == "done" and ended.job.emitted:
        ids = [v for (v,) in core.store.rows("emissions", (ended.id,))]
        found = core.values.load(ids)
        row["values"] = _heads([found[i] for i in ids], buffers)
    elif ended.value is None and ended.state == "done":
        row["values"] = []
    return row, buffers


def plain_results(ended: list[Ended]) -> tuple[Header, list[bytes]]:
    """A frame of calls that went well and whose results are small, in columns."""
    values = [one.value.value for one in ended if one.value is not None]
    types = {value.type for value in values}
    kinds: str | list[str] = types.pop() if len(types) == 1 else [value.type for value in values]
    header: Header = {"k": "results", "ids": [one.id for one in ended], "types": kinds}
    return header, [value.data for value in values if value.data is not None]


def finished(core: Core, requests: list[int]) -> tuple[list[dict[str, Any]], list[bytes], list[int]]:
    """Rows of those requests that have ended, their buffers, and the requests that have not."""
    rows: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    unfinished = []
    found = core.store.db.execute(
        "SELECT id, socket, state, attempt, result, error, exception FROM request "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (id_list(requests),),
    ).fetchall()
    values = core.values.load({i for r in found for i in (r[4], r[6]) if i is not None})
    for key, socket, state, attempt, result, error, exception in found:
        if state in ("waiting", "queued", "running"):
            unfinished.append(key)
            continue
        row: dict[str, Any] = {
            "id": key,
            "state": state,
            "attempt": attempt,
            "socket": core.topology.sockets[socket].name,
        }
        if result is not None:
            row["value"] = _one(values[result], buffers)
        elif state == "done":
            ids = [v for (v,) in core.store.rows("emissions", (key,))]
            some = core.values.load(ids)
            row["values"] = _heads([some[i] for i in ids], buffers)
        if error is not None and state == "failed":
            row["error"] = json.loads(error)
            row["exception"] = _one(values.get(exception), buffers)
        rows.append(row)
    known = {r[0] for r in found}
    rows += [{"id": i, "state": "unknown"} for i in requests if i not in known]
    return rows, buffers, unfinished


# -- topology and counts -----------------------------------------------------
def topology(engine: Engine) -> dict[str, Any]:
    """The wiring as clients show it."""
    wiring, core = engine.core.topology, engine.core
    names = {s.id: s.name for s in wiring.sockets.values()}
    return {
        "revision": wiring.revision,
        "processors": {
            p.name: {"cpus": p.cpus, "paused": p.paused, "memory": p.memory, "affinity": p.affinity}
            for p in wiring.processors.values()
        },
        "sockets": {s.name: _socket_row(core, s) for s in wiring.sockets.values() if not s.parked},
        "plugs": [_plug_row(p, names) for p in wiring.live],
        "nodes": [{"name": "local", "cpus": engine.cpus, "state": "up"}],
    }


def _plug_row(plug: Plug, names: dict[int, str]) -> dict[str, Any]:
    row = to_json(plug)
    when = plug.when.text if plug.when else None
    return row | {"source": names[plug.source], "target": names[plug.target], "when": when}


def _socket_row(core: Core, socket: Socket) -> dict[str, Any]:
    task = core.topology.tasks[socket.task]
    record = to_json(socket)
    for key in ("id", "name", "task", "fixed", "stale"):
        record.pop(key)
    record["fixed"] = {k: {"type": f.type, "text": f.text} for k, f in socket.fixed.items()}
    record["needed"] = list(core.topology.needed[socket.id])
    record["task"] = {
        "version": task.version, "identity": task.identity, "sha256": task.sha256, "source": task.source,
        "file": task.file, "signature": [asdict(p) for p in task.signature], "captured": list(task.captured),
        "stale": list(socket.stale), "client": task.client, "generator": task.generator,
        "parked": task.python != core.python,
    }  # fmt: skip
    return record


def counts(engine: Engine, header: Header | None = None) -> dict[str, Any]:
    """Requests by state and socket, what each processor and node is doing."""
    core = engine.core
    running = dict.fromkeys(core.topology.sockets, 0)
    for request in engine.agent.running():
        job = core.jobs.get(request)
        if job is not None:
            running[job.socket] += 1
    waiting = dict.fromkeys(core.topology.sockets, 0)
    for party in core.joins.parties.all.values():
        for arrival in JoinTable.waiting(party):
            waiting[arrival.socket] += 1
    sockets, pools = {}, {}
    for socket in core.topology.sockets.values():
        if not socket.parked:
            counter = core.counts.get(socket.id, Counter())
            row = {state: counter.get(state, 0) for state in STATES}
            row["running"] = running[socket.id]
            row["queued"] = max(0, row["queued"] - running[socket.id])
            row["arrived"] = waiting[socket.id]
            sockets[socket.name] = row
    for p in core.topology.processors.values():
        mine = [s for s in core.topology.sockets.values() if s.processor == p.name and not s.parked]
        pools[p.name] = {
            "cpus": p.cpus, "paused": p.paused, "running": sum(running[s.id] for s in mine),
            "queued": sum(sockets[s.name]["queued"] for s in mine),
        }  # fmt: skip
    used = sum(running[s.id] * s.threads for s in core.topology.sockets.values())
    nodes = [{"name": "local", "cpus": engine.cpus, "used": used, "state": "up"}]
    return {"sockets": sockets, "processors": pools, "nodes": nodes, "idle": engine.idle}


def leftover(core: Core) -> dict[str, int]:
    """What is left once nothing runs and nothing may start."""
    arrived = sum(1 for p in core.joins.parties.all.values() for _ in JoinTable.waiting(p))
    failed = sum(c["failed"] for c in core.counts.values())
    paused = sum(core.dispatch.queued(s) for s in core.dispatch.lanes if not core.startable(s))
    return {"waiting": arrived, "failed": failed, "paused": paused}


# -- requests ----------------------------------------------------------------
COLUMNS = (
    "id", "socket", "run", "party", "tag", "state", "attempt", "deaths", "task", "revision", "node", "slot", "pid",
    "created", "started", "finished", "seconds", "error", "arguments", "emitted", "joined",
)  # fmt: skip


def requests(engine: Engine, header: Header) -> Answer:
    """Records of requests: newest or oldest first, by identity or by start."""
    core = engine.core
    running = engine.agent.running()
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
        terms.append(
            f"r.state = 'queued' AND r.id {'' if state == 'running' else 'NOT '}IN (SELECT value FROM json_each(?))"
        )
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
    if job is not None and job.assigned and row["id"] in running:
        current = core.topology.tasks.get(job.task)
        row |= {
            "state": "running", "attempt": job.attempt, "started": job.started, "seconds": running[row["id"]],
            "node": core.node, "slot": job.extra.get("slot"), "pid": job.extra.get("pid"),
            "version": current.version if current else None,
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


def arguments(engine: Engine, header: Header) -> Answer:
    """The very arguments of a request, fixed values included."""
    core = engine.core
    socket, text, _ = _record(core, header)
    table = json.loads(text)
    found = core.values.load([i for _, ids, _ in table.values() for i in ids])
    buffers: list[bytes] = []
    out = {}
    for name, (kind, ids, _) in table.items():
        kept = [found[i] for i in ids]
        out[name] = {"kind": kind, "values": _heads([*kept, *(kept[0].extras if kind == "e" else ())], buffers)}
    record = core.topology.sockets[socket]
    for name, fixed in record.fixed.items():
        if name not in out:
            out[name] = {"kind": "v", "values": _heads([core.fixed[fixed.value]], buffers)}
    return {"arguments": out, "socket": record.name}, buffers


def result(engine: Engine, header: Header) -> Answer:
    """How one request ended; its state where it has not."""
    rows, buffers, unfinished = finished(engine.core, [header["id"]])
    if unfinished:
        return {"row": {"id": header["id"], "state": "queued"}}, []
    return {"row": rows[0]}, buffers


def results(engine: Engine, header: Header) -> Answer:
    """Results of the done requests of a socket, in order of acceptance, in columns."""
    core = engine.core
    where, parameters = _filter(core, {**header, "state": "done"}, {})
    rows = core.store.db.execute(
        f"SELECT r.id, r.result FROM request r JOIN run ON run.id = r.run WHERE {where} ORDER BY r.id DESC LIMIT ?",
        (*parameters, header["limit"]),
    ).fetchall()
    found = core.values.load([value for _, value in rows if value is not None])
    buffers: list[bytes] = []
    heads: list[Any] = []
    for key, value in reversed(rows):
        # a generator's results are its yields
        emitted = [v for (v,) in core.store.rows("emissions", (key,))] if value is None else []
        some = core.values.load(emitted) if emitted else {}
        heads.append(_heads([some[v] for v in emitted], buffers) if value is None else _one(found[value], buffers))
    return {"many": [value is None for _, value in reversed(rows)], "values": heads}, buffers


def output(engine: Engine, header: Header) -> Answer:
    """What a request's task printed, in order."""
    return {"chunks": [list(row) for row in engine.store.rows("outputs", (header["id"],))]}, []


def attempts(engine: Engine, header: Header) -> Answer:
    """Attempts that did not end the request."""
    keys = ("attempt", "state", "error", "started", "seconds", "slot", "pid")
    rows = [dict(zip(keys, row, strict=True)) for row in engine.store.rows("attempts", (header["id"],))]
    for row in rows:
        row["error"] = json.loads(row["error"]) if row["error"] else None
    return {"rows": rows}, []


def lineage(engine: Engine, header: Header) -> Answer:
    """Everything a request came from and everything that came of it."""
    core = engine.core
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
    rows, _ = requests(engine, {"ids": sorted(seen), "limit": len(seen)})
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


# -- what waits --------------------------------------------------------------
def waiting(engine: Engine, header: Header) -> Answer:
    """Incomplete joins: what has come, what is missing, and whether it still can come."""
    core = engine.core
    wanted = header.get("socket")
    if wanted is not None and wanted not in core.topology.names:
        raise SocketNotFoundError.named(wanted, core.topology.names)
    rows = []
    for party in sorted(core.joins.parties.all.values(), key=lambda p: p.id):
        for meeting in party.meetings.values():
            name = core.topology.sockets[meeting.socket].name
            if wanted in (None, name):
                rows += _meeting_rows(core, party, meeting, name)
        if len(rows) >= (header.get("limit") or 1000):
            break
    return {"rows": rows}, []


def _meeting_rows(core: Core, party: Party, meeting: Meeting, name: str) -> list[dict[str, Any]]:
    rows = []
    arrived: dict[Path, list[Arrival]] = {}
    for arrival in JoinTable.waiting(party):
        if arrival.socket == meeting.socket:
            arrived.setdefault(path(arrival.tag), []).append(arrival)
    for at in meeting.given:
        arrived.setdefault(at, [])
    for at, some in sorted(arrived.items()):
        rows.append(_waiting_row(core, party, meeting, name, at, some))
    return rows


def _waiting_row(
    core: Core, party: Party, meeting: Meeting, name: str, at: Path, some: list[Arrival]
) -> dict[str, Any]:
    tag: Tag = some[0].tag if some else ROOT
    table: dict[str, dict[str, Any]] = {
        n: {"state": "missing", "arrivals": []} for n in core.topology.needed[meeting.socket]
    }
    for arrival in some:
        held = arrival.value.value if isinstance(arrival.value, Kept) else None
        entry = table.setdefault(arrival.argument, {"state": "stranded", "arrivals": []})
        entry["state"] = "arrived"
        row = core.store.one("arrival_row", (arrival.id,))
        entry["arrivals"].append(
            {
                "id": arrival.id, "source": arrival.source, "since": row[14] if row else core.now,
                "type": held.type if held else "", "size": held.size if held else 0,
            }
        )  # fmt: skip
    missing = [n for n, entry in table.items() if entry["state"] == "missing"]
    tokens = _tokens(core, party) if missing else []
    for n in missing:
        key = (meeting.socket, n)
        # what none of its runs leads to may still come with a run that joins the party
        own = any(key in core.topology.reach(root) for root in party.shape)
        if own and not core.topology.can_reach(tokens, key, at):
            table[n]["state"] = "unreachable"
    given = meeting.given.get(at)
    return {
        "socket": name, "run": some[0].run if some else party.id, "party": party.id, "tag": to_text(tag),
        "arguments": table, "stranded": any(table[n]["state"] == "unreachable" for n in missing),
        "request": given[0][0] if given else None,
    }  # fmt: skip


def _tokens(core: Core, party: Party) -> list[tuple[int, Tag]]:
    tokens = [(s, from_text(t)) for s, t, _ in core.store.rows("unfinished_of_party", (party.id,))]
    return tokens + [(a.socket, a.tag) for a in JoinTable.waiting(party)]


def value(engine: Engine, header: Header) -> Answer:
    """A waiting value, for a look at it."""
    core = engine.core
    row = core.store.one("arrival_row", (header["arrival"],))
    if row is None or row[6] is None:
        raise RequestNotFoundError(f"no value {header['arrival']} in this flow")
    buffers: list[bytes] = []
    return {"value": _one(core.values.load([row[6]])[row[6]], buffers)}, buffers


# -- the rest ----------------------------------------------------------------
def tree(engine: Engine, header: Header) -> Answer:
    """Nodes > agents > workers > processors > sockets > task > arguments."""
    wiring = engine.core.topology
    pools: dict[str, list[dict[str, Any]]] = {name: [] for name in wiring.processors}
    for s in wiring.sockets.values():
        if not s.parked:
            task = wiring.tasks[s.task]
            pools[s.processor].append({"socket": s.name, "task": f"v{task.version}", "arguments": task.arguments})
    workers = [
        {"worker": name, "processor": name, "cpus": wiring.processors[name].cpus or engine.cpus, "sockets": sockets}
        for name, sockets in pools.items()
    ]
    return {"nodes": [{"node": "local", "cpus": engine.cpus, "agents": [{"agent": "local", "workers": workers}]}]}, []


def versions(engine: Engine, header: Header) -> Answer:
    """Versions of a socket's task, oldest first."""
    core = engine.core
    if header["socket"] not in core.topology.names:
        raise SocketNotFoundError.named(header["socket"], core.topology.names)
    rows = core.store.rows("versions", (core.topology.names[header["socket"]],))
    return {"rows": [json.loads(record) | {"created": created} for record, created in rows]}, []


def run(engine: Engine, header: Header) -> Answer:
    """State of a run: how many of its party's requests are in which state, and what waits."""
    core = engine.core
    row = core.store.one("party_of", (header["id"],))
    if row is None:
        raise RequestNotFoundError(f"no run {header['id']} in this flow")
    states = dict(core.store.rows("party_states", (row[0],)))
    party = core.joins.parties.all.get(row[0])
    arrived = sum(1 for _ in JoinTable.waiting(party)) if party else 0
    if states.get("queued"):
        state = "running"
    elif states.get("failed"):
        state = "failed"
    else:
        state = "waiting" if arrived or states.get("waiting") else "cancelled" if states.get("cancelled") else "done"
    return {"state": state, "counts": states, "arrived": arrived, "party": row[0]}, []


def counts_answer(engine: Engine, header: Header) -> Answer:
    """Counts as an answer to a query."""
    delivered = {str(plug): n for plug, n in engine.store.rows("plug_counts")}
    return {**counts(engine), "plugs": delivered}, []


QUERIES: dict[str, Callable[[Engine, Header], Answer]] = {
    "counts": counts_answer,
    "requests": requests,
    "arguments": arguments,
    "result": result,
    "results": results,
    "output": output,
    "attempts": attempts,
    "lineage": lineage,
    "waiting": waiting,
    "value": value,
    "tree": tree,
    "versions": versions,
    "run": run,
}
