"""What calls came to while a plug was out of force: runs that began before it left find it all once it is back.

A plug leaves with a removed socket, or by an edit or undo of its own; undo or redo brings it back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ec_jupyter.engine import recovery
from ec_jupyter.engine.job import Job, Kept
from ec_jupyter.engine.routing import ELEMENTS
from ec_jupyter.flow.decision import Source
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug

if TYPE_CHECKING:
    from ec_jupyter.engine.core import Core

Missed = tuple[int, str, int | None, str | None]
"""Request, state, id of its value, error."""


def follow(core: Core, old: Topology, new: Topology) -> None:
    """Note which plugs have left, and let those that are back carry what they missed."""
    meta = core.store.meta
    for plug in set(old.live) - set(new.live):
        key = _key(plug)
        if plug.id not in {p.id for p in new.live} and key not in meta:
            # runs that begin from here on are of a flow without it
            meta[key] = json.dumps([new.revision, core.new_request()])
            core.journal.step("put_meta", (key, meta[key]))
    for plug in new.live:
        if _key(plug) in meta:
            revision, newest = json.loads(meta.pop(_key(plug)))
            core.journal.step("drop_meta", (_key(plug),))
            calls = {"source": plug.source, "newest": newest, "revision": revision}
            _carry(core, plug, core.store.rows("missed", calls))


def _key(plug: Plug) -> str:
    return f"out:{plug.id}"


def _carry(core: Core, plug: Plug, rows: list[Missed]) -> None:
    jobs = {row[0]: core.jobs.get(row[0]) or recovery.job_from_disk(core, row[0]) for row in rows}
    recovery.adopt(core, {job.party for job in jobs.values()})
    values = core.values.load({row[2] for row in rows if row[2] is not None})
    for request, state, value, error in rows:
        job = jobs[request]
        party = core.joins.parties.find(job.party)
        if party is not None:
            party.live += 1
        # where it was brought by the plug before, it is not brought again
        came = {index for (index,) in core.store.rows("carried", (request, plug.id))}
        if plug.on == "error":
            _failure(core, job, plug, state, error, came)
        else:
            _result(core, job, plug, state, values.get(value) if value is not None else None, came)
        if party is not None:
            core.joins.finished(party.id)
            core.touched.add(party.id)
        core.absorb()


def _source(job: Job, *, late: bool = False) -> Source:
    return Source(job.id, job.socket, job.party, job.run, job.tag, late)


def _failure(core: Core, job: Job, plug: Plug, state: str, error: str | None, came: set[int]) -> None:
    if state == "failed" and error is not None and 0 not in came:
        core.joins.result(_source(job), plug, core.keep_error(job, json.loads(error)))
    elif state in ("done", "skipped") and -1 not in came:
        core.joins.dead(_source(job), plug, silent=True)


def _result(core: Core, job: Job, plug: Plug, state: str, kept: Kept | None, came: set[int]) -> None:
    source = _source(job, late=job.late and state != "failed")
    if state == "skipped":
        core.joins.dead(source, plug) if -1 not in came else None
    elif core.topology.task(job.socket).generator or job.emitted:
        _elements(core, source, plug, came)
        if state == "done" and -1 not in came:
            core.close(source, str(job.id), job.emitted, [plug])
    elif state == "done" and kept is not None and came.isdisjoint((0, -1)):
        if plug.id in core.topology.examined:
            core.routing.ask(source, plug, kept)
        else:
            core.joins.result(source, plug, kept)


def _elements(core: Core, source: Source, plug: Plug, came: set[int]) -> None:
    there = {index // ELEMENTS if index >= ELEMENTS else index for index in came}
    ids = [value for (value,) in core.store.rows("emissions", (source.request,))]
    values = core.values.load(set(ids))
    for at, value in enumerate(ids):
        # a mark in its place is numbered -2 - at
        if at in there or -2 - at in there:
            continue
        if plug.id in core.topology.examined:
            core.routing.ask(source, plug, values[value], at)
        else:
            core.joins.element(source, plug, values[value], at, at, str(source.request))
