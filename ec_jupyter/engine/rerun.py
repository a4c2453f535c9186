"""What a person does to requests and waiting values: cancel, retry, supply, discard, replay, clear."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ec_jupyter.engine import asides, editing, recovery
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.fleet import Fleet
from ec_jupyter.engine.job import Argument, Job, StoredValue
from ec_jupyter.engine.requests import party_of
from ec_jupyter.engine.rows import OF_PARTY, SQL, id_list
from ec_jupyter.engine.suspects import PARTY, REQUEST
from ec_jupyter.engine.value_locator import ValueLocator
from ec_jupyter.engine.waits import Gaps
from ec_jupyter.errors import ArgumentsError, RequestNotFoundError, SocketNotFoundError, by_name, nearest
from ec_jupyter.flow.dispatch import Dispatch
from ec_jupyter.flow.join import JoinTable, Source
from ec_jupyter.flow.tag import ROOT, Tag, from_text, path, to_text
from ec_jupyter.wire import Header, Value

Row = tuple[int, int, int, int, str, str]  # request, socket, run, party, tag, state


def chosen(core: Core, header: Header, states: Iterable[str]) -> list[Row]:
    """The requests that a frame names, by ``ids``, ``run``, ``socket`` or ``all``, and that are in one of `states`."""
    core.journal.commit()
    wanted = list(states)
    marks = ",".join("?" * len(wanted))
    where, parameters = _which(core, header)
    indexed = "1" if "done" in wanted else "r.state NOT IN ('done', 'skipped')"
    sql = (
        f"SELECT r.id, r.socket, r.run, {OF_PARTY}, r.tag, r.state FROM request r LEFT JOIN run ON run.id = r.run "
        f"WHERE {where} AND r.state IN ({marks}) AND {indexed} AND r.joined IS NULL ORDER BY r.id"
    )
    return core.store.db.execute(sql, (*parameters, *wanted)).fetchall()


def _which(core: Core, header: Header) -> tuple[str, tuple[Any, ...]]:
    if header.get("ids") is not None:
        known = {i for (i,) in core.store.rows("request_ids", (id_list(header["ids"]),))}
        for request in header["ids"]:
            if request not in known:
                raise RequestNotFoundError(f"no request {request} in this flow")
        return "r.id IN (SELECT value FROM json_each(?))", (id_list(header["ids"]),)
    if header.get("run") is not None:
        return f"{OF_PARTY} = ?", (party_of(core, header["run"]),)
    if header.get("socket") is not None:
        return "r.socket = ?", (_socket(core, header["socket"]),)
    return "1", ()


def _socket(core: Core, name: str) -> int:
    return by_name(core.topology.names, name, SocketNotFoundError)


def cancel(core: Core, nodes: Fleet, header: Header) -> dict[str, int]:
    """Cancel queued, waiting and running requests; running ones are killed with their child processes, or spared."""
    cancelled = killed = 0
    running, spare = nodes.members.running(), header.get("running") is False
    for request, socket, run, party, tag, state in chosen(core, header, ("waiting", "queued", "running")):
        job = core.jobs.get(request)
        if job is not None and job.assigned:
            if spare and request in running:
                continue
            nodes.cancel(request)
            killed += request in running
            cancelled += request not in running
            continue
        if job is None:
            job = Job(request, socket, party, run, from_text(tag), {}, core.now, state)
            if state == "queued":
                core.dispatch.lanes[socket].spilled -= 1
            else:
                _take_given(core, job)
        # joins that wait for its result keep waiting
        core.dispatch.drop(job.socket, job.id)
        core.delayed.pop(job.id, None)
        core.end(job, "cancelled")
        cancelled += 1
    return {"cancelled": cancelled, "killed": killed}


def _queue_again(core: Core, job: Job) -> None:
    """Queue a failed or cancelled request again: the very same run goes on."""
    followers = [key for (key,) in core.store.rows("joined_to", (job.id,))]
    if followers:
        core.followers[job.id] = followers
        core.journal.step("follow_again", (job.id,))
    _no_longer_aside(core, job)
    job.tries = 0
    core.journal.step("keep_attempt", (job.state, job.id))
    core.states.move(job, "retried")
    # the time for an answer, or that of a sleep, begins anew
    asked = core.now if job.socket in core.topology.unworked else None
    job.created = asked or job.created
    core.journal.add("again", (job.attempt, job.deaths, asked, job.id))
    core.enqueue(job)


def _give_up(core: Core, job: Job) -> None:
    """Let a failed or cancelled request be skipped: a tombstone goes where its result would have gone."""
    _no_longer_aside(core, job)
    core.states.move(job, "given up")
    core.journal.step("give_up", {"now": core.now, "request": job.id})
    core.touched.add(job.party)
    source = Source(job.id, job.socket, job.party, job.run, job.tag, late=True)
    for plug in core.topology.results.get(job.socket, ()):
        if job.emitted:
            # what it has yielded stands: it has so many elements and no more
            core.close(source, str(job.id), job.emitted, [plug])
        else:
            core.joins.tombstone(source, plug)
    core.joins.finished(job.party)
    core.absorb()


def _no_longer_aside(core: Core, job: Job) -> None:
    """Take back a request, and its party, that was set aside: a person tries it again or gives it up."""
    suspects = core.suspects
    suspects.take_back(REQUEST, job.id)
    if suspects.out(PARTY, job.party):
        suspects.take_back(PARTY, job.party)
        recovery.adopt(core, [job.party])


def _take_given(core: Core, job: Job) -> None:
    """Take what a waiting request brought out of the join again; the request keeps it."""
    for arrival in core.joins.take_back(job.id, job.run, job.socket, job.party, job.tag):
        if isinstance(arrival.value, StoredValue):
            job.arguments[arrival.argument] = ("v", (arrival.value,), ())
    core.journal.add(
        "fill_request", ("waiting", job.arguments_json(), to_text(job.tag), core.topology.revision, job.id)
    )
    core.absorb()


def retry(core: Core, header: Header) -> list[int]:
    """Queue failed and cancelled requests again, with the current task; or have values wait again that were aside."""
    if header.get("arrivals") is not None:
        asides.retry(core, header["arrivals"])
        return []
    states = ("failed", "cancelled") if header.get("ids") or header.get("run") else ("failed",)
    ids = []
    for request, *_ in chosen(core, header, states):
        ids.append(request)
        if core.evaluation.again(request):
            # it was done but for what a plug made of its result
            continue
        job = recovery.job_from_disk(core, request)
        core.evaluation.ended(request, "running")
        _queue_again(core, job)
        if editing.lacks(core, job):
            # a request that is put back is on disk as queued
            core.journal.commit()
            editing.put_back(core, job)
    core.absorb()
    return ids


def supply(core: Core, header: Header, values: dict[str, Value]) -> None:
    """Bring values by hand to a join that waits for them; refused where one of them has no place."""
    socket = _socket(core, header["socket"])
    task = core.topology.task(socket)
    for name in values:
        if name not in task.arguments:
            raise ArgumentsError(f"{header['socket']!r} has no argument {name!r}; {nearest(name, task.arguments)}")
    core.journal.commit()
    lists, parties = Gaps(core, socket), _parties(core, header)
    at = tuple(header.get("element") or ())
    item = path(from_text(header.get("tag") or ""))
    gaps = {name: found for name in values if (found := lists.element(parties, name, at, item)) is not None}
    for name, (party, tag) in gaps.items():
        run = core.joins.standing.run(party)
        core.joins.supply(socket, name, party, run, tag, core.store_value(values[name]), element=True)
    values = {name: value for name, value in values.items() if name not in gaps}
    independent = {name for name in values if (socket, name) in core.topology.run_independent}
    # looked up first: nothing is brought where one of them has no place
    keys = {name: _key(core, header, socket, name) for name in independent}
    place = _place(core, header, socket, values.keys() - independent) if values.keys() - independent else None
    for name, value in values.items():
        if place is None or name in independent:
            core.joins.supply(socket, name, 0, 0, ROOT, core.store_value(value), keys[name])
        else:
            party, tag = place
            core.joins.supply(socket, name, party, core.joins.standing.run(party), tag, core.store_value(value))
    core.absorb()


def _key(core: Core, header: Header, socket: int, name: str) -> object:
    """The key under which a value brought by hand joins: that of the oldest call which lacks it."""
    record = core.topology.sockets[socket]
    if record.join != "key" or name in record.hold:
        return None
    wanted = header.get("party") or (party_of(core, header["run"]) if header.get("run") is not None else None)
    for row in core.joins.standing.rows(socket):
        some = list(row.values())
        if name not in row and wanted in (None, *(a.party for a in some)):
            return some[0].key
    raise RequestNotFoundError(f"nothing at {header['socket']!r} waits for {name}: its key is that of what waits")


def _parties(core: Core, header: Header) -> list[int]:
    """Parties that a value brought by hand may be for, oldest first."""
    if header.get("run") is None and header.get("party") is None:
        return core.joins.standing.parties()
    wanted = header.get("party") or party_of(core, header["run"])
    return [wanted] if wanted in core.joins else []


def _place(core: Core, header: Header, socket: int, names: set[str]) -> tuple[int, Tag]:
    parties = _parties(core, header)
    given = from_text(header["tag"]) if header.get("tag") else None
    element = path(given) if given is not None else None
    if header.get("element") is not None:
        element = tuple(header["element"])
    for party in parties:
        for arrival in core.joins.standing.waiting(party, socket):
            if arrival.argument not in names and element in (None, path(arrival.tag)):
                return party, arrival.tag
    if header.get("run") is not None and parties:
        return parties[0], given or ()
    raise RequestNotFoundError(f"nothing at {header['socket']!r} waits for {', '.join(sorted(names))}")


def discard(core: Core, arrivals: list[int], request: int | None) -> None:
    """Throw away waiting values, or give up a failed request; a tombstone goes on in its place."""
    if request is not None:
        for row in chosen(core, {"ids": [request]}, ("failed", "cancelled")):
            if core.evaluation.give_up(request):
                return
            _give_up(core, recovery.job_from_disk(core, row[0]))
            return
        raise RequestNotFoundError(f"request {request} has not failed; cancel it first")
    arrivals = asides.discard(core, arrivals)
    waiting = {one.id: one for one in core.joins.all_waiting()}
    for arrival in arrivals:
        if arrival not in waiting:
            raise RequestNotFoundError(f"no value {arrival} waits in this flow")
    for one in map(waiting.__getitem__, arrivals):
        if one.state != "waiting":
            # what it waited for has gone with one of those before it
            continue
        core.journal.commit()
        (alive,) = core.store.one("unfinished_of_run", {"run": one.run})
        core.joins.discard(one, alone=not alive)
        core.touched.add(one.party)
        core.absorb()


def discard_missing(core: Core, header: Header) -> None:
    """Leave one element out of the list that lacks it; or, where none is named, give up the whole list."""
    core.journal.commit()
    socket, name, at = _socket(core, header["socket"]), header["argument"], tuple(header.get("element") or ())
    lists, parties = Gaps(core, socket), _parties(core, header)
    if at:
        party, tag = lists.absent(parties, name, at)
        core.joins.leave_out(socket, name, party, tag)
    else:
        party, tag = lists.empty(parties, name, path(from_text(header.get("tag") or "")))
        core.joins.end_list(socket, name, party, tag)
    core.touched.add(party)
    core.absorb()


def withdraw(core: Core, requests: list[int]) -> bool:
    """Undo the acceptance of requests that are not on disk; False where one of them may have met others already."""
    for request in requests:
        # with a row to be taken back
        core.jobs.get(request)
    fresh = {row[0]: row[4] for row in core.journal.rows["add_request"]}
    if "waiting" in {fresh.get(request) for request in requests}:
        return False
    gone = {request: core.jobs.pop(request) for request in requests if request in fresh and request in core.jobs}
    values = {v.id for job in gone.values() for _, some, _ in job.arguments.values() for v in some}
    for name, unwanted in (
        ("add_request", gone.keys()), ("add_run", gone.keys()), ("add_rank", gone.keys()), ("add_value", values)
    ):  # fmt: skip
        core.journal.forget(name, lambda row, unwanted=unwanted: row[0] in unwanted)  # type: ignore[misc]
    core.submitted = {key: request for key, request in core.submitted.items() if request not in gone}
    for job in gone.values():
        core.dispatch.drop(job.socket, job.id)
        core.states.move(job, "withdrawn")
        core.joins.withdraw_run(job.party, job.id)
    core.absorb()
    return True


# -- replay ------------------------------------------------------------------
def replay(core: Core, header: Header) -> list[int]:
    """Run a run, a request or all again from one socket on, with copies of what others gave; the new runs' numbers."""
    core.journal.commit()
    socket = _socket(core, header["socket"]) if header.get("socket") else None
    if header.get("request") is not None:
        rows = chosen(core, {"ids": [header["request"]]}, ("done", "failed", "cancelled"))
        socket = socket if socket is not None else (rows[0][1] if rows else None)
        parties = sorted({row[3] for row in rows})
    elif header.get("run") is not None:
        parties = [party_of(core, header["run"])]
    else:
        parties = [p for (p,) in core.store.db.execute(
            f"SELECT DISTINCT {OF_PARTY} FROM request r LEFT JOIN run ON run.id = r.run "
            "WHERE r.socket = ? AND r.state = 'done' AND run.replay_of IS NULL ORDER BY 1", (socket,)
        )]  # fmt: skip
    return [new for party in parties if (new := _replay_party(core, party, socket)) is not None]


