"""What waits: incomplete joins, with what has come to them and still can; and which elements lists lack. Read-only."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ec_jupyter.engine import asides
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.ended import heads
from ec_jupyter.engine.job import StoredValue, argument_value
from ec_jupyter.engine.parts import Answer
from ec_jupyter.engine.rows import id_list
from ec_jupyter.errors import ArgumentsError, RequestNotFoundError, SocketNotFoundError, by_name
from ec_jupyter.flow.arrival import Arrival
from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.standing import Gathering
from ec_jupyter.flow.tag import ROOT, Path, Tag, from_text, path, to_text
from ec_jupyter.model import Plug
from ec_jupyter.wire import Header

MOST_QUESTIONS = 1_000  # questions of a socket that are told where nobody says how many

# -- lists that lack elements ----------------------------------------------------
# by socket, argument and path of a list: tags of the elements that failed calls should have brought
Lost = dict[tuple[int, str, Path], dict[int, Tag]]


@dataclass(frozen=True)
class Gap:
    """The elements that one incomplete list lacks."""

    argument: str
    lead: Tag  # where the list stands
    splits: frozenset[str]  # splits whose elements it gathers
    missing: tuple[int, ...]  # elements that it lacks, as far as they are known
    lost: frozenset[int]  # of those, the ones that do not come by themselves
    begun: bool  # some of its elements are there
    open: bool  # how many elements it is to have is not known yet
    stranded: bool  # it lacks what no call can bring any more, a failed one that is run again included

    def tag(self, index: int) -> Tag:
        """Tag of one element."""
        return (*self.lead, (tuple(sorted(self.splits)), index))


class Gaps:
    """The lists of a flow that lack elements, as of now."""

    def __init__(self, core: Core, socket: int = 0) -> None:
        self._core = core  # the flow; all that was decided in it is on disk
        self._socket = socket  # where a person looks for one of them
        self._reachability: dict[int, tuple[Reachability, Reachability]] = {}
        self._lost: dict[int, Lost] = {}

    def sockets(self, party: int) -> set[int]:
        """Sockets at which lists of a party lack elements of failed calls."""
        return {socket for socket, _, _ in self._lost_of(party)}

    def of(self, party: int, socket: int) -> list[Gap]:
        """Lists of a party at a socket that lack elements."""
        standing = self._core.joins.standing
        found, failed = [], {key: dict(tags) for key, tags in self._lost_of(party).items() if key[0] == socket}
        for some in standing.lists(party, socket):
            tags = failed.get((socket, some.argument, some.base), {})
            mine = {i: tags.pop(i) for i, tag in list(tags.items()) if not some.splits.isdisjoint(tag[-1][0])}
            found.append(self._gap(party, socket, some, mine))
        for (_, argument, base), tags in failed.items():
            if tags:
                splits = {split for tag in tags.values() for split in tag[-1][0]}
                found.append(self._gap(party, socket, standing.awaited(party, socket, argument, base, splits), tags))
        # nothing is said of a list whose elements are on their way
        return [gap for gap in found if gap.begun or (gap.missing and (gap.lost or gap.stranded))]

    def _gap(self, party: int, socket: int, some: Gathering, tags: dict[int, Tag]) -> Gap:
        plugs = [p for p in self._core.topology.into.get((socket, some.argument), ()) if p.gather]
        base, known = some.base, some.lacking
        missing = set() if some.made else tags.keys() if known is None else known
        ever, by_itself = self.stands(party)
        return Gap(
            some.argument,
            next((tag[:-1] for tag in [*some.tags, *tags.values()]), ()),
            some.splits,
            tuple(sorted(missing)),
            frozenset(i for i in missing if not by_itself.can_come_by(plugs, (*base, i), element=True)),
            some.begun,
            known is None,
            not ever.can_come_by(plugs, base)
            if known is None
            else any(not ever.can_come_by(plugs, (*base, i), element=True) for i in missing),
        )

    # -- what a person names ---------------------------------------------------
    def _found(self, parties: Iterable[int], name: str, base: Path) -> Iterator[tuple[int, Gap]]:
        for party in parties:
            for gap in self.of(party, self._socket):
                if gap.argument == name and path(gap.lead) == base:
                    yield party, gap

    def element(self, parties: list[int], name: str, at: Path, item: Path) -> tuple[int, Tag] | None:
        """Where an element belongs that a list lacks: the one `at` a path, or the first that `item`'s list does."""
        for party, gap in self._found(parties, name, (at or item)[:-1]) if at or item else ():
            index = at[-1] if at else min(gap.missing, default=-1)
            if index in gap.missing:
                return party, gap.tag(index)
        return None

    def absent(self, parties: list[int], name: str, at: Path) -> tuple[int, Tag]:
        """The place of an element that is to be left out: one that a list lacks, and that does not come by itself."""
        what = f"element {at[-1]} of {self._core.topology.sockets[self._socket].name}.{name}"
        found = [(p, gap) for p, gap in self._found(parties, name, at[:-1]) if at[-1] in gap.missing]
        if not found:
            raise RequestNotFoundError(f"no list that waits lacks {what}")
        for party, gap in found:
            if at[-1] in gap.lost:
                return party, gap.tag(at[-1])
        raise ArgumentsError(f"{what} is on its way; cancel the call that makes it first")

    def empty(self, parties: list[int], name: str, base: Path) -> tuple[int, Tag]:
        """The place of a list of which nothing has arrived. Raises RequestNotFoundError: none is awaited there."""
        for party, gap in self._found(parties, name, base):
            if not gap.begun:
                return party, gap.lead
        name = f"{self._core.topology.sockets[self._socket].name}.{name}"
        raise RequestNotFoundError(f"no list of which nothing has come is awaited at {name}")

    # -- where calls stand -----------------------------------------------------
    @cached_property
    def _plugs(self) -> list[Plug]:
        return [p for p in self._core.topology.live if p.gather]

    @cached_property
    def _failed(self) -> dict[int, list[tuple[int, Tag]]]:
        """Calls that failed or were cancelled on the way to a list, by party."""
        topology, found = self._core.topology, defaultdict(list)
        sources = {p.source for p in self._plugs}
        ahead = [s for s in topology.sockets if s in sources or any(topology.leads(s, source) for source in sources)]
        for party, socket, tag in self._core.store.rows("failed_of", (id_list(ahead),)) if ahead else ():
            found[party].append((socket, from_text(tag)))
        return found

    def stands(self, party: int) -> tuple[Reachability, Reachability]:
        """Where a party stands: with all its unfinished calls, and with those that go on by themselves."""
        if party not in self._reachability:
            core = self._core
            rows = [(s, from_text(t), state) for s, t, state in core.store.rows("unfinished_of_party", (party,))]
            more = core.evaluation.tokens(party) + core.joins.standing.tokens(party)
            ever = [(s, tag) for s, tag, _ in rows]
            on = [(s, tag) for s, tag, state in rows if state not in ("failed", "cancelled")]
            self._reachability[party] = (
                Reachability(core.topology, ever + more),
                Reachability(core.topology, on + more),
            )
        return self._reachability[party]

    def _lost_of(self, party: int) -> Lost:
        if party not in self._lost:
            failed = self._failed.get(party, [])
            self._lost[party] = self._find_lost(party, failed) if failed else {}
        return self._lost[party]

    def _find_lost(self, party: int, failed: list[tuple[int, Tag]]) -> Lost:
        found: Lost = {}
        _, reachability = self.stands(party)
        for plug in self._plugs:
            for base, tags in self._core.joins.standing.lost(party, plug, reachability, failed).items():
                found.setdefault((plug.target, plug.argument, base), {}).update(tags)
        return found


# -- joins ----------------------------------------------------------------------
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
        entry = table.setdefault(arrival.argument, {"arrivals": []})
        # of a version of the task that took it
        entry["state"] = "arrived" if core.topology.task(socket).parameter(arrival.argument) else "stranded"
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
        "stranded": any(gap.stranded for gap in mine)
        or any(entry["state"] in ("unreachable", "stranded") for entry in table.values()),
        "lacks": {gap.argument: list(gap.missing) for gap in mine if gap.missing},
        "open": [gap.argument for gap in mine if gap.open],
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


def arrived(core: Core, arrival: int) -> StoredValue:
    """The value of an arrival. Raises RequestNotFoundError: there is no such one."""
    row = core.store.one("arrival_row", (arrival,))
    if row is None or row[6] is None:
        raise RequestNotFoundError(f"no value {arrival} in this flow")
    return core.values.load([row[6]])[row[6]]


def value(core: Core, header: Header) -> Answer:
    """A waiting value, to be shown."""
    buffers: list[bytes] = []
    kind, stored = argument_value("v", [arrived(core, header["arrival"])])
    return {"kind": kind, "values": heads(stored, buffers)}, buffers
