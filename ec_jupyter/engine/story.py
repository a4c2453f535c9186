"""What happened: runs and their ways, the bars of a timeline, the numbers of the past. Read-only.

A question looks at so many rows at most and then says from where to ask on: however long a flow has worked, the engine
answers all others meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.counts import Counts
from ec_jupyter.engine.parts import Answer
from ec_jupyter.engine.rows import OF_PARTY, SQL, id_list
from ec_jupyter.errors import FrameError, RequestNotFoundError
from ec_jupyter.flow.past import Row, revision_at, wiring_at
from ec_jupyter.flow.states import ASKED
from ec_jupyter.wire import Header

ROOTS = 500  # runs that one question looks at, at most
SPAN = 20_000  # requests by number that one question looks at, at most
MEMBERS = 20_000  # requests of one run that are counted
_RUN_STATES = ("running", "failed", "waiting", "cancelled", "done")

_SOME = f"(SELECT id FROM ({SQL['ids_of_party']}) LIMIT {MEMBERS}) one"
_STATES = f"SELECT r.state, count(*) FROM {_SOME} JOIN request r ON r.id = one.id WHERE r.joined IS NULL GROUP BY 1"
_SOCKETS = f"""
SELECT r.socket, CASE r.state WHEN 'running' THEN 'queued' ELSE r.state END, count(*)
  FROM {_SOME} JOIN request r ON r.id = one.id WHERE r.joined IS NULL GROUP BY 1, 2"""
# CROSS JOIN: the requests first, for each of them what it brought
_PLUGS = f"""
SELECT a.plug, count(*) FROM {_SOME} CROSS JOIN arrival a ON a.source_request = one.id
 WHERE a.value IS NOT NULL AND a.plug IS NOT NULL GROUP BY 1
