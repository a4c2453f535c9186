"""Results that a plug missed while it was removed: runs that began before get all of them once it is back.

A plug leaves with a removed socket, or by an edit or undo of its own; undo or redo brings it back. Another one may have
stood in its place meanwhile: a plug that is drawn anew with another ``map`` or ``gather`` is another plug. What that
one brought and nobody has used goes by the plug that is back. What was used stays used, unless a list lacks it: then
the plug that is back brings it too, or the list would never be whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ec_jupyter.engine import recovery
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job, StoredValue
from ec_jupyter.engine.rows import id_list
from ec_jupyter.engine.suspects import PLUG
from ec_jupyter.flow.arrival import Arrival, Source
from ec_jupyter.flow.tag import Tag, from_text
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug

Unit = int | None  # which of its yields, of a generator; None: the one result of a call


class _Row(NamedTuple):
    """A call that ended, or has yielded, while a plug was away."""

    request: int
    state: str
    value: int | None
    error: str | None
    run: int
    tag: str
    emitted: int
    party: int


@dataclass
class Taken:
    """What was taken out of joins, for plugs that are back to bring."""

    arrivals: list[int] = field(default_factory=list)  # the arrivals
    # by plug that is back, which calls' results they were
    units: dict[int, set[tuple[int, Unit]]] = field(default_factory=dict)
    parties: list[int] = field(default_factory=list)  # parties that are kept until it has been brought


def take_out(core: Core, new: Topology) -> Taken:
    """Take values of removed plugs out of the joins where a plug that is back brings the same values."""
    taken = Taken()
    back = [p for p in new.live if _key(p) in core.store.meta]
    places = {(p.target, p.argument) for p in back}
    some = [*core.joins.all_waiting(), *core.joins.standing.empty_lists()] if back else []
    waiting = {a.id: a for a in some if (a.socket, a.argument) in places and a.source and a.plug not in new.plugs}
    asked = id_list({a.source for a in waiting.values() if a.source})
    of = {request: (socket, emitted) for request, socket, emitted in core.store.rows("sources_of", (asked,))}
    for plug in back:
        mine = {i: a for i, a in waiting.items() if (a.socket, a.argument) == (plug.target, plug.argument)}
        mine = {i: a for i, a in mine.items() if of[a.source or 0][0] == plug.source and _carries(a) in (None, plug.on)}
        for request in {a.source for a in mine.values() if a.source}:
            splits = _splits(new, plug, of[request][1])
            used = {unit for key, unit, _ in _others(core, new, plug, request, splits) if key not in mine}
            for arrival in [a for a in mine.values() if a.source == request]:
                unit = _unit(splits, request, arrival.tag)
                if unit not in used:
                    taken.units.setdefault(plug.id, set()).add((request, unit))
                    _take(core, arrival, taken)
    return taken


def _carries(arrival: Arrival) -> str | None:
    """Whether a value is a result or a failure; None of a tombstone."""
    if not isinstance(arrival.value, StoredValue):
        return None
    return "error" if arrival.value.place == "error" else "result"


def _take(core: Core, arrival: Arrival, taken: Taken) -> None:
    party = core.joins.find(arrival.party)
    if party is not None:
        # it must not end before what is taken out has come back
        core.joins.begun(party)
        taken.parties.append(party)
    core.joins.withdraw(arrival)
    core.states.changed.add(arrival.socket)
    taken.arrivals.append(arrival.id)


def _others(core: Core, new: Topology, plug: Plug, request: int, splits: bool) -> list[tuple[int, Unit, str]]:
    """What a call brought to a plug's argument by removed plugs: arrival, which of its results, state."""
    rows = core.store.rows("brought", (request, plug.target, plug.argument))
    # a silent tombstone is what an error plug sends of a success
    rows = [row for row in rows if row[2] not in new.plugs and (plug.on == "error" or not str(row[4]).endswith("s"))]
    return [(key, _unit(splits, request, from_text(tag)), state) for key, tag, _, state, _ in rows]


def _splits(topology: Topology, plug: Plug, emitted: int) -> bool:
    """Whether a call yields, or did; its task may have changed."""
    return topology.task(plug.source).generator or emitted > 0


def _unit(splits: bool, request: int, tag: Tag) -> Unit:
    """Which result of a call arrived at a tag."""
    return next((at for names, at in tag if str(request) in names), None) if splits else None


def follow(core: Core, old: Topology, new: Topology, taken: Taken) -> None:
    """Note which plugs were removed, and let those that are back carry what they missed."""
    meta = core.store.meta
    for plug in set(old.live) - set(new.live):
        key = _key(plug)
        if plug.id not in {p.id for p in new.live} and key not in meta:
            # runs that begin from here on are of a flow without it
            meta[key] = json.dumps([new.revision, core.new_request()])
            core.journal.step("put_meta", (key, meta[key]))
    for arrival in taken.arrivals:
        core.journal.add("drop_arrival", (arrival,))
    for plug in new.live:
        if _key(plug) in meta:
            revision, newest = json.loads(meta.pop(_key(plug)))
            core.journal.step("drop_meta", (_key(plug),))
            rows = [_Row(*row) for row in core.store.rows("missed", (plug.source, revision))]
            _Carrier(core, plug, newest, taken).carry(rows)
    for party in taken.parties:
        core.joins.finished(party)
        core.touched.add(party)
    core.absorb()


def resume(core: Core) -> None:
    """Let plugs carry what they missed where the engine ended after an edit had brought them back, and before that."""
    back = [plug for plug in core.topology.live if _key(plug) in core.store.meta]
    if back:
        core.suspects.begin(PLUG, back[0].id)
        core.journal.commit()
        follow(core, core.topology, core.topology, take_out(core, core.topology))
        core.suspects.end()


