"""What waits: incomplete joins, what has arrived at them and what can still arrive. Read-only."""

from __future__ import annotations

import json
from typing import Any

from ec_jupyter.engine import asides
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.ended import heads
from ec_jupyter.engine.gaps import Gap, Gaps
from ec_jupyter.engine.job import StoredValue, argument_value
from ec_jupyter.engine.parts import Answer
from ec_jupyter.errors import RequestNotFoundError, SocketNotFoundError, by_name
from ec_jupyter.flow.arrival import Arrival
from ec_jupyter.flow.tag import ROOT, Path, Tag, from_text, path, to_text
from ec_jupyter.wire import Header

MOST_QUESTIONS = 1_000  # questions of a socket that are told where nobody says how many


def waiting(core: Core, header: Header) -> Answer:
    """Incomplete joins: what has come, what is missing, and whether it still can come."""
    wanted = header.get("socket")
    if wanted is not None:
        by_name(core.topology.names, wanted, SocketNotFoundError)
    rows = []
    gaps, standing = Gaps(core), core.joins.standing
    for party in standing.parties():
        for socket in dict.fromkeys([*standing.sockets(party), *sorted(gaps.sockets(party))]):
            if wanted in (None, core.topology.sockets[socket].name):
                rows += _join_rows(core, gaps, party, socket)
    for socket in standing.independent():
        if wanted in (None, core.topology.sockets[socket].name):
            rows += _policy_rows(core, socket)
    asides.mark(core, rows, wanted)
    limit = header.get("limit") or MOST_QUESTIONS
    asked = [socket for socket in core.topology.asking if wanted in (None, core.topology.sockets[socket].name)]
    questions = [row for socket in asked for row in _questions(core, socket, limit)]
    unseen = sum(core.dispatch.queued(socket) for socket in asked) - len(questions)
    rows = questions + rows
    limit = header.get("limit") or len(rows)
    return {"rows": rows[:limit], "more": max(0, len(rows) - limit) + unseen}, []


def _questions(core: Core, socket: int, limit: int) -> list[dict[str, Any]]:
    """What waits for a person at a socket, oldest first."""
    core.journal.commit()
    record, ask = core.topology.sockets[socket], core.topology.asking[socket]
    rows = []
    for request, run, party, tag, created, again, arguments in core.store.rows("asked", (socket, limit)):
        since = max(created, again or 0.0)
        rows.append(
            {
                "socket": record.name, "run": run, "party": party, "tag": tag, "element": list(path(from_text(tag))),
                "arguments": {name: {"state": "arrived", "arrivals": []} for name in json.loads(arguments)},
                "stranded": False, "request": request, "ask": ask, "since": since,
                "until": None if record.timeout is None else since + record.timeout,
            }
        )  # fmt: skip
    return rows


def _policy_rows(core: Core, socket: int) -> list[dict[str, Any]]:
    """Waiting values of joins by order, key or latest, one row for each call they will make as far as that is known."""
    standing, rows = core.joins.standing, []
    given = standing.asked(socket)
    for row in standing.rows(socket):
        table = _table(core, socket, list(row.values()))
        first = min(row.values(), key=lambda a: a.id)
        asked = [given[a.run] for a in row.values() if a.run in given]
        rows.append(
            {
                "socket": core.topology.sockets[socket].name, "run": first.run, "party": first.party, "tag": "",
                "arguments": table, "stranded": False, "request": asked[0] if asked else None, "key": first.key,
            }
        )  # fmt: skip
    return rows


def _table(core: Core, socket: int, some: list[Arrival]) -> dict[str, dict[str, Any]]:
    """Arguments of a call, with their arrivals."""
    held = core.joins.standing.held(socket)
    table: dict[str, dict[str, Any]] = {
        n: {"state": "held" if n in held else "missing", "arrivals": []} for n in core.topology.needed[socket]
    }
    for arrival in some:
        stored = arrival.value.value if isinstance(arrival.value, StoredValue) else None
        entry = table.setdefault(arrival.argument, {"state": "stranded", "arrivals": []})
        entry["state"] = "arrived"
        row = core.store.one("arrival_row", (arrival.id,))
        entry["arrivals"].append(
            {
                "id": arrival.id, "source": _source_name(core, arrival), "request": arrival.source,
                "since": row[14] if row else core.now, "type": stored.type if stored else "",
                "size": stored.size if stored else 0,
            }
        )  # fmt: skip
    return table