def _requests(core: Core, party: int) -> list[tuple[int, int, str, str, str, bytes | None]]:
    return core.store.db.execute(
        f"SELECT id, socket, tag, state, arguments, inputs FROM request WHERE id IN ({SQL['ids_of_party']}) "
        "AND joined IS NULL ORDER BY id",
        {"party": party},
    ).fetchall()


def _replay_party(core: Core, party: int, socket: int | None) -> int | None:
    requests = _requests(core, party)
    if socket is None:
        members = "SELECT :party UNION SELECT id FROM run WHERE party = :party"
        roots = {i for (i,) in core.store.db.execute(members, {"party": party})}
        again = [r for r in requests if r[0] in roots]
        socket = again[0][1] if again else None
    else:
        again = [r for r in requests if r[1] == socket]
    again = [r for r in again if r[3] in ("done", "failed", "cancelled")]
    if not again or socket is None:
        return None
    run = core.new_request()
    new_party = core.joins.accept(run, (socket, None), alone=True)
    core.journal.add("add_run", (run, socket, None, new_party, None, party, core.now))
    for _, split, n in core.store.rows("fans_of", (id_list([party]),)):
        core.journal.add("set_fan", (split, new_party, n))
        core.joins.closed(new_party, split, n)
    values = core.values.of_requests([(r[0], r[4], r[5]) for r in requests])
    _copy_others(core, requests, socket, new_party, run, values)
    for n, (_, at, tag, _, arguments, _) in enumerate(again):
        request = run if n == 0 else core.new_request()
        held = core.values.arguments(arguments, values)
        found: dict[str, Argument] = {name: (kind, stored, ()) for name, (kind, stored, _) in held.items()}
        core.queue_new(Job(request, at, new_party, run, from_text(tag), found, core.now), "submitted")
    core.joins.begun(new_party, len(again) - 1)
    core.absorb()
    return run