UNION ALL
SELECT p.plug, count(*) FROM {_SOME} CROSS JOIN passed p ON p.source = one.id GROUP BY 1"""
_WAITS = f"""
SELECT target, argument, count(*) FROM (
  SELECT a.target, a.argument FROM {_SOME} CROSS JOIN arrival a ON a.source_request = one.id
   WHERE a.value IS NOT NULL AND a.state = 'waiting'
  UNION ALL
  SELECT target, argument FROM arrival
   WHERE source_request IS NULL AND party = :party AND value IS NOT NULL AND state = 'waiting')
 GROUP BY target, argument"""
_MEMBERS = f"SELECT id FROM ({SQL['ids_of_party']}) WHERE id <= :top ORDER BY id DESC LIMIT :limit"
_SPANS = f"""
SELECT r.id, r.run, r.socket, r.state, r.attempt, r.node, r.slot, r.started, r.seconds
  FROM ({_MEMBERS}) one JOIN request r ON r.id = one.id
 WHERE r.started IS NOT NULL AND r.joined IS NULL ORDER BY r.id DESC"""


# -- runs ----------------------------------------------------------------------
def runs(core: Core, header: Header) -> Answer:
    """Runs, newest first; `find` is a number of a request of one, or a part of the name of where it began."""
    state, limit = header.get("state"), min(header.get("limit") or 50, ROOTS)
    if state is not None and state not in _RUN_STATES:
        raise FrameError(f"no run is ever {state!r}; states: {', '.join(_RUN_STATES)}")
    roots, further = _roots(core, header)
    rows: list[dict[str, Any]] = []
    for at, (run, socket, created) in enumerate(roots):
        states = dict(core.store.db.execute(_STATES, {"party": run}))
        row = {"run": run, "socket": _name(core, socket), "created": created, **run_state(core, run, states)}
        if state in (None, row["state"]):
            rows.append(row)
        if len(rows) == limit:
            further = run if at + 1 < len(roots) or further else None
            break
    return {"rows": rows, "next": further}, []


def _roots(core: Core, header: Header) -> tuple[list[Any], int | None]:
    """Where runs began, and from where to look on; None at the end."""
    before, found = header.get("before"), header.get("find") or ""
    if found.isdigit():
        party = party_of(core, int(found))
        return core.store.rows("run_roots_of", {"party": party}) if party is not None and before is None else [], None
    sockets = [s.id for s in core.topology.sockets.values() if found.lower() in s.name.lower()]
    top = _top(core.store.db) if before is None else before - 1
    asked = {"top": top, "low": top - SPAN, "sockets": json.dumps(sockets), "limit": ROOTS}
    rows = core.store.rows("run_roots", asked)
    return rows, _further(rows, ROOTS, top)


def _further(rows: list[Any], limit: int, top: int) -> int | None:
    return rows[-1][0] if len(rows) == limit else top - SPAN + 1 if top > SPAN else None


def _top(db: sqlite3.Connection, table: str = "request") -> int:
    (top,) = db.execute(f"SELECT max(id) FROM {table}").fetchone()
    return int(top or 0)


def _name(core: Core, socket: int) -> str:
    found = core.topology.sockets.get(socket)
    return found.name if found else "?"


def party_of(core: Core, request: int) -> int | None:
    """The party of a request, which people call its run; None where there is no such request."""
    query = f"SELECT {OF_PARTY} FROM request r LEFT JOIN run ON run.id = r.run WHERE r.id = ?"
    row = core.store.db.execute(query, (request,)).fetchone()
    return None if row is None else int(row[0])


def run_state(core: Core, party: int, states: Mapping[str, int]) -> dict[str, Any]:
    """State of a run of which so many requests are in each state, and how many values of it wait."""
    arrived = len(core.joins.standing.waiting(party))
    asking = core.topology.asking
    asked = core.store.one("party_asked", {"party": party, "asking": id_list(asking)})[0] if asking else 0
    if asked:
        states = {**states, "queued": states["queued"] - asked, ASKED: asked}
    if states.get("queued") or states.get("running"):
        state = "running"
    elif states.get("failed"):
        state = "failed"
    elif arrived or asked or states.get("waiting"):
        state = "waiting"
    else:
        state = "cancelled" if states.get("cancelled") else "done"
    return {"state": state, "counts": states, "arrived": arrived}


# -- the way of one run --------------------------------------------------------
def way(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """The way of a run through the wiring: states of its requests by socket, values by plug, and what waits where.

    Raises RequestNotFoundError: there is no such request.
    """
    party = party_of(core, header["id"])
    if party is None:
        raise RequestNotFoundError(f"no request {header['id']} in this flow")
    ask, asked = core.store.db.execute, {"party": party}
    sockets: dict[str, Counter[str]] = {}
    for socket, state, n in ask(_SOCKETS, asked):
        sockets.setdefault(_name(core, socket), Counter())[state] += n
    for job in (core.jobs[one] for one in running if one in core.jobs):
        if job.party == party:
            of = sockets.setdefault(_name(core, job.socket), Counter())
            of.update(queued=-1, running=1)
    plugs: Counter[int] = Counter()
    for plug, n in ask(_PLUGS, asked):
        plugs[plug] += n
    waits = [[_name(core, socket), argument, n] for socket, argument, n in ask(_WAITS, asked)]
    states: Counter[str] = sum(sockets.values(), Counter())
    return {
        "run": party,
        "sockets": {name: {s: n for s, n in of.items() if n > 0} for name, of in sockets.items()},
        "plugs": {str(plug): n for plug, n in plugs.items()},
        "waits": waits,
        "more": states.total() >= MEMBERS,
        **run_state(core, party, states),
    }, []


# -- the timeline --------------------------------------------------------------
_BAR = ("id", "run", "socket", "state", "attempt", "node", "slot", "started", "seconds")


def spans(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """Calls that have begun, newest first, in columns: which, where, from when, for how many seconds.

    Attempts that did not end their request are among them, as ``lost`` or ``failed`` by what they came to.
    """
    before, limit = header.get("before"), min(header.get("limit") or 1000, SPAN)
    party = None if header.get("run") is None else party_of(core, header["run"])
    # what is queued has no bar, and need not have a row for this
    top = _top(core.store.ended) if before is None else before - 1
    if header.get("run") is not None:
        asked = {"party": party, "top": top, "limit": limit}
        rows, ids = (core.store.db.execute(query, asked).fetchall() for query in (_SPANS, _MEMBERS))
        further = ids[-1][0] if len(ids) == limit else None
    else:
        asked = {"top": top, "low": top - SPAN, "limit": limit}
        rows = core.store.rows("spans", asked)
        further = _further(rows, limit, top)
    rows += core.store.rows("spans_of_attempts", (json.dumps([row[0] for row in rows]),))
    if before is None:
        rows += _running(core, running, party)
    columns = {name: [row[at] for row in rows] for at, name in enumerate(_BAR)}
    columns["socket"] = [_name(core, socket) for socket in columns["socket"]]
    return {"columns": columns, "next": further}, []


def _running(core: Core, running: dict[int, float], party: int | None) -> list[tuple[Any, ...]]:
    jobs = (core.jobs[one] for one in running if one in core.jobs)
    return [
        (job.id, job.run, job.socket, "running", job.attempt, job.node, job.extra.get("slot"), job.started, None)
        for job in jobs
        if job.started is not None and party in (None, job.party)
    ]


def _running_at(core: Core, running: dict[int, float], when: float) -> list[int]:
    """Of what runs now, what ran then already."""
    jobs = (core.jobs[one] for one in running if one in core.jobs)
    return [job.id for job in jobs if job.started is not None and job.started <= when]


# -- the past ------------------------------------------------------------------
def wiring(core: Core, counts: Counts, header: Header) -> Answer:
    """The wiring as it was at a time, names of its sockets by number, and the revision that was in force."""
    history = [Row(*row) for row in core.store.rows("all_revisions")]
    n = revision_at(history, header["time"])
    then = wiring_at(core.topology, history, n)
    names = {str(socket): name for name, socket in then.names.items()}
    return {"topology": counts.topology(wiring=then), "names": names, "revision": n}, []


def began(core: Core, header: Header) -> Answer:
    """When the flow's first edit was made and its first request accepted, in seconds since the epoch; None: never."""
    row = core.store.one("began")
    return {"time": min((one for one in row if one is not None), default=None)}, []


