"""From the database back into memory: what an engine finds when it starts on a flow."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from ec_jupyter.engine import decided, failures
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job, StoredValue
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.plug_evaluation import ELEMENTS, Route
from ec_jupyter.engine.records import load_topology, recorded
from ec_jupyter.engine.row_values import argument_id
from ec_jupyter.engine.rows import Rows, id_list
from ec_jupyter.engine.suspects import NOTHING, PARTY, REQUEST, VALUE, Suspects
from ec_jupyter.flow.arrival import Arrival, Source, from_column
from ec_jupyter.flow.rebuild import restore
from ec_jupyter.flow.tag import from_text
from ec_jupyter.flow.topology import Root
from ec_jupyter.model import LOCAL

log = logging.getLogger(__name__)

FEED = 5_000  # queued requests fetched from disk at once


def reopen(store: Rows, python: str, suspects: Suspects) -> Core:
    """The flow on disk in memory; what cannot be read is set aside, and the rest is opened."""
    while True:
        core = Core(store, suspects)
        core.python = python
        try:
            load(core)
        except sqlite3.Error:
            raise
        except Exception as error:
            kind, key = suspects.named
            if kind == NOTHING and suspects.careful:
                raise
            log.exception("the flow cannot be read")
            if kind != NOTHING:
                suspects.set_aside(kind, key, f"it cannot be read ({type(error).__name__}: {error})")
            # from the beginning: what was half read is left behind
            suspects.careful = True
            suspects.end()
        else:
            suspects.end()
            return core


def load(core: Core) -> None:
    """Fill an empty core with the flow on disk; what ran when the last engine ended is queued again."""
    core.absorb = partial(decided.absorb, core)
    top = core.store.one("top_ids")
    meta = core.store.meta
    # identities of what was removed since are not given again: undo and old arrivals still mean the first
    record = max(top[3] or 0, int(meta.get("record", 0)))
    # after a clear too: a client may still ask for a request that was there before
    request = max(top[0] or 0, int(meta.get("request", 0)))
    core.start_ids(request, top[1] or 0, top[2] or 0, record)
    core.topology = load_topology(core, int(meta.get("revision", 0)))
    core.joins.revise(core.topology)
    load_fixed(core)
    for socket, state, n in core.store.rows("counts"):
        core.states.found(socket, state, n)
    for leader, request in core.store.rows("followers"):
        core.followers.setdefault(leader, []).append(request)
    waiting = {p for p, *key in core.store.rows("waiting_parties") if tuple(key) not in core.topology.run_independent}
    adopt(core, joining(core) | waiting)
    _load_run_independent(core)
    _load_evaluation(core)
    ranked = _load_ranked(core)
    for socket, n in core.store.rows("queued_sockets"):
        core.dispatch.spilled(socket, n - ranked[socket], 0)
    feed(core)
    _settle_claimed(core)
    core.expiry.reload()


def _load_ranked(core: Core) -> Counter[int]:
    """Read the queued requests of runs with a priority, all of them; how many of each socket."""
    core.ranks.update(core.store.rows("ranks"))
    rows = core.store.rows("queued_ranked") if core.ranks else []
    values = core.values.of_requests([(row[0], row[10], row[13]) for row in rows])
    for row in rows:
        core.suspects.begin(REQUEST, row[0])
        job = job_of(core, row, values)
        if job.id not in core.delayed:
            core.dispatch.push(job.socket, job.id, core.ranks[job.run])
    core.suspects.end()
    adopt(core, [row[3] for row in rows if core.topology.joins((row[1], None))])
    return Counter(row[1] for row in rows)


def _settle_claimed(core: Core) -> None:
    """Calls that were claimed on disk: a remote node may still have them; others must not run twice."""
    for request, node, task in core.store.rows("claimed"):
        core.suspects.begin(REQUEST, request)
        job = job_from_disk(core, request)
        if node not in (None, LOCAL):
            _adopt_claimed(core, job, node, task)
            continue
        job.deaths += 1
        name = core.topology.sockets[job.socket].name
        text = f"the engine ended while {name!r} ran; once=True forbids another try"
        core.fail(job, failures.error("WorkerDiedError", "died", text))
    core.suspects.end()


def _adopt_claimed(core: Core, job: Job, node: str, task: int) -> None:
    socket = core.topology.sockets[job.socket]
    # the attempt that is counted last has not ended
    job.tries = max(0, job.tries - 1)
    job.assigned, job.node, job.task = True, node, task
    core.jobs[job.id] = job
    core.held.hold(job.id, node, socket.processor, socket.share)
    if core.topology.joins((job.socket, None)):
        adopt(core, [job.party])


def fixed_values(core: Core) -> set[int]:
    """Values that the wiring sets, or would again after undo or redo."""
    sockets = [*core.topology.sockets.values(), *recorded(core)]
    return {fixed.value for socket in sockets for fixed in socket.fixed.values()}


def load_fixed(core: Core) -> None:
    """Values set in the wiring, ready to travel with calls."""
    wanted = {f.value for s in core.topology.sockets.values() for f in s.fixed.values()} - core.fixed.keys()
    core.fixed.update(core.values.load(wanted))


def feed(core: Core) -> None:
    """Fetch queued requests for the lanes that have room."""
    for socket, ceiling in core.dispatch.hungry():
        rows = core.store.rows("queued", (socket, ceiling, FEED))
        last = rows[-1][0] if rows else ceiling
        read = len(rows)
        if core.ranks:
            # those of runs with a priority are here
            rows = [row for row in rows if row[2] not in core.ranks]
        left = core.dispatch.lanes[socket].spilled - len(rows) if read == FEED else 0
        # what an agent has is queued on disk too
        rows = [row for row in rows if row[0] not in core.held]
        values = core.values.of_requests([(row[0], row[10], row[13]) for row in rows])
        for alike, some in groupby(rows, partial(_alike, core, values)):
            _read(core, alike, list(some), values)
        core.suspects.end()
        core.dispatch.fed(socket, [row[0] for row in rows if row[0] not in core.delayed], left, last)
        if core.topology.joins((socket, None)):
            adopt(core, [row[3] for row in rows])


# names and types of arguments, whether they came from other requests, and how many calls led there
Alike = tuple[tuple[str, ...], tuple[str, ...], bool, int]


def _alike(core: Core, values: dict[int, StoredValue], row: Sequence[Any]) -> Alike | None:
    """What a queued request has in common with others of a lot; None where it has to be a job by itself."""
    key, _, _, _, tag, attempt, deaths, emitted, hops, not_before, text, late, _, _, state = row
    core.suspects.begin(REQUEST, key)
    if tag or attempt or deaths or emitted or late or not_before is not None or core.suspects.exact:
        return None
    if key in core.followers or row[1] in core.topology.unworked:
        # others end with it; a question, or a sleep, is due at a time of its own
        return None
    arguments = json.loads(text)
    given = [(kind, ids) for kind, ids, _ in arguments.values()]
    arrivals = [len(some) for _, _, some in arguments.values()]
    came = any(arrivals)
    if came:
        alike = set(arrivals) == {1} and all(kind == "v" and len(ids) == 1 for kind, ids in given)
    else:
        alike = given == [("v", [argument_id(key, at)]) for at in range(len(given))]
    found = [values[ids[0]] for _, ids in given] if alike and state == "queued" else None
    if found is None or any(one.place != "inline" or one.value.data is None for one in found):
        return None
    return tuple(arguments), tuple([one.value.type for one in found]), came, hops


def _read(core: Core, alike: Alike | None, rows: list[Any], values: dict[int, StoredValue]) -> None:
    """Have queued requests in memory: as a lot, where they are alike."""
    if alike is None:
        for row in rows:
            core.suspects.begin(REQUEST, row[0])
            job_of(core, row, values)
        return
    names, types, came, hops = alike
    ids = [row[0] for row in rows]
    arguments = [json.loads(row[10]) for row in rows]
    keys = [[one[name][1][0] for one in arguments] for name in names]
    columns = [[values[key].value.data or b"" for key in some] for some in keys]
    given = None
    if came:
        given = [(some, [one[name][2][0] for one in arguments]) for name, some in zip(names, keys, strict=True)]
    lot = JobLot(
        rows[0][1], ids, [row[3] for row in rows], [row[2] for row in rows], names, types, columns,
        rows[0][12], given, hops,
    )  # fmt: skip
    core.jobs.put(lot)


def job_of(core: Core, row: Sequence[Any], values: dict[int, StoredValue]) -> Job:
    """A queued request as memory holds it."""
    key, socket, run, party, tag, attempt, deaths, emitted, hops, not_before, arguments, late, created, _, state = row
    since = max(created, not_before or 0.0) if socket in core.topology.unworked else created
    job = Job(key, socket, party, run, from_text(tag), core.values.arguments(arguments, values), since, state)
    job.attempt, job.deaths, job.emitted, job.hops, job.late = attempt, deaths, emitted, hops, bool(late)
    job.tries = 0 if late or attempt <= deaths else attempt - deaths - core.store.one("losses", (key,))[0]
    if not_before is not None and not_before > core.now:
        if attempt == 0:
            core.wait_until(job, not_before)
        else:
            # never longer than it was asked to wait, wherever the wall clock has been set meanwhile
            most = failures.delay_before(core.topology.sockets[socket], max(1, job.tries))
            core.delayed[key] = time.monotonic() + min(not_before - core.now, most)
    core.jobs[key] = job
    return job


def job_from_disk(core: Core, request: int) -> Job:
    """One request of any state, read from disk."""
    row = core.store.one("one_queued", (request,))
    job = job_of(core, row, core.values.of_requests([(row[0], row[10], row[13])]))
    core.jobs.pop(request)
    core.delayed.pop(request, None)
    return job


def adopt(core: Core, parties: Iterable[int]) -> None:
    """Load parties, with all their arrivals, that the join table did not need before."""
    suspects = core.suspects
    wanted = sorted(p for p in set(parties) if p not in core.joins and not suspects.out(PARTY, p))
    # what was not decided when its engine ended is decided with the next commit
    core.touched.update(wanted)
    if not suspects.careful:
        _restore(core, wanted) if wanted else None
        return
    before = suspects.named
    for party in wanted:
        suspects.begin(PARTY, party)
        _restore(core, [party])
    suspects.begin(*before)


def load_value(core: Core, arrival: int) -> None:
    """Add one value to those that wait, unless it is there."""
    if all(one.id != arrival for one in core.joins.all_waiting()):
        _load_run_independent(core, arrival)
        _load_evaluation(core, arrival)


def _load_run_independent(core: Core, only: int | None = None) -> None:
    keys = core.topology.run_independent
    sockets = id_list({socket for socket, _ in keys})
    rows = [
        row
        for row in core.store.rows("arrivals_run_independent", {"sockets": sockets})
        if (row[1], row[2]) in keys and row[11] in ("waiting", "held") and only in (None, row[0])
    ]
    values = core.values.load({row[6] for row in rows if row[6] is not None})
    for row in sorted(row for row in rows if row[12] is None and not core.suspects.out(VALUE, row[0])):
        core.suspects.begin(VALUE, row[0])
        core.joins.hold_again([arrival_of(row, values)])
    core.suspects.end()


def joining(core: Core) -> set[int]:
    """Parties with a join ahead of them, without those of which nothing has begun."""
    roots = [socket for socket in core.topology.sockets if core.topology.joins((socket, None))]
    live = {party for (party,) in core.store.rows("joining_parties", (id_list(roots),))}
    return live - _plain(core, live)


def _load_evaluation(core: Core, only: int | None = None) -> None:
    rows = [row for row in core.store.rows("routing") if only in (None, row[0])]
    values = core.values.load({row[8] for row in rows})
    for arrival, request, socket, party, run, tag, late, plug, value, index, mark, state, error, hops in rows:
        if core.suspects.out(VALUE, arrival):
            continue
        core.suspects.begin(VALUE, arrival)
        source = Source(request, socket, party, run, from_text(tag), bool(late))
        failure = values[value].place == "error"
        generator = core.topology.task(socket).generator and not failure
        route = Route(arrival, source, plug, values[value], index // ELEMENTS if generator else None, hops=hops + 1)
        core.evaluation.adopt(route, _origin(state, error), stuck=mark is not None and state in ("failed", "cancelled"))
    core.suspects.end()


def _origin(state: str, error: str | None) -> str:
    """State of a request as `plug_evaluation.Origin` has it."""
    if state == "failed" and error is not None and json.loads(error).get("ended"):
        return "fault"
    return "running" if state in ("queued", "running") else state


def _plain(core: Core, parties: set[int]) -> set[int]:
    """Parties of one queued root each: they are known when their request is fetched."""
    rows = core.store.rows("runs_of", {"parties": id_list(parties)})
    alone: dict[int, int] = defaultdict(int)
    for _, _, _, party in rows:
        alone[party] += 1
    requests: dict[int, int] = defaultdict(int)
    queued: set[int] = set()
    for key, _, run, _, state, *_ in core.store.rows("requests_of", {"runs": id_list(parties)}):
        requests[run] += 1
        if state == "queued" and key == run:
            queued.add(run)
    complete = {root: core.topology.complete([(root, None)]) for root in {row[1] for row in rows}}
    incomplete = {party for _, root, given, party in rows if given or not complete[root]}
    return {p for p in parties if alone[p] == 1 and requests[p] == 1 and p in queued and p not in incomplete}


def _restore(core: Core, parties: list[int]) -> None:
    runs = core.store.rows("runs_of", {"parties": id_list(parties)})
    party_of = {run: party for run, _, _, party in runs}
    requests = core.store.rows("requests_of", {"runs": id_list(party_of)})
    # a request that was cancelled while it lacked arguments has left its party, with what it had brought
    left = {key for key, _, run, _, state, *_ in requests if key == run and state == "cancelled"}
    roots: dict[int, dict[int, Root]] = defaultdict(dict)
    for run, root, given, party in runs:
        if not given or run not in left:
            roots[party][run] = (root, frozenset(json.loads(given)) if given else None)
    live: dict[int, int] = defaultdict(int)
    skipped, given_requests = [], []
    for key, socket, run, tag, state, joined, bare in requests:
        party = party_of[run]
        if state not in ("done", "skipped") and joined is None:
            live[party] += 1
        # a call that sent nothing, or was given up, leaves its place to what else comes there
        if state == "skipped" and bare:
            skipped.append((socket, party, from_text(tag)))
        if state == "waiting" and joined is None:
            given_requests.append((key, run, socket, party, from_text(tag)))
    arrivals = _arrivals(core, [r[0] for r in requests], parties)
    fans = core.store.rows("fans_of", (id_list(parties),))
    restore(
        core.joins,
        [(p, roots[p], live[p]) for p in parties if roots[p] or live[p]],
        arrivals,
        skipped,
        [tuple(f) for f in fans],
        given_requests,
        [party for (party,) in core.store.rows("replays_among", (id_list(parties),))],
    )
    core.absorb()


def _arrivals(core: Core, requests: list[int], parties: list[int]) -> list[Arrival]:
    """All that came to arguments from these requests, or by hand in these parties."""
    rows = core.store.rows("arrivals_from", {"requests": id_list(requests)})
    rows += core.store.rows("arrivals_given", (id_list(parties),))
    alive = ("waiting", "shared", "routing")
    values = core.values.load({row[6] for row in rows if row[6] is not None and row[11] in alive})
    # a value that a worker has yet to evaluate has not arrived
    return [arrival_of(row, values) for row in sorted(rows) if row[11] != "routing"]


def arrival_of(row: Sequence[Any], values: dict[int, StoredValue]) -> Arrival:
    """An arrival as its row has it; its value only where it may still be used."""
    number, socket, argument, party, run, tag, value, source, index, plug, request, state, mark, late, _, key = row
    kind, lag, gathers, silent = from_column(mark)
    return Arrival(
        number, socket, argument, party, run, from_text(tag), kind, values.get(value), source, index, plug, lag,
        gathers, silent, state, request, bool(late), key,
    )  # fmt: skip