def _copy_others(core: Core, requests: list[Any], socket: int, party: int, run: int, values: dict[int, Any]) -> None:
    """Copy the values that later joins got from sockets that are not run again."""
    reach = core.topology.reach((socket, None))
    later = {s for s, _ in reach}
    if party not in core.joins:
        return
    for _, at, tag, _, arguments, _ in requests:
        if at not in later:
            continue
        for name, argument in core.values.arguments(arguments, values).items():
            if (at, name) not in reach:
                core.bring(at, name, party, run, from_text(tag), argument)
    core.absorb()


# -- the whole flow -------------------------------------------------------------
def collect(core: Core, locator: ValueLocator, clients: Iterable[str], *, dry: bool = False) -> tuple[int, int]:
    """Remove the files of values that nothing names any more; returns how many, and their bytes.

    What a request came to or is called with stays, however long ago that was; so does what `clients`, by identity,
    have written for a submit that is on its way. With `dry` nothing is removed.
    """
    core.journal.commit()
    thrown = core.store.rows("thrown_away")
    spent, running = {file for _, file in thrown}, [*core.held, *core.side_calls]
    if not dry:
        for key, _ in thrown:
            core.journal.step("forget_value", (key,))
        core.journal.commit()
        named = {name for (name,) in core.store.rows("files")}
        locator.forget(named)
        spent -= named
    return core.values.sweep(running, core.epoch, frozenset(clients), spent, dry=dry)


CLEARED = ("request", "lot", "run", "rank", "arrival", "passed", "attempt", "emission", "output", "fan", "event")


def clear(core: Core, nodes: Fleet) -> None:
    """Empty a flow of all requests and values; its wiring stays."""
    for request in list(core.held):
        nodes.cancel(request)
    # not only the tick's rows: what they refer to goes as well, in one transaction
    core.journal.commit()
    fixed = recovery.fixed_values(core)
    with core.store.transaction() as db:
        for table in CLEARED:
            db.execute(f"DELETE FROM {table}")
        db.execute(SQL["put_meta"], ("request", str(core.new_request())))
        db.execute("DELETE FROM value WHERE id NOT IN (SELECT value FROM json_each(?))", (id_list(fixed),))
    core.suspects.clear()
    core.jobs.clear()
    core.journal.lots.clear()
    core.held.clear()
    core.ended.clear()
    core.delayed.clear()
    core.ranks.clear()
    core.followers.clear()
    core.evaluation.clear()
    core.dispatch = Dispatch(core.dispatch.limit)
    core.joins = JoinTable(core.topology, core.new_request, core.new_arrival)
    core.expiry.reload()
    core.states.clear()
