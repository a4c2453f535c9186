"""The questions a client may ask, by name. Read-only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ec_jupyter.engine import counts, rates, requests, waits
from ec_jupyter.errors import RequestNotFoundError, SocketNotFoundError
from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.placement import caps
from ec_jupyter.wire import Header

if TYPE_CHECKING:
    from ec_jupyter.engine.loop import Engine

Answer = tuple[dict[str, Any], list[bytes]]


def tree(engine: Engine, header: Header) -> Answer:
    """Nodes > agents > workers > processors > sockets > task > arguments."""
    wiring = engine.core.topology
    pools: dict[str, list[dict[str, Any]]] = {name: [] for name in wiring.processors}
    for s in wiring.sockets.values():
        if not s.parked:
            task = wiring.tasks[s.task]
            pools[s.processor].append({"socket": s.name, "task": f"v{task.version}", "arguments": task.arguments})
    shares = {name: caps(processor, engine.fleet.lent()) for name, processor in wiring.processors.items()}
    nodes = []
    for node in engine.fleet.facts():
        name = node["name"]
        workers = [
            {"worker": p, "processor": p, "cpus": shares[p][name], "sockets": sockets}
            for p, sockets in pools.items()
            if name in shares[p]
        ]
        nodes.append({"node": name, "cpus": node["cpus"], "agents": [{"agent": name, "workers": workers}]})
    return {"nodes": nodes}, []


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
    states = dict(core.store.rows("party_states", {"party": row[0]}))
    party = core.joins.parties.all.get(row[0])
    arrived = sum(1 for _ in JoinTable.waiting(party)) if party else 0
    if states.get("queued") or states.get("running"):
        state = "running"
    elif states.get("failed"):
        state = "failed"
    else:
        state = "waiting" if arrived or states.get("waiting") else "cancelled" if states.get("cancelled") else "done"
    return {"state": state, "counts": states, "arrived": arrived, "party": row[0]}, []


def clients(engine: Engine, header: Header) -> Answer:
    """Names of those who are connected, without the one who asks."""
    return {"names": [one.name for one in engine.clients.all if one.id != header["but"]]}, []


QUERIES: dict[str, Callable[[Engine, Header], Answer]] = {
    "counts": counts.answer,
    "requests": requests.requests,
    "arguments": requests.arguments,
    "result": requests.result,
    "results": requests.results,
    "output": requests.output,
    "attempts": requests.attempts,
    "lineage": requests.lineage,
    "waiting": waits.waiting,
    "value": waits.value,
    "tree": tree,
    "versions": versions,
    "run": run,
    "rates": rates.rates,
    "clients": clients,
}
