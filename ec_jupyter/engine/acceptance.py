"""Requests come in: what a submit means, and its place in the flow's memory and journal."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job, Kept
from ec_jupyter.errors import ArgumentsError, SocketNotFoundError, nearest
from ec_jupyter.flow.tag import ROOT
from ec_jupyter.wire import Value


def check(core: Core, name: str, arguments: Iterable[str]) -> int:
    """The socket that a submit means.

    Raises
    ------
    SocketNotFoundError, ArgumentsError
        There is no such socket, or it has no such argument.
    """
    socket = core.topology.names.get(name)
    if socket is None:
        raise SocketNotFoundError.named(name, core.topology.names)
    task = core.topology.task(socket)
    known = {p.name for p in task.signature}
    for argument in arguments:
        if argument not in known:
            raise ArgumentsError(f"{name!r} has no argument {argument!r}; {nearest(argument, known)}")
    return socket


def accept(core: Core, socket: int, arguments: dict[str, Value], submit_id: str | None = None) -> int:
    """Take one request in; its identity, which is its run's too."""
    request = core.new_request()
    full = all(name in arguments for name in core.topology.needed[socket])
    if not full:
        _check_partial(core, socket, arguments)
    root = (socket, None if full else frozenset(arguments))
    party = core.joins.accept(request, root)
    kept = {name: core.keep(value) for name, value in arguments.items()}
    given = None if full else json.dumps(sorted(arguments))
    core.journal.add("add_run", (request, socket, given, party, submit_id, None, core.now))
    if submit_id is not None:
        core.submitted[socket, submit_id] = request
    if full:
        core.queue_new(
            Job(request, socket, party, request, ROOT, {n: ("v", (k,), ()) for n, k in kept.items()}, core.now)
        )
    else:
        _wait_new(core, request, socket, party, kept)
    return request


def _check_partial(core: Core, socket: int, arguments: Iterable[str]) -> None:
    record = core.topology.sockets[socket]
    held = [name for name in arguments if name in record.hold]
    if held or record.join in ("latest", "key"):
        what = f"{held[0]!r} of {record.name!r} is held" if held else f"{record.name!r} joins by {record.join}"
        lacking = ", ".join(n for n in core.topology.needed[socket] if n not in set(arguments))
        raise ArgumentsError(f"{what}: give all arguments ({lacking} too), or bring values with flow.supply")


def _wait_new(core: Core, request: int, socket: int, party: int, kept: dict[str, Kept]) -> None:
    job = Job(request, socket, party, request, ROOT, {}, core.now)
    core.add_request(job, "waiting")
    core.joins.wait(request, request, socket, party, ROOT)
    for name, value in kept.items():
        core.joins.supply(socket, name, party, request, ROOT, value)
    core.absorb()
