"""Runs, timelines and the past of a flow, asked of its engine piece by piece until there is enough to show."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ec_jupyter.client import scene
from ec_jupyter.client.client import Client
from ec_jupyter.flow.states import STATES

Fields = dict[str, Any]

SECONDS = 5.0  # how long pieces are asked for; what is there then is shown
BARS = 10_000
RUNS = 50


def runs(client: Client, asked: Mapping[str, Any]) -> Fields:
    """A page of runs, newest first, and from where the next one begins; None at the end."""
    limit = asked.get("limit") or RUNS
    return _pieces(client, "runs", {**asked, "limit": limit}, "rows", limit)


def timeline(client: Client, asked: Mapping[str, Any]) -> Fields:
    """Calls that have begun, newest first, in columns, and from where the next ones begin; None at the end."""
    limit = asked.get("limit") or BARS
    found = _pieces(client, "spans", {**asked, "limit": limit}, "columns", limit)
    names = sorted(set(found["columns"]["socket"]))
    numbers = {name: at for at, name in enumerate(names)}
    sockets = client.topology["sockets"]
    return {
        **found,
        "columns": {**found["columns"], "socket": [numbers[name] for name in found["columns"]["socket"]]},
        "sockets": names,
        # what ran of a socket that was moved since shows with the processor that it has now
        "processors": [sockets[name]["processor"] if name in sockets else "" for name in names],
        "now": time.time(),
    }


def _pieces(client: Client, what: str, asked: Fields, key: str, limit: int) -> Fields:
    """Answers to a question as one: as many rows as were asked for, or all that were found in time."""
    end = time.monotonic() + SECONDS
    found, _ = client.ask("query", {"what": what, **asked})
    while found["next"] is not None and _count(found[key]) < limit and time.monotonic() < end:
        rest = limit - _count(found[key])
        more, _ = client.ask("query", {"what": what, **asked, "before": found["next"], "limit": rest})
        found = {**found, key: _joined(found[key], more[key]), "next": more["next"]}
    return {key: found[key], "next": found["next"]}


def _count(rows: Any) -> int:
    return len(rows["id"] if isinstance(rows, dict) else rows)


def _joined(some: Any, more: Any) -> Any:
    return {name: some[name] + more[name] for name in some} if isinstance(some, dict) else some + more


def since(client: Client) -> Fields:
    """From when to when there is a past, and the edits in it."""
    began = client.ask("query", {"what": "began"})[0]["time"]
    rows = [{key: row[key] for key in ("n", "text", "time")} for row in client.ask("history")[0]["rows"]]
    now = time.time()
    return {"from": began if began is not None else now, "to": now, "revisions": rows}


def at(client: Client, when: float) -> Fields:
    """The flow as it was at a time: its wiring, and its numbers as far as they are on record.

    Returns dict: ``graph`` and ``metrics`` as a picture draws them, the ``revision``, ``newest`` results by socket, and
    whether the numbers are ``whole``.
    """
    found, _ = client.ask("query", {"what": "wiring", "time": when})
    topology, names = found["topology"], found["names"]
    sockets: dict[str, Fields] = {name: {**dict.fromkeys(STATES, 0), "arrived": {}} for name in topology["sockets"]}
    plugs: dict[str, int] = {}
    end, todo = time.monotonic() + SECONDS, {"request": 0, "arrival": 0}
    while todo and time.monotonic() < end:
        piece, _ = client.ask("query", {"what": "past", "time": when, **todo})
        for number, row in piece["sockets"].items():
            if number in names:
                _add(sockets[names[number]], row)
        _add(plugs, piece["plugs"])
        todo = {table: low for table, low in piece["next"].items() if low is not None}
    newest = {name: row.pop("newest") for name, row in sockets.items() if "newest" in row}
    counts = {
        "time": when, "sockets": sockets, "plugs": plugs, "processors": _pools(topology, sockets),
        "nodes": [{**node, "used": 0} for node in topology["nodes"]], "idle": False,
    }  # fmt: skip
    return {
        "graph": scene.graph(topology, client.name), "metrics": scene.metrics(counts), "revision": found["revision"],
        "newest": newest, "whole": not todo,
    }  # fmt: skip


def _add(to: Fields, more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if key == "newest":
            to[key] = max(value, to.get(key, 0))
        elif isinstance(value, dict):
            _add(to.setdefault(key, {}), value)
        else:
            to[key] = to.get(key, 0) + value


def _pools(topology: Mapping[str, Any], sockets: Mapping[str, Fields]) -> Fields:
    pools = {}
    for name, pool in topology["processors"].items():
        mine = [(sockets[one], row) for one, row in topology["sockets"].items() if row["processor"] == name]
        busy = {state: sum(counts[state] for counts, _ in mine) for state in ("running", "queued")}
        workers = sum(-(-counts["running"] // row.get("concurrent", 1)) for counts, row in mine)
        pools[name] = {"cpus": pool["cpus"], "paused": pool["paused"], **busy, "workers": workers}
    return pools