def _key(plug: Plug) -> str:
    return f"out:{plug.id}"


class _Carrier:
    """Brings, by one plug that is back, what it has missed. `newest`: runs up to this one began before it left."""

    def __init__(self, core: Core, plug: Plug, newest: int, taken: Taken) -> None:
        self.core, self.plug, self.newest = core, plug, newest
        self.taken = taken.units.get(plug.id, set())  # what was taken out for it
        self.kept = {party for p in taken.parties if (party := core.joins.find(p)) is not None}
        self._divided: dict[int, bool] = {}

    def carry(self, rows: list[_Row]) -> None:
        core = self.core
        asked = {row.request: self._wanted(row) for row in rows}
        rows = [row for row in rows if asked[row.request] is not None]
        jobs = {row.request: core.jobs.get(row.request) or recovery.job_from_disk(core, row.request) for row in rows}
        recovery.adopt(core, {job.party for job in jobs.values()})
        values = core.values.load({row.value for row in rows if row.value is not None})
        # none of them ends before all of it is brought
        kept = [party for job in jobs.values() if (party := core.joins.find(job.party)) is not None]
        for party in kept:
            core.joins.begun(party)
        for row in rows:
            job, wanted = jobs[row.request], asked[row.request]
            # where it was brought by the plug before, it is not brought again
            came = dict(core.store.rows("carried", {"source": row.request, "plug": self.plug.id}))
            if wanted is not None:
                self._bring(job, row, values, came, wanted)
            core.absorb()
        for party in kept:
            core.joins.finished(party)
            core.touched.add(party)
        core.absorb()

    # -- what is to be brought ---------------------------------------------------
    def _wanted(self, row: _Row) -> Callable[[Unit], bool] | None:
        """The results of a call that the plug is to bring; None if none."""
        splits = _splits(self.core.topology, self.plug, row.emitted)
        others = _others(self.core, self.core.topology, self.plug, row.request, splits)
        if not others:
            return (lambda unit: True) if row.run <= self.newest else None
        states = {unit: state for _, unit, state in others}
        again = {unit for unit, state in states.items() if state not in ("discarded", "left") and self._split(row)}
        brings = {unit: (row.request, unit) in self.taken or unit in again for unit in states}
        units: Iterable[Unit] = range(row.emitted) if row.emitted else (None,)
        return (lambda unit: brings.get(unit, True)) if any(brings.get(unit, True) for unit in units) else None

    def _split(self, row: _Row) -> bool:
        """Whether a list that this plug leads to lacks a result of a call, or will."""
        core, plug, topology = self.core, self.plug, self.core.topology
        if not (row.tag or topology.task(plug.source).generator) or topology.leads(plug.target, plug.source):
            return False
        if row.party not in self._divided:
            unfinished = core.store.rows("unfinished_of_party", (row.party,))
            self._divided[row.party] = bool(self._lists) and (
                row.party in self.kept
                or any(plug.id in topology.ways(s, len(from_text(tag))) for s, tag, _ in unfinished)
                or core.joins.standing.gathers(row.party, self._lists)
            )
        return self._divided[row.party]

    @cached_property
    def _lists(self) -> set[tuple[int, str]]:
        """Arguments for which lists are made of what the plug brings, at once or further on."""
        topology = self.core.topology
        after = [p for p in topology.live if p.source == self.plug.target or topology.leads(self.plug.target, p.source)]
        return {(p.target, p.argument) for p in (self.plug, *after) if p.gather}

    # -- bringing it ---------------------------------------------------------------
    def _bring(
        self, job: Job, row: _Row, values: dict[int, StoredValue], came: dict[int, str], wanted: Callable[[Unit], bool]
    ) -> None:
        if self.plug.on == "error":
            self._failure(job, row, came) if wanted(None) else None
        elif _splits(self.core.topology, self.plug, job.emitted):
            self._yields(job, row, came, wanted)
        elif wanted(None):
            self._result(job, row, values, came)

    def _failure(self, job: Job, row: _Row, came: dict[int, str]) -> None:
        core = self.core
        if row.state == "failed" and row.error is not None and 0 not in came:
            core.carry_failure(_source(job), self.plug, core.store_error(job, json.loads(row.error)))
        elif row.state in ("done", "skipped") and -1 not in came:
            core.joins.tombstone(_source(job), self.plug, silent=True)

    def _result(self, job: Job, row: _Row, values: dict[int, StoredValue], came: dict[int, str]) -> None:
        core, source = self.core, _source(job, late=job.late and row.state != "failed")
        if row.state == "skipped":
            core.joins.tombstone(source, self.plug) if -1 not in came else None
        elif row.state == "done" and row.value is not None and came.keys().isdisjoint((0, -1)):
            core.send(source, self.plug, values[row.value])

    def _yields(self, job: Job, row: _Row, came: dict[int, str], wanted: Callable[[Unit], bool]) -> None:
        core, source = self.core, _source(job, late=job.late and row.state != "failed")
        if row.state == "skipped":
            core.joins.tombstone(source, self.plug) if -1 not in came and wanted(None) else None
            return
        there = {_unit(True, job.id, from_text(tag)) for tag in came.values()}
        for at, stored in enumerate(core.values.emitted(job.id)):
            if at not in there and wanted(at):
                core.send(source, self.plug, stored, at)
        if row.state == "done" and -1 not in came:
            core.close(source, str(job.id), job.emitted, [self.plug])


def _source(job: Job, *, late: bool = False) -> Source:
    return Source(job.id, job.socket, job.party, job.run, job.tag, late)