def past(core: Core, header: Header, running: dict[int, float]) -> Answer:
    """Numbers as they were at a time, by number of the socket, of requests and arrivals from some on; `next` is where.

    Whether a request that ran later waited for an argument or for a CPU is not on record: it counts as queued.
    """
    when, request, arrival = header["time"], header.get("request"), header.get("arrival")
    sockets: dict[str, dict[str, Any]] = {}
    plugs: Counter[str] = Counter()
    if request is not None:
        then = json.dumps(_running_at(core, running, when))
        asked = {"time": when, "low": request, "high": request + SPAN, "running": then}
        for socket, state, n, newest in core.store.rows("past_requests", asked):
            row = sockets.setdefault(str(socket), {})
            row[state] = n
            if state == "done":
                row["newest"] = newest
    if arrival is not None:
        asked = {"time": when, "low": arrival, "high": arrival + SPAN}
        for socket, argument, plug, n in core.store.rows("past_arrivals", asked):
            arrived = sockets.setdefault(str(socket), {}).setdefault("arrived", {})
            arrived[argument] = arrived.get(argument, 0) + n
            if plug is not None:
                plugs[str(plug)] += n
    further = {
        table: low + SPAN if low is not None and low + SPAN <= _top(core.store.db, table) else None
        for table, low in (("request", request), ("arrival", arrival))
    }
    return {"sockets": sockets, "plugs": dict(plugs), "next": further}, []