def _join_rows(core: Core, gaps: Gaps, party: int, socket: int) -> list[dict[str, Any]]:
    asked = core.joins.standing.requests(party, socket)
    arrived: dict[Path, list[Arrival]] = {}
    for arrival in core.joins.standing.waiting(party, socket):
        arrived.setdefault(path(arrival.tag), []).append(arrival)
    lists: dict[Path, list[Gap]] = {}
    found = gaps.of(party, socket)
    for gap in found:
        lists.setdefault(path(gap.lead), []).append(gap)
    for at in (*asked, *(path(gap.lead) for gap in found if not gap.begun)):
        arrived.setdefault(at, [])
    rows = []
    for at, some in sorted(arrived.items()):
        around = [*lists.get(at, ()), *(lists.get(at[:-1], ()) if at else ())]
        mine = [gap for gap in around if _concerns(gap, at, some)]
        row = _waiting_row(core, gaps, party, socket, at, some, mine)
        rows.append(row | {"element": list(at), "request": asked.get(at)})
    return rows


def _waiting_row(
    core: Core, gaps: Gaps, party: int, socket: int, at: Path, some: list[Arrival], mine: list[Gap]
) -> dict[str, Any]:
    tag: Tag = some[0].tag if some else next((gap.lead for gap in mine), ROOT)
    table = _table(core, socket, some)
    missing = [n for n, entry in table.items() if entry["state"] == "missing"]
    for n in missing:
        key = (socket, n)
        # what none of its runs leads to may still come with a run that joins the party
        own = any(key in core.topology.reach(root) for root in core.joins.standing.shape(party))
        if own and not gaps.stands(party)[0].can_come_by(core.topology.into.get(key, ()), at):
            table[n]["state"] = "unreachable"
    return {
        "socket": core.topology.sockets[socket].name,
        "run": some[0].run if some else core.joins.standing.run(party), "party": party, "tag": to_text(tag),
        "arguments": table,
        "stranded": any(gap.stranded for gap in mine) or any(table[n]["state"] == "unreachable" for n in missing),
        "lacks": {gap.argument: list(gap.missing) for gap in mine if gap.missing},
    }  # fmt: skip


def _concerns(gap: Gap, at: Path, some: list[Arrival]) -> bool:
    """Whether a list holds these elements, or is empty and belongs at their place."""
    if not gap.begun:
        return path(gap.lead) == at
    elements = [a for a in some if a.element and a.argument == gap.argument]
    return path(gap.lead) == at[:-1] and any(not gap.splits.isdisjoint(a.tag[-1][0]) for a in elements)


def _source_name(core: Core, arrival: Arrival) -> str:
    """Name of the socket that a value came from; empty where it was brought by hand."""
    plug = core.topology.plugs.get(arrival.plug) if arrival.plug is not None else None
    if plug is not None:
        return core.topology.sockets[plug.source].name
    # the plug it came by is gone
    row = core.store.db.execute("SELECT socket FROM request WHERE id = ?", (arrival.source,)).fetchone()
    return core.topology.sockets[row[0]].name if row else ""


def value(core: Core, header: Header) -> Answer:
    """A waiting value, to be shown."""
    row = core.store.one("arrival_row", (header["arrival"],))
    if row is None or row[6] is None:
        raise RequestNotFoundError(f"no value {header['arrival']} in this flow")
    buffers: list[bytes] = []
    kind, stored = argument_value("v", [core.values.load([row[6]])[row[6]]])
    return {"kind": kind, "values": heads(stored, buffers)}, buffers
