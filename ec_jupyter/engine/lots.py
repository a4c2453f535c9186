"""What happens to alike requests together: they are queued, given to workers, and end, without an object for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, islice, repeat
from math import inf
from typing import TYPE_CHECKING

from ec_jupyter.engine.job import EndedLot, StoredValue
from ec_jupyter.engine.jobs import JobLot, Where, some
from ec_jupyter.engine.lot_bodies import End
from ec_jupyter.engine.row_values import ROW_BYTES, result_id
from ec_jupyter.engine.suspects import REQUEST
from ec_jupyter.flow.arrival import Source
from ec_jupyter.flow.states import NEW, Event
from ec_jupyter.flow.tag import ROOT
from ec_jupyter.model import LOCAL, Plug
from ec_jupyter.wire import Block, Call, Value

if TYPE_CHECKING:
    from ec_jupyter.engine.core import Core

# takes calls that ended, as `Statistics.ran` does
Note = Callable[[int, str, int, Sequence[float], Sequence[float], float], None]


def numbers(new: Callable[[], int], n: int) -> range:
    """The next `n` identities."""
    first = new()
    # consumed without a step of ours for each
    deque(islice(iter(new, None), n - 1), maxlen=0)
    return range(first, first + n)


def small(columns: Iterable[Sequence[bytes]], types: Iterable[str]) -> bool:
    """Whether all values fit into the rows of requests."""
    return all(max(map(len, column), default=0) <= ROW_BYTES for column in columns) and all(
        len(kind) <= ROW_BYTES for kind in types
    )


def queue(core: Core, lot: JobLot, event: Event) -> None:
    """Write new requests down and queue them."""
    core.states.move_all(lot.socket, NEW, event, len(lot.ids))
    lot.revision = core.topology.revision
    if core.ranks and not core.ranks.keys().isdisjoint(lot.runs):
        at = 0
        for rank, some in groupby(core.ranks.get(run, 0) for run in lot.runs):
            n = sum(1 for _ in some)
            _queue(core, lot.part(slice(at, at + n)), rank)
            at += n
    else:
        _queue(core, lot)


def _queue(core: Core, lot: JobLot, rank: int = 0) -> None:
    n = core.dispatch.push_all(lot.socket, lot.ids, rank)
    if n < len(lot.ids):
        # the others are on disk alone until there is room
        core.journal.add_all("add_request", lot.rows(slice(n, len(lot.ids))))
        lot = lot.part(slice(n))
    if n:
        core.jobs.put(lot)
        core.journal.lots.add(lot)


def begun(core: Core, lot: JobLot, ids: Sequence[int]) -> None:
    """Note that requests of a lot that was just queued are with the agent of this machine; no others are queued."""
    socket = core.topology.sockets[lot.socket]
    if core.dispatch.take((lot.socket,), len(ids)) != list(ids):
        raise RuntimeError(f"others were queued before requests {ids[0]} to {ids[-1]}")
    lot.task = socket.task
    core.held.hold_all(ids, LOCAL, socket.processor, socket.share)


def start(core: Core, requests: Sequence[int], node: str) -> list[Call]:
    """Attempts at requests, as the agent of a node gets them."""
    calls: list[Call] = []
    at = 0
    for found, n in core.jobs.stretches(requests):
        stretch = requests[at : at + n]
        at += n
        if isinstance(found, JobLot) and node == LOCAL and _together(core, found):
            calls += _calls(core, found, stretch)
        else:
            calls += [core.call(core.jobs[request], node) for request in stretch]
    return calls


def _together(core: Core, lot: JobLot) -> bool:
    """Whether requests of a lot may start as one: nothing of them has to be known to the next engine."""
    socket = core.topology.sockets[lot.socket]
    plain = not socket.once and socket.id not in core.topology.cached
    return plain and lot.task in (0, socket.task) and not core.suspects.exact


def _calls(core: Core, lot: JobLot, requests: Sequence[int]) -> list[Call]:
    socket = core.topology.sockets[lot.socket]
    core.suspects.begin(REQUEST, requests[0])
    lot.task = socket.task
    core.held.hold_all(requests, LOCAL, socket.processor, socket.share)
    return core.specs.calls(lot, requests, core.topology)


# -- results -----------------------------------------------------------------------
def take(core: Core, block: Block, note: Note) -> None:
    """Take results in columns; `note` is told of the calls."""
    at = 0
    for found, n in core.jobs.stretches(block.requests):
        part = block.part(at, at + n)
        at += n
        if isinstance(found, JobLot) and _plain(core, part):
            note(found.socket, LOCAL, part.pid, part.seconds, part.started, found.created)
            _finish(core, found, part)
            continue
        for outcome in part.outcomes():
            core.suspects.call(outcome.request)
            job = core.current(outcome.request, outcome.attempt) if outcome.request >= 0 else None
            if job is not None:
                begun = [outcome.started] if outcome.attempt == 1 else []
                note(job.socket, job.node, outcome.pid, [outcome.seconds], begun, job.created)
            core.outcome(outcome)


def _plain(core: Core, part: Block) -> bool:
    """Whether results of a lot may be taken as one: of first attempts that no agent has given up, and small."""
    return (
        part.attempts.count(1) == len(part)
        and core.held.has_all(part.requests)
        and not core.suspects.exact
        and small((part.values,), part.types)
    )


def _finish(core: Core, lot: JobLot, part: Block) -> None:
    requests = part.requests
    core.suspects.begin(REQUEST, requests[0])
    types = part.types if len(part.types) == len(part) else part.types * len(part)
    where = lot.where(requests)
    runs = some(lot.runs, where)
    end = _write_ends(core, lot, part, types, where)
    core.jobs.drop(requests)
    core.held.release_all(requests)
    if core.evaluation.origins:
        for request in requests:
            core.evaluation.ended(request, "done")
    core.states.move_all(lot.socket, "queued", "finished", len(part))
    if core.watched:
        core.ended.append(EndedLot(requests, part.values, types, lot.socket))
    _go_on(core, lot, part, some(lot.parties, where), runs, end)


def _write_ends(core: Core, lot: JobLot, part: Block, types: Sequence[str], where: Where) -> End | None:
    requests, revision = part.requests, core.topology.revision
    if not lot.left:
        core.journal.add_all("finish_well", zip(
            map(result_id, requests), repeat(1), repeat(LOCAL), repeat(part.slot), repeat(part.pid), repeat(lot.task),
            repeat(revision), part.started, repeat(core.now), part.seconds, part.values, types, requests,
        ))  # fmt: skip
        return None
    end = End(lot, where, part, lot.task, revision, core.now)
    core.journal.lots.end(end)
    return end


def _go_on(core: Core, lot: JobLot, part: Block, parties: Sequence[int], runs: Sequence[int], end: End | None) -> None:
    """Send results on."""
    topology, joins = core.topology, core.joins
    core.touched.update(parties)
    core.hops = lot.hops + 1
    plugs = topology.results.get(lot.socket, ())
    rest = [plug for plug in plugs if not _pass(core, lot, plug, part, parties, runs, end)]
    errors = topology.errors.get(lot.socket, ())
    for at, (party, run) in enumerate(zip(parties, runs, strict=True)) if rest or errors else ():
        _send(core, lot, part, at, Source(part.requests[at], lot.socket, party, run, ROOT), rest)
        for plug in errors:
            joins.tombstone(Source(part.requests[at], lot.socket, party, run, ROOT), plug, silent=True)
    joins.finished_all(parties)
    core.absorb()
    core.hops = 0


def _send(core: Core, lot: JobLot, part: Block, at: int, source: Source, plugs: list[Plug]) -> None:
    """Send one result on by plugs that have to decide about it."""
    data, kind = part.values[at], part.types[0 if len(part.types) == 1 else at]
    stored = StoredValue(result_id(source.request), Value(data, None, len(data), kind), "inline")
    for plug in plugs:
        if plug.id in core.topology.examined:
            core.evaluation.ask(source, plug, stored)
        else:
            core.joins.result(source, plug, stored)


def _pass(
    core: Core, lot: JobLot, plug: Plug, part: Block, parties: Sequence[int], runs: Sequence[int], end: End | None
) -> bool:
    """Let results each make a call by itself, where a plug has nothing to decide; False where it has."""
    if plug.id in core.topology.examined or lot.hops >= core.topology.hops.get(plug.target, inf):
        return False
    owners = core.joins.pass_all(plug, parties)
    if owners is None:
        return False
    n, types = len(part), part.types[0] if len(part.types) == 1 else part.types
    ids, arrivals = numbers(core.new_request, n), numbers(core.new_arrival, n)
    if end is not None:
        end.passed.append((plug.id, plug.argument, ids.start, arrivals.start))
    else:
        rows = zip(part.requests, repeat(plug.id), ids, arrivals, repeat(plug.argument), strict=False)
        core.journal.add_all("add_passed", rows)
    given = [([result_id(request) for request in part.requests], [-request for request in part.requests])]
    made = JobLot(
        plug.target, ids, owners, runs, (plug.argument,), [types], [part.values], core.now, given, lot.hops + 1
    )
    queue(core, made, "fired")
    return True
