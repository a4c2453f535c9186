"""Requests come in: what a submit means, and its place in the flow's memory and journal."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from itertools import repeat

from ec_jupyter.engine import lots
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Argument, Job, StoredValue
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.row_values import MOST_ARGUMENTS, argument_id, fits, pack
from ec_jupyter.engine.submit_records import Lot
from ec_jupyter.errors import ArgumentsError, SocketNotFoundError, nearest, unknown
from ec_jupyter.flow.submission import refusal
from ec_jupyter.flow.tag import ROOT
from ec_jupyter.wire import Value

MOST_RANKS = 10_000  # of so many runs with a priority, those that have ended are forgotten


def check(core: Core, name: str, arguments: Collection[str], *, partial: bool = False, stale: bool = False) -> int:
    """The socket that a submit means.

    `name`, `arguments`: what is to be called, and what the submit brings. `partial`: it says that the rest will come.
    `stale`: it was complete by the wiring that its client knew, and was accepted there: as a queued call does, it waits
    for what a later edit asks for, and what an edit took away is left out. Raises SocketNotFoundError, ArgumentsError:
    there is no such socket, it has no such argument, or it lacks some.
    """
    socket = core.topology.names.get(name)
    if socket is None:
        raise unknown(SocketNotFoundError, name, core.topology.names)
    if stale:
        return socket
    task = core.topology.task(socket)
    known = {p.name for p in task.signature}
    for argument in arguments:
        if argument.lstrip("*") not in known:
            raise ArgumentsError(f"{name!r} has no argument {argument!r}; {nearest(argument, known)}")
    why = _refusal(core, socket, arguments, partial=partial)
    if why is not None:
        raise ArgumentsError(why)
    stars = [argument for argument in arguments if argument.startswith("*")]
    if stars and any(needed not in arguments for needed in core.topology.needed[socket]):
        raise ArgumentsError(f"{stars[0]} of {name!r} is taken with all other arguments only; {name!r} lacks some")
    return socket


def _refusal(core: Core, socket: int, arguments: Collection[str], *, partial: bool) -> str | None:
    needed = core.topology.needed[socket]
    if all(name in arguments for name in needed):
        return None
    record = core.topology.sockets[socket]
    return refusal(record.name, arguments, needed, record.hold, record.join, partial=partial)


def accept(
    core: Core, socket: int, arguments: dict[str, Value], submit_id: str | None = None, at: float | None = None,
    priority: int = 0,
) -> int:  # fmt: skip
    """Take in a request that `check` has let pass, to start `at` a wall-clock time; its identity, its run's too.

    The same `submit_id` again, if there is one, is the same request.
    """
    if submit_id is not None:
        # one of this very tick is not on disk yet
        known = core.submitted.get((socket, submit_id))
        row = core.store.one("find_submit", (socket, submit_id)) if known is None else (known,)
        if row is not None:
            return int(row[0])
    full = _complete(core, socket, arguments)
    request = core.new_request()
    if priority:
        _rank_all(core, (request,), priority)
    party = core.joins.accept(request, (socket, None if full else frozenset(arguments)))
    if not full or party != request or submit_id is not None:
        given = None if full else json.dumps(sorted(arguments))
        core.journal.add("add_run", (request, socket, given, party, submit_id, None, core.now))
    if submit_id is not None:
        core.submitted[socket, submit_id] = request
    if full:
        _queue_new(core, request, socket, party, arguments, at)
    else:
        _wait_new(core, request, socket, party, {name: core.store_value(value) for name, value in arguments.items()})
    return request


def accept_lot(core: Core, socket: int, lot: Lot, ids: Sequence[int] | None = None) -> Sequence[int]:
    """Take in alike requests that `check` has let pass; their identities: `ids`, where they were given before."""
    names, types, priority = lot.shape["names"], lot.shape["types"], lot.shape.get("priority", 0)
    if _complete(core, socket, names) and len(names) <= MOST_ARGUMENTS and lots.small(lot.columns, types):
        return _accept_alike(core, socket, lot, types, ids)
    rows = zip(*lot.columns, strict=True) if names else repeat((), lot.calls)
    given = [zip(names, row, types, strict=True) for row in rows]
    return [
        accept(core, socket, {n: Value(data, None, len(data), kind) for n, data, kind in one}, priority=priority)
        for one in given
    ]


def _accept_alike(core: Core, socket: int, lot: Lot, kinds: list[str], ids: Sequence[int] | None) -> Sequence[int]:
    """Take requests in that run as they are, and whose arguments stand in their rows."""
    if ids is None:
        ids = lots.numbers(core.new_request, lot.calls)
    if priority := lot.shape.get("priority", 0):
        _rank_all(core, ids, priority)
    parties = core.joins.accept_all(ids, (socket, None))
    for run, party in zip(ids, parties, strict=True) if parties is not ids else ():
        if party != run:
            core.journal.add("add_run", (run, socket, None, party, None, None, core.now))
    made = JobLot(socket, ids, parties, ids, tuple(lot.shape["names"]), list(kinds), list(lot.columns), core.now)
    lots.queue(core, made, "submitted")
    return ids


def _rank_all(core: Core, runs: Sequence[int], priority: int) -> None:
    core.journal.add_all("add_rank", zip(runs, repeat(priority), strict=False))
    core.ranks.update(dict.fromkeys(runs, priority))
    if len(core.ranks) > max(MOST_RANKS, core.ranks_kept):
        going_on = core.jobs.runs().union(runs, (arrival.run for arrival in core.joins.all_waiting()))
        core.ranks = {run: rank for run, rank in core.ranks.items() if run in going_on}
        core.ranks_kept = 2 * len(core.ranks)


def _complete(core: Core, socket: int, names: Collection[str]) -> bool:
    """Whether a request that brings these arguments runs as it is."""
    full = all(name in names for name in core.topology.needed[socket])
    # what cannot wait for the rest runs, and says what it lacks; it was complete when its client let it go
    return full or _refusal(core, socket, names, partial=True) is not None


def _queue_new(
    core: Core, request: int, socket: int, party: int, arguments: dict[str, Value], at: float | None
) -> None:
    values = list(arguments.values())
    if at is None and len(values) <= MOST_ARGUMENTS and all(map(fits, values)):
        columns = [[value.data or b""] for value in values]
        types, one = [value.type for value in values], range(request, request + 1)
        lot = JobLot(socket, one, (party,), one, tuple(arguments), types, columns, core.now)
        lots.queue(core, lot, "submitted")
        return
    inside: list[Value] = []
    given: dict[str, Argument] = {}
    for name, value in arguments.items():
        if fits(value) and len(inside) < MOST_ARGUMENTS:
            stored = StoredValue(argument_id(request, len(inside)), value, "inline")
            inside.append(value)
        else:
            stored = core.store_value(value)
        given[name] = ("v", (stored,), ())
    job = Job(request, socket, party, request, ROOT, given, core.now)
    if at is None:
        core.queue_new(job, "submitted", pack(inside))
    else:
        core.add_request(job, "submitted", pack(inside))
        core.hold_until(job, at)


def _wait_new(core: Core, request: int, socket: int, party: int, stored: dict[str, StoredValue]) -> None:
    job = Job(request, socket, party, request, ROOT, {}, core.now)
    core.add_request(job, "submitted in part")
    core.joins.wait(request, request, socket, party, ROOT)
    for name, value in stored.items():
        core.joins.supply(socket, name, party, request, ROOT, value)
    core.absorb()
