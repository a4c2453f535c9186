"""What the join table has decided, written down and carried out: arrivals, calls that have all they need, skips."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from math import inf

from ec_jupyter.engine import failures, lots
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job, StoredValue, argument_of, arrival_row
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.suspects import PARTY
from ec_jupyter.flow.arrival import Arrival, Decisions, Fire, Skip
from ec_jupyter.flow.states import NEW, Named
from ec_jupyter.flow.tag import from_text, to_text

Passed = dict[int, Arrival]  # new values that have each made a call by itself, by request


def absorb(core: Core) -> bool:
    """Write down, and queue, what the join table decided; whether there was anything."""
    decided = core.joins.drain()
    passed = _passed(core, decided) if decided.calls and decided.arrivals else {}
    for arrival in decided.arrivals:
        if arrival.request not in passed:
            _add_arrival(core, arrival)
    for arrival in decided.changed:
        core.journal.add("set_arrival", (arrival.state, arrival.request, arrival.party, arrival.id))
    for alike, calls in groupby(decided.calls, partial(_alike, core)):
        if alike is None:
            for call in calls:
                _fired(core, call, passed.get(call.request)) if isinstance(call, Fire) else _skipped(core, call)
        else:
            _fired_alike(core, *alike, [call for call in calls if isinstance(call, Fire)], passed)
    for party, older in decided.merged:
        _merged(core, party, older)
    for party in decided.unshared:
        core.journal.step("end_shared", (party,))
    return bool(decided.calls or decided.arrivals or decided.changed)


def _passed(core: Core, decided: Decisions) -> Passed:
    """New values that have each made a call by itself, written down as such."""
    simple, first, found = core.topology.simple, decided.arrivals[0].id, {}
    for call in decided.calls:
        if not isinstance(call, Fire) or call.waited or len(call.arguments) != 1:
            continue
        (value,) = call.arguments.values()
        # of an empty list there is none; an element of a split has a row of its own, and so has what comes late
        for one in value.arrivals[:1]:
            if one.plug in simple and one.id >= first and not (one.index or one.late or one.tag != call.tag):
                found[call.request] = one
                core.journal.add("add_passed", (one.source, one.plug, call.request, one.id, one.argument))
    return found


def _add_arrival(core: Core, arrival: Arrival) -> None:
    if arrival.kind == "value" or arrival.plug not in core.topology.simple:
        core.journal.add("add_arrival", arrival_row(arrival, core.now))
    if arrival.state == "waiting":
        core.expiry.add(arrival, core.now)


# -- calls ---------------------------------------------------------------------------
def _alike(core: Core, call: Fire | Skip) -> tuple[int, tuple[str, ...]] | None:
    """What a call has in common with others of a lot; None where it has to be a job by itself."""
    if not isinstance(call, Fire) or call.waited or call.begins or call.missing or call.tag:
        return None
    if core.hops > core.topology.hops.get(call.socket, inf) or core.suspects.exact:
        return None
    for value in call.arguments.values():
        stored = value.arrivals[0].value if len(value.arrivals) == 1 and not value.gathered else None
        if not isinstance(stored, StoredValue) or stored.place != "inline" or stored.value.data is None:
            return None
    return call.socket, tuple(call.arguments)


def _fired_alike(core: Core, socket: int, names: tuple[str, ...], calls: Sequence[Fire], passed: Passed) -> None:
    """Make calls that each have one small value an argument."""
    given: list[tuple[list[int], list[int]]] = []
    types: list[list[str]] = []
    columns: list[list[bytes]] = []
    for name in names:
        arrivals = [call.arguments[name].arrivals[0] for call in calls]
        values = [arrival.value for arrival in arrivals if isinstance(arrival.value, StoredValue)]
        came = [-(one.source or 0) if passed.get(one.request or 0) is one else one.id for one in arrivals]
        given.append(([one.id for one in values], came))
        types.append([one.value.type for one in values])
        columns.append([one.value.data or b"" for one in values])
    lot = JobLot(
        socket, [call.request for call in calls], [call.party for call in calls], [call.run for call in calls],
        names, types, columns, core.now, given, core.hops,
    )  # fmt: skip
    lots.queue(core, lot, "fired")


def _fired(core: Core, fire: Fire, passed: Arrival | None) -> None:
    arguments = {name: argument_of(value) for name, value in fire.arguments.items()}
    if passed is not None:
        kind, stored, _ = arguments[passed.argument]
        arguments[passed.argument] = (kind, stored, (-(passed.source or 0),))
    job = Job(fire.request, fire.socket, fire.party, fire.run, fire.tag, arguments, core.now, _before(fire))
    if fire.begins and job.party != job.run:
        core.journal.add("add_run", (job.run, job.socket, None, job.party, None, None, core.now))
    if fire.waited:
        _as_it_was(core, job)
        state = core.states.move(job, "fired")
        filled = (state, job.arguments_json(), to_text(job.tag), core.topology.revision, job.id)
        core.journal.add("fill_request", filled)
        _follow(core, job.id, job.socket, fire.followers)
        core.enqueue(job)
    else:
        job.hops = core.hops
        core.queue_new(job, "fired")
    if fire.missing:
        _unqueue(core, job)
        core.fail(job, failures.expired(core.topology.sockets[job.socket], fire.missing))
    elif job.hops > (limit := core.topology.hops.get(job.socket, job.hops)):
        _unqueue(core, job)
        core.fail(job, failures.cycle(job.hops, limit))


def _before(call: Fire | Skip) -> str:
    """The state of a request that values, or tombstones, have met for."""
    return "waiting" if call.waited else NEW


def _as_it_was(core: Core, job: Job) -> None:
    """Restore the attempts of a request that waited: what it delivered before is not delivered again."""
    row = core.store.one("one_queued", (job.id,))
    if row is not None:
        job.attempt, job.deaths, job.emitted, job.hops = row[5:9]
        job.late = bool(row[11])


def _unqueue(core: Core, job: Job) -> None:
    if not core.dispatch.drop(job.socket, job.id):
        core.dispatch.lanes[job.socket].spilled -= 1


def _follow(core: Core, leader: int, socket: int, followers: Sequence[int]) -> None:
    if followers:
        core.followers.setdefault(leader, []).extend(followers)
        for request in followers:
            core.journal.add("join_request", (leader, request))
            core.states.move(Named(request, socket, "waiting"), "joined")


def _skipped(core: Core, skip: Skip) -> None:
    job = Job(skip.request, skip.socket, skip.party, skip.run, skip.tag, {}, core.now, _before(skip))
    if skip.waited:
        _as_it_was(core, job)
    else:
        core.add_request(job, "fired")
    _follow(core, job.id, job.socket, skip.followers)
    core.end(job, "skipped")


def _merged(core: Core, party: int, older: int) -> None:
    for name in ("note_run", "merge_runs", "merge_arrivals", "merge_fans"):
        core.journal.step(name, {"older": older, "party": party})
    core.evaluation.merged(party, older)
    core.jobs.move(party, older)


def settle(core: Core) -> None:
    """Decide tombstones that waited to know what can still come; that reads the disk, so it writes first."""
    touched, core.touched = core.touched, set()
    while touched := touched.intersection(core.joins.undecided):
        try:
            core.journal.commit()
        except sqlite3.OperationalError:
            core.touched |= touched
            raise
        for party in touched:
            core.suspects.begin(PARTY, party)
            found = core.store.rows("unfinished_of_party", {"party": party})
            rows = [(socket, from_text(tag), state) for socket, tag, state in found]
            failed = [(socket, tag) for socket, tag, state in rows if state == "failed"]
            tokens = [(socket, tag) for socket, tag, _ in rows] + core.evaluation.tokens(party)
            core.joins.settle(party, tokens, failed)
        core.suspects.end()
        if not core.absorb():
            return
